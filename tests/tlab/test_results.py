"""Every result is a table, a picture and a sentence that agree, and a view that fails still shows its text."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import tlab
from tlab.exercises import Verdict
from tlab.results import Result, percent

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlab import Model

_PLOTLY = "application/vnd.plotly.v1+json"
_LARGEST_BYTES = 300_000
_FACT = "The capital of France is"
_NAMES = "When Mary and John went to the store, John gave a drink to"

# bertviz reads its script without closing the file.
_bertviz_leaves_a_file_open = pytest.mark.filterwarnings(
    r"ignore:Exception ignored in.*head_view\.js:pytest.PytestUnraisableExceptionWarning"
)

_EXPERIMENTS: dict[str, Callable[[Any, str], Result]] = {
    "predict": tlab.predict,
    "attention": lambda model, prompt: tlab.attention(model, prompt, layer=1, head=2),
    "capture": tlab.capture,
    "logit_lens": tlab.logit_lens,
    "ablate": lambda model, prompt: tlab.ablate(model, prompt, "L1"),
}


@pytest.fixture(params=_EXPERIMENTS)
def result(request: pytest.FixtureRequest, llama: Model) -> Result:
    """Return one result of each kind."""
    return _EXPERIMENTS[request.param](llama, "The cat <b>&amp; 12</b>")


def test_the_table_is_a_copy(result: Result) -> None:
    frame, before = result.to_frame(), result.to_frame().copy()
    assert isinstance(frame, pd.DataFrame)
    numbers = frame.select_dtypes("number").columns
    assert len(frame) > 0
    assert len(numbers) > 0
    frame.loc[:, numbers] = -1
    pd.testing.assert_frame_equal(result.to_frame(), before)


def test_the_sentence_is_one_line_of_plain_words(result: Result) -> None:
    sentence = result.explain()
    assert re.fullmatch(r"[A-Z0-9][^\n]*\.", sentence)
    assert "nan" not in sentence.split()


def test_the_picture_names_its_axes(result: Result) -> None:
    picture = result.plot()
    assert isinstance(picture, go.Figure)
    assert picture.layout.title.text
    assert picture.layout.xaxis.title.text
    assert picture.layout.yaxis.title.text


def test_a_notebook_gets_valid_json_and_the_text_twin(result: Result) -> None:
    bundle = result._repr_mimebundle_(include=None, exclude=None)
    assert set(bundle) == {_PLOTLY, "text/plain"}
    text = json.dumps(bundle, allow_nan=False)
    assert len(text.encode()) < _LARGEST_BYTES
    assert go.Figure(json.loads(text)[_PLOTLY]) == result.plot()
    assert bundle["text/plain"] == repr(result) == result.text()
    assert bundle["text/plain"].startswith(f"{result.explain()}\n\n")


def test_labels_of_a_picture_are_text_and_not_markup(result: Result) -> None:
    assert "<b>" not in json.dumps(result.plot().to_plotly_json()["data"], default=np.ndarray.tolist)


def test_a_prediction_at_an_earlier_position_says_what_it_did_not_see(llama: Model) -> None:
    early = tlab.predict(llama, "abcd", position=1)
    assert early.explain().startswith("After position 1 of 'abcd', before it sees 'cd', the model expects ")
    assert (
        early.explain().partition("the model expects ")[2]
        == (tlab.predict(llama, "ab").explain().partition("the model expects ")[2])
    )


def test_a_prediction_says_its_numbers(llama: Model) -> None:
    prediction = tlab.predict(llama, _FACT, k=3)
    frame = prediction.to_frame()
    assert frame["probability"].is_monotonic_decreasing
    first, second, _ = frame.to_dict("records")
    assert prediction.explain() == (
        f"After {_FACT!r} the model expects {first['token']!r} with {percent(first['probability'])}; "
        f"next comes {second['token']!r} with {percent(second['probability'])}."
    )
    assert (prediction.token, prediction.probability) == (first["token"], first["probability"])
    (bars,) = prediction.plot().data
    assert list(bars.x) == frame["probability"].round(4).tolist()
    assert [label.split(".")[0] for label in bars.y] == ["1", "2", "3"]
    assert tlab.predict(llama, _FACT, k=1).explain().endswith(f"{percent(first['probability'])}.")


def test_an_ablation_says_its_numbers(llama: Model) -> None:
    ablation = tlab.ablate(llama, _FACT, ["L1", "L2H3"])
    frame = ablation.to_frame()
    followed = frame.iloc[0]
    sentence = ablation.explain()
    assert sentence.startswith("With L1, L2H3 ablated (zero), ")
    assert f"from {percent(followed['clean'])} to {percent(followed['patched'])}" in sentence
    assert f"{ablation.kl_nats:.3f} nats" in sentence
    assert followed["clean"] == pytest.approx(ablation.clean_probability)
    assert followed["patched"] == pytest.approx(ablation.patched_probability)
    assert followed["change"] == pytest.approx(ablation.change)
    assert ablation.patched_token == frame.loc[frame["patched"].idxmax(), "token"]
    clean, patched = ablation.plot().data
    assert list(clean.x) == frame["clean"].round(4).tolist()
    assert list(patched.x) == frame["patched"].round(4).tolist()


def test_an_ablation_draws_one_pair_of_bars_a_token(llama: Model) -> None:
    # Several tokens of this tokenizer, as of any that works on bytes, are shown as the same replacement character.
    ablation = tlab.ablate(llama, _FACT, "L1")
    assert ablation.to_frame()["token"].duplicated().any()
    for bars in ablation.plot().data:
        assert len(set(bars.y)) == len(ablation.to_frame())


def test_a_followed_token_that_never_came_first_is_not_said_to_have_lost_its_place(llama: Model) -> None:
    first = tlab.predict(llama, _FACT).token
    other = next(token for token in "zqxj" if token != first)
    ablation = tlab.ablate(llama, _FACT, [], token=other)
    assert (ablation.token, ablation.patched_token) == (other, first)
    assert "no longer" not in ablation.explain()
    assert "still the likeliest" not in ablation.explain()


def test_a_pattern_says_what_the_last_token_reads(llama: Model) -> None:
    shown = tlab.attention(llama, _FACT, layer=2, head=1)
    frame = shown.to_frame()
    last = frame[frame["dest_pos"] == frame["dest_pos"].max()]
    most = last.loc[last["weight"].idxmax()]
    sentence = shown.explain()
    assert f"layer 2, head 1, the last token {most['dest_token']!r} reads most from {most['src_token']!r}" in sentence
    assert f"at position {most['src_pos']} ({percent(most['weight'])} of its attention)" in sentence
    sink = frame[(frame["dest_pos"] > 0) & (frame["src_pos"] == 0)]["weight"].mean()
    assert f"spend {percent(sink)} on the first token" in sentence
    assert (frame["src_pos"] <= frame["dest_pos"]).all()
    assert frame.groupby("dest_pos")["weight"].sum().to_numpy() == pytest.approx(1, abs=1e-5)


def test_a_pattern_of_one_token_says_nothing_of_later_ones(llama: Model) -> None:
    assert "later tokens" not in tlab.attention(llama, "a").explain()


def test_a_heat_map_shows_the_pattern_and_leaves_what_comes_later_empty(llama: Model) -> None:
    shown = tlab.attention(llama, "abcd", layer=0, head=0)
    picture = shown.heatmap(1, 3)
    (heat,) = picture.data
    drawn = np.array([[np.nan if weight is None else weight for weight in row] for row in heat.z], dtype=float)
    expected = shown.pattern[1, 3].numpy()
    lower = np.tril_indices(4)
    assert drawn[lower] == pytest.approx(expected[lower], abs=5e-4)
    assert np.isnan(drawn[np.triu_indices(4, 1)]).all()
    assert "layer 1, head 3" in picture.layout.title.text
    assert (shown.layer, shown.head) == (0, 0)
    assert shown.at(1, 3).plot() == picture


def test_a_lens_says_where_the_answer_first_stands(llama: Model) -> None:
    lens = tlab.logit_lens(llama, _FACT)
    frame = lens.to_frame()
    last = frame[frame["pos"] == frame["pos"].max()].set_index("layer")
    # Texts would not do: two tokens may read the same.
    agreeing = (last["probability"] == last["target_probability"]).to_dict()
    first = min(layer for layer in agreeing if all(agreeing[later] for later in agreeing if later >= layer))
    assert lens.first_layer == first
    answer = percent(last.loc[lens.n_layers, "target_probability"])
    assert f"ends on {lens.target!r} ({answer})" in lens.explain()
    assert f"from layer {first} of {lens.n_layers} on" in lens.explain()
    (heat,) = lens.plot().data
    assert np.array(heat.z).shape == (lens.n_layers + 1, len(lens.tokens))


def test_a_capture_counts_what_it_holds(llama: Model) -> None:
    captured = tlab.capture(llama, "abc", sites=["blocks.0.attn.q", "logits"])
    n_values = 3 * 4 * 8 + 3 * 257
    assert captured.explain() == f"2 sites captured for 3 tokens: {n_values:,} numbers, copies of the model's own."
    frame = captured.to_frame()
    assert frame["shape"].tolist() == ["1×3×4×8", "1×3×257"]
    assert frame["axes"].tolist() == ["batch pos head d_head", "batch pos d_vocab"]
    norms = [float(tensor.norm(dim=-1).mean()) for tensor in captured.values()]
    assert frame["mean_norm"].tolist() == pytest.approx(norms, abs=1e-3)


def test_a_capture_of_masked_scores_has_a_finite_length(llama: Model) -> None:
    frame = tlab.capture(llama, "abc", sites=["blocks.0.attn.scores"]).to_frame()
    assert np.isfinite(frame["mean_norm"]).all()


def test_a_capture_of_nothing_is_an_empty_result(llama: Model) -> None:
    captured = tlab.capture(llama, "abc", sites=[])
    assert len(captured) == 0
    assert captured.explain().startswith("0 sites captured")
    assert captured._repr_mimebundle_()["text/plain"]


def test_a_long_table_is_cut_in_the_text_twin(llama: Model) -> None:
    prediction = tlab.predict(llama, _FACT, k=40)
    assert prediction.text().endswith("… and 28 more rows in .to_frame()")
    assert len(tlab.predict(llama, _FACT, k=12).text().splitlines()) == 2 + 1 + 12


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.77254, "77.3 %"), (1.0, "100.0 %"), (0.001, "0.1 %"), (0.0009, "below 0.1 %"), (0.0, "below 0.1 %")],
)
def test_a_probability_is_said_in_percent(probability: float, text: str) -> None:
    assert percent(probability) == text


@dataclass(frozen=True)
class _NobodyDrawsThis(Result):
    def to_frame(self) -> pd.DataFrame:
        return pd.DataFrame({"number": [42]})

    def explain(self) -> str:
        return "The number is 42."


def test_a_view_that_fails_shows_the_text_twin_and_why() -> None:
    unseen = _NobodyDrawsThis()
    bundle = unseen._repr_mimebundle_()
    assert set(bundle) == {"text/plain"}
    assert bundle["text/plain"].startswith("The number is 42.")
    assert "(no picture: TypeError: no picture: expected a result with a view" in bundle["text/plain"]
    with pytest.raises(TypeError, match=r"got _NobodyDrawsThis; use \.to_frame\(\)"):
        unseen.plot()


@_bertviz_leaves_a_file_open
def test_the_head_view_draws_the_prompts_tokens_beside_its_text(llama: Model) -> None:
    shown = tlab.attention(llama, "The cat", layer=1, head=2)
    view = shown.head_view()
    bundle = view._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    (written,) = re.findall(r"params = (\{.*?\});? *(?://|\n)", bundle["text/html"])
    parameters = json.loads(written)
    (drawn,) = parameters["attention"]
    assert [token.strip() for token in drawn["left_text"]] == ["T", "h", "e", "", "c", "a", "t"]
    assert drawn["right_text"] == drawn["left_text"]
    assert np.array(drawn["attn"]) == pytest.approx(shown.pattern.numpy(), abs=5e-3)
    assert parameters["include_layers"] == [0, 1, 2]
    assert bundle["text/plain"] == shown.text() == repr(view)


@_bertviz_leaves_a_file_open
def test_the_head_view_offers_the_layers_that_were_asked_for(llama: Model) -> None:
    html = tlab.attention(llama, "ab").head_view(layers=[2, 1]).html
    assert re.search(r'"include_layers": \[(1, 2|2, 1)\]', html)
    assert re.search(r'"layer": 2\b', html)


@_bertviz_leaves_a_file_open
@pytest.mark.slow
def test_every_view_of_a_lessons_prompt_is_small(model: Model) -> None:
    shown = tlab.attention(model, _NAMES, layer=23, head=4)
    results: list[Any] = [shown, shown.head_view(), tlab.logit_lens(model, _NAMES), tlab.predict(model, _NAMES)]
    results += [tlab.capture(model, _NAMES, sites=model.sites), tlab.ablate(model, _NAMES, "L23.attn")]
    sizes = {type(one).__name__: len(json.dumps(one._repr_mimebundle_()).encode()) for one in results}
    assert {name: size for name, size in sizes.items() if size >= _LARGEST_BYTES} == {}


@pytest.mark.slow
def test_the_first_lessons_sentence_has_the_answer_in_it(model: Model) -> None:
    assert (
        tlab.predict(model, _FACT)
        .explain()
        .startswith("After 'The capital of France is' the model expects ' Paris' with 77.")
    )


def test_a_verdict_is_shown_as_text_and_never_as_markup() -> None:
    verdict = Verdict("lesson/exercise", is_correct=False, message="The answer <script> & co. cannot be read.")
    bundle = verdict._repr_mimebundle_()
    assert bundle["text/plain"] == str(verdict) == "✗ Not yet. The answer <script> & co. cannot be read."
    assert "<script>" not in bundle["text/html"]
    assert 'role="status"' in bundle["text/html"]
    assert str(Verdict("lesson/exercise", is_correct=True, message="Good.")) == "✓ Right. Good."


def test_a_model_introduces_itself(llama: Model) -> None:
    assert re.fullmatch(r"Model\('.*': 3 layers, 4 heads, d_model 32, [\d,]+ parameters\)", repr(llama))


def test_the_catalogue_lists_what_every_model_is() -> None:
    listed = tlab.models()
    assert list(listed) == ["smollm2-135m", "minilm-l6", "toy-induction", "toy-modular-addition", "toy-dates"]
    frame = listed.to_frame().set_index("id")
    assert not frame.isna().any().any()
    for name in ("minilm-l6", "toy-induction", "toy-modular-addition", "toy-dates"):
        loaded = tlab.load(name)
        assert loaded.family == frame.loc[name, "family"]
        assert loaded.n_params == frame.loc[name, "parameters"]
