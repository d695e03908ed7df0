"""The one JSON shape of errors, and what all handlers of this service do alike."""

import json
import logging
from http import HTTPStatus
from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from tornado.web import HTTPError

from kernel_service.errors import HostRefused, ServiceError
from kernel_service.headers import SECURITY_HEADERS

_log = logging.getLogger(__name__)

_CODES = {400: "bad-request", 403: "forbidden", 404: "not-found", 405: "method-not-allowed", 413: "too-large"}
_NO_READER = ("reader-unknown", "expected a valid reader token, got none", "POST /api/reader gives one.")


class CommonReplies(JupyterHandler):
    """Host check, no sharing with other origins, and errors as `{"code", "message", "hint", "status"}`."""

    def check_host(self) -> bool:
        """Refuse host names that lead here only because another site's DNS says so."""
        if not super().check_host():
            raise HostRefused(f"expected a Host that names this machine, got {self.request.host[:80]!r}")
        return True

    def set_cors_headers(self) -> None:
        """Allow no other origin to read an answer."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ANN401 - tornado's signature
        """Answer with the error's JSON."""
        error = kwargs.get("exc_info", (None, None))[1]
        reply = self._describe(status_code, error)
        self.set_status(reply["status"])
        for name, value in SECURITY_HEADERS.items():
            self.set_header(name, value)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(reply))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:  # noqa: ANN401 - tornado's signature
        """Log a refusal as one line, and anything unforeseen with its traceback."""
        if isinstance(value, ServiceError):
            _log.info("%s %s: %s", self.request.method, self.request.path, value)
        else:
            super().log_exception(typ, value, tb)

    def _describe(self, status_code: int, error: BaseException | None) -> dict[str, Any]:
        if isinstance(error, ServiceError):
            return {"code": error.code, "message": str(error), "hint": error.hint, "status": error.status}
        if status_code == HTTPStatus.FORBIDDEN and getattr(self, "_jupyter_current_user", None) is None:
            code, message, hint = _NO_READER
            return {"code": code, "message": message, "hint": hint, "status": status_code}
        is_ours = status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
        message = HTTPStatus(status_code).phrase.lower()
        if isinstance(error, HTTPError) and not is_ours:
            message = error.get_message() or message
        hint = "Read the service's log." if is_ours else ""
        return {"code": _CODES.get(status_code, "internal"), "message": message, "hint": hint, "status": status_code}
