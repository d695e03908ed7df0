"""Places in terms of Hugging Face's modules: what the dialects that work on these modules share.

Refuses: saying how a hook or a trace is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tlab.code.dialects.dialect import Place

if TYPE_CHECKING:
    from tlab.code.layout import Layout

__all__ = ["ModuleDialect", "Spot", "spot"]


class Spot(NamedTuple):
    """Where a place is found.

    Args:
        path: the module's path, as an expression of the program.
        side: `input`, `output`, `weights` (the second output of an attention module), or `scores`.
        view: what turns the tensor there into one with tlab's axes; a view, so that writing to it writes to the tensor.

    """

    path: str
    side: str
    view: str = ""


def spot(layout: Layout, place: Place, owner: str = "") -> Spot:
    """Return where a place is found.

    Args:
        layout: the model's names and sizes.
        place: what is sought.
        owner: the expression for the block; by default the one that the place names.

    """
    names = layout.names
    if place.kind in {"embed", "ln_final.out", "logits"}:
        path = {"embed": names.embed, "ln_final.out": names.norm, "logits": "lm_head"}[place.kind]
        return Spot(f"model.{path}", "output")
    at = owner or _block(layout, place.layer)
    heads = f".unflatten(-1, ({layout.n_heads}, {layout.d_head}))"
    shared = f".unflatten(-1, ({layout.n_kv_heads}, {layout.d_head}))"
    fused = f".unflatten(-1, (3, {layout.n_heads}, {layout.d_head}))"
    queries, keys, values = (f"{at}.{names.attn}.{part}" for part in (names.queries, names.keys, names.values))
    table = {
        "resid_pre": Spot(at, "input"),
        "ln1.out": Spot(f"{at}.{names.ln1}", "output"),
        "attn.q": Spot(queries, "output", f"{fused}[:, :, 0]" if layout.is_fused else heads),
        "attn.k": Spot(keys, "output", f"{fused}[:, :, 1]" if layout.is_fused else shared),
        "attn.v": Spot(values, "output", f"{fused}[:, :, 2]" if layout.is_fused else shared),
        "attn.scores": Spot(f"{at}.{names.attn}", "scores"),
        "attn.pattern": Spot(f"{at}.{names.attn}", "weights"),
        "attn.z": Spot(f"{at}.{names.out}", "input", heads),
        "attn.out": Spot(f"{at}.{names.out}", "output"),
        "resid_mid": Spot(f"{at}.{names.ln2}", "input"),
        "ln2.out": Spot(f"{at}.{names.ln2}", "output"),
        "mlp.pre": Spot(f"{at}.{names.pre}", "output"),
        "mlp.pre_linear": Spot(f"{at}.{names.pre_linear}", "output"),
        "mlp.post": Spot(f"{at}.{names.down}", "input"),
        "mlp.out": Spot(f"{at}.{names.mlp}", "output"),
        "resid_post": Spot(at, "output"),
    }
    return table[place.kind]


@dataclass(frozen=True)
class ModuleDialect:
    """The half of a dialect that is the same wherever a program works on Hugging Face's modules: weights and parts.

    Args:
        layout: the model's names and sizes.
        tokenizer: the program's expression for the tokenizer.

    """

    layout: Layout
    tokenizer: str

    def final_norm(self) -> str:
        """Return the expression for the final norm."""
        return f"model.{self.layout.names.norm}"

    def unembedding(self) -> str:
        """Return the expression for the unembedding."""
        return "model.lm_head"

    def unembedding_rows(self) -> str:
        """Return the unembedding's weight."""
        return f"{self.unembedding()}.weight"

    def head_output(self, layer: str, head: str) -> str:
        """Return the expression for a head's part of the output projection's weight, `d_head d_model`."""
        layout = self.layout
        weight = f"{_block(layout, layer)}.{layout.names.out}.weight"
        by_input = weight if layout.names.is_transposed else f"{weight}.T"
        return f"{by_input}.unflatten(0, ({layout.n_heads}, {layout.d_head}))[{head}]"

    def attention_bias(self, layer: str) -> str | None:
        """Return the expression for the output projection's bias, if it has one."""
        layout = self.layout
        return f"{_block(layout, layer)}.{layout.names.out}.bias" if layout.has_output_bias else None

    def projected(self, variable: str, step: str, layer: str, stream: str) -> list[str]:
        """Return the lines that make a layer's queries, keys or values of a stream."""
        found = spot(self.layout, Place(f"attn.{step}", layer), "block")
        return [
            f"block = {_block(self.layout, layer)}",
            f"{variable} = {found.path}(block.{self.layout.names.ln1}({stream})){found.view}",
        ]

    def thought(self, variable: str, layer: str, stream: str) -> list[str]:
        """Return the lines that make a layer's MLP output of a stream."""
        names = self.layout.names
        return [
            f"block = {_block(self.layout, layer)}",
            f"{variable} = block.{names.mlp}(block.{names.ln2}({stream}))",
        ]

    def head_norm(self, step: str, layer: str) -> str | None:
        """Return the expression for the norm of each head's queries or keys, if there is one."""
        names = self.layout.names
        return f"{_block(self.layout, layer)}.{names.attn}.{step}_norm" if names.has_head_norms else None

    def rotation(self) -> str | None:
        """Return the expression for what gives cosines and sines for positions."""
        rotary = self.layout.names.rotary
        return f"model.{rotary}" if rotary else None

    def norm_epsilon(self) -> str:
        """Return the norm's own number."""
        return f"{self.final_norm()}.{self.layout.names.epsilon}"


def _block(layout: Layout, layer: str) -> str:
    """Return the path of one block."""
    return f"model.{layout.names.blocks}[{layer}]"
