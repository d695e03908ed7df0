"""tlab against TransformerLens' bridge: the same numbers at every place that both name, or a verdict on who is right.

The bridge is a second reading of the same modules by other people. Where the two differ, plain Hugging Face decides, in
a test of its own; the tables below say what was found in TransformerLens 4.3.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import oracle
import pytest
import torch
import zoo
from torch.testing import assert_close
from transformer_lens.model_bridge import TransformerBridge

from tlab.engine import Edit, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor
    from transformers import PreTrainedModel

    from tlab import Model
    from tlab.engine import Inputs

_ATOL = 1e-4
_MASKED = -1e30

_UNKNOWN_KIND = "it knows no such model class"
_NO_BRIDGE = {
    "gpt-bigcode-every-head": "its adapter takes the multi-query variant only, and says so",
    "phi-qk-norm": "its adapter declares no norm of queries and keys, and says so",
    "falcon-new": "its adapter splits the fused projection as if every head had a key of its own",
    "falcon-2": "its adapter expects two norms where this variant has one",
    "biogpt": _UNKNOWN_KIND,
    "persimmon": _UNKNOWN_KIND,
    "ministral": _UNKNOWN_KIND,
    "helium": _UNKNOWN_KIND,
    "phi-moe": _UNKNOWN_KIND,
    "xlm-roberta": _UNKNOWN_KIND,
    "camembert": _UNKNOWN_KIND,
    "roberta-prelayernorm": _UNKNOWN_KIND,
    "electra": _UNKNOWN_KIND,
    "distilbert": _UNKNOWN_KIND,
    "modernbert": _UNKNOWN_KIND,
    "umt5": _UNKNOWN_KIND,
}
_NO_CACHE = {"opt-post-norm": "its block takes the two-dimensional stream of this variant's MLP for the block's own"}

# Sites that the bridge has no hook for, or none that it fills.
_ROTATED = frozenset({"rot_q", "rot_k"})
_UNNAMED: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("gpt-j", "codegen", "gpt-neox", "gpt-neox-sequential", "falcon", "phi-3"), _ROTATED),
    **dict.fromkeys(("t5", "t5-gated", "mt5"), frozenset({"embed"})),
}

# What differs, by specimen: the end of the site's name → the verdict, a function of this module.
_POST_NORM = {"resid_mid": "resid_mid_is_behind_the_mlp"}
_BERT = {
    "embed": "embedding_is_the_first_stream",
    "scores": "scores_are_the_pattern",
    "attn.out": "attn_out_is_behind_the_norm",
    **_POST_NORM,
}
_SCORES = {"scores": "scores_are_the_pattern"}
_DIFFERS: Mapping[str, Mapping[str, str]] = {
    "gpt-neo": _SCORES,
    "gpt-j": _SCORES,
    "opt": {**_SCORES, "attn.q": "queries_are_not_scaled"},
    "xglm": {**_SCORES, "attn.q": "queries_are_not_scaled"},
    "bloom": {"embed": "embedding_is_the_first_stream"},
    "bloom-residual-after-norm": {"embed": "embedding_is_the_first_stream"},
    "granite": {"embed": "embedding_is_the_first_stream"},
    "granite-moe": {"embed": "embedding_is_the_first_stream"},
    "olmo": {"attn.v": "values_are_not_clipped"},
    "hunyuan": {"rot_q": "rotated_is_not_normed", "rot_k": "rotated_is_not_normed"},
    "deepseek-v3": {
        "rot_q": "rotated_is_the_turned_part_alone",
        "rot_k": "rotated_is_the_turned_part_alone",
        "attn.v": "values_have_other_axes",
        "attn.z": "z_swaps_heads_and_their_width",
    },
    "bert": _BERT,
    "roberta": _BERT,
    "t5": {"scores": "scores_are_not_masked"},
    "t5-gated": {"scores": "scores_are_not_masked"},
    "mt5": {"scores": "scores_are_not_masked"},
    "bart": {**_SCORES, **_POST_NORM},
    "marian": {**_SCORES, **_POST_NORM},
    "mbart": _SCORES,
    "pegasus": _SCORES,
    "m2m-100": _SCORES,
    "blenderbot": _SCORES,
}

_RENAMED = {
    "attn.scores": "attn.hook_attn_scores",
    "cross_attn.scores": "cross_attn.hook_attn_scores",
    "attn.out": "hook_attn_out",
    "cross_attn.out": "cross_attn.hook_out",
    "mlp.out": "hook_mlp_out",
    "ln1.out": "ln1.hook_out",
    "ln2.out": "ln2.hook_out",
    "ln_cross.out": "ln2.hook_out",
}


def _hook(name: str, site: str) -> str:
    """Return the bridge's name for a site."""
    bare = site.removeprefix("encoder.")
    has_two = zoo.SPECIMENS[name].family == "encoder-decoder"
    side = ("encoder_" if bare != site else "decoder_") if has_two else ""
    if not bare.startswith("blocks."):
        return {"embed": "decoder_embed.hook_out" if has_two else "hook_embed"}.get(bare, f"{side}ln_final.hook_out")
    _, layer, step = bare.split(".", 2)
    part, _, last = step.rpartition(".")
    hook = _RENAMED.get(step) or f"{part}.hook_{last}".removeprefix(".")
    if side == "decoder_":
        hook = {
            "ln2.hook_out": "ln3.hook_out" if step == "ln2.out" else hook,
            "hook_resid_mid": _mid_of_two(name),
        }.get(hook, hook)
        hook = f"self_{hook}" if hook.startswith("attn.") else hook
    return f"{side}blocks.{layer}.{hook}"


