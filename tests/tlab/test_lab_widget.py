"""The Lab's widget: messages in, answers out in parts, the kernel free in between; and what it is without a page."""

from __future__ import annotations

import asyncio
import json
import queue
import time
from typing import TYPE_CHECKING, Any

import pytest

import tlab
from tlab.errors import MissingPackage, TlabError, UnknownModel, UnknownOption, UnknownTarget, UnusablePrompt
from tlab.lab import answer, widget

pytest.importorskip("anywidget", reason="widgets come with the kernels, not with the library")

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tlab import Model

_PROMPT, _OTHER = "The cat sat", "The dog sat"


class _Page:
    """A page that writes down what it is sent."""

    def __init__(self, lab: Any) -> None:  # noqa: ANN401
        self.lab = lab
        self.heard: list[dict[str, Any]] = []
        lab.send = self.heard.append
        lab._desk._send = self.heard.append

    def ask(self, number: int, **question: Any) -> None:  # noqa: ANN401
        self.say({"kind": "ask", "id": number, "question": question})

    def say(self, content: object) -> None:
        self.lab._handle_custom_msg(content, [])

    def kinds(self, number: int) -> list[str]:
        return [message["kind"] for message in self.heard if message["id"] == number]

    async def until_heard(self) -> None:
        for _ in range(100_000):
            if self.heard:
                return
            await asyncio.sleep(0)

    async def until_done(self, *numbers: int) -> None:
        for _ in range(100_000):
            if all(set(self.kinds(number)) & {"done", "refused"} for number in numbers):
                return
            await asyncio.sleep(0.001)
        raise AssertionError("no answer came")


@pytest.fixture
def page(llama: Model) -> Iterator[_Page]:
    lab = tlab.lab.open(llama, _PROMPT)
    yield _Page(lab)
    lab.close()


def _asked(page: _Page, ask: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"ask": ask, "model": page.lab.state["model"], "prompt": _PROMPT, **fields}


def test_a_question_is_answered_as_without_the_widget(page: _Page, llama: Model) -> None:
    question = _asked(page, "ablate", parts=["L1H2"], method="zero", seed=0)

    async def session() -> None:
        page.ask(7, **question)
        await page.until_done(7)

    asyncio.run(session())
    assert page.heard == [{"kind": "done", "id": 7, "answer": answer(llama, question)}]
    json.dumps(page.heard, allow_nan=False)


def test_a_long_answer_comes_in_parts_and_others_are_answered_in_between(page: _Page) -> None:
    async def session() -> None:
        page.ask(1, **_asked(page, "steer", toward="I love", away="I hate", layer=1, coef=2))
        page.ask(2, **_asked(page, "flow", position=3))
        await page.until_done(1, 2)

    asyncio.run(session())
    assert page.kinds(1)[-1] == "done"
    assert page.kinds(1)[:-1] == ["part"] * (len(page.kinds(1)) - 1)
    assert len(page.kinds(1)) > 10
    order = [(message["id"], message["kind"]) for message in page.heard]
    assert order.index((2, "done")) < order.index((1, "done"))


def test_what_is_cancelled_stops_and_says_nothing_more(page: _Page) -> None:
    async def session() -> None:
        page.ask(1, **_asked(page, "steer", toward="I love", away="I hate", layer=1, coef=2))
        await page.until_heard()
        page.say({"kind": "cancel", "id": 1})
        n_heard = len(page.heard)
        page.say({"kind": "cancel", "id": 99})
        await asyncio.sleep(0.2)
        assert len(page.heard) == n_heard
        page.ask(2, **_asked(page, "flow", position=3))
        await page.until_done(2)

    asyncio.run(session())
    assert set(page.kinds(1)) == {"part"}
    assert not page.lab._desk._tasks


@pytest.mark.parametrize("content", [None, 3, "ask", {}, {"kind": "ask"}, {"kind": "ask", "id": "1"}, {"id": 1}])
def test_what_is_no_message_is_passed_over(page: _Page, content: object) -> None:
    page.say(content)
    assert page.heard == []


