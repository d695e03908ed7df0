"""`python -m kb`: index, ask, eval, doctor. Speaks to a terminal, leaves the work to the package."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from kb.chat import Chat
from kb.errors import KbError
from kb.evaluation import judge, read_cases, report
from kb.library import Library
from kb.model import ChatModel
from kb.question import Question, clean
from kb.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kb.evaluation import Outcome
    from kb.retrieval import Retrieval

_PROBE = Question("What is a transformer?")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 1 when something failed, 2 for bad input."""
    options = _parser().parse_args(arguments)
    try:
        library = Library(settings := Settings.from_environment(os.environ))
        try:
            return _COMMANDS[options.command](library, settings, options)
        finally:
            library.close()
    except KbError as error:
        _say(f"kb: {error}", error=True)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever reads has enough (`| head`); Python's own flush at the end must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m kb", description="The book's knowledge base.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    commands.add_parser("index", help="bring the index in line with the pages")
    ask = commands.add_parser("ask", help="answer a question in the terminal")
    ask.add_argument("question", type=_question)
    ask.add_argument("--page", default="", help="docname of the page that the question is about")
    commands.add_parser("eval", help="measure retrieval on tests/kb/questions.yaml")
    commands.add_parser("doctor", help="check database, index, encoder and language model")
    return parser


def _question(text: str) -> str:
    cleaned = clean(text)
    if not cleaned:
        raise argparse.ArgumentTypeError("expected some words, got none")
    return cleaned


def _index(library: Library, _settings: Settings, _options: argparse.Namespace) -> int:
    started = time.monotonic()
    change = library.open()
    _say(f"{change.added} added, {change.removed} removed, {change.kept} kept in {time.monotonic() - started:.1f} s")
    return 0


def _ask(library: Library, settings: Settings, options: argparse.Namespace) -> int:
    library.open()
    asyncio.run(_print_answer(library, settings, Question(options.question, options.page)))
    return 0


async def _print_answer(library: Library, settings: Settings, question: Question) -> None:
    async def find(asked: Question) -> Retrieval:
        return await asyncio.to_thread(library.ask, asked)

    sources = []
    async for event in Chat(find, ChatModel(settings.model) if settings.model else None).answer(question):
        if event.name == "sources":
            sources = event.data
        elif event.name == "text":
            cites = "".join(f" [{n}]" for n in event.data["cites"])
            sys.stdout.write(event.data["text"] + cites)
            sys.stdout.flush()
        elif event.name == "done":
            _say("")
            for source in sources:
                _say(f"[{source['n']}] {source['title']}, {source['section']}: {source['url']}")


def _eval(library: Library, settings: Settings, _options: argparse.Namespace) -> int:
    cases = read_cases(settings.book_root / "tests" / "kb" / "questions.yaml")
    library.open()
    times: list[float] = []

    def find(question: Question) -> Retrieval:
        started = time.monotonic()
        retrieval = library.ask(question)
        times.append(1000 * (time.monotonic() - started))
        return retrieval

    outcomes = judge(cases, find)
    _say(f"{'':<20}{'n':>4}{'hit@1':>8}{'nDCG@5':>8}{'cited':>8}   tiers of answerable | of unanswerable")
    for part in ("tune", "held"):
        _print_report(part, [outcome for outcome in outcomes if outcome.case.part == part])
    for kind in dict.fromkeys(case.kind for case in cases):
        _print_report(kind, [outcome for outcome in outcomes if outcome.case.kind == kind])
    times.sort()
    _say(f"retrieval: p50 {times[len(times) // 2]:.0f} ms, p95 {times[int(0.95 * len(times))]:.0f} ms")
    for outcome in outcomes:
        if outcome.case.expects and outcome.rank != 1:
            _say(f"  not first ({outcome.rank or 'missing'}): {outcome.case.question.text}")
    return 0


def _print_report(name: str, outcomes: list[Outcome]) -> None:
    figures = report(outcomes)
    rows = []
    for answerable in (True, False):
        counts = (f"{tier} {figures.tiers[answerable, tier]}" for tier in ("answer", "closest", "none"))
        rows.append(", ".join(counts))
    scores = f"{figures.hit_at_1:>8.2f}{figures.ndcg_at_5:>8.2f}{figures.cited_right:>8.2f}"
    _say(f"{name:<20}{len(outcomes):>4}{scores if figures.answerable else ' ' * 24}   {rows[0]} | {rows[1]}")


def _doctor(library: Library, settings: Settings, _options: argparse.Namespace) -> int:
    where = "the Postgres of KB_DSN" if settings.dsn else f"the embedded Postgres in {settings.state_dir}"
    checks = [
        _check(f"{where}, and the index", lambda: f"{library.open().kept} passages kept, {library.sizes()}"),
        _check("retrieval", lambda: library.ask(_PROBE).found[0].page),
    ]
    if settings.model:
        model = ChatModel(settings.model)
        checks.append(_check(f"language model {model.name}", lambda: asyncio.run(_probe_model(model))))
    return 0 if all(checks) else 1


async def _probe_model(model: ChatModel) -> str:
    words = [piece.text async for piece in model.answer("Say hello.", [], [])]
    return f"{len(words)} pieces"


def _check(what: str, work: Callable[[], str]) -> bool:
    try:
        _say(f"ok      {what}: {work()}")
    except KbError as error:
        _say(f"failed  {what}: {error}")
        return False
    return True


def _say(line: str, *, error: bool = False) -> None:
    (sys.stderr if error else sys.stdout).write(line + "\n")


_COMMANDS = {"index": _index, "ask": _ask, "eval": _eval, "doctor": _doctor}

if __name__ == "__main__":
    sys.exit(main())
