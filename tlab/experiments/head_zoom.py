"""One attention head from its queries to what it writes and which tokens that speaks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from tlab.experiments.direct import Leaving
from tlab.experiments.spot import empty_effects, last_site, readout_at, said, token_effects
from tlab.experiments.wording import exactly
from tlab.precision import precise, precise_dtype
from tlab.results import Result, percent

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    from tlab.anatomy.parts import Attention
    from tlab.engine import Run
    from tlab.experiments.spot import Spot
    from tlab.models import Model

__all__ = ["HeadZoom", "zoom_head"]

_SAID = 3


@dataclass(frozen=True, eq=False, repr=False)
class HeadZoom(Result):
    """All that one head computed in one run.

    Args:
        prompt: the text that was run.
        name: the head, e.g. `L3H4`.
        tokens: who reads.
        source_tokens: what is read.
        position: the reading position that `explain`, the table and the effects are about.
        q: queries, before rotary positions turn them (after, where a model does both at once).
        k: keys, likewise.
        turned_q: queries as they meet the keys.
        turned_k: keys as they meet the queries.
        v: values.
        scores: dot products, scaled, with all that the model adds to them; `−inf` where reading is forbidden.
        mask: where reading is allowed.
        pattern: the scores' softmax.
        z: the values, weighted with the pattern.
        write: what reaches the stream, the scale of a norm behind the attention frozen.
        relative_size: length of the write over the length of the stream before it, at `position`.
        effects: `token effect`: what the write does directly to the logits at `position`, from the most promoted
            token to the most suppressed; empty where no direct path leads there.
        answer: the model's own likeliest token at `position`; empty if it predicts none.
        answer_effect: the direct effect on its logit.
        identities: what must hold → by how much it does not, relative to the largest number.

    """

    prompt: str
    name: str
    tokens: tuple[str, ...]
    source_tokens: tuple[str, ...]
    position: int
    q: Float[Tensor, "dest_pos d_head"]
    k: Float[Tensor, "src_pos d_head"]
    turned_q: Float[Tensor, "dest_pos d_head"]
    turned_k: Float[Tensor, "src_pos d_head"]
    v: Float[Tensor, "src_pos d_head"]
    scores: Float[Tensor, "dest_pos src_pos"]
    mask: Bool[Tensor, "dest_pos src_pos"]
    pattern: Float[Tensor, "dest_pos src_pos"]
    z: Float[Tensor, "dest_pos d_head"]
    write: Float[Tensor, "dest_pos d_model"]
    relative_size: float
    effects: pd.DataFrame
    answer: str
    answer_effect: float
    identities: dict[str, float]

    def to_frame(self) -> pd.DataFrame:
        """Return what the head read at `position`: `src_pos src_token allowed score weight value_norm`."""
        return pd.DataFrame(
            {
                "src_pos": range(len(self.source_tokens)),
                "src_token": self.source_tokens,
                "allowed": self.mask[self.position].tolist(),
                "score": self.scores[self.position].tolist(),
                "weight": self.pattern[self.position].tolist(),
                "value_norm": self.v.norm(dim=-1).tolist(),
            }
        )

    def _twin_frame(self) -> pd.DataFrame:
        frame = self.to_frame()
        return frame[frame["allowed"]].sort_values("weight", ascending=False, kind="stable").round(3)

    def explain(self) -> str:
        """Say what the head read, how much it wrote, what that says directly, and that its identities hold."""
        row = self.pattern[self.position]
        src = int(row.argmax())
        worst = max(self.identities.values())
        return (
            f"At position {self.position} ({self.tokens[self.position]!r}), head {self.name} reads most from "
            f"{self.source_tokens[src]!r} ({percent(float(row[src]))}) and writes a vector of "
            f"{100 * self.relative_size:.1f} % of the stream's length.{self._speech()} "
            f"Its steps follow from each other {exactly(worst)}."
        )

    def _speech(self) -> str:
        if len(self.effects) == 0:
            return " No direct path leads from it to the logits as a sum."
        lowest = self.effects.iloc[::-1]
        return (
            f" Directly, that promotes {said(self.effects, _SAID)} and suppresses {said(lowest, _SAID)}; "
            f"the answer {self.answer!r} gets {self.answer_effect:+.2f} (later parts that read it are not counted)."
        )


def zoom_head(model: Model, spot: Spot, head: int, *, is_cross: bool, k: int) -> HeadZoom:
    """Run the prompt and return everything about one head."""
    part = "cross_attn" if is_cross else "attn"
    attn: Any = spot.block.cross if is_cross else spot.block.attn
    base = f"{spot.base}.{part}"
    known = model.sites
    steps = {step: f"{base}.{step}" for step in ("q", "k", "rot_q", "rot_k", "v", "scores", "pattern", "z", "out")}
    wanted = [site for site in steps.values() if site in known] + [_before(spot), last_site(model)]
    predicts = model.anatomy.unembed is not None and not spot.prefix
    done = spot.run(model, wanted, predicts=predicts)
    seen = {step: done.captured[site][0] for step, site in steps.items() if site in known}
    seen |= {step: seen[turned] for step, turned in (("q", "rot_q"), ("k", "rot_k")) if step not in seen}
    shared = head // (seen["q"].shape[1] // seen["k"].shape[1])
    write = _writes(spot, attn, "cross" if is_cross else "attn", seen["z"], head)
    effects, answer, answer_effect = _speech(model, spot, done, write[spot.position], k)
    scores = precise(seen["scores"][head])
    mask = scores > torch.finfo(model.dtype).min / 2
    before = done.captured[_before(spot)][0, spot.position]
    return HeadZoom(
        prompt=spot.prompt,
        name=f"{spot.prefix}L{spot.layer}{'.cross' if is_cross else ''}H{head}",
        tokens=spot.tokens,
        source_tokens=spot.source_tokens if is_cross else spot.tokens,
        position=spot.position,
        q=_plain(seen["q"][:, head]),
        k=_plain(seen["k"][:, shared]),
        turned_q=_plain(seen.get("rot_q", seen["q"])[:, head]),
        turned_k=_plain(seen.get("rot_k", seen["k"])[:, shared]),
        v=_plain(seen["v"][:, shared]),
        scores=_plain(scores.masked_fill(~mask, -torch.inf)),
        mask=mask.cpu(),
        pattern=_plain(seen["pattern"][head]),
        z=_plain(seen["z"][:, head]),
        write=_plain(write.to(precise_dtype(model.dtype))),
        relative_size=float(write[spot.position].norm() / before.double().norm()),
        effects=effects,
        answer=answer,
        answer_effect=answer_effect,
        identities=_identities(spot, attn, "cross" if is_cross else "attn", seen),
    )


def _plain(tensor: Tensor) -> Tensor:
    return precise(tensor).cpu().contiguous()


def _before(spot: Spot) -> str:
    return f"{spot.base}.resid_pre"


def _writes(spot: Spot, attn: Attention, place: str, z: Tensor, head: int) -> Float[Tensor, "pos d_model"]:
    """Return what the head writes at every position; each position has a scale of its own to freeze."""
    own = z[:, head] @ attn.W_O[head]
    if f"{place}_post" not in spot.block.norms:
        return own.double() * spot.block.scale
    whole = torch.einsum("phe,hem->pm", z, attn.W_O)
    whole = whole if attn.b_O is None else whole + attn.b_O
    return torch.stack([Leaving(spot.block, place, total).part(one) for total, one in zip(whole, own, strict=True)])


def _speech(model: Model, spot: Spot, done: Run, write: Tensor, k: int) -> tuple[pd.DataFrame, str, float]:
    readout = readout_at(model, spot, done)
    if readout is None:
        return empty_effects(), "", 0.0
    logits = readout.logits(write)
    answer = int(done.logits[0, 0].argmax())
    return token_effects(model, logits, k), model.to_text(answer), float(logits[answer])


def _identities(spot: Spot, attn: Attention, place: str, seen: dict[str, Tensor]) -> dict[str, float]:
    """Measure, in all heads of the layer, what must hold between the steps."""
    pattern, v, z = precise(seen["pattern"]), precise(seen["v"]), precise(seen["z"])
    v = v.repeat_interleave(pattern.shape[0] // v.shape[1], dim=1)
    written = torch.einsum("phe,hem->pm", seen["z"], attn.W_O)
    written = written if attn.b_O is None else written + attn.b_O
    norm = spot.block.norms.get(f"{place}_post")
    leaving = (written if norm is None else norm(written[None])[0]) * spot.block.scale
    total, row = pattern.sum(-1), "rows of the pattern"
    sinks: Tensor | None = getattr(attn.module, "sinks", None)
    if sinks is not None:
        total, row = total + _sunk(precise(seen["scores"]), sinks), "rows of the pattern and the sinks"
    return {
        f"{row} sum to 1": float((total - 1).abs().max()),
        "pattern @ v is z": _apart(torch.einsum("hds,she->dhe", pattern, v), z),
        "all heads' writes and b_O are attn.out": _apart(leaving, seen["out"]),
    }


def _sunk(scores: Float[Tensor, "head dest_pos src_pos"], sinks: Tensor) -> Float[Tensor, "head dest_pos"]:
    """Return the share of the attention that a learned sink takes, which reads nothing (GPT-OSS)."""
    columns = precise(sinks)[:, None].expand(scores.shape[:2])
    return (columns - torch.cat([scores, columns[..., None]], dim=-1).logsumexp(-1)).exp()


def _apart(found: Tensor, expected: Tensor) -> float:
    return float((precise(found) - precise(expected)).abs().max() / precise(expected).abs().max().clamp(min=1e-12))
