"""`component`: look at one part of the model closely, with every number that it computed in one run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tlab.engine import run
from tlab.errors import UnknownTarget, shown
from tlab.experiments.head_zoom import HeadZoom, zoom_head
from tlab.experiments.mlp_zoom import MlpZoom, zoom_mlp
from tlab.experiments.prompts import inputs_of, tokens_of
from tlab.experiments.reading import reading_position
from tlab.experiments.spot import Spot
from tlab.experiments.stream_zoom import StreamZoom, zoom_stream
from tlab.manifest import experiment
from tlab.plain import whole_number
from tlab.sites import check_site, layer_of
from tlab.targets import parse_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.anatomy.parts import Stack
    from tlab.engine import Run
    from tlab.models import Model

__all__ = ["component", "components"]

_MOST = 1000
_PART = re.compile(r"\s*(?P<stack>encoder\.)?(?P<layer>L\d+)(?P<cross>\.cross)?(?P<rest>H\d+|\.\w+)?\s*")


@experiment
def component(
    model: Model,
    prompt: str,
    site: str,
    *,
    position: int | None = None,
    k: int = 10,
    target: str | None = None,
) -> HeadZoom | MlpZoom | StreamZoom:
    """Look at one part closely: a head, an MLP, or whatever stands at a site.

    A head comes with its queries, keys, values, scores, pattern, what it wrote, and which tokens that speaks for; an
    MLP with its neurons and what each of them wrote; a site of the stream with what it would say if it were the last.

    Args:
        model: from `load`.
        prompt: the text to run.
        site: `"L3H4"` (a head), `"L3.mlp"`, `"L3.attn"` and `"L3"` (what attention wrote, and the stream after the
            block), or any of `model.sites`. In an encoder-decoder also `"encoder.L3H4"` and `"L3.crossH4"`.
        position: which position is read closely; by default the last, in an encoder its mask.
        k: how many tokens are named on either side, and how many neurons.
        target: in an encoder-decoder, what the decoder has written so far.

    Returns:
        A `HeadZoom`, `MlpZoom` or `StreamZoom`.

    Units: weights from 0 to 1; lengths and effects in the units of the stream and of the logits, which have none.

    Invariants:
        A head's rows sum to 1, its pattern times the values is its `z`, and all heads' writes with the bias are what
        the layer wrote; an MLP is the sum of its neurons. `.identities` says how exactly.

    Raises:
        UnknownTarget: a head, MLP or layer outside the model.
        UnknownSite: a site that the model does not have.
        UnknownOption: an MLP whose neurons cannot be told apart; a position or `k` out of range.

    Cost: one forward pass, and a product with the unembedding for each named vector.

    Example:
        >>> component(load("smollm2-135m"), "The capital of France is", "L23H4").name
        'L23H4'

    Source:
        Elhage et al., "A Mathematical Framework for Transformer Circuits" (2021), transformer-circuits.pub: heads as
        independent writers to the stream.

    """
    k = whole_number("k", k, 1, _MOST, "try k=10")
    return _zoomed(model, (prompt, target), site, position=position, k=k)


def components(
    model: Model, prompt: str, sites: Sequence[str], *, position: int | None = None, k: int = 10
) -> list[HeadZoom | MlpZoom | StreamZoom]:
    """Look at many parts of one run closely, and return what `component` would for each.

    The arguments are those of `component`.

    Cost: one forward pass with all sites captured, and a product with the unembedding for each named vector.

    """
    k = whole_number("k", k, 1, _MOST, "try k=10")
    inputs = inputs_of(model, prompt)
    predicts = model.anatomy.unembed is not None
    read = (reading_position(model, inputs.ids[0], position),) if predicts else None
    ran = run(model, inputs, sites=model.sites, read=read, predicts=predicts)
    return [_zoomed(model, (prompt, None), site, position=position, k=k, ran=ran) for site in sites]


def _zoomed(
    model: Model, texts: tuple[str, str | None], site: str, *, position: int | None, k: int, ran: Run | None = None
) -> HeadZoom | MlpZoom | StreamZoom:
    match = _PART.fullmatch(site) if isinstance(site, str) else None
    if match is None:
        check_site(site, model.sites)
        spot = _spot(model, texts, layer_of(site), position, in_encoder=site.startswith("encoder."), ran=ran)
        return zoom_stream(model, spot, site, k=k)
    in_encoder, is_cross = match["stack"] is not None, match["cross"] is not None
    stack = _stack(model, site, in_encoder=in_encoder, is_cross=is_cross)
    name = match["layer"] + (match["rest"] or (".attn" if is_cross else ""))
    (part,) = parse_targets(name, len(stack.blocks), stack.blocks[0].attn.n_heads, with_stream=True)
    spot = _spot(model, texts, part.layer, position, in_encoder=in_encoder, ran=ran)
    if part.head is not None:
        return zoom_head(model, spot, part.head, is_cross=is_cross, k=k)
    if part.part == "mlp":
        return zoom_mlp(model, spot, k=k)
    place = {"attn": "cross_attn.out" if is_cross else "attn.out", "layer": "resid_post"}.get(part.part, part.part)
    return zoom_stream(model, spot, check_site(f"{spot.base}.{place}", model.sites), k=k)


def _stack(model: Model, site: str, *, in_encoder: bool, is_cross: bool) -> Stack:
    anatomy = model.anatomy
    if not (in_encoder or is_cross):
        return anatomy.decoder
    if anatomy.encoder is None:
        raise UnknownTarget(
            f"target unknown: expected one without 'encoder.' or '.cross' in a model of a single stack, "
            f"got {shown(site)}; write 'L3H4'"
        )
    return anatomy.encoder if in_encoder else anatomy.decoder


def _spot(
    model: Model,
    texts: tuple[str, str | None],
    layer: int | None,
    position: int | None,
    *,
    in_encoder: bool,
    ran: Run | None,
) -> Spot:
    prompt, target = texts
    inputs = inputs_of(model, prompt, target=target)
    stack = model.anatomy.encoder if in_encoder and model.anatomy.encoder is not None else model.anatomy.decoder
    ids = inputs.source if in_encoder and inputs.source is not None else inputs.ids
    return Spot(
        prompt=prompt,
        inputs=inputs,
        tokens=tokens_of(model, ids[0]),
        source_tokens=() if inputs.source is None else tokens_of(model, inputs.source[0]),
        stack=stack,
        prefix="encoder." if in_encoder else "",
        layer=-1 if layer is None else layer,
        position=reading_position(model, ids[0], position),
        ran=ran,
    )
