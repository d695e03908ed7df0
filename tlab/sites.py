"""The names of the places in a model where tlab can read and write, and the axes of what lies there.

Our `blocks.3.attn.pattern` is TransformerLens' `blocks.3.attn.hook_pattern`. Refuses: running anything.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from tlab.errors import UnknownSite, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.anatomy.parts import Anatomy, Block, Stack

__all__ = ["axes_of", "check_site", "layer_of", "site_names"]

_STREAM = ("batch", "pos", "d_model")
_QUERY = ("batch", "pos", "head", "d_head")
_KEY_VALUE = ("batch", "pos", "kv_head", "d_head")
_MAP = ("batch", "head", "dest_pos", "src_pos")
_NEURONS = ("batch", "pos", "d_mlp")

# Within an attention layer, in order.
_STEPS: dict[str, tuple[str, ...]] = {
    "q": _QUERY,
    "k": _KEY_VALUE,
    "rot_q": _QUERY,
    "rot_k": _KEY_VALUE,
    "v": _KEY_VALUE,
    "scores": _MAP,
    "pattern": _MAP,
    "z": _QUERY,
    "out": _STREAM,
}
_BLOCK_SITES: dict[str, tuple[str, ...]] = {
    "resid_pre": _STREAM,
    "ln1.out": _STREAM,
    **{f"attn.{step}": axes for step, axes in _STEPS.items()},
    "ln_cross.out": _STREAM,
    **{f"cross_attn.{step}": axes for step, axes in _STEPS.items() if not step.startswith("rot")},
    "resid_mid": _STREAM,
    "ln2.out": _STREAM,
    "mlp.pre": _NEURONS,
    "mlp.pre_linear": _NEURONS,
    "mlp.post": _NEURONS,
    "mlp.out": _STREAM,
    "resid_post": _STREAM,
}
_MODEL_SITES: dict[str, tuple[str, ...]] = {
    "embed": _STREAM,
    "ln_final.out": _STREAM,
    "logits": ("batch", "pos", "d_vocab"),
}
# At most six digits: Python refuses to read numbers of thousands.
_BLOCK_SITE = re.compile(r"((?:encoder\.)?blocks\.(\d{1,6}))\.(.+)")
_NEAREST = 3


def site_names(anatomy: Anatomy) -> tuple[str, ...]:
    """Return every site of a model, in the order in which a prompt passes them."""
    encoder = () if anatomy.encoder is None else _stack_sites(anatomy.encoder, "encoder.")
    logits = () if anatomy.unembed is None else ("logits",)
    return (*encoder, "embed", *_stack_sites(anatomy.decoder, ""), *logits)


def _stack_sites(stack: Stack, prefix: str) -> tuple[str, ...]:
    names = [
        f"{prefix}blocks.{layer}.{site}"
        for layer, block in enumerate(stack.blocks)
        for site in _BLOCK_SITES
        if _has(block, site)
    ]
    return (*names, f"{prefix}ln_final.out") if stack.final_norm is not None else tuple(names)


def _has(block: Block, site: str) -> bool:
    part, _, step = site.partition(".")
    if part == "attn" and step in {"q", "k"}:
        return not block.attn.is_rotary or step in block.attn.projections
    if part == "attn" and step.startswith("rot"):
        return block.attn.is_rotary
    if part == "mlp":
        mlp = block.mlp
        whole_only = mlp is not None and mlp.whole is not None
        return mlp is not None and (step == "out" or not whole_only) and (step != "pre_linear" or mlp.is_gated)
    return {
        "ln1": "attn" in block.norms,
        "ln2": "mlp" in block.norms,
        "ln_cross": "cross" in block.norms,
        "cross_attn": block.cross is not None,
        "resid_mid": not block.is_parallel and block.mlp is not None,
    }.get(part, True)


def axes_of(site: str) -> tuple[str, ...]:
    """Return the names of the site's axes, e.g. `("batch", "pos", "d_model")`.

    Raises:
        UnknownSite: the name is no site of any model.

    """
    match = _BLOCK_SITE.fullmatch(site) if isinstance(site, str) else None
    bare = site.removeprefix("encoder.") if isinstance(site, str) else ""
    table, name = (_BLOCK_SITES, match[3]) if match else (_MODEL_SITES, bare)
    if name in table:
        return table[name]
    known = [*_MODEL_SITES, *(f"{match[1] if match else 'blocks.0'}.{name}" for name in _BLOCK_SITES)]
    raise _unknown(site, known)


def layer_of(site: str) -> int | None:
    """Return the layer of a block's site, counted from 0; `None` for `embed`, `ln_final.out` and `logits`."""
    match = _BLOCK_SITE.fullmatch(site)
    return None if match is None else int(match[2])


def check_site(site: object, known: Sequence[str]) -> str:
    """Return the site if it is one of `known`.

    Raises:
        UnknownSite: it is not; the message names the three nearest.

    """
    if isinstance(site, str) and site in known:
        return site
    match = _BLOCK_SITE.fullmatch(site) if isinstance(site, str) else None
    layers = [layer for layer in map(layer_of, known) if layer is not None]
    if match and layers and int(match[2]) > max(layers) and match[3] in _BLOCK_SITES:
        raise UnknownSite(
            f"site unknown: expected a block from 0 to {max(layers)}, got {shown(site)}; count layers from 0"
        )
    raise _unknown(site, known)


def _unknown(site: object, known: Sequence[str]) -> UnknownSite:
    near = difflib.get_close_matches(str(site), known, n=_NEAREST, cutoff=0.4) or ["blocks.0.attn.pattern"]
    names = ", ".join(repr(name) for name in near)
    return UnknownSite(f"site unknown: expected a name such as {names}, got {shown(site)}; list them with model.sites")
