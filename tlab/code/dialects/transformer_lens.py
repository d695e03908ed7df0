"""TransformerLens: its bridge around Hugging Face's model, with a named hook point at every place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlab.code.dialects.dialect import fitted, indented

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.code.dialects.dialect import Edit, Keep, Place
    from tlab.code.layout import Layout

__all__ = ["TransformerLensDialect"]

_HOOKS = {
    "resid_pre": "hook_resid_pre",
    "ln1.out": "ln1.hook_out",
    "attn.q": "attn.hook_q",
    "attn.k": "attn.hook_k",
    "attn.v": "attn.hook_v",
    "attn.scores": "attn.hook_attn_scores",
    "attn.pattern": "attn.hook_pattern",
    "attn.z": "attn.hook_z",
    "attn.out": "hook_attn_out",
    "resid_mid": "hook_resid_mid",
    "ln2.out": "ln2.hook_out",
    "mlp.pre": "mlp.hook_pre",
    "mlp.pre_linear": "mlp.hook_pre_linear",
    "mlp.post": "mlp.hook_post",
    "mlp.out": "hook_mlp_out",
    "resid_post": "hook_resid_post",
}
_OUTSIDE = {"embed": "hook_embed", "ln_final.out": "ln_final.hook_out", "logits": "unembed.hook_out"}


@dataclass(frozen=True)
class TransformerLensDialect:
    """How TransformerLens says it."""

    layout: Layout
    tokenizer: str = "model.tokenizer"

    def opening(self, folder: str, dtype: str, *, has_graph: bool) -> list[str]:
        """Return the imports and the loading of the model, with or without gradients."""
        frozen = [] if has_graph else ["model.requires_grad_(False)  # its weights stay as they are"]
        return [
            "import torch",
            "from transformer_lens.model_bridge import TransformerBridge",
            "",
            f"folder = {folder!r}",
            f'model = TransformerBridge.boot_transformers(folder, device="cpu", dtype=torch.{dtype})',
            *frozen,
        ]

    def definitions(self, edits: Sequence[Edit]) -> list[str]:
        """Return one hook function for each edit."""
        lines: list[str] = []
        for edit in edits:
            lines += [
                *([""] if lines else []),
                f"def {edit.name}({edit.variable}, hook):",
                *(['    layer = int(hook.name.split(".")[1])'] if edit.knows_layer else []),
                *indented(edit.statements),
                f"    return {edit.variable}",
            ]
        return lines

    def run(self, logits: str, ids: str, *, keep: Sequence[Keep] = (), edits: Sequence[Edit] = ()) -> list[str]:
        """Return a plain run, one with hooks, or one with a cache; with both hooks and cache, one inside the other."""
        if not keep:
            return self._hooked(logits, ids, edits)
        plain = [one for one in keep if not one.place.each]
        every = [one for one in keep if one.place.each]
        names = [f'"{_hook(one.place)}"' for one in plain]
        if len(every) == 1:
            place = every[0].place
            listed = [f"names = [{_quoted(place, 'layer')} for layer in {place.each}]"]
        elif every:
            hooks = ", ".join(f'"{_HOOKS[one.place.kind]}"' for one in every)
            loops = f"for layer in {every[0].place.each} for hook in hooks"
            listed = [f"hooks = [{hooks}]", f'names = [f"blocks.{{layer}}.{{hook}}" {loops}]']
        else:
            listed = fitted("names = [", names, "]")
        listed += [f"names += [{', '.join(names)}]"] if every and names else []
        kept = [f"{one.variable} = cache[{_quoted(one.place, one.place.layer)}]" for one in plain]
        kept += [
            f"{one.variable} = [cache[{_quoted(one.place, 'layer')}] for layer in {one.place.each}]" for one in every
        ]
        called = f"{logits or '_'}, cache = model.run_with_cache({ids}, prepend_bos=False, names_filter=names)"
        inner = [called, *([f"{logits} = {logits}[0]"] if logits else [])]
        if edits:
            hooks_line = fitted("with model.hooks(fwd_hooks=[", [_pair(edit) for edit in edits], "]):")
            inner = [*hooks_line, *indented(inner)]
        return [*listed, *inner, *kept]

    def gradients(self, ids: str, place: Place) -> list[str]:
        """Return a run whose hooks keep the tensors themselves, and their derivatives by autograd."""
        return [
            "kept = []",
            "",
            "def keep(tensor, hook):",
            "    kept.append(tensor)",
            "    return tensor",
            "",
            f"hooks = [({_quoted(place, 'layer')}, keep) for layer in {place.each}]",
            f"logits = model.run_with_hooks({ids}, prepend_bos=False, fwd_hooks=hooks)[0]",
            "grads = torch.autograd.grad(metric(logits), kept)",
        ]

    def final_norm(self) -> str:
        """Return the expression for the final norm."""
        return "model.ln_final"

    def unembedding(self) -> str:
        """Return the expression for the unembedding."""
        return "model.unembed"

    def unembedding_rows(self) -> str:
        """Return the bridge's unembedding matrix, turned."""
        return "model.W_U.T"

    def head_output(self, layer: str, head: str) -> str:
        """Return a head's output matrix."""
        return f"model.W_O[{layer}, {head}]"

    def attention_bias(self, layer: str) -> str | None:
        """Return the bridge's name for the output projection's bias."""
        return f"model.b_O[{layer}]" if self.layout.has_output_bias else None

    def projected(self, variable: str, step: str, layer: str, stream: str) -> list[str]:
        """Return the lines that make a layer's queries, keys or values of a stream."""
        n_heads = self.layout.n_heads if step == "q" else self.layout.n_kv_heads
        return [
            f"block = model.blocks[{layer}]",
            f"{variable} = block.attn.{step}(block.ln1({stream})).unflatten(-1, ({n_heads}, {self.layout.d_head}))",
        ]

    def thought(self, variable: str, layer: str, stream: str) -> list[str]:
        """Return the lines that make a layer's MLP output of a stream."""
        return [f"block = model.blocks[{layer}]", f"{variable} = block.mlp(block.ln2({stream}))"]

    def head_norm(self, step: str, layer: str) -> str | None:
        """Return the bridge's norm of each head's queries or keys."""
        return f"model.blocks[{layer}].attn.{step}_norm" if self.layout.names.has_head_norms else None

    def rotation(self) -> str | None:
        """Return the bridge's part that gives cosines and sines for positions."""
        return "model.rotary_emb" if self.layout.names.rotary else None

    def norm_epsilon(self) -> str:
        """Return the number in the bridge's configuration."""
        return "model.cfg.eps"

    def _hooked(self, logits: str, ids: str, edits: Sequence[Edit]) -> list[str]:
        if not edits:
            return [f"{logits} = model({ids}, prepend_bos=False)[0]"]
        loops = [edit for edit in edits if edit.place.each]
        if loops:
            (edit,) = loops
            hooks = [f"hooks = [({_quoted(edit.place, 'layer')}, {edit.name}) for layer in {edit.place.each}]"]
        else:
            hooks = fitted("hooks = [", [_pair(edit) for edit in edits], "]")
        return [*hooks, f"{logits} = model.run_with_hooks({ids}, prepend_bos=False, fwd_hooks=hooks)[0]"]


def _hook(place: Place) -> str:
    return _OUTSIDE.get(place.kind) or f"blocks.{place.layer}.{_HOOKS[place.kind]}"


def _quoted(place: Place, layer: str) -> str:
    """Return the hook's name as an expression: a plain string, or one with the layer's variable in it."""
    if place.kind in _OUTSIDE:
        return f'"{_OUTSIDE[place.kind]}"'
    if layer.isdigit():
        return f'"blocks.{layer}.{_HOOKS[place.kind]}"'
    return f'f"blocks.{{{layer}}}.{_HOOKS[place.kind]}"'


def _pair(edit: Edit) -> str:
    return f"({_quoted(edit.place, edit.place.layer)}, {edit.name})"
