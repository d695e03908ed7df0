"""A closer look at one part shows what plain Hugging Face computed there, and its steps follow from each other."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import oracle
import pytest
import torch
import zoo
from torch.testing import assert_close

from tlab.engine import run
from tlab.errors import UnknownOption, UnknownSite, UnknownTarget
from tlab.experiments.attribution import attribute
from tlab.experiments.component import component
from tlab.experiments.head_zoom import HeadZoom
from tlab.experiments.mlp_zoom import MlpZoom
from tlab.experiments.prompts import inputs_of
from tlab.experiments.stream_zoom import StreamZoom
from tlab.results import Result
from tlab.views import component as view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import PreTrainedModel

    from tlab import Model

_PROMPT = "The cat sat"
_FACT = "The capital of France is"


def _ids(model: Model) -> dict[str, Any]:
    inputs = inputs_of(model, _PROMPT)
    return {"ids": inputs.ids} if inputs.source is None else {"ids": inputs.source, "decoder_ids": inputs.ids}


def _head(model: Model, name: str, **options: Any) -> HeadZoom:  # noqa: ANN401
    found = component(model, _PROMPT, name, **options)
    assert isinstance(found, HeadZoom)
    return found


def test_a_heads_steps_follow_from_each_other_and_are_hugging_faces(
    specimen: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(specimen), untouched(specimen)
    heads = [_head(model, f"L1H{head}", position=-1) for head in range(model.n_heads)]
    assert max(max(head.identities.values()) for head in heads) < 1e-5
    pattern = oracle.attentions(hf, **_ids(model))[1][0]
    merged = oracle.merged_z(hf, specimen, **_ids(model), layer=1)[0]
    z = merged.view(len(merged), model.n_heads, -1)
    for index, head in enumerate(heads):
        assert_close(head.pattern, pattern[index], atol=1e-5, rtol=1e-4)
        assert_close(head.z, z[:, index], atol=1e-5, rtol=1e-4)
        assert_close(head.pattern @ head.v, head.z, atol=1e-5, rtol=1e-4)
        if "sinks" not in zoo.SPECIMENS[specimen].traits:
            assert_close(head.scores.softmax(-1), head.pattern, atol=1e-5, rtol=1e-4)
        assert bool((head.pattern[~head.mask] == 0).all())
        assert torch.equal(head.scores.isfinite(), head.mask)
    added = oracle.contribution(hf, specimen, **_ids(model), layer=1, part="attn")[0]
    written = torch.stack([head.write for head in heads]).sum(0)
    block = model.anatomy.decoder.blocks[1]
    bias = torch.zeros(model.d_model) if block.attn.b_O is None else block.attn.b_O * block.scale
    if "attn_post" in block.norms:
        assert block.attn.b_O is None
    assert_close(written + bias, added, atol=1e-4, rtol=1e-4)


def test_an_mlp_is_the_sum_of_its_neurons_and_hugging_faces(
    specimen: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(specimen), untouched(specimen)
    mlp: Any = model.anatomy.decoder.blocks[1].mlp
    if mlp.W_out is None:
        with pytest.raises(
            UnknownOption, match=r"^site refused: expected an MLP whose neurons .*chooses among experts"
        ):
            component(model, _PROMPT, "L1.mlp")
        return
    found = component(model, _PROMPT, "L1.mlp", position=-1)
    assert isinstance(found, MlpZoom)
    assert max(found.identities.values()) < 1e-5
    assert_close(
        found.out, oracle.contribution(hf, specimen, **_ids(model), layer=1, part="mlp")[0], atol=1e-4, rtol=1e-4
    )
    assert (found.pre_linear is not None) == mlp.is_gated
    activated = mlp.act(found.pre) * (1 if found.pre_linear is None else found.pre_linear)
    assert_close(activated, found.post, atol=1e-5, rtol=1e-5)
    lengths = found.post[-1].abs() * mlp.W_out.norm(dim=-1)
    assert found.frame["neuron"].tolist() == lengths.topk(10).indices.tolist()
    assert 1 <= found.n_effective <= found.post.shape[-1]


@pytest.mark.parametrize(
    "name", ["gpt2", "opt", "falcon", "gpt-j", "llama-grouped", "qwen3", "olmo-2", "gemma-2", "glm-4"]
)
def test_a_heads_effect_on_the_answer_is_its_share_of_the_logit(name: str, dissected: Callable[..., Model]) -> None:
    model = dissected(name)
    found = _head(model, "L1H2")
    logits = run(model, model.to_ids(_PROMPT)).logits[0, -1]
    answer = int(logits.argmax())
    shares = attribute(model, _PROMPT, answer, by="head", controls=0).frame.set_index("part")["effect"]
    assert found.answer == model.to_text(answer)
    assert found.answer_effect == pytest.approx(shares["L1H2"], abs=1e-4)
    effects = found.effects["effect"].tolist()
    assert effects == sorted(effects, reverse=True)
    assert len(effects) == 20
    lowest = attribute(model, _PROMPT, int(_all_effects(model, found).argmin()), by="head", controls=0).frame
    assert effects[-1] == pytest.approx(lowest.set_index("part")["effect"]["L1H2"], abs=1e-4)
    neurons = component(model, _PROMPT, "L1.mlp").to_frame()
    by_neuron = attribute(model, _PROMPT, answer, by="neuron", controls=0).frame.set_index("part")["effect"]
    for row in neurons.to_dict("records"):
        assert row["answer_effect"] == pytest.approx(by_neuron[f"L1N{row['neuron']}"], abs=1e-4)


def _all_effects(model: Model, found: HeadZoom) -> torch.Tensor:
    from tlab.experiments.direct import Readout  # noqa: PLC0415

    site = f"blocks.{model.n_layers - 1}.resid_post"
    last = run(model, model.to_ids(_PROMPT), sites=[site]).captured[site][0, -1]
    return Readout(model, last).logits(found.write[-1])


def test_rotary_queries_meet_rotary_keys(dissected: Callable[..., Model]) -> None:
    model = dissected("llama-grouped")
    found = _head(model, "L1H3")
    products = found.turned_q @ found.turned_k.T / math.sqrt(model.d_head)
    assert_close(products[found.mask], found.scores[found.mask], atol=1e-4, rtol=1e-4)
    assert float((found.q - found.turned_q).abs().max()) > 1e-2
    # Turning keeps lengths, and position 0 is not turned at all.
    assert_close(found.q.norm(dim=-1), found.turned_q.norm(dim=-1), atol=1e-4, rtol=1e-4)
    assert_close(found.q[0], found.turned_q[0])
    plain = _head(dissected("gpt2"), "L1H3")
    assert_close(plain.q, plain.turned_q, rtol=0, atol=0)


def test_query_heads_that_share_a_key_see_the_same_one(dissected: Callable[..., Model]) -> None:
    heads = [_head(dissected("llama-grouped"), f"L0H{head}") for head in range(4)]
    assert_close(heads[0].k, heads[1].k, rtol=0, atol=0)
    assert_close(heads[2].v, heads[3].v, rtol=0, atol=0)
    assert float((heads[0].k - heads[2].k).abs().max()) > 1e-2


@pytest.mark.parametrize("name", zoo.names("encoder-decoder"))
def test_both_stacks_and_the_attention_between_them_can_be_looked_at(
    name: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(name), untouched(name)
    given = _ids(model)
    across, inside = _head(model, "L1.crossH2"), _head(model, "encoder.L1H2")
    assert across.source_tokens == inside.tokens != across.tokens
    assert_close(across.pattern, oracle.attentions(hf, **given, cross=True)[1][0, 2], atol=1e-5, rtol=1e-4)
    assert_close(inside.pattern, oracle.attentions(hf, **given, stack="encoder")[1][0, 2], atol=1e-5, rtol=1e-4)
    assert max(*across.identities.values(), *inside.identities.values()) < 1e-5
    assert len(inside.effects) == 0
    assert "No direct path" in inside.explain()
    stream = component(model, _PROMPT, "encoder.L0")
    assert isinstance(stream, StreamZoom)
    _, after = oracle.residuals(hf, name, **given, layer=0, stack="encoder")
    assert_close(stream.tensor, after[0], atol=1e-4, rtol=1e-4)
    assert component(model, _PROMPT, "L1.cross").site == "blocks.1.cross_attn.out"  # type: ignore[union-attr]
    mlp = component(model, _PROMPT, "encoder.L0.mlp")
    assert isinstance(mlp, MlpZoom)
    assert mlp.answer == ""


@pytest.mark.parametrize(
    "name", ["gpt2", "gemma-2", "gpt-neox", "opt-post-norm", "bert", "modernbert", "t5", "mixtral"]
)
def test_every_site_can_be_looked_at(name: str, dissected: Callable[..., Model]) -> None:
    model = dissected(name)
    inputs = inputs_of(model, _PROMPT)
    captured = run(model, inputs, sites=model.sites).captured
    for site in model.sites:
        found = component(model, _PROMPT, site)
        assert isinstance(found, StreamZoom)
        assert_close(found.tensor, captured[site][0])
        assert len(found.frame) == found.tensor[..., 0].numel()
        assert re.fullmatch(r"[A-Z][^\n]*\.", found.explain())
        if not site.startswith(("blocks.0", "blocks.2", "blocks.3", "encoder.blocks.0")):
            assert view.draw(found).layout.xaxis.title.text


def test_the_lens_at_the_end_is_the_model_itself(dissected: Callable[..., Model]) -> None:
    for name in ("gpt2", "opt-post-norm", "gemma-2", "bert"):
        model = dissected(name)
        probabilities = run(model, model.to_ids(_PROMPT)).logits[0].softmax(-1)
        for site in ("L2" if name != "gemma-2" else "L3", "logits"):
            frame = component(model, _PROMPT, site).to_frame()
            assert frame["probability"].tolist() == pytest.approx(probabilities.max(-1).values.tolist(), abs=1e-5)
            assert frame["top_token"].tolist() == [model.to_text(one) for one in probabilities.argmax(-1).tolist()]


def test_a_write_promotes_what_its_parts_promote(llama: Model) -> None:
    whole = component(llama, _PROMPT, "L1.attn")
    assert isinstance(whole, StreamZoom)
    assert whole.reading == "direct"
    token = str(whole.effects["token"].iloc[0])
    shares = attribute(llama, _PROMPT, token, controls=0).frame.set_index("part")["effect"]
    assert float(whole.effects["effect"].iloc[0]) == pytest.approx(shares["L1.attn"], abs=1e-4)


@pytest.mark.parametrize(
    ("site", "error", "message"),
    [
        ("L9H0", UnknownTarget, r"^target outside the model: expected layers 0 to 2 and heads 0 to 3, got 'L9H0'"),
        ("L0H4", UnknownTarget, r"^target outside the model"),
        ("L0.q", UnknownTarget, r"^target unknown: expected 'L3H4'"),
        (
            "encoder.L0H0",
            UnknownTarget,
            r"^target unknown: expected one without 'encoder\.' or '\.cross' in a model of",
        ),
        ("L0.crossH0", UnknownTarget, r"^target unknown: expected one without"),
        ("blocks.0.attn.outt", UnknownSite, r"^site unknown: expected a name such as 'blocks\.0\.attn\.out'"),
        ("blocks.7.attn.out", UnknownSite, r"^site unknown: expected a block from 0 to 2, got 'blocks\.7\.attn\.out'"),
        (3, UnknownSite, r"^site unknown"),
        (None, UnknownSite, r"^site unknown"),
    ],
)
def test_a_part_that_is_not_there_is_refused(llama: Model, site: Any, error: type[Exception], message: str) -> None:  # noqa: ANN401
    with pytest.raises(error, match=message):
        component(llama, _PROMPT, site)


@pytest.mark.parametrize("k", [0, 1001, 2.0, True])
def test_a_number_of_tokens_out_of_range_is_refused(llama: Model, k: Any) -> None:  # noqa: ANN401
    with pytest.raises(UnknownOption, match=r"^k refused: expected a whole number from 1 to 1000, got .*; try k=10"):
        component(llama, _PROMPT, "L0H0", k=k)


def test_a_closer_look_says_and_draws_its_numbers(llama: Model) -> None:
    head = _head(llama, "L1H2", position=4, k=3)
    sentence = head.explain()
    assert re.fullmatch(r"[A-Z][^\n]*\.", sentence)
    assert f"promotes {head.effects['token'].iloc[0]!r} {head.effects['effect'].iloc[0]:+.2f}" in sentence
    assert f"suppresses {head.effects['token'].iloc[-1]!r} {head.effects['effect'].iloc[-1]:+.2f}" in sentence
    frame = head.to_frame()
    assert frame["weight"].sum() == pytest.approx(1, abs=1e-5)
    assert frame["allowed"].sum() == 5
    heat, bars = view.draw(head).data
    assert heat.z[4][5] is None
    assert len(bars.y) == len(set(bars.y)) == 6
    mlp = component(llama, "a <b> c", "L1.mlp", k=4)
    first = mlp.to_frame().iloc[0]
    assert f"neuron {first['neuron']} (activation {first['activation']:+.2f}" in mlp.explain()
    (bars,) = view.draw(mlp).data
    assert list(bars.x) == mlp.to_frame()["length"].round(3).tolist()
    assert not any("<" in words for words in bars.text)
    stream = component(llama, "a <b> c", "L1")
    (marks,) = view.draw(stream).data
    assert not any("<" in label for label in (*marks.x, *marks.text))


@pytest.mark.parametrize("site", ["L1H2", "L1.mlp", "blocks.1.resid_post", "blocks.0.attn.scores"])
def test_a_closer_look_is_saved_and_done_again(llama: Model, tmp_path: Path, site: str) -> None:
    found = component(llama, _PROMPT, site)
    loaded = Result.load(found.save(tmp_path / "c.tlab"))
    assert type(loaded) is type(found)
    assert loaded.explain() == found.explain()
    assert loaded.replay(llama).to_frame().equals(found.to_frame())


@pytest.mark.slow
def test_smollm2s_head_reads_france_and_speaks_for_paris(model: Model) -> None:
    found = component(model, _FACT, "L23H4")
    assert isinstance(found, HeadZoom)
    row = found.to_frame().set_index("src_token").loc[" France"]
    assert row["weight"] == pytest.approx(0.903, abs=1e-3)
    assert found.effects["token"].iloc[0] == " France"
    assert (found.answer, round(found.answer_effect, 1)) == (" Paris", 2.8)
    assert max(found.identities.values()) < 1e-5
