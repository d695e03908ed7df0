"""The Lab in a page: a place for it, what stands there without scripts, and the answers that were computed ahead.

`{lab}` puts a Lab where it stands; its script loads when the reader comes near. The frozen files come from
`python -m tlab.lab freeze`; here they become classic scripts, which a page from file:// may load. Refuses: asking a
model anything.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

__all__ = ["Frozen", "LabDirective", "frozen_files", "placeholder", "scripts", "setup"]

_logger = logging.getLogger(__name__)
_FOLDER = "_static/lab"
_MODES = ("look", "ablate", "patch", "steer", "compare", "lens", "heads")
_PART = re.compile(r"embed|L\d+(H\d+|\.(mlp|attn|resid_pre|resid_mid|resid_post))?")
_SHOWN_READINGS = 8


@dataclass(frozen=True)
class Frozen:
    """One prompt's answers, as the build of the Lab left them.

    Args:
        name: of the file, without its ending.
        model: whose answers they are.
        prompt: about which.
        text: the file itself, JSON.
        opened: the answer by which the prompt is shown at first; empty where the file has none.

    """

    name: str
    model: str
    prompt: str
    text: str
    opened: Mapping[str, Any]


def frozen_files(folder: Path) -> list[Frozen]:
    """Return what lies in a folder of frozen files, by name; a file of another shape is left out with a warning."""
    found = []
    for path in sorted(folder.glob("*.json")):
        text = path.read_text(encoding="utf-8")
        try:
            found.append(_read(path.stem, text))
        except (KeyError, TypeError, ValueError) as error:
            _logger.warning("%s: expected a frozen file of the Lab, got %s; run `nox -s book` again", path, error)
    return found


def _read(name: str, text: str) -> Frozen:
    raw = json.loads(text)
    answers = {json.loads(question)["ask"]: answer for question, answer in zip(*_pairs(raw), strict=True)}
    return Frozen(name, raw["model"], raw["prompt"], text, answers.get("open") or {})


def _pairs(raw: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    return raw["questions"], raw["answers"]


def scripts(files: Iterable[Frozen]) -> dict[str, str]:
    """Return the classic scripts of a site, by file name: one for each prompt, and the list of all."""
    written = {
        f"{file.name}.js": f"(window.tlFrozen ??= {{}})[{json.dumps(file.name)}] = {file.text};" for file in files
    }
    index = [{"model": file.model, "prompt": file.prompt, "name": file.name} for file in files]
    return {**written, "index.js": f"window.tlFrozenIndex = {json.dumps(index, ensure_ascii=False)};\n"}


def placeholder(state: Mapping[str, object], frozen: Frozen | None, *, is_wide: bool) -> str:
    """Return the HTML of a place: its state for the script, and for everybody else the run in words and numbers."""
    data = escape(json.dumps(state, ensure_ascii=False), quote=True)
    wide = " data-wide" if is_wide else ""
    inside = _still(frozen) if frozen and frozen.opened else f"<p>{_NEEDS_SCRIPTS}</p>"
    return f'<div class="tl-lab" data-lab="{data}"{wide}>{inside}</div>'


_NEEDS_SCRIPTS = "Here stands the Lab, in which one opens a model and changes it. It needs scripts, which are off here."


def _still(frozen: Frozen) -> str:
    opened = frozen.opened
    last = len(opened["tokens"]) - 1
    guesses = [(_shown(guess["token"]), f"{guess['p']:.1%}") for guess in opened["next"][last]]
    words, chances = opened["lens"]["token"], opened["lens"]["p"]
    step = max(1, (len(words) - 1) // _SHOWN_READINGS)
    lens = [
        ("embedding" if at == 0 else f"block {at - 1}", _shown(words[at][last]), f"{chances[at][last]:.1%}")
        for at in sorted({*range(0, len(words), step), len(words) - 1})
    ]
    return (
        f'<div class="tl-lab-still"><p>The Lab, as a still picture: {escape(frozen.model)} reads '
        f"<q>{escape(frozen.prompt)}</q>. {escape(opened.get('explain', ''))}</p>"
        + _table("Likeliest next tokens", ("Token", "Probability"), guesses)
        + _table("What the logit lens reads on the way", ("After", "Token", "Probability"), lens)
        + "</div>"
    )


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _shown(token: str) -> str:
    return escape(token.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥"))


def _mode(argument: str | None) -> str:
    return str(directives.choice(argument, _MODES))


def _part(argument: str | None) -> str:
    part = str(directives.unchanged_required(argument or "")).strip()
    if not _PART.fullmatch(part):
        message = f"expected a part such as L3H4, L3.mlp, L3 or embed, got {part!r}"
        raise ValueError(message)
    return part


class LabDirective(SphinxDirective):
    """`{lab}`: a Lab that begins with the given model, prompt, mode, part and position."""

    option_spec: ClassVar[dict[str, Callable[[str], Any]]] = {
        "model": directives.unchanged_required,
        "prompt": directives.unchanged_required,
        "mode": _mode,
        "part": _part,
        "position": directives.nonnegative_int,
        "wide": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        """Return the place."""
        state = {name: value for name, value in self.options.items() if name != "wide"}
        folder = Path(self.env.srcdir) / self.config.lab_frozen
        files = frozen_files(folder)
        for file in files:
            self.env.note_dependency(str(folder / f"{file.name}.json"))
        fitting = (
            file
            for file in files
            if state.get("prompt", file.prompt) == file.prompt and state.get("model", file.model) == file.model
        )
        html = placeholder(state, next(fitting, None), is_wide="wide" in self.options)
        return [nodes.raw("", html, format="html")]


def _write(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir) / _FOLDER
    wanted = scripts(frozen_files(Path(app.srcdir) / app.config.lab_frozen))
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Offer the directive, and write the frozen files with the pages."""
    # Kernels that execute lessons inherit it: a stored Lab then carries no code, which the page has already.
    os.environ["TLAB_LAB_IN_PAGE"] = "1"
    app.add_config_value("lab_frozen", "build/lab", "env", types=(str,))
    app.add_directive("lab", LabDirective)
    app.connect("build-finished", _write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
