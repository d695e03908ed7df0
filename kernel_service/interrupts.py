"""Where an interrupt may strike: in the reader's code, and nowhere in the kernel's own.

Jupyter's kernel lets SIGINT raise anywhere while it handles a message. Between two of its own steps that costs the cell
its reply, and the page waits for ever. Here an interrupt that comes too early is kept for the reader's code, and one
that comes too late is forgotten: the cell has ended anyway.
"""

# ipykernel's and IPython's classes have partial types.
# mypy: disable-error-code="no-untyped-call"
import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ipykernel.ipkernel import IPythonKernel
from ipykernel.zmqshell import ZMQInteractiveShell
from traitlets import Type

__all__ = ["Interrupts", "ReaderKernel", "ReaderShell"]


class Interrupts:
    """Raises `KeyboardInterrupt` at once while it may, and else as soon as it may again."""

    def __init__(self) -> None:
        self._is_put_off = False
        self._is_wanted = False

    def strike(self, signum: int, frame: FrameType | None) -> None:
        """Be the handler of SIGINT."""
        if self._is_put_off:
            self._is_wanted = True
        else:
            signal.default_int_handler(signum, frame)

    def begin(self, *, put_off: bool) -> None:
        """Begin to handle a message; put off, only what is then allowed can be interrupted."""
        self._is_put_off, self._is_wanted = put_off, False

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let this block be interrupted, also by what came before it."""
        was_put_off, self._is_put_off = self._is_put_off, False
        try:
            if self._is_wanted:
                self._is_wanted = False
                raise KeyboardInterrupt
            yield
        finally:
            self._is_put_off = was_put_off


class ReaderShell(ZMQInteractiveShell):
    """IPython's shell; only the cell's own code can be interrupted, which IPython then shows as the cell's error."""

    interrupts = Interrupts()

    async def run_code(self, code_obj: Any, result: Any = None, *, async_: bool = False) -> bool:  # noqa: ANN401 - IPython's signature
        """Run one statement of a cell."""
        with self.interrupts.allowed():
            return bool(await super().run_code(code_obj, result, async_=async_))

    def user_expressions(self, expressions: dict[str, str]) -> dict[str, Any]:
        """Evaluate what a page asks for beside a cell."""
        try:
            with self.interrupts.allowed():
                return dict(super().user_expressions(expressions))
        except KeyboardInterrupt:
            return dict.fromkeys(expressions, self._user_obj_error())


class ReaderKernel(IPythonKernel):
    """IPython's kernel; it answers every cell, whenever the reader interrupts it."""

    shell_class = Type(ReaderShell)

    def start(self) -> None:
        """Start; from now on a signal wakes the loop, where a cell that awaits would not notice it."""
        super().start()
        # Python offers this as a side effect only: with any handler of its own, the loop hears of every signal.
        asyncio.get_event_loop().add_signal_handler(signal.SIGWINCH, lambda: None)

    def pre_handler_hook(self) -> None:
        """Handle SIGINT while a message is handled; at rest it stays ignored."""
        kind = self.get_parent("shell")["header"]["msg_type"]
        ReaderShell.interrupts.begin(put_off=kind == "execute_request")
        self.saved_sigint_handler = signal.signal(signal.SIGINT, ReaderShell.interrupts.strike)
