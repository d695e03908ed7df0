"""The steps of one stack in order, from what was captured: what each gives out, and the stream before and after it.

Refuses: running the model, and reading tokens out of the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jaxtyping import Float
    from torch import Tensor

    from tlab.anatomy.parts import Block, Stack

__all__ = ["Step", "sites_of", "steps_of"]

_READ = ("ln1.out", "attn.out", "ln_cross.out", "cross_attn.out", "resid_mid", "ln2.out", "mlp.out", "resid_post")


@dataclass(frozen=True, eq=False)
class Step:
    """One step.

    Args:
        name: e.g. `L3.attn`.
        kind: `embed`, `norm`, `attn`, `cross` or `mlp`.
        site: where its output stands.
        out: what it gives out.
        before: the stream that it meets; `None` at the beginning.
        after: the stream behind it; `None` where the stream itself stays as it was.

    """

    name: str
    kind: str
    site: str
    out: Float[Tensor, "pos d_model"]
    before: Float[Tensor, "pos d_model"] | None
    after: Float[Tensor, "pos d_model"] | None


def sites_of(stack: Stack, prefix: str, known: Sequence[str]) -> list[str]:
    """Return the sites that `steps_of` needs, but for the embedding and the final norm."""
    wanted = [f"{prefix}blocks.0.resid_pre"]
    wanted += [f"{prefix}blocks.{layer}.{site}" for layer in range(len(stack.blocks)) for site in _READ]
    return [site for site in wanted if site in known]


def steps_of(stack: Stack, prefix: str, seen: Mapping[str, Tensor]) -> tuple[list[Step], float]:
    """Return all steps, and by how much their sums miss the stream, relative to its largest number.

    Args:
        stack: of the model.
        prefix: of its sites.
        seen: site → what stood there, `pos d_model`.

    """
    first = f"{prefix}blocks.0.resid_pre"
    stream, steps, error = seen[first], list(_entrance(prefix, seen, first)), 0.0
    for layer, block in enumerate(stack.blocks):
        base = f"{prefix}blocks.{layer}"
        found = list(_block_steps(block, f"{prefix}L{layer}", base, stream, seen))
        steps, stream = steps + found, seen[f"{base}.resid_post"]
        error = max(error, _missed(found, stream))
        if f"{base}.resid_mid" in seen:
            before_mlp = [step for step in found if not step.name.endswith((".mlp", ".mlp_norm"))]
            error = max(error, _missed(before_mlp, seen[f"{base}.resid_mid"]))
    final = f"{prefix}ln_final.out"
    if final in seen:
        steps.append(Step(f"{prefix}ln_final", "norm", final, seen[final], stream, None))
    return steps, error


def _missed(steps: Sequence[Step], stream: Tensor) -> float:
    """Return by how much the stream after the last of the steps that changed it misses the one that was seen."""
    summed = next(step.after for step in reversed(steps) if step.after is not None)
    return float((summed - stream).abs().max() / stream.abs().max())


def _entrance(prefix: str, seen: Mapping[str, Tensor], first: str) -> Iterator[Step]:
    entered = seen[first]
    embedded = None if prefix else seen.get("embed")
    if embedded is None:
        yield Step(f"{prefix}embed", "embed", first, entered, None, entered)
        return
    is_as_wide = embedded.shape == entered.shape
    yield Step("embed", "embed", "embed", embedded, None, embedded if is_as_wide else None)
    if not is_as_wide:
        yield Step("widening", "embed", first, entered, None, entered)
    elif bool((entered != embedded).any()):
        # Learned positions, a factor, a norm: what the entrance does beyond looking up tokens.
        yield Step("positions and scale", "embed", first, entered - embedded, embedded, entered)


def _block_steps(block: Block, name: str, base: str, stream: Tensor, seen: Mapping[str, Tensor]) -> Iterator[Step]:
    entered, norms = stream, block.norms
    normed = seen.get(f"{base}.ln1.out", stream)
    if "attn" in norms:
        yield Step(f"{name}.ln1", "norm", f"{base}.ln1.out", normed, entered, None)
    basis = normed if block.adds_to_normed else stream
    for step in _write(block, "attn", (name, f"{base}.attn.out"), basis, seen):
        yield step
        stream = step.after if step.after is not None else stream
    if block.cross is not None:
        if "cross" in norms:
            yield Step(f"{name}.ln_cross", "norm", f"{base}.ln_cross.out", seen[f"{base}.ln_cross.out"], stream, None)
        for step in _write(block, "cross", (name, f"{base}.cross_attn.out"), stream, seen):
            yield step
            stream = step.after if step.after is not None else stream
    if block.mlp is None:
        return
    if "mlp" in norms:
        met = entered if block.is_parallel else stream
        yield Step(f"{name}.ln2", "norm", f"{base}.ln2.out", seen[f"{base}.ln2.out"], met, None)
    basis = seen[f"{base}.ln2.out"] if block.adds_to_normed else stream
    yield from _write(block, "mlp", (name, f"{base}.mlp.out"), basis, seen)


def _write(
    block: Block, kind: str, names: tuple[str, str], basis: Tensor, seen: Mapping[str, Tensor]
) -> Iterator[Step]:
    """Return the step that adds to the stream, and the norm on the sum in models that have one there."""
    name, site = names
    written = seen[site]
    summed = basis + written
    yield Step(f"{name}.{kind}", kind, site, written, basis, summed)
    norm = block.norms.get(f"{kind}_sum")
    if norm is not None:
        normed = norm(summed[None])[0]
        yield Step(f"{name}.{kind}_norm", "norm", site, normed, summed, normed)
