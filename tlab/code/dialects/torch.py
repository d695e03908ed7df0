"""Plain torch: Hugging Face's model, and hooks that are put on its modules before a run and taken off after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlab.code.dialects.dialect import WIDEST_LINE, indented
from tlab.code.dialects.modules import ModuleDialect, Spot, spot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.code.dialects.dialect import Edit, Keep, Place

__all__ = ["TorchDialect"]

# Within a loop over blocks.
_BLOCK = "block"
_TAKEN = {"input": "args[0]", "output": "output", "weights": "output[1]"}
_REMOVAL = ["for handle in handles:", "    handle.remove()"]
_NOTING_SCORES = "noting_scores"


@dataclass(frozen=True)
class TorchDialect(ModuleDialect):
    """How plain torch says it."""

    tokenizer: str = "tokenizer"

    def opening(self, folder: str, dtype: str, *, has_graph: bool) -> list[str]:
        """Return the imports and the loading of the model, with or without gradients."""
        frozen = [] if has_graph else ["model.requires_grad_(False)  # its weights stay as they are"]
        return [
            "import torch",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            f"folder = {folder!r}",
            "tokenizer = AutoTokenizer.from_pretrained(folder)",
            "model = AutoModelForCausalLM.from_pretrained(",
            f'    folder, dtype=torch.{dtype}, attn_implementation="eager"',
            ").eval()",
            *frozen,
        ]

    def definitions(self, edits: Sequence[Edit]) -> list[str]:
        """Return one hook for each edit; edits inside attention become an attention function of their own."""
        lines: list[str] = []
        for edit in edits:
            inside = _is_inside_attention(edit.place)
            lines += [*([""] if lines else []), *(_attention(edit) if inside else self._hook(edit))]
        return lines

    def run(self, logits: str, ids: str, *, keep: Sequence[Keep] = (), edits: Sequence[Edit] = ()) -> list[str]:
        """Return one forward pass between putting hooks on and taking them off."""
        scores = [one for one in keep if one.place.kind == "attn.scores"]
        inner = [edit.name for edit in edits if _is_inside_attention(edit.place)]
        inner += [_NOTING_SCORES] if scores else []
        on, off = self._hooks(
            [one for one in keep if one not in scores],
            [edit for edit in edits if not _is_inside_attention(edit.place)],
        )
        single = [one.variable for one in keep if not one.place.each]
        return [
            *_assigned([one.variable for one in keep], ["[]" for _ in keep]),
            *(_noting_scores(scores) if scores else []),
            *on,
            *(f'model.set_attn_implementation("{name}")' for name in inner),
            f"{logits} = model({ids}).logits[0]" if logits else f"model({ids})",
            *(['model.set_attn_implementation("eager")'] if inner else []),
            *off,
            *_assigned(single, [f"{name}[0]" for name in single]),
        ]

    def gradients(self, ids: str, place: Place) -> list[str]:
        """Return a run that keeps the tensors themselves, and their derivatives by autograd."""
        found = spot(self.layout, place, _BLOCK)
        return [
            "kept, handles = [], []",
            f"for block in model.{self.layout.names.blocks}:",
            *indented(_noting(found._replace(view=""), "kept", "handles.append(", ")")),
            f"logits = model({ids}).logits[0]",
            *_REMOVAL,
            "grads = torch.autograd.grad(metric(logits), kept)",
            *([f"grads = [grad{found.view} for grad in grads]"] if found.view else []),
        ]

    def _hook(self, edit: Edit) -> list[str]:
        found = spot(self.layout, edit.place)
        is_input = found.side == "input"
        taken = "args[0]" if is_input else "output"
        if found.view:
            copy = [f"whole = {taken}.clone()", f"{edit.variable} = whole{found.view}  # a view by head"]
        else:
            copy = [f"{edit.variable} = {taken}.clone()"]
        changed = "whole" if found.view else edit.variable
        return [
            f"def {edit.name}(module, args):" if is_input else f"def {edit.name}(module, args, output):",
            *indented([*copy, *edit.statements]),
            f"    return ({changed}, *args[1:])" if is_input else f"    return {changed}",
        ]

    def _hooks(self, keep: Sequence[Keep], edits: Sequence[Edit]) -> tuple[list[str], list[str]]:
        """Return the lines that put hooks on, and those that take them off again."""
        single = [one for one in keep if not one.place.each]
        every = [one for one in keep if one.place.each]
        if not keep and not edits:
            return [], []
        if not every and len(single) + len(edits) == 1:
            alone = self._noted(single[0], "handle = ") if single else [self._replacing(edits[0], "handle = ")]
            return alone, ["handle.remove()"]
        listed = [line for one in single for line in self._noted(one, "", ",")]
        listed += [self._replacing(edit, "", ",") for edit in edits]
        lines = ["handles = [", *indented(listed), "]"] if listed else ["handles = []"]
        if every:
            inside = [line for one in every for line in self._noted(one, "handles.append(", ")")]
            lines += [f"for {_BLOCK} in model.{self.layout.names.blocks}:", *indented(inside)]
        return lines, _REMOVAL

    def _noted(self, keep: Keep, before: str, after: str = "") -> list[str]:
        owner = _BLOCK if keep.place.each else ""
        return _noting(spot(self.layout, keep.place, owner), keep.variable, before, after)

    def _replacing(self, edit: Edit, before: str, after: str = "") -> str:
        found = spot(self.layout, edit.place)
        kind = "register_forward_pre_hook" if found.side == "input" else "register_forward_hook"
        return f"{before}{found.path}.{kind}({edit.name}){after}"


def _is_inside_attention(place: Place) -> bool:
    return place.kind in {"attn.scores", "attn.pattern"}


def _noting(found: Spot, variable: str, before: str, after: str) -> list[str]:
    """Return the registration of a hook that notes what stands at a place, on one line or on three."""
    start = f"{before}{found.path}.register_forward_hook("
    hook = f"lambda module, args, output: {variable}.append({_TAKEN[found.side]}{found.view})"
    line = f"{start}{hook}){after}"
    return [line] if len(line) <= WIDEST_LINE else [start, f"    {hook}", f"){after}"]


def _assigned(names: Sequence[str], values: Sequence[str]) -> list[str]:
    """Return one assignment of all values if that is short enough, otherwise one for each."""
    if not names:
        return []
    line = f"{', '.join(names)} = {', '.join(values)}"
    each = [f"{name} = {value}" for name, value in zip(names, values, strict=True)]
    return [line] if len(line) <= WIDEST_LINE else each


def _attention(edit: Edit) -> list[str]:
    """Write eager attention once more, with the statements in their place after scores or pattern."""
    number = ["layer = module.layer_idx"] if edit.knows_layer else []
    inside = [f"if module.layer_idx {_condition(edit.place)}:", *indented([*number, *edit.statements])]
    return _attention_function(edit.name, edit.variable, edit.place.kind, inside)


def _noting_scores(keep: Sequence[Keep]) -> list[str]:
    inside: list[str] = []
    for one in keep:
        inside += [f"if module.layer_idx {_condition(one.place)}:", f"    {one.variable}.append(scores)"]
    return ["", *_attention_function(_NOTING_SCORES, "scores", "attn.scores", inside), ""]


def _condition(place: Place) -> str:
    return f"in {place.each}" if place.each else f"== {place.layer}"


def _attention_function(name: str, variable: str, kind: str, inside: Sequence[str]) -> list[str]:
    at_scores, at_pattern = (inside, ()) if kind == "attn.scores" else ((), inside)
    scores, pattern = (variable, "pattern") if kind == "attn.scores" else ("scores", variable)
    return [
        "from transformers import AttentionInterface, AttentionMaskInterface",
        "from transformers.masking_utils import eager_mask",
        "",
        f"def {name}(module, query, key, value, attention_mask, scaling, **options):",
        "    # Several query heads may share one key and one value.",
        "    key, value = (t.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for t in (key, value))",
        f"    {scores} = query @ key.transpose(2, 3) * scaling + attention_mask",
        *indented(at_scores),
        f"    {pattern} = {scores}.softmax(-1)",
        *indented(at_pattern),
        f"    return ({pattern} @ value).transpose(1, 2), {pattern}",
        "",
        f'AttentionInterface.register("{name}", {name})',
        f'AttentionMaskInterface.register("{name}", eager_mask)',
    ]
