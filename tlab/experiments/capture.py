"""`capture`: read what stands at named sites while one prompt or several pass through the model."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from tlab.engine import run
from tlab.errors import UnknownOption, UnusablePrompt, shown
from tlab.experiments.prompts import batch_of, inputs_of, tokens_of
from tlab.manifest import experiment
from tlab.plain import whole_number
from tlab.precision import precise
from tlab.results import Result
from tlab.sites import axes_of, check_site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from tlab.models import Model

__all__ = ["Capture", "capture"]


@dataclass(frozen=True, eq=False, repr=False)
class Capture(Result, Mapping[str, "Tensor"]):
    """A read-only mapping from site to a copy of the tensor that stood there.

    Args:
        tokens: what the model predicts from, token by token: the prompt, in an encoder-decoder what the decoder has
            read; of several prompts the first one's.
        tensors: site → tensor; the first axis is always `batch`, one row a prompt. Where a shorter prompt was filled
            up, the numbers are 0.
        prompts: the same of all prompts.
        positions: the positions that were kept, as they were asked for; `None` for all.
        sources: in an encoder-decoder what the encoder has read, of all prompts; empty otherwise.

    """

    tokens: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    prompts: tuple[tuple[str, ...], ...]
    positions: tuple[int, ...] | None = None
    sources: tuple[tuple[str, ...], ...] = ()

    def __getitem__(self, site: str) -> Tensor:
        if site not in self.tensors:
            check_site(site, tuple(self.tensors))
        return self.tensors[site]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __contains__(self, site: object) -> bool:
        return site in self.tensors

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many tokens each prompt has; in an encoder-decoder how many the decoder has read."""
        return tuple(len(prompt) for prompt in self.prompts)

    @property
    def source_tokens(self) -> tuple[str, ...]:
        """What the encoder of an encoder-decoder has read, of several prompts the first; empty otherwise."""
        return self.sources[0] if self.sources else ()

    @property
    def source_lengths(self) -> tuple[int, ...]:
        """How many tokens the encoder of an encoder-decoder has read of each prompt; empty otherwise."""
        return tuple(len(source) for source in self.sources)

    def axes(self, site: str) -> tuple[str, ...]:
        """Return the names of the tensor's axes, e.g. `("batch", "head", "dest_pos", "src_pos")`."""
        return axes_of(site)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a site: its axes, shape, and the mean length of its vectors along the last axis.

        Masked attention scores, the smallest number that there is, count as 0 in the length.
        """
        return pd.DataFrame(
            {
                "site": site,
                "axes": " ".join(axes_of(site)),
                "shape": "×".join(str(size) for size in tensor.shape),
                "mean_norm": round(_mean_norm(tensor), 3),
            }
            for site, tensor in self.tensors.items()
        )

    def explain(self) -> str:
        """Say how much was captured."""
        n_values = sum(tensor.numel() for tensor in self.tensors.values())
        read = self.source_tokens or self.tokens
        whose = f"{len(read)} tokens" if len(self.prompts) == 1 else f"{len(self.prompts)} prompts"
        return f"{len(self)} sites captured for {whose}: {n_values:,} numbers, copies of the model's own."


def _mean_norm(tensor: Tensor) -> float:
    smallest = torch.finfo(tensor.dtype).min
    return float(precise(tensor.masked_fill(tensor <= smallest, 0)).norm(dim=-1).mean())


@experiment
def capture(
    model: Model,
    prompt: str | Sequence[str],
    *,
    sites: str | Iterable[str] | None = None,
    positions: Sequence[int] | int | None = None,
    target: str | None = None,
) -> Capture:
    """Run the model and keep what stands at the named sites.

    Args:
        model: from `load`.
        prompt: the text to run, or several.
        sites: names such as `"blocks.3.attn.pattern"`, with `*` for any part of a name (`"blocks.*.mlp.out"`), or
            `"all"`; by default the residual stream after every block.
        positions: which positions to keep, counted from 0, or from each prompt's own end if negative; in attention
            maps the destination positions. In the encoder of an encoder-decoder, and for the keys and values of its
            cross-attention, they are positions of the source. All by default.
        target: in an encoder-decoder, what the decoder has written so far.

    Shapes:
        each tensor: `batch`, then the axes of its site (`Capture.axes`), e.g. `batch pos d_model`

    Units: as the model computes them; patterns are weights from 0 to 1.

    Invariants:
        The tensors are copies: changing one changes nothing in the model, and no two share memory.

    Raises:
        UnknownSite: a name is none of the model's sites.
        UnknownOption: a position lies outside a prompt, or outside what stands at one of the sites.
        UnusablePrompt: a prompt is not text, is empty, or exceeds the context.

    Cost: one forward pass for all prompts; memory grows with what is kept.

    Source:
        TransformerLens' `run_with_cache`; our `blocks.3.attn.pattern` is its `blocks.3.attn.hook_pattern`.

    """
    wanted = _wanted(model, sites)
    if isinstance(prompt, str) or not isinstance(prompt, Iterable):
        inputs = inputs_of(model, prompt, target=target)
        lengths = [(inputs.ids if inputs.source is None else inputs.source).shape[1]]
    else:
        if target is not None:
            raise UnusablePrompt("target unusable: expected one prompt with it, got several; capture them one by one")
        inputs, lengths = batch_of(model, tuple(prompt))
    captured = run(model, inputs, sites=wanted, predicts="logits" in wanted).captured
    # In an encoder-decoder only the source is filled up: all decoders begin alike.
    own = lengths if inputs.source is None else [inputs.ids.shape[1]] * len(inputs.ids)
    chosen = None if positions is None else _checked(positions, wanted, own, lengths)
    prompts = _texts(model, inputs.ids, own)
    return Capture(
        tokens=prompts[0],
        tensors={site: _kept(captured[site], site, own, lengths, chosen) for site in wanted},
        prompts=prompts,
        positions=chosen,
        sources=() if inputs.source is None else _texts(model, inputs.source, lengths),
    )


def _texts(model: Model, ids: Tensor, lengths: Sequence[int]) -> tuple[tuple[str, ...], ...]:
    return tuple(tokens_of(model, row[:length]) for row, length in zip(ids, lengths, strict=True))


def _wanted(model: Model, sites: str | Iterable[str] | None) -> tuple[str, ...]:
    if sites is None:
        return tuple(f"blocks.{layer}.resid_post" for layer in range(model.n_layers))
    if sites == "all":
        return model.sites
    names = (sites,) if isinstance(sites, str) or not isinstance(sites, Iterable) else tuple(sites)
    found: dict[str, None] = {}
    for name in names:
        matching = fnmatch.filter(model.sites, name) if isinstance(name, str) and "*" in name else []
        found.update(dict.fromkeys(matching or [check_site(name, model.sites)]))
    return tuple(found)


def _is_of_source(site: str, axis: str) -> bool:
    """Tell whether an axis of positions counts the tokens that the encoder of an encoder-decoder reads."""
    if ".cross_attn." in site:
        return axis == "src_pos" or site.endswith((".k", ".v"))
    return site.startswith("encoder.")


def _kept_axis(site: str) -> str:
    return "dest_pos" if "dest_pos" in axes_of(site) else "pos"


def _checked(
    positions: Sequence[int] | int, sites: Sequence[str], own: Sequence[int], source: Sequence[int]
) -> tuple[int, ...]:
    given = tuple(positions) if isinstance(positions, Iterable) and not isinstance(positions, str) else (positions,)
    if not given:
        raise UnknownOption(
            f"positions refused: expected at least one, got {shown(positions)}; leave it out to keep every one"
        )
    found: list[int] = []
    for site in sites:
        is_source = _is_of_source(site, _kept_axis(site)) and source is not own
        shortest = min(source if is_source else own)
        whose = "shortest prompt"
        if source is not own:
            whose = "shortest source" if is_source else "decoder"
        repair = f"at {site} the {whose} has {shortest} tokens"
        found = [whole_number("position", one, -shortest, shortest - 1, repair) for one in given]
    return tuple(found)


def _kept(
    tensor: Tensor, site: str, own: Sequence[int], source: Sequence[int], positions: tuple[int, ...] | None
) -> Tensor:
    """Cut a captured tensor down to the wanted positions, and blank what stands for no token."""
    axes = axes_of(site)
    for index, name in enumerate(axes):
        lengths = source if _is_of_source(site, name) else own
        if name in {"pos", "dest_pos", "src_pos"} and len(set(lengths)) > 1:
            for row, length in enumerate(lengths):
                # One axis less: the row is taken out.
                tensor[row].narrow(index - 1, length, tensor.shape[index] - length).zero_()
    if positions is None:
        return tensor
    name = _kept_axis(site)
    rows = [
        tensor[row : row + 1].index_select(
            axes.index(name), torch.tensor([p % length for p in positions], device=tensor.device)
        )
        for row, length in enumerate(source if _is_of_source(site, name) else own)
    ]
    return torch.cat(rows)
