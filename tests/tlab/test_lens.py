"""`logit_lens`: every row is what the model's own last two steps make of a stream, and the last row is the model."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import oracle
import pytest
import torch
from torch.testing import assert_close

import tlab
from tlab import Result
from tlab.engine import run
from tlab.errors import TlabError, UnknownOption, UnknownTarget, UnusablePrompt
from tlab.experiments import logit_lens as module
from tlab.experiments.logit_lens import LensResult, logit_lens
from tlab.experiments.prompts import inputs_of
from tlab.views import lens as view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    from torch import Tensor
    from transformers import PreTrainedModel

    from tlab import Model

_PROMPT = "The cat"
_FOLLOWED, _TWO, _OTHER = "e", "ab", " London"
# Norms of every kind, logits that are scaled or capped, widths that are projected, heads that transform.
_KINDS = (
    "gpt2", "opt", "opt-post-norm", "bloom", "gpt-neox", "falcon", "cohere", "llama-grouped", "gemma-2", "olmo-2",
    "granite", "nemotron", "gpt-oss", "bert", "roberta-prelayernorm", "distilbert", "electra", "modernbert", "t5",
    "umt5", "bart", "blenderbot",
)  # fmt: skip
# How plain Hugging Face turns a stream into logits, written out.
_BY_HAND: dict[str, Callable[..., Tensor]] = {
    "gpt2": lambda hf, stream: hf.lm_head(hf.transformer.ln_f(stream)),
    "opt": lambda hf, stream: hf.lm_head(hf.model.decoder.final_layer_norm(stream)),
    "gpt-neox": lambda hf, stream: hf.get_output_embeddings()(hf.gpt_neox.final_layer_norm(stream)),
    "llama-grouped": lambda hf, stream: hf.lm_head(hf.model.norm(stream)),
    "cohere": lambda hf, stream: hf.lm_head(hf.model.norm(stream)) * hf.logit_scale,
    "gemma-2": lambda hf, stream: torch.tanh(hf.lm_head(hf.model.norm(stream)) / 3.0) * 3.0,
    "bert": lambda hf, stream: hf.cls(stream),
    "t5": lambda hf, stream: hf.lm_head(hf.decoder.final_layer_norm(stream) * 32**-0.5),
}


def _rows(lens: LensResult, layer: int) -> pd.DataFrame:
    frame = lens.to_frame()
    return frame[frame["layer"] == layer].sort_values("pos").reset_index(drop=True)


def test_tokens_that_read_the_same_are_not_taken_for_each_other(model: Model) -> None:
    lens = logit_lens(model, "The capital of France is")
    tops = lens.at(-1)["top_token"].tolist()
    assert (tops[lens.first_layer - 1], tops[lens.first_layer]) != (lens.target, lens.target)
    unreadable = "\N{REPLACEMENT CHARACTER}"
    alike = replace(lens, target=unreadable, frame=lens.frame.assign(top_token=unreadable))
    assert alike.first_layer == lens.first_layer > 0


@pytest.mark.parametrize("name", _KINDS)
def test_the_last_row_is_the_models_own_output(name: str, dissected: Callable[..., Model]) -> None:
    model = dissected(name)
    lens = logit_lens(model, _PROMPT)
    inputs = inputs_of(model, _PROMPT)
    probabilities = run(model, inputs).logits[0].softmax(-1)
    last = _rows(lens, model.n_layers)
    assert last["probability"].tolist() == pytest.approx(probabilities.amax(-1).tolist(), rel=1e-4)
    assert last["kl_nats"].max() < 1e-5
    assert lens.tokens == tuple(model.to_text(int(token)) for token in inputs.ids[0])
    assert lens.target == last["top_token"][lens.position]
    assert lens.first_layer <= model.n_layers
    assert (_rows(lens, 0)["kl_nats"] > 0.01).all()


@pytest.mark.parametrize("name", _BY_HAND)
def test_every_row_is_what_plain_hugging_face_makes_of_that_stream(
    name: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(name), untouched(name)
    inputs = inputs_of(model, _PROMPT)
    lens = logit_lens(model, _PROMPT, token=_FOLLOWED)
    given = {"ids": inputs.ids} if inputs.source is None else {"ids": inputs.source, "decoder_ids": inputs.ids}
    final = oracle.logits(hf, **given)[0].log_softmax(-1)
    followed = model.to_id(_FOLLOWED)
    for layer in range(model.n_layers + 1):
        before, after = oracle.residuals(hf, name, **given, layer=max(layer - 1, 0))
        with torch.no_grad():
            log_q = _BY_HAND[name](hf, before if layer == 0 else after)[0].log_softmax(-1)
        rows = _rows(lens, layer)
        assert rows["probability"].tolist() == pytest.approx(log_q.amax(-1).exp().tolist(), rel=1e-4)
        assert rows["top_token"].tolist() == [model.to_text(token) for token in log_q.argmax(-1).tolist()]
        assert rows["followed_probability"].tolist() == pytest.approx(log_q[:, followed].exp().tolist(), rel=1e-4)
        ranks = (log_q > log_q[:, followed, None]).sum(-1) + 1
        assert rows["followed_rank"].tolist() == ranks.tolist()
        kl = (final.exp() * (final - log_q)).sum(-1)
        assert_close(torch.tensor(rows["kl_nats"].tolist()), kl.clamp(min=0), rtol=1e-3, atol=1e-5)


def test_chosen_layers_are_the_rows_of_all(llama: Model) -> None:
    whole, some = logit_lens(llama, _PROMPT), logit_lens(llama, _PROMPT, layers=[3, 1, 1])
    frame = some.to_frame()
    assert frame["layer"].unique().tolist() == [1, 3]
    for layer in (1, 3):
        assert _rows(some, layer).equals(_rows(whole, layer))
    assert some.n_layers == 3
    early = logit_lens(llama, _PROMPT, layers=[0])
    assert early.first_layer == (0 if _rows(early, 0)["top_token"].iloc[-1] == early.target else 4)


def test_a_long_prompt_is_read_piece_by_piece(llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = logit_lens(llama, "a longer prompt")
    monkeypatch.setattr(module, "_AT_ONCE", 4)
    pieces = logit_lens(llama, "a longer prompt")
    for column in ("probability", "kl_nats", "followed_probability"):
        assert pieces.to_frame()[column].tolist() == pytest.approx(whole.to_frame()[column].tolist(), abs=1e-5)
    assert pieces.to_frame()["top_token"].tolist() == whole.to_frame()["top_token"].tolist()


@pytest.mark.parametrize("name", ["gpt2", "llama-grouped", "opt-post-norm", "t5"])
def test_without_the_final_norm_the_last_row_is_not_the_models(name: str, dissected: Callable[..., Model]) -> None:
    model = dissected(name)
    if model.anatomy.decoder.final_norm is None:
        with pytest.raises(UnknownOption, match="use_final_norm refused: expected True for a model that has no norm"):
            logit_lens(model, _PROMPT, use_final_norm=False)
        return
    wrong = logit_lens(model, _PROMPT, use_final_norm=False)
    site = f"blocks.{model.n_layers - 1}.resid_post"
    finished = run(model, inputs_of(model, _PROMPT), sites=[site])
    stack = model.anatomy.decoder
    stream = finished.captured[site][0]
    assert model.anatomy.unembed is not None
    expected = model.anatomy.unembed(stream if stack.project is None else stack.project(stream)).softmax(-1)
    last = _rows(wrong, model.n_layers)
    assert last["probability"].tolist() == pytest.approx(expected.amax(-1).tolist(), rel=1e-4)
    assert last["kl_nats"].min() > 0.01
    gap = wrong.at(-1)["kl_nats"].iloc[-1]
    assert "This is a mistake on purpose" in wrong.explain()
    assert f"lies {gap:.2f} nats from the model's own output" in wrong.explain()
    assert "mistake" not in logit_lens(model, _PROMPT).explain()
    assert "without the final norm" in view.draw(wrong).layout.title.text


def test_an_encoder_is_read_at_its_mask(dissected: Callable[..., Model]) -> None:
    model = dissected("bert")
    lens = logit_lens(model, "a[MASK]b")
    assert lens.tokens == ("[CLS]", "a", "[MASK]", "b", "[SEP]")
    assert lens.position == 2
    probabilities = run(model, model.to_ids("a[MASK]b")).logits[0, 2].softmax(-1)
    assert lens.target == model.to_text(int(probabilities.argmax()))
    assert lens.at(2)["target_probability"].iloc[-1] == pytest.approx(float(probabilities.max()), rel=1e-4)
    assert logit_lens(model, "ab").position == 3


def test_an_encoder_decoder_is_read_where_its_decoder_writes(dissected: Callable[..., Model]) -> None:
    model = dissected("t5")
    lens = logit_lens(model, "source", target="xy")
    assert lens.tokens == ("<pad>", "x", "y")
    expected = run(model, inputs_of(model, "source", target="xy")).logits[0, -1].softmax(-1)
    assert lens.at(-1)["probability"].iloc[-1] == pytest.approx(float(expected.max()), rel=1e-4)


def test_a_followed_token_is_told_at_its_height(llama: Model) -> None:
    target = logit_lens(llama, _PROMPT).target
    other = next(token for token in "zqxj" if token != target)
    lens = logit_lens(llama, _PROMPT, token=other)
    here = lens.at(-1)
    best = here.loc[here["followed_probability"].idxmax()]
    assert lens.target == target
    assert f"{other!r} is at its height at the last layer read, {best['layer']}," in lens.explain()
    assert f"(rank {best['followed_rank']})" in lens.explain()
    assert "at its height" not in logit_lens(llama, _PROMPT).explain()
    (heat,) = view.draw(lens).data
    assert np.array(heat.z)[-1, -1] == pytest.approx(here["followed_probability"].iloc[-1], abs=1e-3)
    assert heat.colorbar.title.text == other


def test_the_picture_has_a_field_a_layer_and_position_and_only_text(llama: Model) -> None:
    lens = logit_lens(llama, "<b>a</b>")
    picture = view.draw(lens)
    (heat,) = picture.data
    assert np.array(heat.z).shape == (4, 8) == np.array(heat.text).shape
    assert "<b>" not in json.dumps(heat.to_plotly_json(), default=np.ndarray.tolist)
    assert picture.layout.yaxis.type == "category"


def test_it_is_saved_and_done_again(llama: Model, tmp_path: Path) -> None:
    lens = logit_lens(llama, _PROMPT, token=_FOLLOWED, layers=[1, 2])
    loaded = Result.load(lens.save(tmp_path / "lens.tlab"))
    assert isinstance(loaded, LensResult)
    assert loaded.text() == lens.text()
    assert loaded.replay().text() == lens.text()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"layers": [4]}, UnknownTarget, "layer refused: expected a whole number from 0 to 3, got 4"),
        ({"layers": [True]}, UnknownTarget, "layer refused"),
        ({"layers": []}, UnknownOption, "layers refused: expected at least one"),
        ({"layers": "all"}, UnknownTarget, "layer refused: .* got 'all'"),
    ],
)
def test_a_layer_that_is_not_there_is_refused(
    llama: Model, options: dict[str, object], kind: type[TlabError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        logit_lens(llama, _PROMPT, **options)  # type: ignore[arg-type]


def test_what_cannot_be_followed_or_read_is_refused(llama: Model) -> None:
    with pytest.raises(UnusablePrompt, match="token unusable: expected exactly one token, got 2"):
        logit_lens(llama, _PROMPT, token=_TWO)
    with pytest.raises(UnusablePrompt, match="target unusable"):
        logit_lens(llama, _PROMPT, target="x")
    with pytest.raises(UnknownOption, match="position refused"):
        logit_lens(llama, _PROMPT).at(99)


@pytest.mark.slow
def test_in_the_pretrained_model_the_answer_comes_last_and_leaving_out_the_norm_misleads(model: Model) -> None:
    prompt = "The capital of France is"
    lens, wrong = tlab.logit_lens(model, prompt, token=_OTHER), logit_lens(model, prompt, use_final_norm=False)
    assert (lens.target, lens.first_layer) == (" Paris", 30)
    assert lens.at(-1)["followed_rank"].iloc[-1] == 3
    # Sure of itself and wrong, at every layer of the second half.
    late = wrong.at(-1).query("layer >= 15")
    assert (late["probability"] > 0.8).all()
    assert " Paris" not in late["top_token"].tolist()
    assert late["kl_nats"].iloc[-1] > 100
