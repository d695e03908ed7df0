"""What a probe learns from: the vectors that stand at some sites while a model reads prompts, and their labels.

Refuses: fitting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlab.engine import run
from tlab.errors import UnknownOption, UnknownTarget, UnusablePrompt, shown
from tlab.learning.limits import several_texts, vector_site
from tlab.plain import whole
from tlab.sites import check_site, layer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int
    from torch import Tensor

    from tlab.models import Model

__all__ = [
    "Examples",
    "Label",
    "checked_labels",
    "checked_position",
    "checked_sites",
    "distinct_prompts",
    "examples_at",
]

Label = str | int | bool
_FEWEST = 2


@dataclass(frozen=True, eq=False)
class Examples:
    """Vectors, row by row, and where each was read.

    Args:
        vectors: at each site.
        prompt: the number of each row's prompt.
        pos: its position in the prompt; -1 for a mean over positions.
        token: the token there; for a mean, the whole prompt.

    """

    vectors: Float[Tensor, "site row width"]
    prompt: Int[Tensor, " row"]
    pos: tuple[int, ...]
    token: tuple[str, ...]


def examples_at(model: Model, prompts: Sequence[str], sites: Sequence[str], position: int | str) -> Examples:
    """Run each prompt once and read it.

    Args:
        model: from `load`.
        prompts: one or several rows each.
        sites: where to read.
        position: a position, counted from the end if negative; `"all"` for each but the first; `"mean"` of those.

    Raises:
        UnusablePrompt: a prompt is no prompt, or has no such position.

    """
    vectors: list[Tensor] = []
    numbers: list[int] = []
    places: list[int] = []
    tokens: list[str] = []
    for number, prompt in enumerate(prompts):
        ids = model.to_ids(prompt)
        chosen = _chosen(len(ids), position, prompt)
        captured = run(model, ids, sites=sites, predicts=False).captured
        read = torch.stack([captured[site][0, chosen].float().cpu() for site in sites])
        if position == "mean":
            vectors.append(read.mean(1, keepdim=True))
            places.append(-1)
            tokens.append(prompt)
            numbers.append(number)
            continue
        vectors.append(read)
        places += chosen
        tokens += [model.to_text(int(ids[pos])) for pos in chosen]
        numbers += [number] * len(chosen)
    return Examples(torch.cat(vectors, dim=1), torch.tensor(numbers), tuple(places), tuple(tokens))


def _chosen(n_pos: int, position: int | str, prompt: str) -> list[int]:
    if isinstance(position, str):
        if n_pos > 1:
            return list(range(1, n_pos))
        raise UnusablePrompt(
            f"prompt unusable: expected at least two tokens, since the first is left out, got one in {shown(prompt)}; "
            f"write a longer text"
        )
    if -n_pos <= position < n_pos:
        return [position % n_pos]
    raise UnusablePrompt(
        f"prompt unusable: expected one with a position {position}, got {n_pos} tokens in {shown(prompt)}; "
        f"write a longer text, or read at position -1"
    )


def checked_sites(model: Model, site: str, layers: Sequence[int] | None) -> tuple[str, ...]:
    """Return the sites that a pattern such as `"blocks.L.resid_post"` stands for, one for each layer.

    Raises:
        UnknownSite: one of them is none of the model's, or holds no single vector a position.
        UnknownTarget: a layer in which there is no such site, where others have one.
        UnknownOption: layers for a site without an `L`.

    """
    if not isinstance(site, str) or ".L." not in site:
        if layers is not None:
            raise UnknownOption(
                f"layers refused: expected none for the single site {shown(site)}, got {shown(layers)}; "
                f"write the site with L, as in 'blocks.L.resid_post'"
            )
        return (vector_site(check_site(site, model.sites)),)
    known = _layers(model, site)
    wanted = known if layers is None else layers
    if isinstance(wanted, str) or not isinstance(wanted, Iterable) or not (wanted := tuple(wanted)):
        raise UnknownOption(
            f"layers refused: expected a list of layers, got {shown(layers)}; leave it out to read them all"
        )
    vector_site(check_site(site.replace(".L.", f".{known[0]}."), model.sites))
    numbers = [whole(layer) for layer in wanted]
    for number, layer in zip(numbers, wanted, strict=True):
        if number not in known:
            raise UnknownTarget(
                f"layer refused: expected a whole number from {known[0]} to {known[-1]}, got {shown(layer)}; "
                f"leave layers out to read them all"
            )
    return tuple(vector_site(site.replace(".L.", f".{number}.")) for number in dict.fromkeys(numbers))


def _layers(model: Model, site: str) -> tuple[int, ...]:
    """Return the layers in which there is such a site; the first, which will be refused, if there is none."""
    layers = sorted({layer for layer in map(layer_of, model.sites) if layer is not None})
    return tuple(layer for layer in layers if site.replace(".L.", f".{layer}.") in model.sites) or (0,)


def checked_position(position: object) -> int | str:
    """Return where to read.

    Raises:
        UnknownOption: neither a whole number nor `"all"` nor `"mean"`.

    """
    if isinstance(position, str) and position in {"all", "mean"}:
        return position
    number = whole(position)
    if number is not None:
        return number
    raise UnknownOption(
        f"position refused: expected a whole number, 'all' or 'mean', got {shown(position)}; "
        f"try position=-1 for the last token"
    )


def distinct_prompts(prompts: object) -> tuple[str, ...]:
    """Return prompts of which none is there twice.

    Raises:
        UnknownOption: one is there twice: it could stand on both sides of the split, where remembering is enough.

    """
    given = several_texts("prompts", prompts)
    ((most, n_times),) = Counter(given).most_common(1)
    if n_times > 1:
        raise UnknownOption(
            f"prompts refused: expected each prompt once, got {n_times} times {shown(most)}; leave the copies out"
        )
    return given


def checked_labels(labels: object, n_prompts: int) -> tuple[Label, ...]:
    """Return one label a prompt.

    Raises:
        UnknownOption: their number differs, they are no labels, or a class has fewer than two examples.

    """
    given = () if isinstance(labels, str) or not isinstance(labels, Iterable) else tuple(labels)
    if len(given) != n_prompts:
        raise UnknownOption(
            f"labels refused: expected one label for each of {n_prompts} prompts, got {len(given)} in "
            f"{shown(labels)}; give two lists of equal length"
        )
    if not all(isinstance(label, str | int) for label in given):
        raise UnknownOption(
            f"labels refused: expected texts, whole numbers or truth values, got {shown(labels)}; name classes"
        )
    counts = Counter(given)
    if len(counts) < _FEWEST:
        raise UnknownOption(
            f"labels refused: expected at least two classes, got only {shown(given[0])}; add prompts of another class"
        )
    rare, n_examples = min(counts.items(), key=lambda item: item[1])
    if n_examples < _FEWEST:
        raise UnknownOption(
            f"labels refused: expected at least two examples of each class, got {n_examples} of {shown(rare)}; "
            f"one must be held out, so add another"
        )
    return given
