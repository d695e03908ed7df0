"""What can go wrong in the knowledge base: one root class, one stable code for each kind."""

from __future__ import annotations

__all__ = [
    "DocumentError",
    "KbError",
    "ModelFailed",
    "PostgresFailed",
    "QuestionError",
    "SettingsError",
    "StoreUnavailable",
]


class KbError(Exception):
    """Root of the package's errors: a message, the repair, a stable code and the HTTP status that it becomes."""

    code = "kb"
    status = 500

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}"

    def payload(self) -> dict[str, str | int]:
        """Give the JSON shape that every HTTP error of the book shares."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "status": self.status}


class DocumentError(KbError):
    """A page of the corpus breaks a rule of its front matter or its headings."""

    code = "document-invalid"


class SettingsError(KbError):
    """An environment variable says something that cannot be followed."""

    code = "settings-invalid"


class PostgresFailed(KbError):
    """The embedded Postgres did not start."""

    code = "postgres-not-started"
    status = 503


class StoreUnavailable(KbError):
    """The database does not answer, or lacks what the index needs."""

    code = "database-unavailable"
    status = 503


class QuestionError(KbError):
    """A question that cannot be taken: malformed, too long, or too many."""

    code = "question-invalid"
    status = 400

    def __init__(self, message: str, hint: str, *, code: str = "question-invalid", status: int = 400) -> None:
        super().__init__(message, hint)
        self.code = code
        self.status = status


class ModelFailed(KbError):
    """The configured language model did not answer, or stopped in the middle."""

    code = "model-failed"
    status = 502
