"""`train_tuned_lens` and `tuned_lens`: it starts at the plain lens, and finds on unseen text what can be found."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

import pytest
import torch
import zoo
from torch.testing import assert_close

from tlab import Result
from tlab.engine import Edit, run, unembed
from tlab.errors import UnknownOption, UnknownTarget, UnsupportedModel, UnusablePrompt
from tlab.experiments import lens_fitting
from tlab.experiments.lens_fitting import Candidates, Translators, Way, loads_of, streams_of
from tlab.experiments.lens_training import train_tuned_lens
from tlab.experiments.logit_lens import logit_lens
from tlab.experiments.tuned_lens import TunedLens, TunedLensResult, tuned_lens
from tlab.loading import dissect
from tlab.views import lens as view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tlab import Model

_PROMPT = "The cat"
_HEADS = (
    "gpt2", "opt-post-norm", "cohere", "gemma-2", "granite", "llama-one-key", "phi-moe", "bert", "distilbert", "t5",
    "umt5", "bart",
)  # fmt: skip


def _texts(n_texts: int = 20, length: int = 40) -> list[str]:
    dice = random.Random(0)  # noqa: S311  letters, no secret
    return ["".join(dice.choices("abcdefgh ", k=length)) for _ in range(n_texts)]


def _untrained(model: Model, **changes: Any) -> TunedLens:  # noqa: ANN401  fields
    n_layers, width = model.n_layers, model.d_model
    lens = train_tuned_lens(model, _texts(2), steps=1, batch=1, rank=4)
    fields = {name: getattr(lens, name) for name in lens.__dataclass_fields__}
    nothing = {"write": torch.zeros(n_layers, 4, width), "bias": torch.zeros(n_layers, width)}
    return TunedLens(**{**fields, **nothing, **changes})


def _last_block_adds_a_constant() -> Model:
    """Return a GPT-2 whose last block writes the same at every position, so that one bias translates perfectly."""
    hf = zoo.build("gpt2")
    block = hf.transformer.h[-1]
    with torch.no_grad():
        block.attn.c_proj.weight.zero_()
        block.mlp.c_proj.weight.zero_()
        block.mlp.c_proj.bias.copy_(torch.linspace(-2.0, 3.0, 32).roll(7))
    return dissect("constant", hf, zoo.byte_tokenizer("decoder"))


def test_an_untrained_lens_is_the_plain_one(tiny: Model) -> None:
    both = tuned_lens(tiny, _PROMPT, _untrained(tiny))
    plain = logit_lens(tiny, _PROMPT)
    assert both.plain.to_frame().equals(plain.to_frame())
    assert both.tuned.to_frame().equals(plain.to_frame())
    assert both.plain.explain() == plain.explain()


def test_training_begins_at_the_plain_lens(llama: Model) -> None:
    # A step that is too small to change anything leaves both lenses the same.
    frame = train_tuned_lens(llama, _texts(), steps=1, batch=8, lr=1e-12).to_frame()
    assert frame["tuned_lens_kl_nats"].tolist() == pytest.approx(frame["logit_lens_kl_nats"].tolist(), rel=1e-4)


def test_what_one_bias_can_say_is_found(llama: Model) -> None:
    assert llama.n_layers > 0
    model = _last_block_adds_a_constant()
    lens = train_tuned_lens(model, _texts(), layers=[2], steps=400, batch=32, lr=0.03, rank=4)
    (held_out, _) = lens.to_frame().to_dict("records")
    assert held_out["logit_lens_kl_nats"] > 0.1
    assert held_out["tuned_lens_kl_nats"] < 0.01 * held_out["logit_lens_kl_nats"]
    both = tuned_lens(model, "abc de", lens)
    assert both.tuned.first_layer <= 2
    assert both.tuned.at(-1)["kl_nats"].iloc[0] < 0.1 * both.plain.at(-1)["kl_nats"].iloc[0]


@pytest.mark.parametrize("rank", [8, None])
@pytest.mark.parametrize("name", ["gpt2", "gemma-2", "bert", "opt-post-norm"])
def test_on_unseen_text_the_tuned_lens_is_nearer_to_the_end(
    name: str, rank: int | None, dissected: Callable[..., Model]
) -> None:
    model = dissected(name)
    lens = train_tuned_lens(model, _texts(), rank=rank, steps=60, batch=32)
    frame = lens.to_frame()
    held_out = frame[frame["texts"] == "held out"]
    assert held_out["layer"].tolist() == list(range(model.n_layers))
    assert (held_out["tuned_lens_kl_nats"] < held_out["logit_lens_kl_nats"]).all()
    curve = lens.curve.pivot_table(index="step", columns="layer", values="loss_nats")
    assert (curve.iloc[-5:].mean() < curve.iloc[:5].mean()).all()
    assert (lens.rank, lens.held_out, lens.n_positions) == (rank, 2, 60 * 32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_models_of_other_precision_are_trained_too(dtype: torch.dtype, dissected: Callable[..., Model]) -> None:
    model = dissected("llama-grouped", dtype)
    lens = train_tuned_lens(model, _texts(), steps=60, batch=32)
    frame = lens.to_frame().query("texts == 'held out'")
    assert frame["tuned_lens_kl_nats"].mean() < frame["logit_lens_kl_nats"].mean()
    assert lens.write.dtype == torch.float32
    assert tuned_lens(model, _PROMPT, lens).tuned.at(-1)["kl_nats"].iloc[-1] < 1e-3


@pytest.mark.parametrize("name", _HEADS)
def test_the_way_to_some_logits_is_the_models_own(name: str, dissected: Callable[..., Model]) -> None:
    model, ids = dissected(name), torch.tensor([3, 200, 7])
    stream = torch.randn(2, 5, model.d_model, generator=torch.Generator().manual_seed(0))
    way = Way(model)
    assert_close(way.logits(way.features(stream), ids), unembed(model, stream)[..., ids])
    assert_close(way.logits(way.features(stream)), unembed(model, stream))


def test_candidates_stand_for_the_whole_vocabulary(llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lens_fitting, "_N_FREQUENT", 40)
    monkeypatch.setattr(lens_fitting, "_N_SAMPLED", 60)
    generator = torch.Generator().manual_seed(0)
    way = Way(llama)
    rows = torch.randn(2, 16, llama.d_model, generator=generator)
    log_p, log_q = (way.logits(way.features(row)).log_softmax(-1) for row in rows.flip(0))
    exact = float((log_p.exp() * (log_p - log_q)).sum(-1).mean())
    translators = Translators(1, llama.d_model, 4, generator)
    candidates = Candidates(log_p.mean(0), generator)
    estimates = []
    for _ in range(300):
        ids, weights = candidates.draw()
        assert len(set(ids.tolist())) == 100
        # Together they stand for as many tokens as there are.
        assert float(weights.exp().sum()) == pytest.approx(llama.d_vocab, rel=1e-5)
        estimate = lens_fitting._estimate(way, translators, rows, torch.ones(1), (ids, weights))
        estimates.append(float(estimate.detach()[0]))
    assert sum(estimates) / 300 == pytest.approx(exact, rel=0.05)


def test_a_small_vocabulary_is_taken_whole(llama: Model) -> None:
    ids, weights = Candidates(torch.zeros(llama.d_vocab), torch.Generator()).draw()
    assert sorted(ids.tolist()) == list(range(llama.d_vocab))
    assert not weights.any()


def test_the_first_position_and_massive_activations_are_left_out(llama: Model) -> None:
    ids = llama.to_ids("abcdef")
    everything = run(llama, ids, sites=["blocks.1.resid_post", "blocks.2.resid_post"]).captured
    streams = streams_of(llama, ids, (2,))
    assert_close(streams[0], everything["blocks.1.resid_post"][0, 1:])
    assert_close(streams[1], everything["blocks.2.resid_post"][0, 1:])
    huge = dissect("huge", zoo.build("gpt2"), zoo.byte_tokenizer("decoder"))
    with torch.no_grad():
        huge.hf.transformer.wpe.weight[3] *= 1000
    assert streams_of(huge, ids, (0, 2)).shape[1] == 4


def test_a_load_takes_bounded_memory_and_loads_never_end(llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [llama.to_ids("abcde"), llama.to_ids("fgh"), llama.to_ids("ijklmn")]
    monkeypatch.setattr(lens_fitting, "_LOAD_BYTES", 6 * 2 * llama.d_model * 4)

    def sizes(n_wanted: int) -> list[int]:
        loads = loads_of(llama, lambda: iter(pieces), (1,), n_wanted)
        return [load.shape[1] for load in itertools.islice(loads, 4)]

    # Four positions and two reach six; five are left; then all over again.
    assert sizes(100) == [6, 5, 6, 5]
    assert sizes(3) == [4, 7, 4, 7]


def test_the_model_is_left_as_it_was(llama: Model) -> None:
    before = {name: parameter.clone() for name, parameter in llama.hf.named_parameters()}
    # Hugging Face leaves hooks of its own where somebody once asked it for hidden states.
    n_hooks = sum(len(module._forward_hooks) for module in llama.hf.modules())
    train_tuned_lens(llama, _texts(), steps=5, batch=8)
    for name, parameter in llama.hf.named_parameters():
        assert parameter.grad is None
        assert torch.equal(parameter, before[name])
    assert sum(len(module._forward_hooks) for module in llama.hf.modules()) == n_hooks


def test_the_seed_decides_the_lens(llama: Model) -> None:
    one, again, other = (train_tuned_lens(llama, _texts(), steps=5, batch=8, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.write, again.write)
    assert one.to_frame().equals(again.to_frame())
    assert not torch.equal(one.write, other.write)


def test_the_default_texts_are_read(llama: Model) -> None:
    lens = train_tuned_lens(llama, steps=2, batch=8, context=32)
    assert lens.held_out > 10
    assert lens.to_frame()["n_positions"].tolist()[:3] == [200, 200, 200]


def test_a_measured_row_is_what_the_lens_reads_of_held_out_text(llama: Model) -> None:
    lens = train_tuned_lens(llama, ["abcdefgh", "hgfedcba"], steps=3, batch=4, layers=[1])
    found = {
        text: logit_lens(llama, text, layers=[1]).to_frame().query("pos > 0")["kl_nats"].mean()
        for text in ("abcdefgh", "hgfedcba")
    }
    row = lens.to_frame().iloc[0]
    assert row["logit_lens_kl_nats"] == pytest.approx(
        min(found.values(), key=lambda kl: abs(kl - row["logit_lens_kl_nats"])), rel=1e-4
    )
    assert row["n_positions"] == 7


def test_chosen_layers_alone_have_translators(llama: Model) -> None:
    lens = train_tuned_lens(llama, _texts(), layers=[2, 0], steps=2, batch=4, rank=4)
    assert lens.layers == (0, 2)
    assert lens.read is not None
    assert lens.read.shape == (2, llama.d_model, 4)
    stream = torch.randn(3, llama.d_model)
    assert torch.equal(lens.translate(1, stream), stream)
    by_hand = stream + stream @ lens.read[1] @ lens.write[1] + lens.bias[1]
    assert_close(lens.translate(2, stream), by_hand)
    assert tuned_lens(llama, _PROMPT, lens).to_frame()["layer"].unique().tolist() == [0, 2, 3]


def test_lens_and_reading_are_saved_and_done_again(llama: Model, tmp_path: Path) -> None:
    lens = train_tuned_lens(llama, _texts(), steps=3, batch=4, rank=None)
    both = tuned_lens(llama, _PROMPT, lens, token=_PROMPT[-1])
    loaded = Result.load(lens.save(tmp_path / "lens.tlab"))
    assert isinstance(loaded, TunedLens)
    assert torch.equal(loaded.write, lens.write)
    assert loaded.read is None
    assert loaded.replay().text() == lens.text()
    again = Result.load(both.save(tmp_path / "both.tlab"))
    assert isinstance(again, TunedLensResult)
    assert again.text() == both.text()
    assert again.replay().text() == both.text()


def test_the_sentences_say_the_tables_numbers(llama: Model) -> None:
    lens = train_tuned_lens(llama, _texts(), steps=20, batch=16)
    means = lens.to_frame().query("texts == 'held out'").mean(numeric_only=True)
    assert f"the plain lens is {means['logit_lens_kl_nats']:.2f} nats" in lens.explain()
    assert f"the tuned one {means['tuned_lens_kl_nats']:.2f}" in lens.explain()
    assert f"would be {means['average_kl_nats']:.2f}" in lens.explain()
    both = tuned_lens(llama, _PROMPT, lens)
    here = both.to_frame().query("pos == 6 and layer < 3").groupby("lens")["kl_nats"].mean()
    assert f"{here['logit lens']:.2f} and {here['tuned lens']:.2f} nats" in both.explain()
    assert f"tuned lens from layer {both.tuned.first_layer} on" in both.explain()


def test_the_pictures_show_both_lenses(llama: Model) -> None:
    lens = train_tuned_lens(llama, _texts(), steps=3, batch=4)
    picture = view.draw_training(lens)
    held_out = lens.to_frame().query("texts == 'held out'")
    drawn = {line.name: list(line.y) for line in picture.data}
    assert drawn["tuned lens"] == held_out["tuned_lens_kl_nats"].round(4).tolist()
    assert drawn["logit lens"] == held_out["logit_lens_kl_nats"].round(4).tolist()
    both = tuned_lens(llama, _PROMPT, lens)
    plain, tuned = view.draw_both(both).data
    assert list(plain.y) == both.plain.at(-1)["kl_nats"].round(4).tolist()
    assert list(tuned.y) == both.tuned.at(-1)["kl_nats"].round(4).tolist()
    assert "Tuned lens" in view.draw(both.tuned).layout.title.text
    for one in (picture, view.draw_both(both)):
        assert one.layout.xaxis.title.text
        assert one.layout.yaxis.title.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texts": "one text"}, "texts refused: expected at least two texts, got 'one text'"),
        ({"texts": ["one"]}, "texts refused: expected at least two texts"),
        ({"texts": ["a", "b"]}, "texts refused: expected texts of two tokens or more"),
        ({"layers": []}, "layers refused: expected at least one"),
        ({"rank": 0}, "rank refused: expected a whole number from 1 to"),
        ({"rank": 2.5}, "rank refused"),
        ({"steps": 0}, "steps refused"),
        ({"batch": True}, "batch refused"),
        ({"lr": 0.0}, "lr refused: expected a number above 0, got 0.0"),
        ({"context": 1}, "context refused: expected a whole number from 2 to 96, got 1"),
        ({"seed": -1}, "seed refused"),
    ],
)
def test_an_option_that_cannot_be_is_refused(llama: Model, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownOption, match=message):
        train_tuned_lens(llama, **{"texts": _texts(2), **options})


def test_a_layer_that_is_not_there_cannot_be_trained(llama: Model) -> None:
    with pytest.raises(UnknownTarget, match="layer refused: expected a whole number from 0 to 2, got 3"):
        train_tuned_lens(llama, layers=[3])


def test_a_lens_fits_its_own_model_only(llama: Model, dissected: Callable[..., Model]) -> None:
    lens = train_tuned_lens(llama, _texts(2), steps=1, batch=1)
    with pytest.raises(UnknownOption, match=r"lens refused: expected one trained for 'gpt2', got one for"):
        tuned_lens(dissected("gpt2"), _PROMPT, lens)
    with pytest.raises(UnknownOption, match="lens refused: expected one from train_tuned_lens, got 'tuned'"):
        tuned_lens(llama, _PROMPT, "tuned")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedModel, match="expected a decoder or an encoder, got the encoder-decoder"):
        train_tuned_lens(dissected("t5"), _texts(2))
    with pytest.raises(UnusablePrompt):
        train_tuned_lens(llama, ["", "ab"], steps=1)


@pytest.mark.slow
def test_in_the_pretrained_model_a_short_training_beats_the_plain_lens_by_far(model: Model) -> None:
    lens = train_tuned_lens(model, layers=[20, 28], steps=40, batch=32)
    frame = lens.to_frame().query("texts == 'held out'").set_index("layer")
    assert frame.loc[20, "logit_lens_kl_nats"] > 10
    assert frame.loc[20, "tuned_lens_kl_nats"] < 0.5 * frame.loc[20, "logit_lens_kl_nats"]
    assert (frame["tuned_lens_kl_nats"] < frame["logit_lens_kl_nats"]).all()
    # An edit of the stream itself: the translators are no part of the model.
    same = run(model, model.to_ids(_PROMPT), edits=[Edit("blocks.20.resid_post", lambda stream: stream)])
    assert torch.equal(same.logits, run(model, model.to_ids(_PROMPT)).logits)