def test_a_question_that_cannot_be_answered_is_refused_in_a_sentence_and_the_next_is_answered(page: _Page) -> None:
    async def session() -> None:
        page.ask(1, **_asked(page, "part", part="L99H0", position=0))
        page.say({"kind": "ask", "id": 2, "question": "what?"})
        page.ask(3, **{**_asked(page, "open"), "model": "no such model"})
        page.ask(4, **_asked(page, "flow", position=2))
        await page.until_done(1, 2, 3, 4)

    asyncio.run(session())
    said = {message["id"]: message for message in page.heard}
    assert [said[number]["refusal"]["code"] for number in (1, 2, 3)] == [
        "tlab-unknown-target",
        "tlab-unusable-question",
        "tlab-unknown-model",
    ]
    assert all("\n" not in said[number]["refusal"]["message"] for number in (1, 2, 3))
    assert said[4]["kind"] == "done"


def test_a_mistake_of_our_own_is_a_sentence_too(page: _Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(widget, "answers", broken)
    page.ask(1, **_asked(page, "flow", position=2))
    ((message,),) = (page.heard,)
    assert message["kind"] == "refused"
    assert message["refusal"]["message"].startswith("not answered: expected an answer, got ZeroDivisionError")


def test_the_first_view_is_there_before_anybody_asks_and_not_worked_out_twice(
    page: _Page, llama: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = answer(llama, _asked(page, "open"))
    assert page.lab.opened == opened
    monkeypatch.setattr(widget, "answers", None)
    page.ask(1, **_asked(page, "open"))
    assert page.heard == [{"kind": "done", "id": 1, "answer": opened}]


def test_the_text_twin_says_what_is_open_and_is_what_print_shows(llama: Model) -> None:
    lab = tlab.lab.open(llama, _PROMPT, mode="ablate", parts=["L1H2", "L0.mlp"])
    twin = repr(lab)
    assert twin.startswith("The Lab: ")
    assert "mode ablate, part L1H2" in twin
    assert "Experiment: ablate L1H2, L0.mlp" in twin
    assert lab.opened["explain"] in twin
    assert len(twin.splitlines()) > len(lab.opened["tokens"])
    assert lab._repr_mimebundle_()["text/plain"] == twin
    assert lab.state["history"][0]["question"]["parts"] == ["L1H2", "L0.mlp"]


def test_a_page_knows_it_by_its_name(page: _Page) -> None:
    state = page.lab.get_state()
    assert state["_anywidget_id"] == "tlab.lab.widget.Lab"
    assert (state["_model_module"], state["_model_name"]) == ("anywidget", "AnyModel")
    assert state["models"][0] == state["state"]["model"]


def test_without_its_code_it_says_how_to_build_it_and_with_it_brings_it(
    llama: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widget, "_STATIC", tmp_path)
    assert "build it with npm run build" in tlab.lab.open(llama, _PROMPT)._esm
    (tmp_path / "lab.mjs").write_text("export default {};", encoding="utf-8")
    (tmp_path / "lab.css").write_text(".lab {}", encoding="utf-8")
    lab = tlab.lab.open(llama, _PROMPT)
    assert (lab._esm, lab._css) == ("export default {};", ".lab {}")
    monkeypatch.setenv("TLAB_LAB_IN_PAGE", "1")
    assert "export default {}" not in tlab.lab.open(llama, _PROMPT)._esm


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"mode": "smash"}, UnknownOption),
        ({"prompt": ""}, UnusablePrompt),
        ({"prompt": "a" * 300}, UnusablePrompt),
        ({"prompt": "a\x00b"}, UnusablePrompt),
        ({"mode": "ablate", "parts": "L9H9"}, UnknownTarget),
        ({"model": "no such model"}, UnknownModel),
    ],
)
def test_a_lab_that_cannot_be_opened_says_why(llama: Model, options: dict[str, Any], kind: type[TlabError]) -> None:
    with pytest.raises(kind, match=r".+; .+"):
        tlab.lab.open(**{"model": llama, "prompt": _PROMPT, **options})


