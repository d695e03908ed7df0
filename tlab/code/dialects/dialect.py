"""What every library's dialect can say, and the terms in which a recipe asks for it.

A recipe names places (`attn.z` of layer `3`, or of the loop variable `layer`) and says what is to happen to the tensor
there; the dialect writes it in its library's idiom. Tensors have tlab's axes in every dialect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tlab.code.layout import Layout

__all__ = ["ORDER", "WIDEST_LINE", "Dialect", "Edit", "Keep", "Place", "fitted", "indented"]

# The kinds of places in a block, in the order in which a prompt passes them.
ORDER = (
    "resid_pre",
    "ln1.out",
    "attn.q",
    "attn.k",
    "attn.v",
    "attn.scores",
    "attn.pattern",
    "attn.z",
    "attn.out",
    "resid_mid",
    "ln2.out",
    "mlp.pre",
    "mlp.pre_linear",
    "mlp.post",
    "mlp.out",
    "resid_post",
)
WIDEST_LINE = 110


@dataclass(frozen=True)
class Place:
    """A site in terms of the program that is being written.

    Args:
        kind: the site's name within its block, or `embed`, `ln_final.out`, `logits`.
        layer: a number or a variable of the program; empty outside the blocks.
        each: an expression to loop over with `layer`, e.g. `range(30)`; then the place stands for all of these.

    """

    kind: str
    layer: str = ""
    each: str = ""

    @property
    def order(self) -> tuple[int, int]:
        """Where it stands among the places of one forward pass."""
        if self.kind not in ORDER:
            return (-1 if self.kind == "embed" else 1_000_000, 0)
        return (int(self.layer) if self.layer.isdigit() else 0, ORDER.index(self.kind))


@dataclass(frozen=True)
class Keep:
    """Note what stands at a place, in a variable; where the place stands for several layers, in a list."""

    variable: str
    place: Place


@dataclass(frozen=True)
class Edit:
    """Change what stands at a place.

    Args:
        name: of the function that does it, where the library wants a function.
        place: where.
        variable: what the statements call the tensor there.
        statements: they write into the tensor.
        knows_layer: whether they use `layer`, the number of the block in which they run.

    """

    name: str
    place: Place
    variable: str
    statements: tuple[str, ...]
    knows_layer: bool = False


class Dialect(Protocol):
    """How one library says it."""

    @property
    def layout(self) -> Layout:
        """The model's names and sizes."""

    @property
    def tokenizer(self) -> str:
        """The program's expression for the tokenizer."""

    def opening(self, folder: str, dtype: str, *, has_graph: bool) -> list[str]:
        """Return the imports and the loading of the model, with or without gradients."""

    def definitions(self, edits: Sequence[Edit]) -> list[str]:
        """Return the functions that the edits need; they stand before the run, outside of loops."""

    def run(self, logits: str, ids: str, *, keep: Sequence[Keep] = (), edits: Sequence[Edit] = ()) -> list[str]:
        """Return the lines of one forward pass that leaves `logits`, `pos d_vocab`, and what is to be kept.

        Args:
            logits: the variable for the logits; empty if nobody needs them.
            ids: the variable with the token ids, `batch pos`.
            keep: what to note.
            edits: what to change; `definitions` has been written for them.

        """

    def gradients(self, ids: str, place: Place) -> list[str]:
        """Return a run that leaves `grads`: the derivative of `metric(logits)` by what stands at the place, a list."""

    def final_norm(self) -> str:
        """Return the expression for the final norm, a function of the stream."""

    def unembedding(self) -> str:
        """Return the expression for the unembedding, a function of the normed stream."""

    def unembedding_rows(self) -> str:
        """Return the expression for the unembedding's weight, one row a token: `d_vocab d_model`."""

    def head_output(self, layer: str, head: str) -> str:
        """Return the expression for the matrix by which a head writes its z to the stream, `d_head d_model`."""

    def attention_bias(self, layer: str) -> str | None:
        """Return the expression for what an attention layer adds whatever its heads say; `None` if it adds nothing."""

    def projected(self, variable: str, step: str, layer: str, stream: str) -> list[str]:
        """Return the lines that make a layer's queries, keys or values of a stream."""

    def thought(self, variable: str, layer: str, stream: str) -> list[str]:
        """Return the lines that make a layer's MLP output of a stream."""

    def head_norm(self, step: str, layer: str) -> str | None:
        """Return the expression for the norm of each head's queries (`q`) or keys (`k`); `None` if there is none."""

    def rotation(self) -> str | None:
        """Return the expression for what gives cosines and sines for positions; `None` if nothing is turned."""

    def norm_epsilon(self) -> str:
        """Return the expression for the small number under the root of the final norm's divisor."""


def indented(lines: Iterable[str], levels: int = 1) -> list[str]:
    """Return the lines, each moved in by so many levels."""
    return [f"{'    ' * levels}{line}" if line else line for line in lines]


def fitted(start: str, inside: Sequence[str], end: str) -> list[str]:
    """Return a call or a list on one line if that is short enough, otherwise one line for each part inside."""
    line = f"{start}{', '.join(inside)}{end}"
    return [line] if len(line) <= WIDEST_LINE else [start, *indented([f"{part}," for part in inside]), end]
