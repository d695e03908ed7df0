"""The security headers of every response: what pages may load, and who may frame them."""

FRAME_PATH = "/_static/frame.html"

# The book's own pages: everything from this origin, nothing from another.
PAGE_POLICY = "; ".join(  # noqa: FLY002 - one directive a line
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "frame-src 'self'",
        "frame-ancestors 'self'",
        "object-src 'none'",
        "base-uri 'self'",
    )
)

# The frame of isolated outputs: untrusted scripts run in an origin of their own, and talk to nobody.
FRAME_POLICY = "; ".join(  # noqa: FLY002 - likewise
    (
        "sandbox allow-scripts",
        "default-src 'none'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",  # a widget's module, made in the frame
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'none'",
        "frame-ancestors 'self'",
    )
)

# No Cross-Origin-Resource-Policy: the frame above has an opaque origin, and loads this site's scripts.
SECURITY_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