def _mid_of_two(name: str) -> str:
    """Return what the bridge calls the stream before the MLP where cross-attention stands before it."""
    if oracle.paths(name).norms:
        return "mlp.hook_in"
    return "hook_resid_mid2" if "t5" in name else "ln3.hook_in"


@dataclass(frozen=True)
class _Pair:
    """One architecture as tlab has it, as the bridge has it, and as Hugging Face has it alone."""

    name: str
    model: Model
    bridge: Any
    hf: PreTrainedModel
    inputs: Inputs

    @property
    def given(self) -> dict[str, Tensor]:
        if self.inputs.source is None:
            return {"ids": self.inputs.ids}
        return {"ids": self.inputs.source, "decoder_ids": self.inputs.ids}

    @property
    def call(self) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
        options: dict[str, Any] = {"prepend_bos": False}
        if self.inputs.source is None:
            return (self.inputs.ids,), options
        return (self.inputs.source,), {**options, "decoder_input": self.inputs.ids}

    def theirs(self) -> tuple[Tensor, dict[str, Tensor]]:
        positional, named = self.call
        logits, cache = self.bridge.run_with_cache(*positional, **named)
        return logits, dict(cache.items())

    def edited(self, hook: str, function: Callable[[Tensor], Tensor]) -> Tensor:
        positional, named = self.call
        with torch.no_grad():
            found: Tensor = self.bridge.run_with_hooks(
                *positional,
                fwd_hooks=[(hook, lambda tensor, hook: function(tensor))],  # noqa: ARG005  its name is not ours to choose
                **named,
            )
        return found


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """Let TransformerLens log nothing: it counts what each adapter lacks."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def bridged(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Return a function from a specimen's name to TransformerLens' bridge over the same weights."""

    @functools.cache
    def of(name: str) -> Any:  # noqa: ANN401  TransformerLens ships no types
        folder = zoo.write(name, tmp_path_factory.mktemp(name))
        return TransformerBridge.boot_transformers(str(folder), device="cpu", dtype=torch.float32)

    return of


@pytest.fixture
def pair(
    specimen: str,
    bridged: Callable[[str], Any],
    dissected: Callable[..., Model],
    untouched: Callable[..., PreTrainedModel],
    prompted: Callable[..., Inputs],
) -> _Pair:
    """Return each architecture that the bridge takes."""
    if specimen in _NO_BRIDGE:
        with pytest.raises((AssertionError, AttributeError, RuntimeError, ValueError)):
            bridged(specimen)
        pytest.skip(f"no bridge: {_NO_BRIDGE[specimen]}")
    return _Pair(specimen, dissected(specimen), bridged(specimen), untouched(specimen), prompted(specimen))


