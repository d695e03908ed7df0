"""The Lab as a widget: messages from the page become questions, answers go back in parts, and the kernel stays free.

The widget is an anywidget: in JupyterLab and Colab it brings its code along, a page of the book has that code already.
Refuses: answering (`tlab.lab.answers`) and drawing.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlab.errors import MissingPackage, TlabError, UnknownOption, UnsupportedModel, shown
from tlab.lab.answers import answer, answers, refusal
from tlab.lab.pages import text_twin
from tlab.lab.questions import canonical, checked_prompt, checked_question
from tlab.loading import load
from tlab.models import Model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.experiments.tuned_lens import TunedLens

__all__ = ["MODES", "open"]

MODES = ("look", "ablate", "patch", "steer", "compare", "lens", "heads")
_STATIC = Path(__file__).parent / "static"
# A page that has the Lab's code is not sent it again; whoever runs kernels for such a page sets this.
_IN_PAGE = "TLAB_LAB_IN_PAGE"
_LONGEST_STORED = 48
_NO_CODE = (
    "The Lab cannot be shown: expected its code at {place}, got none; "
    "build it with npm run build in book/frontend, or install tlab from a wheel, which has it."
)


def open(  # noqa: A001  as one says it: tlab.lab.open
    model: str | Model = "smollm2-135m",
    prompt: str = "The capital of France is",
    *,
    mode: str = "look",
    parts: str | Sequence[str] = (),
    position: int | None = None,
    models: Sequence[str] = ("smollm2-135m", "toy-induction"),
    lens: TunedLens | None = None,
) -> Any:  # noqa: ANN401  its class exists only where anywidget does
    """Return the Lab as a widget, opened with a model and a prompt.

    In a notebook it shows itself; everything else happens in it. Its kernel stays free: answers are worked out in small
    steps, between which cells and other questions are heard.

    Args:
        model: a model's name, as `load` takes it, or a model.
        prompt: the text that it opens with.
        mode: `look`, `ablate`, `patch`, `steer`, `compare`, `lens` or `heads`.
        parts: what is chosen at first: a part such as `"L23H4"`, or several to ablate, if the mode is that.
        position: which position is looked at first; by default the last.
        models: what else may be chosen in it.
        lens: a trained lens of the model, from `train_tuned_lens`, for the mode `lens`.

    Returns:
        A widget, whose `state` says what it was opened with.

    Raises:
        UnknownOption: there is no such mode.
        UnusablePrompt: the prompt cannot be read, or is too long.
        UnknownModel: there is no such model.
        UnknownTarget: the model has no such part.
        MissingPackage: anywidget is not installed.

    Cost: the first view, less than half a second for a short prompt on a loaded model.

    See also: `answer`, which asks one question without a widget.

    """
    if mode not in MODES:
        raise UnknownOption(f"mode refused: expected one of {', '.join(MODES)}, got {shown(mode)}; try mode='look'")
    first = model if isinstance(model, Model) else load(model)
    chosen = [parts] if isinstance(parts, str) else list(parts)
    opening = {"ask": "open", "model": first.name, "prompt": checked_prompt(prompt)}
    opened = answer(first, opening)
    history = []
    if chosen and mode == "ablate":
        question = {**opening, "ask": "ablate", "parts": chosen, "method": "zero", "seed": 0}
        answer(first, question)  # refuses what is no part, before the page could
        history = [{"name": ", ".join(chosen), "question": question, "predicted": ""}]
    state = {
        "model": first.name,
        "prompt": prompt,
        "mode": mode,
        "position": position,
        "part": chosen[0] if chosen else None,
        "history": history,
    }
    known = {first.name: first} if isinstance(model, Model) else {}
    names = list(dict.fromkeys((first.name, *models)))
    return _kind()(state, opened, models=names, known=known, lens=lens)


def _code() -> tuple[str, str]:
    """Return the script and the style that a page needs; where they are missing, a script that says so."""
    if os.environ.get(_IN_PAGE):
        return _says("This page shows the Lab with code of its own."), ""
    script, style = _STATIC / "lab.mjs", _STATIC / "lab.css"
    if not script.is_file():
        return _says(_NO_CODE.format(place=script)), ""
    return script.read_text(encoding="utf-8"), style.read_text(encoding="utf-8") if style.is_file() else ""


def _says(sentence: str) -> str:
    return f"export default {{ render({{ el }}) {{ el.textContent = {sentence!r}; }} }};\n"


@functools.cache
def _kind() -> type:
    # A lesson that only asks needs no widgets.
    try:
        import traitlets  # noqa: PLC0415
        from anywidget import AnyWidget  # noqa: PLC0415
    except ImportError as error:
        raise MissingPackage(
            f"cannot open the Lab: expected the package anywidget, got none at {sys.prefix}; install it there with "
            f"pip install anywidget, or ask without a page: tlab.lab.answer(model, question)"
        ) from error

    class Lab(AnyWidget):
        """The Lab's side in the kernel; a page knows it by its module and name."""

        state = traitlets.Dict().tag(sync=True)
        models = traitlets.List(traitlets.Unicode()).tag(sync=True)
        opened = traitlets.Dict().tag(sync=True)

        def __init__(
            self,
            state: dict[str, Any],
            opened: dict[str, Any],
            *,
            models: Sequence[str],
            known: dict[str, Model],
            lens: TunedLens | None,
        ) -> None:
            # Read when a widget is made, not when tlab is imported: the build may come later.
            self._esm, self._css = _code()
            is_short = len(opened["tokens"]) <= _LONGEST_STORED
            super().__init__(state=state, opened=opened if is_short else {}, models=list(models))
            self._desk = _Desk(self.send, known, lens)
            self._twin = text_twin(self.state, opened)
            asked = checked_question({"ask": "open", "model": state["model"], "prompt": state["prompt"]})
            self._desk.remember(asked, opened)
            self.on_msg(lambda _widget, content, _buffers: self._desk.hear(content))

        def close(self) -> None:
            """Stop what is being worked out, and close the widget."""
            self._desk.stop()
            super().close()

        def __repr__(self) -> str:
            return self._twin

        def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:  # type: ignore[override]  # noqa: ANN401
            view = {"version_major": 2, "version_minor": 1, "model_id": self.model_id}
            return {"text/plain": self._twin, "application/vnd.jupyter.widget-view+json": view}

    return Lab