def test_without_anywidget_the_message_says_what_to_install(llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys  # noqa: PLC0415

    widget._kind.cache_clear()
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "anywidget", None)
        with pytest.raises(MissingPackage, match=r"expected the package anywidget, got none at .+; install it there"):
            tlab.lab.open(llama, _PROMPT)


class _Kernel:
    """A stock ipykernel with a Lab in it, and what it says."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401
        self.client = client
        self.comm = ""

    def run(self, code: str) -> str:
        message_id = self.client.execute(code)
        text = ""
        for message in self.messages(message_id):
            if message["msg_type"] == "comm_open" and "_anywidget_id" in str(message["content"]["data"]):
                self.comm = message["content"]["comm_id"]
            if message["msg_type"] == "error":
                raise AssertionError("\n".join(message["content"]["traceback"]))
            text += message["content"].get("text", "")
        return text

    def messages(self, message_id: str) -> Iterator[dict[str, Any]]:
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != message_id:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return
            yield message

    def say(self, content: dict[str, Any]) -> None:
        data = {"method": "custom", "content": content}
        self.client.shell_channel.send(self.client.session.msg("comm_msg", {"comm_id": self.comm, "data": data}))

    def heard(self, seconds: float) -> list[dict[str, Any]]:
        """Return what the Lab says within some time, or up to its first word that ends an answer."""
        found: list[dict[str, Any]] = []
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            try:
                message = self.client.get_iopub_msg(timeout=0.1)
            except queue.Empty:
                continue
            data = message["content"].get("data", {})
            if message["msg_type"] == "comm_msg" and data.get("method") == "custom":
                found.append(data["content"])
                if found[-1]["kind"] in {"done", "refused"}:
                    break
        return found


@pytest.fixture(scope="module")
def kernel() -> Iterator[_Kernel]:
    manager_of = pytest.importorskip("jupyter_client").manager
    manager, client = manager_of.start_new_kernel(kernel_name="python3")
    try:
        found = _Kernel(client)
        found.run("import torch, tlab; torch.set_num_threads(1)")
        found.run("lab = tlab.lab.open('toy-induction', 'bag bed bell boat bag bed bell')")
        yield found
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.kernel
def test_a_real_kernel_hears_a_cell_and_a_cancellation_between_the_parts_of_an_answer(kernel: _Kernel) -> None:
    assert kernel.comm
    question = {
        "ask": "steer",
        "model": "toy-induction",
        "prompt": "bag bed bell boat bag bed bell",
        "toward": "bag",
        "away": "bed",
        "layer": 0,
        "coef": 1,
    }
    # Slow enough to be stopped: the toy itself would be done at once.
    kernel.run(
        "import time\nfrom tlab.experiments import continuation\nfast = continuation._told\n"
        "def slow(*a, **k):\n    time.sleep(0.1)\n    return fast(*a, **k)\ncontinuation._told = slow"
    )
    kernel.say({"kind": "ask", "id": 1, "question": question})
    began = time.monotonic()
    assert kernel.run("print(6 * 7)").strip() == "42"
    assert time.monotonic() - began < 2, "a cell is run between two parts"
    kernel.say({"kind": "cancel", "id": 1})
    heard = kernel.heard(4)
    assert all(message["kind"] == "part" for message in heard)
    assert not kernel.heard(1.5), "nothing comes after the cancellation"
    kernel.run("continuation._told = fast")
    kernel.say({"kind": "ask", "id": 2, "question": question})
    assert kernel.heard(30)[-1]["kind"] == "done"


@pytest.mark.kernel
def test_a_real_kernel_refuses_in_a_sentence_and_answers_the_next(kernel: _Kernel) -> None:
    kernel.say({"kind": "ask", "id": 3, "question": {"ask": "flow"}})
    assert kernel.heard(10)[-1]["refusal"]["code"] == "tlab-unusable-question"
    asked = {"ask": "flow", "model": "toy-induction", "prompt": "bag bed bell boat bag", "position": 2}
    kernel.say({"kind": "ask", "id": 4, "question": asked})
    assert kernel.heard(10)[-1]["kind"] == "done"
