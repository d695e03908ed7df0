"""Who asks, and what they may do: a reader per signed token, and nothing but their own kernels."""

import re
from typing import Any

from jupyter_server.auth import Authorizer, IdentityProvider
from jupyter_server.auth.identity import User
from jupyter_server.base.handlers import JupyterHandler
from tornado.web import RequestHandler
from traitlets import Instance, default

from kernel_service.tokens import Mint

_AUTHORIZATION = re.compile(r"(?:token|bearer)\s+(\S+)", re.IGNORECASE)
_RESOURCES = frozenset({"kernels", "chat"})


class ReaderIdentity(IdentityProvider):
    """Knows a reader by the token in the `Authorization` header, or, for a websocket, in the query."""

    mint = Instance(Mint).tag(config=True)

    @default("token")
    def _no_master_token(self) -> str:
        return ""

    def get_user(self, handler: RequestHandler) -> User | None:
        """Name the reader whose token the request shows; None without a valid one. No cookie is read or set."""
        reader = self.mint.reader(_shown_token(handler))
        return None if reader is None else User(username=reader, name="reader", display_name="Reader")

    def is_token_authenticated(self, handler: RequestHandler) -> bool:
        """Whether a reader is known: there is no way but the token, so no cookie needs protection against forgery."""
        return getattr(handler, "_jupyter_current_user", None) is not None

    def should_check_origin(self, handler: RequestHandler) -> bool:  # noqa: ARG002 - jupyter_server's signature
        """Check the origin always: a token does not lift that."""
        return True

    def get_handlers(self) -> list[tuple[str, object]]:
        """Offer no login and no logout page."""
        return []

    def validate_security(self, app: Any, ssl_options: dict[str, Any] | None = None) -> None:  # noqa: ANN401 - jupyter_server's signature
        """Say nothing: the address was checked before."""


class ReaderAuthorizer(Authorizer):
    """Lets a reader use their own kernels and the chat, and shows no sign of anything else."""

    def is_authorized(self, handler: JupyterHandler, user: User, action: str, resource: str) -> bool:  # noqa: ARG002 - likewise
        """Allow what belongs to the reader; another reader's kernel is answered with 404."""
        kernel_id = handler.path_kwargs.get("kernel_id")
        if kernel_id is not None:
            kernels: Any = handler.kernel_manager
            kernels.require_owner(kernel_id, user.username)
        return resource in _RESOURCES


def _shown_token(handler: RequestHandler) -> str:
    match = _AUTHORIZATION.fullmatch(handler.request.headers.get("Authorization", ""))
    if match is not None:
        return match.group(1)
    # A browser cannot set headers on a websocket; elsewhere a token in an address would end up in histories.
    if handler.request.headers.get("Upgrade", "").lower() == "websocket":
        return handler.get_query_argument("token", "")
    return ""
