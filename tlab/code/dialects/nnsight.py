"""nnsight: a `with model.trace(…)` block in which the model's inner values stand as if they were there already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlab.code.dialects.dialect import indented
from tlab.code.dialects.modules import ModuleDialect, Spot, spot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.code.dialects.dialect import Edit, Keep, Place

__all__ = ["NnsightDialect"]

# nnsight's names for the operations inside a forward: the call that computes attention, and the softmax in there.
_CALL = "source.attention_interface_1"
_SOFTMAX = "source.nn_functional_softmax_0"


@dataclass(frozen=True)
class NnsightDialect(ModuleDialect):
    """How nnsight says it."""

    tokenizer: str = "model.tokenizer"

    def opening(self, folder: str, dtype: str, *, has_graph: bool) -> list[str]:
        """Return the imports and the loading of the model, with or without gradients."""
        frozen = [] if has_graph else ["model.requires_grad_(False)  # its weights stay as they are"]
        return [
            "import nnsight",
            "import torch",
            "",
            f"folder = {folder!r}",
            "model = nnsight.TransformersModel(",
            f'    folder, task="text-generation", dtype=torch.{dtype}, attn_implementation="eager", dispatch=True',
            ")",
            *frozen,
        ]

    def definitions(self, edits: Sequence[Edit]) -> list[str]:  # noqa: ARG002  other dialects need them
        """Return nothing: a trace changes values where it stands."""
        return []

    def run(self, logits: str, ids: str, *, keep: Sequence[Keep] = (), edits: Sequence[Edit] = ()) -> list[str]:
        """Return one trace that reads and writes in the order in which the model computes."""
        steps: list[Keep | Edit] = sorted([*keep, *edits], key=lambda step: step.place.order)
        lines: list[str] = []
        for step in steps:
            if not step.place.each:
                lines += self._step(step, is_alone=len(steps) == 1)
        together = [step for step in steps if step.place.each]
        for each in dict.fromkeys(step.place.each for step in together):
            inside = [step for step in together if step.place.each == each]
            written = [line for step in inside for line in self._step(step, is_alone=len(steps) == 1)]
            lines += [f"for layer in {each}:", *indented(written)]
        lists = [f"{one.variable} = nnsight.save([])" for one in keep if one.place.each]
        end = [f"{logits} = model.output.logits[0].save()"] if logits else []
        before = self._inside_attention() if any("attentions[" in line for line in lines) else []
        return [*before, f"with model.trace({ids}):", *indented([*lists, *lines, *end])]

    def gradients(self, ids: str, place: Place) -> list[str]:
        """Return a trace that keeps the tensors themselves, and their derivatives by autograd."""
        found = spot(self.layout, place, f"model.{self.layout.names.blocks}[layer]")
        return [
            f"with model.trace({ids}):",
            "    kept = []",
            f"    for layer in range({self.layout.n_layers}):",
            f"        kept.append({_value(found._replace(view=''), 'layer')})",
            "    logits = model.output.logits[0]",
            "    grads = nnsight.save(torch.autograd.grad(metric(logits), kept))",
            *([f"grads = [grad{found.view} for grad in grads]"] if found.view else []),
        ]

    def _inside_attention(self) -> list[str]:
        """Return a list of the calls that compute attention; nnsight must know before a run that it is to look in."""
        names = self.layout.names
        return [f"attentions = [block.{names.attn}.{_CALL} for block in model.{names.blocks}]"]

    def _step(self, step: Keep | Edit, *, is_alone: bool) -> list[str]:
        layer = "layer" if step.place.each else step.place.layer
        found = spot(self.layout, step.place, f"model.{self.layout.names.blocks}[{layer}]")
        statements = getattr(step, "statements", None)
        # What attention weighs with is the softmax' output; the module's second output, which comes last, shows it.
        is_inner = found.side == "weights" and not (is_alone and statements is None)
        value = f"attentions[{layer}].{_SOFTMAX}.output" if is_inner else _value(found, layer)
        if statements is not None:
            return [f"{step.variable} = {value}", *statements]
        if step.place.each:
            return [f"{step.variable}.append({value})"]
        return [f"{step.variable} = {value}.save()"]


def _value(found: Spot, layer: str) -> str:
    if found.side == "scores":
        return f"attentions[{layer}].{_SOFTMAX}.input"
    if found.side == "weights":
        return f"{found.path}.output[1]"
    return f"{found.path}.{found.side}{found.view}"
