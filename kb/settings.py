"""What the operator sets: folders, another Postgres, a language model. Reads the environment, touches nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_data_path

from kb.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LanguageModel", "Settings"]

_BOOK_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class LanguageModel:
    """An OpenAI-compatible endpoint: where it is, which model it serves, and the key, which never leaves the server."""

    base_url: str
    name: str
    api_key: str = field(repr=False)


@dataclass(frozen=True)
class Settings:
    """Everything that can be set from outside.

    Args:
        state_dir: folder that keeps the embedded Postgres between runs (``TLAB_STATE_DIR``).
        dsn: another Postgres with pgvector in place of the embedded one (``KB_DSN``).
        model: the language model that phrases answers; without one they are extracts
            (``KB_LLM_BASE_URL``, ``KB_LLM_MODEL``, ``KB_LLM_API_KEY``).
        book_root: folder that holds ``kb/documents``, ``book`` and ``lessons``.

    """

    state_dir: Path
    dsn: str | None = field(default=None, repr=False)
    model: LanguageModel | None = None
    book_root: Path = _BOOK_ROOT

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings from environment variables; empty ones count as absent."""
        state_dir = environment.get("TLAB_STATE_DIR")
        return cls(
            state_dir=Path(state_dir).absolute() if state_dir else user_data_path("tlab-book"),
            dsn=environment.get("KB_DSN") or None,
            model=_language_model(environment),
        )


def _language_model(environment: Mapping[str, str]) -> LanguageModel | None:
    base_url = environment.get("KB_LLM_BASE_URL") or ""
    name = environment.get("KB_LLM_MODEL") or ""
    if not base_url and not name:
        return None
    if not base_url or not name:
        missing, present = ("KB_LLM_MODEL", "KB_LLM_BASE_URL") if base_url else ("KB_LLM_BASE_URL", "KB_LLM_MODEL")
        raise SettingsError(
            f"reading the settings: expected KB_LLM_BASE_URL and KB_LLM_MODEL together, got only {present}",
            f"set {missing} too, or neither for answers without a language model",
        )
    if not base_url.startswith(("http://", "https://")):
        raise SettingsError(
            f"reading KB_LLM_BASE_URL: expected an http:// or https:// address, got {base_url[:80]!r}",
            "give the address that the OpenAI SDK calls base_url, such as http://127.0.0.1:8080/v1",
        )
    # Local servers ask for no key, but the SDK insists on some value.
    return LanguageModel(base_url=base_url, name=name, api_key=environment.get("KB_LLM_API_KEY") or "none")
