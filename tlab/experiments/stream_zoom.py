"""One site of a run: the lengths of what stands there, and what each vector says if it is read as the model reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from tlab.engine import unembed
from tlab.experiments.direct import Readout, obstacle
from tlab.experiments.spot import last_site, said, token_effects
from tlab.experiments.wording import counted
from tlab.precision import precise
from tlab.results import Result, percent
from tlab.sites import axes_of

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from tlab.engine import Run
    from tlab.experiments.spot import Spot
    from tlab.models import Model

__all__ = ["StreamZoom", "zoom_stream"]

_STREAM = ("resid_pre", "resid_mid", "resid_post", "embed")
_WRITES = ("attn.out", "cross_attn.out", "mlp.out")


@dataclass(frozen=True, eq=False, repr=False)
class StreamZoom(Result):
    """What stands at one site.

    Args:
        prompt: the text that was run.
        site: the site.
        axes: names of the tensor's axes.
        tokens: what the stack reads.
        position: the position that `explain` is about.
        reading: how vectors were turned into tokens: `lens` (the stream, as if it were the last), `direct` (a write,
            the final norm's scale frozen), or empty if that makes no sense at this site.
        tensor: what stands there, without the batch axis.
        frame: one row a vector: `pos` (or `dest_pos`) `token` (`head`), `norm`, and what it says or reads most.
        effects: `token effect` at `position`: logits of a lens, or direct effects of a write; else empty.

    """

    prompt: str
    site: str
    axes: tuple[str, ...]
    tokens: tuple[str, ...]
    position: int
    reading: str
    tensor: Float[Tensor, "..."]
    frame: pd.DataFrame
    effects: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Return one row a vector at the site."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.frame.round(3)

    def explain(self) -> str:
        """Say how long the vector at the position is, beside the others, and what it says."""
        place = "dest_pos" if "dest_pos" in self.frame else "pos"
        here = self.frame[self.frame[place] == self.position]
        length, other = float(here["norm"].mean()), float(self.frame["norm"].median())
        sentence = (
            f"At {self.site} stand {counted(len(self.frame), 'vector')} of {self.tensor.shape[-1]} numbers; at "
            f"position {self.position} ({self.tokens[self.position]!r}) their length is {length:.2f} on average, "
            f"the median of all is {other:.2f}."
        )
        if self.reading == "lens":
            first = here.iloc[0]
            if self.site == "logits":
                return f"{sentence} Its softmax gives {first['top_token']!r} {percent(first['probability'])}."
            return (
                f"{sentence} Read as if it were the last stream, that one says {first['top_token']!r} "
                f"({percent(first['probability'])}); a lens is a reading, not what the model does there."
            )
        if self.reading == "direct":
            return f"{sentence} Directly, it promotes {said(self.effects, 3)}."
        return sentence


def zoom_stream(model: Model, spot: Spot, site: str, *, k: int) -> StreamZoom:
    """Run the prompt and return what stands at the site."""
    reading = _reading(model, spot, site)
    sites = [site, last_site(model)] if reading == "direct" else [site]
    done = spot.run(model, sites, predicts=site == "logits")
    found = done.captured[site][0]
    tensor = precise(found).cpu()
    is_read = site.endswith(("cross_attn.k", "cross_attn.v"))
    tokens, axes = spot.source_tokens if is_read else spot.tokens, axes_of(site)
    frame = _lengths(tensor, axes, tokens)
    logits = None
    if reading == "lens":
        logits = _lens(model, found, site)
        probabilities, ids = logits.softmax(-1).max(-1)
        frame["top_token"] = [model.to_text(one) for one in ids.tolist()]
        frame["probability"] = probabilities.tolist()
    elif reading == "direct":
        logits = _direct(model, done, found)
        frame["promoted"] = [model.to_text(one) for one in logits.argmax(-1).tolist()]
        frame["suppressed"] = [model.to_text(one) for one in logits.argmin(-1).tolist()]
    none = pd.DataFrame({"token": pd.Series(dtype=object), "effect": pd.Series(dtype="float64")})
    return StreamZoom(
        prompt=spot.prompt,
        site=site,
        axes=axes[1:],
        tokens=tokens,
        position=min(spot.position, len(tokens) - 1),
        reading=reading,
        tensor=tensor,
        frame=frame,
        effects=none if logits is None else token_effects(model, logits[spot.position], k),
    )


def _reading(model: Model, spot: Spot, site: str) -> str:
    if spot.prefix or model.anatomy.unembed is None:
        return ""
    if site == "embed" and model.W_E.shape[-1] != model.d_model:  # ids are embedded in a narrower space
        return ""
    if site.endswith(_STREAM) or site in {"ln_final.out", "logits"}:
        return "lens"
    return "direct" if site.endswith(_WRITES) and obstacle(model) is None else ""


def _lens(model: Model, found: Tensor, site: str) -> Float[Tensor, "pos d_vocab"]:
    if site == "logits":
        return precise(found).cpu()
    if site == "ln_final.out":
        project, head = model.anatomy.decoder.project, model.anatomy.unembed
        return precise(head(found if project is None else project(found))).cpu()  # type: ignore[misc]
    return precise(unembed(model, found)).cpu()


def _direct(model: Model, done: Run, found: Tensor) -> Float[Tensor, "pos d_vocab"]:
    last = done.captured[last_site(model)][0]
    return torch.stack([Readout(model, end).logits(one) for end, one in zip(last, found, strict=True)]).cpu()


def _lengths(tensor: Tensor, axes: tuple[str, ...], tokens: tuple[str, ...]) -> pd.DataFrame:
    """Return one row a vector along the last axis; masked scores count as nought in its length."""
    smallest = torch.finfo(tensor.dtype).min / 2
    known = tensor.masked_fill(tensor <= smallest, 0)
    norms = known.norm(dim=-1)
    names = axes[1:-1]
    places = torch.cartesian_prod(*(torch.arange(size) for size in norms.shape)).reshape(-1, len(names))
    frame = pd.DataFrame({name: places[:, index].tolist() for index, name in enumerate(names)})
    place = "dest_pos" if "dest_pos" in names else "pos"
    frame["token"] = [tokens[position] for position in frame[place]]
    frame["norm"] = norms.flatten().tolist()
    if axes[-1] in {"src_pos", "d_mlp"}:
        frame[f"largest_{axes[-1]}"] = tensor.flatten(0, -2).argmax(-1).tolist()
        frame["largest"] = tensor.flatten(0, -2).max(-1).values.tolist()  # noqa: PD011  torch's, not pandas'
    return frame
