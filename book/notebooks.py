"""`python -m book.notebooks FOLDER`: write the lessons as clean Jupyter notebooks, without outputs.

MyST's directives and roles, which a plain notebook would show as they are, become ordinary Markdown.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
from myst_nb.core.read import read_myst_markdown_notebook

__all__ = ["to_notebook", "write_all"]

_LESSONS = Path(__file__).parents[1] / "lessons"
_FENCE_OPEN = re.compile(r"^(:{3,}|`{3,})\{([\w-]+)\}[ \t]*(.*)$")
_FENCE_CLOSE = re.compile(r"^(:{3,})\s*$")
_OPTION = re.compile(r"^:[\w-]+:.*$")
_LABEL = re.compile(r"^\([\w.:/-]+\)=\s*$")
_ROLE = re.compile(r"\{[\w:-]+\}`([^`<]*?)(?:\s*<[^`>]*>)?`")
_PREFACE = (
    "> A lesson of *Inside the Transformer*, without outputs. It needs the book's library `tlab` "
    "(see `docs/install.md` in the book's repository). Text CC BY 4.0, code Apache-2.0."
)


def write_all(folder: Path) -> list[Path]:
    """Write every lesson into `folder` and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for source in sorted(_LESSONS.glob("*.md")):
        target = folder / f"{source.stem}.ipynb"
        fresh = target.with_suffix(".part")
        nbformat.write(to_notebook(source.read_text(encoding="utf-8")), fresh)
        fresh.replace(target)
        written.append(target)
    return written


def to_notebook(text: str) -> nbformat.NotebookNode:
    """Convert one MyST lesson to a valid notebook with no outputs and no MyST-only syntax.

    Raises:
        nbformat.ValidationError: the result is not a valid notebook.
    """
    notebook: nbformat.NotebookNode = read_myst_markdown_notebook(text)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        if cell.cell_type == "markdown":
            cell.source = plain_markdown(cell.source)
            cell.metadata.clear()
        else:
            tags = cell.metadata.get("tags", [])
            cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    notebook.cells = [cell for cell in notebook.cells if cell.source.strip()]
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell(_PREFACE, id="preface"))
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return notebook


def plain_markdown(text: str) -> str:
    """Return MyST Markdown as Markdown that any notebook shows: titles instead of directives, text instead of roles."""
    lines: list[str] = []
    in_head = False
    for line in text.splitlines():
        opening = _FENCE_OPEN.match(line)
        if opening:
            title = opening[3].strip() or opening[2].replace("-", " ").capitalize()
            lines += [f"**{title}**", ""]
            in_head = True
        elif _FENCE_CLOSE.match(line) or _LABEL.match(line) or (in_head and _OPTION.match(line)):
            continue
        else:
            in_head = False
            lines.append(_ROLE.sub(r"\1", line))
    return "\n".join(lines).strip()


def main(arguments: list[str]) -> int:
    """Run the command line; return the exit status."""
    try:
        (folder,) = map(Path, arguments)
        written = write_all(folder)
    except (ValueError, OSError, nbformat.ValidationError) as error:
        print(f"notebooks: {error}", file=sys.stderr)  # noqa: T201  a command speaks
        return 1
    for path in written:
        print(path)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
