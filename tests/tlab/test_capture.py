"""`capture` and `predict`: one prompt or several, at some positions or all, in every family of models."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch

import tlab
from tlab.errors import UnknownOption, UnknownSite, UnusablePrompt

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlab import Model

PROMPTS = ["one and two", "three", "four or five, six"]
SITES = ("embed", "blocks.1.resid_mid", "blocks.1.attn.pattern", "blocks.2.attn.z", "blocks.2.mlp.post", "logits")


@pytest.fixture(scope="module")
def of_kind(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    """Load a tiny model of an architecture, tokenizer included."""
    import zoo  # noqa: PLC0415  imports many model classes

    def load(name: str) -> Model:
        return tlab.load(str(zoo.write(name, tmp_path_factory.mktemp("models") / name)))

    return load


def test_a_batch_holds_what_each_prompt_gives_alone(tiny: Model) -> None:
    together = tlab.capture(tiny, PROMPTS, sites=SITES)
    for row, prompt in enumerate(PROMPTS):
        alone = tlab.capture(tiny, prompt, sites=SITES)
        n_pos = len(alone.tokens)
        assert together.prompts[row] == alone.tokens
        for site in SITES:
            cut = together[site][row : row + 1]
            for axis, name in enumerate(together.axes(site)):
                if name in {"pos", "src_pos", "dest_pos"}:
                    assert not bool(cut.narrow(axis, n_pos, cut.shape[axis] - n_pos).any())
                    cut = cut.narrow(axis, 0, n_pos)
            torch.testing.assert_close(cut, alone[site], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "modernbert"])
def test_padding_does_not_reach_an_encoders_tokens(of_kind: Callable[[str], Model], name: str) -> None:
    encoder = of_kind(name)
    together = tlab.capture(encoder, PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        alone = tlab.capture(encoder, prompt)
        for site, tensor in alone.items():
            torch.testing.assert_close(together[site][row, : tensor.shape[1]], tensor[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_padding_does_not_reach_an_encoder_decoders_answer(of_kind: Callable[[str], Model], name: str) -> None:
    model = of_kind(name)
    together = tlab.capture(model, PROMPTS, sites=["encoder.blocks.1.resid_post", "blocks.1.resid_post"])
    for row, prompt in enumerate(PROMPTS):
        alone = tlab.capture(model, prompt, sites=["encoder.blocks.1.resid_post", "blocks.1.resid_post"])
        for site, tensor in alone.items():
            torch.testing.assert_close(together[site][row, : tensor.shape[1]], tensor[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_an_encoder_decoders_positions_are_those_of_what_stands_at_the_site(
    of_kind: Callable[[str], Model], name: str
) -> None:
    model = of_kind(name)
    text, asked = "one and two", [3, -1]
    of_source = ["encoder.blocks.0.resid_post", "encoder.blocks.1.attn.pattern", "blocks.0.cross_attn.k"]
    of_source += ["blocks.0.cross_attn.v"]
    of_target = ["blocks.1.resid_post", "blocks.0.attn.pattern", "blocks.0.cross_attn.pattern", "blocks.0.cross_attn.q"]
    for sites in (of_source, of_target, [*of_source, *of_target]):
        whole = tlab.capture(model, text, sites=sites, target="abcd")
        some = tlab.capture(model, text, sites=sites, target="abcd", positions=asked)
        for site in sites:
            axis = whole.axes(site).index("dest_pos" if "dest_pos" in whole.axes(site) else "pos")
            n_pos = len(whole.source_tokens if site in of_source else whole.tokens)
            assert whole[site].shape[axis] == n_pos
            expected = whole[site].index_select(axis, torch.tensor([3, n_pos - 1]))
            torch.testing.assert_close(some[site], expected, rtol=0, atol=0)
    # The source has twelve tokens, the decoder only its first one.
    assert tlab.capture(model, text, sites=of_source[0], positions=11)[of_source[0]].shape[1] == 1
    with pytest.raises(UnknownOption, match=r"from -12 to 11, got 12; at encoder.*the shortest source has 12"):
        tlab.capture(model, text, sites=of_source[0], positions=12)
    with pytest.raises(UnknownOption, match=r"from -1 to 0, got 3; at blocks.*the decoder has 1"):
        tlab.capture(model, text, sites=of_target[0], positions=3)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_an_encoder_decoders_padding_is_blank_also_where_the_decoder_reads_it(
    of_kind: Callable[[str], Model], name: str
) -> None:
    model = of_kind(name)
    steps = ("q", "k", "v", "scores", "pattern", "z", "out")
    sites = ["encoder.blocks.1.attn.scores", *(f"blocks.1.cross_attn.{step}" for step in steps)]
    together = tlab.capture(model, PROMPTS, sites=sites)
    cut = tlab.capture(model, PROMPTS, sites=sites, positions=-1)
    assert together.lengths == (1, 1, 1)
    for row, prompt in enumerate(PROMPTS):
        alone = tlab.capture(model, prompt, sites=sites)
        assert together.prompts[row] == alone.tokens
        assert together.sources[row] == alone.source_tokens
        assert together.source_lengths[row] == len(alone.source_tokens)
        last = tlab.capture(model, prompt, sites=sites, positions=-1)
        for site, tensor in alone.items():
            padded = together[site][row].clone()
            inside = padded[tuple(slice(size) for size in tensor.shape[1:])]
            torch.testing.assert_close(inside, tensor[0], rtol=1e-4, atol=1e-4)
            inside.zero_()
            assert not bool(padded.any())
            here = cut[site][row][tuple(slice(size) for size in last[site].shape[1:])]
            torch.testing.assert_close(here, last[site][0], rtol=1e-4, atol=1e-4)


def test_positions_are_counted_from_each_prompts_own_end(llama: Model) -> None:
    site = "blocks.2.resid_post"
    last = tlab.capture(llama, PROMPTS, sites=site, positions=-1)[site]
    assert last.shape == (3, 1, llama.d_model)
    for row, prompt in enumerate(PROMPTS):
        torch.testing.assert_close(last[row, 0], tlab.capture(llama, prompt, sites=site)[site][0, -1])
    some = tlab.capture(llama, PROMPTS[0], sites="blocks.0.attn.pattern", positions=[3, 0])["blocks.0.attn.pattern"]
    whole = tlab.capture(llama, PROMPTS[0], sites="blocks.0.attn.pattern")["blocks.0.attn.pattern"]
    torch.testing.assert_close(some, whole[:, :, [3, 0]])


def test_sites_can_be_asked_for_by_pattern_or_all_at_once(llama: Model) -> None:
    maps = tlab.capture(llama, "one", sites="blocks.*.attn.pattern")
    assert list(maps) == [f"blocks.{layer}.attn.pattern" for layer in range(3)]
    assert tuple(tlab.capture(llama, "one", sites="all")) == llama.sites


def test_a_capture_is_a_mapping_and_says_what_it_lacks(llama: Model) -> None:
    captured = tlab.capture(llama, "one", sites="blocks.0.attn.z")
    assert "blocks.0.attn.z" in captured
    assert "blocks.1.attn.z" not in captured
    with pytest.raises(UnknownSite, match=r"expected a name such as 'blocks.0.attn.z'"):
        _ = captured["blocks.0.attn.q"]


def test_an_encoder_fills_its_mask_as_hugging_face_does(of_kind: Callable[[str], Model]) -> None:
    encoder = of_kind("bert")
    prompt = f"ab{encoder.tokenizer.mask_token}cd"
    filled = tlab.predict(encoder, prompt, k=5)
    ids = encoder.tokenizer(prompt, return_tensors="pt")["input_ids"]
    position = int((ids[0] == encoder.tokenizer.mask_token_id).nonzero()[0])
    with torch.no_grad():
        expected = encoder.hf(ids).logits[0, position].softmax(-1).topk(5)
    assert filled.position == position
    assert filled.frame["probability"].tolist() == pytest.approx(expected.values.tolist(), rel=1e-4)
    assert "In the place of position" in filled.explain()
    with pytest.raises(UnusablePrompt, match=r"expected a text with \[MASK\]"):
        tlab.predict(encoder, "no mask here")


@pytest.mark.parametrize("name", ["t5", "bart", "marian"])
def test_an_encoder_decoder_predicts_what_hugging_face_does(of_kind: Callable[[str], Model], name: str) -> None:
    model = of_kind(name)
    found = tlab.predict(model, "one and two", k=3, target="ab")
    source = model.tokenizer("one and two", return_tensors="pt")["input_ids"]
    written = model.tokenizer(text_target="ab", add_special_tokens=False)["input_ids"]
    start = torch.tensor([[model.hf.config.decoder_start_token_id, *written]])
    with torch.no_grad():
        expected = model.hf(input_ids=source, decoder_input_ids=start).logits[0, -1].softmax(-1).topk(3)
    assert found.frame["probability"].tolist() == pytest.approx(expected.values.tolist(), rel=1e-4)


def test_the_sentence_encoder_of_the_catalogue_gives_known_neighbours() -> None:
    encoder = tlab.load("minilm-l6")
    texts = ["A cat sits on the mat.", "A kitten rests on a rug.", "The stock market fell sharply."]
    captured = tlab.capture(encoder, texts, sites="blocks.5.resid_post")
    means = torch.stack(
        [captured["blocks.5.resid_post"][row, :length].mean(0) for row, length in enumerate(captured.lengths)]
    )
    likeness = torch.nn.functional.cosine_similarity(means[0], means[1:], dim=-1)
    assert float(likeness[0]) > 0.5 > float(likeness[1]) + 0.3
    with pytest.raises(UnusablePrompt, match="expected a model that predicts tokens, got the encoder 'minilm-l6'"):
        tlab.predict(encoder, "A cat")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda m: tlab.capture(m, PROMPTS, positions=[5]),
            UnknownOption,
            "a whole number from -5 to 4, got 5",
        ),
        (lambda m: tlab.capture(m, []), UnusablePrompt, "expected at least one, got an empty list"),
        (lambda m: tlab.capture(m, ["one", 2]), UnusablePrompt, "expected a text of at least one character, got 2"),
        (lambda m: tlab.capture(m, "one", target="two"), UnusablePrompt, "expected none for a model of the family"),
        (lambda m: tlab.capture(m, "one", sites="blocks.*.attn.patern"), UnknownSite, "expected a name such as"),
        (lambda m: tlab.capture(m, "one", sites="blocks.3.attn.z"), UnknownSite, "expected a block from 0 to 2"),
        (lambda m: tlab.predict(m, "one", position=3), UnknownOption, "expected a whole number from -3 to 2, got 3"),
    ],
)
def test_bad_input_gets_one_clear_sentence(
    llama: Model, call: Callable[[Model], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(llama)


def test_an_unknown_site_is_answered_with_three_near_names(llama: Model) -> None:
    with pytest.raises(UnknownSite) as caught:
        tlab.capture(llama, "one", sites="blocks.1.attn.patern")
    names = [part for part in str(caught.value).split("'") if part.startswith("blocks.")]
    assert names[0] == "blocks.1.attn.pattern"
    assert len(names) == 4  # three suggestions, and what was asked for


def test_predictions_can_be_read_at_any_position(llama: Model) -> None:
    for position in range(3):
        read = tlab.predict(llama, "abcd", k=1, position=position)
        cut = tlab.predict(llama, "abcd"[: position + 1], k=1)
        assert read.token == cut.token
        assert math.isclose(read.probability, cut.probability, rel_tol=1e-4)
