"""What a recipe is: who writes the program, and which of the experiment's arguments it honours.

An argument that a program does not honour would make it give another number than the result; so it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tlab.errors import UnknownOption, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tlab.code.dialects.dialect import Dialect
    from tlab.code.request import Request
    from tlab.code.script import Chunk

__all__ = ["Recipe"]


@dataclass(frozen=True)
class Recipe:
    """How one experiment is written.

    Args:
        write: from the arguments and a library's dialect to the program.
        takes: the arguments that it honours.
        beside: the arguments that only say what is computed beside the number.
        only: the arguments that must have one value, which is what the program does.
        has_graph: whether it takes gradients.

    """

    write: Callable[[Request, Dialect], list[Chunk]]
    takes: frozenset[str]
    beside: frozenset[str] = frozenset()
    only: Mapping[str, Any] = field(default_factory=dict)
    has_graph: bool = False

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Return quietly if the program can honour every argument.

        Raises:
            UnknownOption: it cannot; the message names the first.

        """
        for name, value in arguments.items():
            if name in self.takes or name in self.beside:
                continue
            is_said = name in self.only and type(value) is type(self.only[name]) and value == self.only[name]
            if not is_said:
                wanted = shown(self.only[name]) if name in self.only else "no such argument"
                raise UnknownOption(
                    f"code refused: expected {wanted} at {name}, got {shown(value)}; "
                    f"plain code is not written for that, run the experiment without it"
                )