def _same(ours: Tensor, theirs: Tensor) -> bool:
    if ours.shape != theirs.shape:
        return False
    ours, theirs = (tensor.masked_fill(tensor < _MASKED, _MASKED) for tensor in (ours, theirs))
    return bool((ours - theirs).abs().max() <= _ATOL)


def _ending(site: str, endings: Mapping[str, str] | frozenset[str]) -> str | None:
    return next((ending for ending in endings if site == ending or site.endswith((f".{ending}", ending))), None)


def test_every_site_holds_what_the_bridge_has_there_or_what_hugging_face_says(pair: _Pair) -> None:
    if pair.name in _NO_CACHE:
        with pytest.raises(ValueError, match="not enough values to unpack"):
            pair.theirs()
        pytest.skip(f"no cache: {_NO_CACHE[pair.name]}")
    finished = run(pair.model, pair.inputs, sites=pair.model.sites)
    logits, cache = pair.theirs()
    assert_close(logits, finished.logits, rtol=0, atol=_ATOL)
    verdicts, unnamed = _DIFFERS.get(pair.name, {}), _UNNAMED.get(pair.name, frozenset())
    differing: set[str] = set()
    missing: set[str] = set()
    for site in pair.model.sites:
        if site == "logits":
            continue
        ours, theirs = finished.captured[site], cache.get(_hook(pair.name, site))
        if theirs is None:
            missing.add(_ending(site, unnamed) or site)
        elif not _same(ours, theirs):
            ending = _ending(site, verdicts)
            assert ending is not None, site
            differing.add(ending)
            _VERDICTS[verdicts[ending]](pair, site, ours, theirs)
    assert differing == set(verdicts)
    assert missing == unnamed


_EDITED = (
    "resid_pre",
    "attn.q",
    "attn.k",
    "attn.rot_q",
    "attn.v",
    "attn.scores",
    "attn.pattern",
    "attn.z",
    "attn.out",
    "cross_attn.q",
    "cross_attn.z",
    "mlp.pre",
    "mlp.post",
    "mlp.out",
    "resid_post",
)
# The bridge leaves attention to Hugging Face's function and shows its inner steps afterwards: an edit changes nothing.
_INNER = frozenset({"attn.scores", "attn.pattern"})
_SHOWN_AFTERWARDS = (
    *("gpt-neo", "gpt-j", "opt", "opt-post-norm", "xglm", "bert", "roberta"),
    *zoo.names("encoder-decoder"),
)


def _tilted(tensor: Tensor) -> Tensor:
    # Not the same factor everywhere: a norm behind the site would undo it.
    return tensor * torch.linspace(0.2, 1.0, tensor.shape[-1])


def test_an_edit_does_what_it_does_in_the_bridge(pair: _Pair) -> None:
    plain = run(pair.model, pair.inputs).logits
    verdicts, deaf = _DIFFERS.get(pair.name, {}), _INNER if pair.name in _SHOWN_AFTERWARDS else frozenset()
    for step in _EDITED:
        site = f"blocks.1.{step}"
        is_unlike = _ending(site, verdicts) or _ending(site, _UNNAMED.get(pair.name, frozenset()))
        if site not in pair.model.sites or (is_unlike and step not in deaf):
            continue
        ours = run(pair.model, pair.inputs, edits=[Edit(site, _tilted)]).logits
        expectation = pytest.warns(UserWarning, match="edit is discarded") if step in deaf else contextlib.nullcontext()
        with expectation:
            theirs = pair.edited(_hook(pair.name, site), _tilted)
        if step in deaf:
            assert_close(theirs, plain, rtol=0, atol=_ATOL)
            assert float((ours - plain).abs().max()) > _ATOL
        else:
            assert_close(ours, theirs, rtol=0, atol=_ATOL, msg=lambda text, site=site: f"{site}: {text}")


# In this variant of BLOOM the stream is a norm's output, and its hook stands behind that norm.
_WHOLE_MID = ("bloom-residual-after-norm",)


