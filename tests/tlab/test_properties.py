"""Laws over all targets, sites and prompts, on small random models."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tlab
from tlab.engine import run
from tlab.errors import TlabError, UnknownSite, UnknownTarget, UnusablePrompt
from tlab.sites import axes_of, check_site, layer_of
from tlab.targets import Target, parse_targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlab import Model
    from tlab.engine import Inputs

# Derandomised: the same examples in every run, on every machine.
_settings = settings(derandomize=True, deadline=None, max_examples=25, database=None)
_many = settings(derandomize=True, deadline=None, max_examples=200, database=None)

_N_LAYERS, _N_HEADS = 30, 9
_AXES = {"batch", "pos", "src_pos", "dest_pos", "head", "kv_head", "d_model", "d_head", "d_mlp", "d_vocab"}

# Each character is at most four bytes, and the small models take one token a byte.
_prompts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)
_layers = st.integers(0, _N_LAYERS - 1)
_targets = st.one_of(
    st.builds(Target, _layers, st.just("head"), st.integers(0, _N_HEADS - 1)),
    st.builds(Target, _layers, st.sampled_from(["attn", "mlp", "layer"])),
)
# More digits than Python turns into a number.
_HUGE = "9" * 5000


@_many
@given(st.lists(_targets, max_size=4))
def test_a_targets_name_reads_back_as_the_target(targets: list[Target]) -> None:
    expected = tuple(dict.fromkeys(targets))
    assert parse_targets([str(target) for target in targets], _N_LAYERS, _N_HEADS) == expected
    for target in targets:
        assert parse_targets(f" {target} ", _N_LAYERS, _N_HEADS) == (target,)
        assert {layer_of(site) for site in target.sites} == {target.layer}
        assert all(axes_of(site)[:2] == ("batch", "pos") for site in target.sites)


@_many
@given(st.one_of(st.text(), st.from_regex(r"L[0-9]+(H[0-9]+|\.attn|\.mlp)?", fullmatch=True)))
@example(f"L{_HUGE}")
@example(f"L0H{_HUGE}")
def test_any_text_is_a_target_or_an_unknown_target(text: str) -> None:
    try:
        (target,) = parse_targets(text, _N_LAYERS, _N_HEADS)
    except UnknownTarget:
        return
    assert target.layer < _N_LAYERS
    assert target.head is None or target.head < _N_HEADS


@_many
@given(st.one_of(st.text(), st.from_regex(r"blocks\.[0-9]+\.(attn|mlp)\.[a-z_]+", fullmatch=True)))
@example(f"blocks.{_HUGE}.attn.z")
def test_any_text_is_a_site_or_an_unknown_site(text: str) -> None:
    try:
        axes = axes_of(text)
    except UnknownSite:
        return
    assert axes[0] == "batch"
    assert set(axes) <= _AXES


@_many
@given(st.one_of(st.text(), st.from_regex(r"(encoder\.)?blocks\.[0-9]+\.(attn|mlp)\.[a-z_]+", fullmatch=True)))
@example("blocks.2.attn.z")
@example("blocks.3.attn.z")
@example("encoder.blocks.0.attn.z")
@example(f"blocks.{_HUGE}.attn.z")
def test_any_text_is_a_site_of_the_model_or_an_unknown_one(llama: Model, text: str) -> None:
    try:
        site = check_site(text, llama.sites)
    except UnknownSite:
        assert text not in llama.sites
        return
    assert site == text
    assert site in llama.sites


def test_every_listed_site_of_every_architecture_has_axes_and_a_name_of_its_own(
    specimen: str, dissected: Callable[..., Model]
) -> None:
    model = dissected(specimen)
    assert len(set(model.sites)) == len(model.sites)
    for site in model.sites:
        axes = axes_of(site)
        assert axes[0] == "batch"
        assert set(axes) <= _AXES
        assert len(set(axes)) == len(axes)
        layer = layer_of(site)
        assert layer is None or layer < model.n_layers or site.startswith("encoder.")


def _sizes(model: Model, n_pos: int, *, n_rows: int = 1, n_src: int | None = None) -> dict[str, int]:
    return {
        "batch": n_rows,
        "pos": n_pos,
        "dest_pos": n_pos,
        "src_pos": n_pos if n_src is None else n_src,
        "head": model.n_heads,
        "kv_head": model.n_kv_heads,
        "d_model": model.d_model,
        "d_head": model.d_head,
        "d_mlp": model.d_mlp,
        "d_vocab": model.d_vocab,
    }


# Where a site's shape is not what the model's sizes say, and why.
_UNLIKE = {
    "deepseek-v3": ("attn.rot_q", "attn.rot_k"),  # its queries and keys are wider than its values
    "electra": ("embed",),  # its embedding is narrower than its stream
    "opt-post-norm": ("embed",),  # likewise
    "falcon-new": ("attn.rot_k", "attn.v"),  # its own code repeats keys and values, once for each query head
    "falcon-2": ("attn.rot_k", "attn.v"),  # likewise
    "qwen2-moe": ("mlp.pre", "mlp.pre_linear", "mlp.post"),  # only a later layer has neurons that can be told apart
}


def test_every_site_of_every_architecture_has_the_shape_that_its_axes_say(
    specimen: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(specimen), prompted(specimen)
    captured = run(model, inputs, sites=model.sites).captured
    n_source = None if inputs.source is None else inputs.source.shape[1]
    unlike = set()
    for site, tensor in captured.items():
        n_pos = n_source if site.startswith("encoder.") and n_source else inputs.ids.shape[1]
        is_cross = ".cross_attn." in site
        sizes = _sizes(model, n_pos, n_rows=2, n_src=n_source if is_cross else None)
        if is_cross and site.endswith((".k", ".v")):
            sizes["pos"] = n_source or 0
        if tuple(tensor.shape) != tuple(sizes[axis] for axis in axes_of(site)):
            unlike.add(site.partition("blocks.")[2].partition(".")[2] or site)
    assert unlike == set(_UNLIKE.get(specimen, ()))


@_settings
@given(prompt=_prompts, data=st.data())
def test_every_site_has_the_shape_that_its_axes_say(tiny: Model, prompt: str, data: st.DataObject) -> None:
    sites = data.draw(st.lists(st.sampled_from(tiny.sites), min_size=1, max_size=6))
    captured = tlab.capture(tiny, prompt, sites=sites)
    sizes = _sizes(tiny, len(captured.tokens))
    assert list(captured) == list(dict.fromkeys(sites))
    for site, tensor in captured.items():
        assert tuple(tensor.shape) == tuple(sizes[axis] for axis in captured.axes(site)), site


def test_grouped_query_heads_share_keys_and_values(llama: Model) -> None:
    assert (llama.n_heads, llama.n_kv_heads) == (4, 2)
    query, key, value = tlab.capture(llama, "abc", sites=[f"blocks.0.attn.{part}" for part in "qkv"]).values()
    assert query.shape == (1, 3, 4, 8)
    assert key.shape == value.shape == (1, 3, 2, 8)


@_settings
@given(prompt=_prompts)
@example(prompt=" ")
@example(prompt="a\n\t b")
@example(prompt="<b>&amp;</script>")
def test_every_experiment_takes_any_printable_prompt(llama: Model, prompt: str) -> None:
    n_pos = len(prompt.encode())
    prediction = tlab.predict(llama, prompt, k=llama.d_vocab)
    assert sum(prediction.to_frame()["probability"]) == pytest.approx(1, abs=1e-4)
    pattern = tlab.attention(llama, prompt, layer=1, head=3).pattern
    assert pattern.shape == (llama.n_layers, llama.n_heads, n_pos, n_pos)
    torch.testing.assert_close(pattern.sum(-1), torch.ones(pattern.shape[:-1]))
    lens = tlab.logit_lens(llama, prompt).to_frame()
    assert len(lens) == (llama.n_layers + 1) * n_pos
    assert (lens["target_probability"] <= lens["probability"] + 1e-6).all()


@_settings
@given(
    prompt=_prompts,
    targets=st.lists(
        st.one_of(
            st.builds(Target, st.integers(0, 2), st.just("head"), st.integers(0, 3)),
            st.builds(Target, st.integers(0, 2), st.sampled_from(["attn", "mlp", "layer"])),
        ),
        max_size=3,
    ),
    method=st.sampled_from(["zero", "mean", "resample"]),
)
def test_every_ablation_is_a_comparison_of_two_distributions(
    llama: Model, prompt: str, targets: list[Target], method: str
) -> None:
    result = tlab.ablate(llama, prompt, [str(target) for target in targets], method=method, reference=("ab c", "de"))
    frame = result.to_frame()
    assert result.targets == tuple(dict.fromkeys(str(target) for target in targets))
    assert result.kl_nats >= 0
    assert frame["clean"].between(0, 1).all()
    assert frame["patched"].between(0, 1).all()
    torch.testing.assert_close(
        torch.tensor(frame["change"].tolist()), torch.tensor((frame["patched"] - frame["clean"]).tolist())
    )
    assert frame["clean"].sum() <= 1 + 1e-5
    assert frame["patched"].sum() <= 1 + 1e-5


@_settings
@given(prompt=_prompts)
def test_every_view_of_any_prompt_is_valid_json_beside_its_text(llama: Model, prompt: str) -> None:
    results = (
        tlab.predict(llama, prompt),
        tlab.attention(llama, prompt),
        tlab.logit_lens(llama, prompt),
        tlab.capture(llama, prompt),
        tlab.ablate(llama, prompt, "L1"),
    )
    for result in results:
        bundle = result._repr_mimebundle_()
        assert set(bundle) == {"application/vnd.plotly.v1+json", "text/plain"}
        assert json.dumps(bundle, allow_nan=False)
        assert bundle["text/plain"].startswith(result.explain())


@_settings
@given(st.text(min_size=1, max_size=30))
@example("\ud800")
def test_any_text_has_ids_or_is_an_unusable_prompt(llama: Model, prompt: str) -> None:
    try:
        ids = llama.to_ids(prompt)
    except UnusablePrompt:
        return
    assert ids.dtype == torch.int64
    assert llama.tokenizer.decode(ids) == prompt
    assert len(llama.to_tokens(prompt)) == len(ids)


@pytest.mark.slow
@_many
@given(prompt=st.text(string.printable, min_size=1, max_size=40))
@example(prompt="x  12")
@example(prompt="It 's here , isn 't it ?")
def test_the_tokens_of_plain_text_join_to_the_text(model: Model, prompt: str) -> None:
    assert "".join(model.to_tokens(prompt)) == prompt


@pytest.mark.slow
@_many
@given(number=st.integers(0, 10**12))
def test_the_default_model_reads_numbers_digit_by_digit(model: Model, number: int) -> None:
    assert model.to_tokens(str(number)) == list(str(number))


@_many
@given(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.binary(), st.text(), st.lists(st.integers())),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())),
)
@example(0, True)  # noqa: FBT003  a boolean where a number belongs is the case
def test_a_nonsensical_head_is_an_error_of_tlabs(llama: Model, layer: object, head: object) -> None:
    try:
        result = tlab.attention(llama, "ab", layer=layer, head=head)
    except TlabError:
        return
    assert result.pattern.shape[:2] == (llama.n_layers, llama.n_heads)
    assert isinstance(result.explain(), str)
