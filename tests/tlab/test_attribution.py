"""A logit is the sum of what the model's parts wrote for it, and each part's share is what plain torch says it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from tlab.errors import UnknownOption, UnusablePrompt
from tlab.experiments.attribution import Attribution, attribute
from tlab.experiments.direct import obstacle
from tlab.experiments.freezing import freeze
from tlab.experiments.prompts import inputs_of
from tlab.results import Result
from tlab.views import attribution as view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel

    from tlab import Model

_PROMPT = "The cat sat"
_FACT = "The capital of France is"
# Wirings, norms and unembeddings of every sort, each with the final norm's module path: (path, weights start at one).
_BY_HAND = {
    "gpt2": ("transformer.ln_f", False),
    "opt": ("model.decoder.final_layer_norm", False),
    "bloom": ("transformer.ln_f", False),
    "mpt": ("transformer.norm_f", False),
    "gpt-neox": ("gpt_neox.final_layer_norm", False),
    "falcon": ("transformer.ln_f", False),
    "phi": ("model.final_layernorm", False),
    "cohere": ("model.norm", False),
    "nemotron": ("model.norm", True),
    "olmo": ("model.norm", False),
    "olmo-2": ("model.norm", False),
    "llama-grouped": ("model.norm", False),
    "gemma-2": ("model.norm", True),
    "granite": ("model.norm", False),
    "qwen3": ("model.norm", False),
    "mixtral": ("model.norm", False),
}


def _hf_logits(hf: PreTrainedModel, model: Model) -> Tensor:
    inputs = inputs_of(model, _PROMPT)
    if inputs.source is None:
        return oracle.logits(hf, inputs.ids)[0, -1]
    return oracle.logits(hf, inputs.source, decoder_ids=inputs.ids)[0, -1]


def test_a_logit_is_the_sum_of_its_parts_or_is_refused(
    specimen: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model = dissected(specimen)
    if obstacle(model) is not None:
        with pytest.raises(UnknownOption, match=r"^attribution refused: expected a model whose last stream is the sum"):
            attribute(model, _PROMPT, "q")
        return
    head: Any = model.anatomy.unembed
    expected = float(_hf_logits(untouched(specimen), model)[model.to_id("q")])
    for by in ("component", "head", "neuron"):
        if by == "neuron" and any(
            block.mlp is None or block.mlp.W_out is None for block in model.anatomy.decoder.blocks
        ):
            with pytest.raises(UnknownOption, match=r"^by refused: expected MLPs whose neurons can be told apart"):
                attribute(model, _PROMPT, "q", by="neuron")
            continue
        found = attribute(model, _PROMPT, "q", by=by, controls=0)  # type: ignore[arg-type]
        assert found.identity_error < 1e-5, by
        assert found.total == pytest.approx(float(found.frame["effect"].sum()), abs=1e-9)
        capped = found.total if head.softcap is None else head.softcap * torch.tensor(found.total / head.softcap).tanh()
        assert float(capped) == pytest.approx(expected, abs=1e-4 * max(1.0, abs(expected))), by


def _direct_by_hand(
    hf: PreTrainedModel, path: str, last: Tensor, written: Tensor, token: int, *, plus_one: bool
) -> float:
    """What a written vector adds to a logit, the final norm's formula written out with the whole stream's scale."""
    norm: Any = hf.get_submodule(path)
    centred = "LayerNorm" in type(norm).__name__
    # OLMo writes its constant into the formula.
    eps = next((getattr(norm, name) for name in ("eps", "variance_epsilon") if hasattr(norm, name)), 1e-5)
    weight = getattr(norm, "weight", None)
    gain = torch.ones_like(last) if weight is None else weight + 1 if plus_one else weight
    middle = last - last.mean() if centred else last
    vector = written - written.mean() if centred else written
    normed = gain * vector / (middle.pow(2).mean() + eps).sqrt()
    scale = getattr(hf.config, "logit_scale", None) or 1 / (getattr(hf.config, "logits_scaling", None) or 1.0)
    return float(hf.get_output_embeddings().weight[token] @ normed) * scale


@pytest.mark.parametrize("name", _BY_HAND)
@torch.no_grad()
def test_each_parts_effect_is_what_the_norms_formula_says(
    name: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(name), untouched(name)
    path, plus_one = _BY_HAND[name]
    ids, token = model.to_ids(_PROMPT)[None], model.to_id("q")
    last = oracle.residuals(hf, name, ids, model.n_layers - 1)[1][0, -1]
    effects = attribute(model, _PROMPT, "q", controls=0).frame.set_index("part")["effect"]
    for layer in range(model.n_layers):
        for part in ("attn", "mlp"):
            written = oracle.contribution(hf, name, ids, layer, part)[0, -1]  # type: ignore[arg-type]
            expected = _direct_by_hand(hf, path, last, written, token, plus_one=plus_one)
            assert effects[f"L{layer}.{part}"] == pytest.approx(expected, abs=1e-4), (layer, part)


@pytest.mark.parametrize(
    "name", ["gpt2", "opt", "bloom", "gpt-neox", "falcon", "phi", "llama-grouped", "qwen3", "mixtral"]
)
@torch.no_grad()
def test_a_heads_effect_is_that_of_its_slice_of_the_output_projection(
    name: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(name), untouched(name)
    path, plus_one = _BY_HAND[name]
    ids, token = model.to_ids(_PROMPT)[None], model.to_id("q")
    last = oracle.residuals(hf, name, ids, model.n_layers - 1)[1][0, -1]
    z = oracle.merged_z(hf, name, ids, 1)[0, -1].view(model.n_heads, -1)
    projection: Any = oracle.module_at(hf, name, 1, oracle.paths(name).attn)
    silence = projection(torch.zeros_like(z).flatten()[None])[0]
    frame = attribute(model, _PROMPT, "q", by="head", controls=0).frame.set_index("part")
    for head in range(model.n_heads):
        alone = torch.zeros_like(z)
        alone[head] = z[head]
        written = projection(alone.flatten()[None])[0] - silence
        expected = _direct_by_hand(hf, path, last, written, token, plus_one=plus_one)
        assert frame["effect"][f"L1H{head}"] == pytest.approx(expected, abs=1e-4), head
    if silence.any():
        expected = _direct_by_hand(hf, path, last, silence, token, plus_one=plus_one)
        assert frame["effect"]["L1.attn.b_O"] == pytest.approx(expected, abs=1e-4)


def test_cross_attention_has_its_share(dissected: Callable[..., Model]) -> None:
    frame = attribute(dissected("mbart"), _PROMPT, "q", by="head", written="ab").frame
    names = frame["part"].tolist()
    assert {"L0H0", "L0.crossH3", "L1.cross.b_O", "norm bias"} <= set(names)
    assert len(attribute(dissected("mbart"), _PROMPT, "q", by="head").grid()) == 2
    layers = attribute(dissected("mbart"), _PROMPT, "q", by="layer", written="ab").frame.set_index("part")["effect"]
    parts = attribute(dissected("mbart"), _PROMPT, "q", written="ab").frame.set_index("part")["effect"]
    assert layers["L1"] == pytest.approx(parts["L1.attn"] + parts["L1.cross"] + parts["L1.mlp"])


def test_the_cuts_agree_with_each_other(dissected: Callable[..., Model]) -> None:
    for name in ("gpt2", "gemma-2"):
        model = dissected(name)
        cut = {by: attribute(model, _PROMPT, "q", by=by).frame for by in ("component", "head", "mlp", "neuron")}  # type: ignore[arg-type]
        parts = cut["component"].set_index("part")["effect"]
        heads = cut["head"][cut["head"]["part"].str.match(r"L1(H|\.attn)")]
        neurons = cut["neuron"][cut["neuron"]["part"].str.match(r"L1(N|\.mlp)")]
        assert heads["effect"].sum() == pytest.approx(parts["L1.attn"], abs=1e-5)
        assert neurons["effect"].sum() == pytest.approx(parts["L1.mlp"], abs=1e-5)
        attention = parts[[part for part in parts.index if part.endswith(".attn")]].sum()
        assert cut["mlp"].set_index("part")["effect"]["all attention"] == pytest.approx(attention, abs=1e-6)


def test_against_another_token_is_the_difference(llama: Model) -> None:
    one, other = (attribute(llama, _PROMPT, token, controls=0) for token in ("q", "r"))
    both = attribute(llama, _PROMPT, "q", against="r", controls=0)
    assert both.frame["effect"].tolist() == pytest.approx((one.frame["effect"] - other.frame["effect"]).tolist())
    assert both.model_value == pytest.approx(one.model_value - other.model_value, abs=1e-5)
    assert both.label == "logit difference 'q' − 'r'"
    nothing = attribute(llama, _PROMPT, "q", against="q")
    assert nothing.total == 0.0
    assert not nothing.frame["effect"].any()


def test_the_control_is_the_same_cut_for_random_tokens(llama: Model) -> None:
    found = attribute(llama, _PROMPT, "q", controls=3, seed=5)
    chosen = torch.randint(llama.d_vocab, (3,), generator=torch.Generator().manual_seed(5)).tolist()
    cuts = torch.tensor([attribute(llama, _PROMPT, one, controls=0).frame["effect"].tolist() for one in chosen])
    assert_close(torch.tensor(found.frame["control_mean"].tolist()), cuts.mean(0))
    assert_close(torch.tensor(found.frame["control_std"].tolist()), cuts.std(0, correction=0), atol=1e-6, rtol=1e-5)
    assert attribute(llama, _PROMPT, "q", controls=3, seed=6).frame["control_mean"].tolist() != pytest.approx(
        found.frame["control_mean"].tolist()
    )
    assert not attribute(llama, _PROMPT, "q", controls=0).frame[["control_mean", "control_std"]].to_numpy().any()


def test_the_position_is_the_one_that_was_asked_for(dissected: Callable[..., Model]) -> None:
    model = dissected("gpt2")
    earlier, cut = attribute(model, _PROMPT, "q", position=-4), attribute(model, "The cat", "q")
    assert earlier.position == 7
    assert attribute(model, "The cat ", "q").total == pytest.approx(earlier.total, abs=1e-5)
    assert cut.position == 6


class _RmsNorm(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.weight * x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
        return result


@st.composite
def _normed(draw: st.DrawFn) -> tuple[nn.Module, Tensor]:
    width, seed = draw(st.integers(3, 40)), draw(st.integers(0, 10_000))
    dice = torch.Generator().manual_seed(seed)
    vector = torch.randn(width, generator=dice) * 10 ** draw(st.floats(-2, 3)) + draw(st.floats(-2, 2))
    weight, bias = torch.randn(width, generator=dice), torch.randn(width, generator=dice)
    if draw(st.booleans()):
        return _RmsNorm(weight), vector
    plain = nn.LayerNorm(width, elementwise_affine=draw(st.booleans()))
    if plain.weight is not None:
        plain.weight.data, plain.bias.data = weight, bias
    return plain, vector


@given(_normed(), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
@torch.no_grad()
def test_a_frozen_norm_is_the_norm_and_is_linear(normed: tuple[nn.Module, Tensor], seed: int) -> None:
    norm, vector = normed
    frozen = freeze(norm, vector)
    expected = norm(vector).double()
    assert_close(frozen.part(vector.double()) + frozen.bias, expected, rtol=1e-4, atol=1e-4)
    dice = torch.Generator().manual_seed(seed)
    first, second, direction = torch.randn(3, len(vector), generator=dice, dtype=torch.float64)
    assert_close(frozen.part(2 * first + second), 2 * frozen.part(first) + frozen.part(second))
    assert_close(frozen.before(direction) @ first, direction @ frozen.part(first))


@torch.no_grad()
def test_a_vector_of_nought_and_no_norm_at_all_are_frozen_too() -> None:
    assert_close(freeze(nn.LayerNorm(4), torch.zeros(4)).part(torch.zeros(4).double()), torch.zeros(4).double())
    vector = torch.arange(4.0)
    assert_close(freeze(None, vector).part(vector.double()), vector.double())


@torch.no_grad()
def test_a_norm_of_another_form_is_refused() -> None:
    with pytest.raises(
        UnknownOption, match=r"^scale not frozen: expected a norm that is linear .*, got Tanh.*use ablate"
    ):
        freeze(nn.Tanh(), torch.tensor([0.5, -2.0, 3.0, 0.1]))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"by": "token"}, UnknownOption, r"^by refused: expected one of layer, component, .*got 'token'; try"),
        ({"controls": -1}, UnknownOption, r"^controls refused: expected a whole number from 0 to 1000, got -1; try"),
        ({"controls": True}, UnknownOption, r"^controls refused"),
        (
            {"position": 11},
            UnknownOption,
            r"^position refused: .* from -11 to 10, got 11; the prompt has",
        ),
        ({"against": "qq"}, UnusablePrompt, r"^token unusable: expected exactly one token, got 2 in 'qq'"),
        ({"written": "a"}, UnusablePrompt, r"^target unusable"),
    ],
)
def test_what_cannot_be_cut_is_refused(
    llama: Model, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        attribute(llama, _PROMPT, "q", **options)
    with pytest.raises(UnknownOption, match=r"^no map of heads: expected by='head', got 'layer'"):
        attribute(llama, _PROMPT, "q", by="layer").grid()


def test_an_encoder_without_a_head_and_a_nonlinear_head_are_refused(dissected: Callable[..., Model]) -> None:
    with pytest.raises(
        UnknownOption, match=r"layers with an activation between the stream and the logits in 'modernbert'"
    ):
        attribute(dissected("modernbert"), _PROMPT, "q")


def test_an_attribution_says_its_numbers(llama: Model, dissected: Callable[..., Model]) -> None:
    found = attribute(llama, _PROMPT, "q", by="head")
    sentence, first = found.explain(), found.top(1).to_dict("records")[0]
    assert re.fullmatch(r"[A-Z][^\n]*\.", sentence)
    assert f"the logit of 'q' is {found.model_value:.2f}" in sentence
    assert (
        f"The largest: {first['part']} {first['effect']:+.2f} (a random token: {first['control_mean']:+.2f} ±"
        in sentence
    )
    assert "not the total one" in sentence
    assert "random" not in attribute(llama, _PROMPT, "q", controls=0).explain()
    assert "±3" in attribute(dissected("gemma-2"), _PROMPT, "q").explain()
    assert found.top(3)["effect"].abs().is_monotonic_decreasing


def test_an_attribution_is_drawn_with_its_signs(llama: Model) -> None:
    bars, control = view.draw(attribute(llama, _PROMPT, "<")).data
    assert all(re.search(r"[+-]\d", label) for label in bars.y)
    assert list(control.y) == list(bars.y)
    found = attribute(llama, _PROMPT, "q", against="<", by="head")
    picture = view.draw(found)
    (heat,) = picture.data
    assert "&lt;" in picture.layout.title.text
    assert_close(torch.tensor(heat.z)[:, :-1], found.grid(), atol=5e-5, rtol=0)
    assert float(heat.zmax) == -float(heat.zmin) == pytest.approx(float(torch.tensor(heat.z).abs().max()), abs=1e-4)


def test_an_attribution_is_saved_and_done_again(llama: Model, tmp_path: Path) -> None:
    found = attribute(llama, _PROMPT, "q", by="head", seed=3)
    loaded = Result.load(found.save(tmp_path / "a.tlab"))
    assert isinstance(loaded, Attribution)
    assert loaded.explain() == found.explain()
    again = loaded.replay(llama)
    assert again.to_frame().equals(found.to_frame())


@pytest.mark.slow
def test_on_the_capital_of_france_one_head_speaks_for_paris(model: Model) -> None:
    found = attribute(model, _FACT, " Paris", against=" London", by="head")
    assert found.identity_error < 1e-5
    first = found.top(1).to_dict("records")[0]
    assert first["part"] == "L23H4"
    assert first["effect"] == pytest.approx(2.66, abs=0.02)
    assert first["effect"] > 3 * first["control_std"]
    assert attribute(model, _FACT, " Paris").model_value == pytest.approx(17.37, abs=0.01)


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float64, 1e-6), (torch.bfloat16, 0.03)])
def test_the_sum_holds_in_other_kinds_of_numbers(
    dtype: torch.dtype, allowed: float, dissected: Callable[..., Model]
) -> None:
    for name in ("gpt2", "gemma-2", "nemotron"):
        assert attribute(dissected(name, dtype), _PROMPT, "q", by="head").identity_error < allowed