def test_what_stands_between_attention_and_mlp_is_the_whole_stream(
    pair: _Pair, prompted: Callable[..., Inputs]
) -> None:
    """Another prompt's stream, put there, gives the other prompt's logits; in the bridge it reaches the MLP alone."""
    site = "blocks.1.resid_mid"
    if site not in pair.model.sites or zoo.SPECIMENS[pair.name].family != "decoder" or pair.name in _NO_CACHE:
        pytest.skip("no such stream in the bridge")
    other = prompted(pair.name, seed=1)
    stream = run(pair.model, other, sites=[site]).captured[site]
    expected = oracle.logits(pair.hf, other.ids)
    ours = run(pair.model, pair.inputs, edits=[Edit(site, lambda _: stream)]).logits
    assert_close(ours, expected, rtol=0, atol=_ATOL)
    theirs = pair.edited(_hook(pair.name, site), lambda _: stream)
    assert _same(theirs, expected) == (pair.name in _WHOLE_MID)


# Verdicts. Each takes what tlab has at a site and what the bridge has there, and shows which of them is Hugging Face's.


def _layer(site: str) -> int:
    return int(site.removeprefix("encoder.").split(".")[1])


def _where(pair: _Pair, site: str) -> dict[str, Any]:
    stack = "encoder" if site.startswith("encoder.") else oracle.stacks(pair.name)[-1]
    return {"stack": stack, "layer": _layer(site)}


def _pattern(pair: _Pair, site: str) -> Tensor:
    is_cross = ".cross_attn." in site
    stack = _where(pair, site)["stack"]
    return oracle.attentions(pair.hf, **pair.given, stack=stack, cross=is_cross)[_layer(site)]


def _scores_are_the_pattern(pair: _Pair, site: str, ours: Tensor, theirs: Tensor) -> None:
    """The bridge's `hook_attn_scores` holds the pattern; a softmax of our scores gives it."""
    pattern = _pattern(pair, site)
    assert_close(ours.softmax(-1), pattern, rtol=0, atol=_ATOL)
    assert_close(theirs, pattern, rtol=0, atol=_ATOL)


def _scores_are_not_masked(pair: _Pair, site: str, ours: Tensor, theirs: Tensor) -> None:
    """The bridge has T5's scores before the mask; a softmax of ours, as they are, gives the pattern."""
    assert_close(ours.softmax(-1), _pattern(pair, site), rtol=0, atol=_ATOL)
    forbidden = torch.ones(theirs.shape[-2:], dtype=torch.bool).triu(1)
    assert bool((theirs[..., forbidden] > _MASKED).all())
    assert _same(ours, theirs.masked_fill(forbidden, 2 * _MASKED))


def _embedding_is_the_first_stream(pair: _Pair, site: str, ours: Tensor, theirs: Tensor) -> None:
    """Ours is what the embedding module gives; the bridge's is what enters the first block, scaled or normed."""
    assert site == "embed"
    with torch.no_grad():
        assert_close(ours, pair.hf.get_input_embeddings()(pair.inputs.ids), rtol=0, atol=0)
    assert_close(theirs, oracle.hidden_states(pair.hf, **pair.given)[0], rtol=0, atol=_ATOL)


def _queries_are_not_scaled(pair: _Pair, site: str, ours: Tensor, theirs: Tensor) -> None:
    """Both are Hugging Face's: the bridge has the projection's output, tlab what is multiplied with the keys."""
    key = run(pair.model, pair.inputs, sites=[site.replace(".q", ".k")]).captured[site.replace(".q", ".k")]
    scores = torch.einsum("bdhe,bshe->bhds", ours, key)
    forbidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    assert_close(scores.masked_fill(forbidden, _MASKED).softmax(-1), _pattern(pair, site), rtol=0, atol=_ATOL)
    assert_close(theirs * pair.model.d_head**-0.5, ours, rtol=0, atol=_ATOL)


