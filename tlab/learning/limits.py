"""What an option may be: a number between bounds, a word, a list of texts, a site; each refused in one sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from tlab.errors import UnknownOption, UnknownSite, UnsupportedModel, shown
from tlab.sites import axes_of

__all__ = ["fraction", "one_of", "one_stream_model", "several_texts", "usable_device", "vector_site"]


def fraction(name: str, value: object, lowest: float, highest: float, repair: str) -> float:
    """Return a finite number strictly between its bounds.

    Raises:
        UnknownOption: it is none, or lies outside.

    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if is_number and lowest < value < highest:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    raise UnknownOption(
        f"{name} refused: expected a number between {lowest:g} and {highest:g}, got {shown(value)}; {repair}"
    )


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> str:
    """Return a word that is one of the allowed ones.

    Raises:
        UnknownOption: it is not.

    """
    if isinstance(value, str) and value in allowed:
        return value
    raise UnknownOption(f"{name} refused: expected one of {', '.join(allowed)}, got {shown(value)}; try {allowed[0]!r}")


def several_texts(name: str, value: object) -> tuple[str, ...]:
    """Return a list of texts as a tuple.

    Raises:
        UnknownOption: it is a single text, holds something else, or is empty.

    """
    texts = () if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    if texts and all(isinstance(text, str) for text in texts):
        return texts
    raise UnknownOption(f"{name} refused: expected a list of texts, got {shown(value)}; put them in brackets")


def usable_device(name: str, value: object) -> str:
    """Return the name of a device on which torch can hold a tensor.

    Raises:
        UnknownOption: there is none of that name here.

    """
    try:
        torch.zeros(1, device=torch.device(str(value)))
    except (RuntimeError, AssertionError) as error:
        # torch says either, depending on what is missing.
        raise UnknownOption(
            f"{name} refused: expected one that torch can use here, got {shown(value)}; try {name}='cpu'"
        ) from error
    return str(value)


def vector_site(site: str) -> str:
    """Return a site at which one vector stands at every position.

    Raises:
        UnknownSite: it is no site of any model, or what stands there is split by heads or is an attention map.

    """
    axes = axes_of(site)
    if axes[:2] == ("batch", "pos") and len(axes) == len(("batch", "pos", "d_model")):
        return site
    raise UnknownSite(
        f"site unusable: expected one vector at every position, got the axes {' '.join(axes)} at {shown(site)}; "
        f"take a site such as 'blocks.0.resid_post' or 'blocks.0.attn.out'"
    )


def one_stream_model(name: str, family: str) -> None:
    """Return quietly if a model of this family runs on one text alone.

    Raises:
        UnsupportedModel: it is an encoder-decoder, which needs two.

    """
    if family == "encoder-decoder":
        raise UnsupportedModel(
            f"model unusable here: expected a decoder or an encoder, got the encoder-decoder {shown(name)}; "
            f"take a model such as 'smollm2-135m'"
        )
