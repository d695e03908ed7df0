"""The names of the places in a model where tlab can read and write, and the axes of what lies there.

Our `blocks.3.attn.pattern` is TransformerLens' `blocks.3.attn.hook_pattern`. Refuses: running anything.
"""

from __future__ import annotations

import difflib
import re

from tlab.errors import UnknownSite, shown

__all__ = ["axes_of", "hook_name", "site_names"]

_STREAM = ("batch", "pos", "d_model")
_QUERY = ("batch", "pos", "head", "d_head")
_KEY_VALUE = ("batch", "pos", "kv_head", "d_head")
_MAP = ("batch", "head", "dest_pos", "src_pos")
_NEURONS = ("batch", "pos", "d_mlp")

# site within a block -> (TransformerLens hook within the block, axes)
_BLOCK_SITES: dict[str, tuple[str, tuple[str, ...]]] = {
    "resid_pre": ("hook_resid_pre", _STREAM),
    "attn.q": ("attn.hook_q", _QUERY),
    "attn.k": ("attn.hook_k", _KEY_VALUE),
    "attn.v": ("attn.hook_v", _KEY_VALUE),
    "attn.scores": ("attn.hook_attn_scores", _MAP),
    "attn.pattern": ("attn.hook_pattern", _MAP),
    "attn.z": ("attn.hook_z", _QUERY),
    "attn.out": ("hook_attn_out", _STREAM),
    "resid_mid": ("hook_resid_mid", _STREAM),
    "mlp.pre": ("mlp.hook_pre", _NEURONS),
    "mlp.pre_linear": ("mlp.hook_pre_linear", _NEURONS),
    "mlp.post": ("mlp.hook_post", _NEURONS),
    "mlp.out": ("hook_mlp_out", _STREAM),
    "resid_post": ("hook_resid_post", _STREAM),
}

_MODEL_SITES: dict[str, tuple[str, tuple[str, ...]]] = {
    "embed": ("hook_embed", _STREAM),
    "ln_final.out": ("ln_final.hook_out", _STREAM),
    "logits": ("unembed.hook_out", ("batch", "pos", "d_vocab")),
}

# At most six digits: Python refuses to read numbers of thousands.
_BLOCK_SITE = re.compile(r"blocks\.(\d{1,6})\.(.+)")


def site_names(n_layers: int) -> tuple[str, ...]:
    """Return every site of a decoder with `n_layers` blocks, in the order in which a prompt passes them."""
    blocks = (f"blocks.{layer}.{site}" for layer in range(n_layers) for site in _BLOCK_SITES)
    return ("embed", *blocks, "ln_final.out", "logits")


def axes_of(site: str) -> tuple[str, ...]:
    """Return the names of the site's axes, e.g. `("batch", "pos", "d_model")`.

    Raises:
        UnknownSite: the name is no site of any model.

    """
    return _entry(site)[1]


def hook_name(site: str, n_layers: int) -> str:
    """Return the name of the TransformerLens hook point behind `site`.

    Raises:
        UnknownSite: the name is no site, or its block lies outside the model.

    """
    hook, _ = _entry(site)
    match = _BLOCK_SITE.fullmatch(site)
    if match is None:
        return hook
    layer = int(match[1])
    if layer >= n_layers:
        raise UnknownSite(
            f"site unknown: expected a block from 0 to {n_layers - 1}, got {shown(site)}; count layers from 0"
        )
    return f"blocks.{layer}.{hook}"


def _entry(site: str) -> tuple[str, tuple[str, ...]]:
    match = _BLOCK_SITE.fullmatch(site) if isinstance(site, str) else None
    table, name = (_BLOCK_SITES, match[2]) if match else (_MODEL_SITES, site)
    if name in table:
        return table[name]
    known = [*_MODEL_SITES, *(f"blocks.{match[1] if match else 0}.{name}" for name in _BLOCK_SITES)]
    near = difflib.get_close_matches(str(site), known, n=1) or ["blocks.0.attn.pattern"]
    raise UnknownSite(
        f"site unknown: expected a name such as {near[0]!r}, got {shown(site)}; list them with model.sites"
    )
