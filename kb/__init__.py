"""The knowledge base: documents, their index in Postgres, retrieval, and a chat that cites what it says.

Nothing is started, downloaded or patched by importing it. `python -m kb` is the way in from a shell; the web server
loads it as a jupyter-server extension with ``jpserver_extensions={"kb": True}``.
"""

__all__: list[str] = []


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "kb.extension"}]
