"""Opens the cache of executed pages before pages are read side by side: two that found none would both make one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["setup"]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", _open_cache)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _open_cache(app: Sphinx) -> None:
    from jupyter_cache import get_cache  # noqa: PLC0415  only a build that executes needs it

    if app.config.nb_execution_mode == "cache":
        # Asking for a record makes the tables.
        get_cache(app.config.nb_execution_cache_path).list_cache_records()
