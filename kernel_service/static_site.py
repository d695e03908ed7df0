"""The book's pages, as they were built: files under one folder, and nothing outside it."""

from collections.abc import Awaitable
from html import escape
from http import HTTPStatus
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import allow_unauthenticated
from tornado.web import HTTPError, StaticFileHandler

from kernel_service.errors import ServiceError
from kernel_service.headers import FRAME_PATH, FRAME_POLICY
from kernel_service.replies import CommonReplies

_ERROR_PAGE = """<!doctype html>
<html lang="en-GB">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{status} {reason}</title></head>
<body>
<main>
<h1>{reason}</h1>
<p>{message}</p>
<p><a href="/">To the start of the book</a></p>
</main>
</body>
</html>
"""


class SiteHandler(CommonReplies, StaticFileHandler):
    """Serves a page, a picture or a script to anyone who asks from this machine."""

    def initialize(self) -> None:  # type: ignore[override] # the route passes nothing
        """Serve the site that the settings name."""
        super().initialize(path=str(self.settings["site"]), default_filename="index.html")

    async def prepare(self) -> None:  # type: ignore[override] # nothing to redirect to
        """Check the Host; pages need no reader."""
        self.check_host()
        if self.request.method not in {"GET", "HEAD"}:
            raise HTTPError(405)

    def check_xsrf_cookie(self) -> None:
        """Nothing here changes anything."""

    @allow_unauthenticated
    def head(self, path: str) -> Awaitable[None]:
        """Answer with a file's headers."""
        return super().head(path)

    @allow_unauthenticated
    async def get(self, path: str, include_body: bool = True) -> None:  # noqa: FBT001, FBT002 - tornado's signature
        """Answer with a file, or with a folder's `index.html`."""
        await super().get(path, include_body)

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        """Find the file; whatever is hidden or outside does not exist."""
        if any(part.startswith(".") for part in self.path.split("/")):
            raise HTTPError(404)
        return super().validate_absolute_path(root, absolute_path)

    def get_content_type(self) -> str:
        """Name the type, and for text that it is UTF-8, as everything in a built book is."""
        content_type: str = super().get_content_type()
        is_text = content_type.startswith("text/") or content_type in {"application/javascript", "application/json"}
        return f"{content_type}; charset=utf-8" if is_text else content_type

    def compute_etag(self) -> str | None:
        """Tell versions of a file apart without reading it, also after a new build under a running service."""
        if self.absolute_path is None:
            return None
        status = Path(self.absolute_path).stat()
        return f'"{status.st_mtime_ns:x}-{status.st_size:x}"'

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002 - tornado's signature
        """Keep what a digest in its address names; ask again for everything else."""
        is_versioned = bool(self.request.query_arguments.get("v") or self.request.query_arguments.get("digest"))
        self.set_header("Cache-Control", "public, max-age=31536000, immutable" if is_versioned else "no-cache")
        if self.request.path == FRAME_PATH:
            self.set_header("Content-Security-Policy", FRAME_POLICY)

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ANN401 - tornado's signature
        """Answer with a page that leads back into the book."""
        error = kwargs.get("exc_info", (None, None))[1]
        message = "The page cannot be shown."
        if isinstance(error, ServiceError):
            status_code, message = error.status, f"{error}. {error.hint}"
        elif status_code in {403, 404}:  # tornado's 403 is for what lies outside: that does not exist
            status_code, message = HTTPStatus.NOT_FOUND, f"There is no page {self.request.path[:200]} in this book."
        self.set_status(status_code)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        status = HTTPStatus(status_code)
        page = _ERROR_PAGE.format(status=status.value, reason=escape(status.phrase), message=escape(message))
        self.finish(page)