class _Desk:
    """Takes questions and gives answers, one step of one question at a time.

    Args:
        send: gives a message to the page.
        known: models that were handed over instead of named.
        lens: for questions about the tuned lens.

    """

    def __init__(self, send: Any, known: dict[str, Model], lens: TunedLens | None) -> None:  # noqa: ANN401
        self._send = send
        self._known = known
        self._lens = lens
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._remembered: dict[str, dict[str, Any]] = {}

    def remember(self, asked: dict[str, Any], found: dict[str, Any]) -> None:
        """Keep an answer that the page will ask for at once."""
        self._remembered = {canonical(asked): found}

    def hear(self, content: object) -> None:
        """Take one message of the page; what is none is passed over."""
        if not isinstance(content, dict) or not isinstance(content.get("id"), int):
            return
        number = content["id"]
        if content.get("kind") == "cancel":
            task = self._tasks.pop(number, None)
            if task is not None:
                task.cancel()
        elif content.get("kind") == "ask":
            self._start(number, content.get("question"))

    def stop(self) -> None:
        """Stop whatever is being worked out."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def _start(self, number: int, question: object) -> None:
        work = self._work(number, question)
        try:
            task = asyncio.get_running_loop().create_task(work)
        except RuntimeError:
            # Outside a kernel nothing else waits.
            asyncio.run(work)
            return
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def _work(self, number: int, question: object) -> None:
        try:
            found = await self._worked_out(number, question)
        except (TlabError, UnsupportedModel) as error:
            self._say("refused", number, refusal=refusal(error))
        except Exception as error:  # noqa: BLE001  a reader sees a sentence, and the Lab lives on
            self._say("refused", number, refusal=refusal(error))
        else:
            self._say("done", number, answer=found)

    async def _worked_out(self, number: int, question: object) -> dict[str, Any]:
        key = canonical(checked_question(question))
        if key in self._remembered:
            return self._remembered[key]
        steps = answers(self._model, question, lens=self._lens)
        try:
            while True:
                # Other messages, a cancellation among them, are heard here.
                await asyncio.sleep(0)
                try:
                    part = next(steps)
                except StopIteration as end:
                    complete: dict[str, Any] = end.value
                    return complete
                if part is not None:
                    self._say("part", number, answer=part)
        finally:
            steps.close()

    def _model(self, name: str) -> Model:
        return self._known[name] if name in self._known else load(name)

    def _say(self, kind: str, number: int, **content: object) -> None:
        self._send({"kind": kind, "id": number, **content})