def _values_are_not_clipped(pair: _Pair, site: str, ours: Tensor, theirs: Tensor) -> None:
    """The bridge has the projection's output; what the heads mix is clipped, and ours."""
    shared = ours.repeat_interleave(pair.model.n_heads // pair.model.n_kv_heads, dim=2)
    z = torch.einsum("bhds,bshe->bdhe", _pattern(pair, site), shared)
    assert_close(z.flatten(2), oracle.merged_z(pair.hf, pair.name, **pair.given, **_where(pair, site)))
    limit = pair.hf.config.clip_qkv
    assert_close(theirs.clamp(-limit, limit), ours, rtol=0, atol=_ATOL)


def _rotated_is_not_normed(pair: _Pair, site: str, ours: Tensor, theirs: Tensor) -> None:
    """HunYuan norms queries and keys after turning them; the bridge has them before, tlab what is multiplied."""
    module = pair.hf.model.layers[_layer(site)].self_attn
    norm = module.query_layernorm if site.endswith("q") else module.key_layernorm
    with torch.no_grad():
        assert_close(norm(theirs), ours, rtol=0, atol=_ATOL)


def _rotated_is_the_turned_part_alone(pair: _Pair, site: str, ours: Tensor, theirs: Tensor) -> None:
    """The bridge has the few coordinates that are turned; tlab the whole that is multiplied."""
    assert site.endswith(tuple(_ROTATED))
    turned = ours[..., -pair.hf.config.qk_rope_head_dim :]
    assert_close(theirs.expand_as(turned), turned, rtol=0, atol=_ATOL)


def _values_have_other_axes(pair: _Pair, site: str, ours: Tensor, theirs: Tensor) -> None:
    """The bridge's value has `batch head pos d_head` here, unlike in its other architectures."""
    assert pair.model.sites.count(site) == 1
    assert_close(theirs.transpose(1, 2), ours, rtol=0, atol=_ATOL)


def _z_swaps_heads_and_their_width(pair: _Pair, site: str, ours: Tensor, theirs: Tensor) -> None:
    """The numbers are the same; the bridge cuts them into eight heads of four where there are four of eight."""
    assert (ours.shape[2], theirs.shape[3]) == (pair.model.n_heads, pair.model.n_heads)
    merged = oracle.merged_z(pair.hf, pair.name, **pair.given, **_where(pair, site))
    assert_close(ours.flatten(2), merged, rtol=0, atol=_ATOL)
    assert_close(theirs.flatten(2), merged, rtol=0, atol=_ATOL)


def _attn_out_is_behind_the_norm(pair: _Pair, site: str, ours: Tensor, theirs: Tensor) -> None:
    """Ours is what attention adds to the stream; the bridge's is the stream after that and after the norm."""
    where = _where(pair, site)
    added = oracle.contribution(pair.hf, pair.name, **pair.given, part="attn", **where)
    assert_close(ours, added, rtol=0, atol=_ATOL)
    before, _ = oracle.residuals(pair.hf, pair.name, **pair.given, **where)
    norm = oracle.module_at(pair.hf, pair.name, where["layer"], oracle.paths(pair.name).norms[0])
    with torch.no_grad():
        assert_close(norm(before + added), theirs, rtol=0, atol=_ATOL)


def _resid_mid_is_behind_the_mlp(pair: _Pair, site: str, ours: Tensor, theirs: Tensor) -> None:
    """Ours is the stream that the MLP reads; the bridge's is what enters the norm behind the MLP."""
    where = _where(pair, site)
    before, after = oracle.residuals(pair.hf, pair.name, **pair.given, **where)
    first, *_, last = (
        oracle.module_at(pair.hf, pair.name, where["layer"], path, stack=where["stack"])
        for path in oracle.paths(pair.name, where["stack"]).norms
    )
    with torch.no_grad():
        attn = oracle.contribution(pair.hf, pair.name, **pair.given, part="attn", **where)
        assert_close(first(before + attn), ours, rtol=0, atol=_ATOL)
        assert_close(last(theirs), after, rtol=0, atol=_ATOL)


_VERDICTS: dict[str, Callable[[_Pair, str, Tensor, Tensor], None]] = {
    function.__name__.removeprefix("_"): function
    for function in (
        _attn_out_is_behind_the_norm,
        _embedding_is_the_first_stream,
        _queries_are_not_scaled,
        _resid_mid_is_behind_the_mlp,
        _rotated_is_not_normed,
        _rotated_is_the_turned_part_alone,
        _scores_are_not_masked,
        _scores_are_the_pattern,
        _values_are_not_clipped,
        _values_have_other_axes,
        _z_swaps_heads_and_their_width,
    )
}
