"""The steps of a dataflow add up to Hugging Face's own streams, in their order, in every wiring."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import oracle
import pytest
import torch
from torch.testing import assert_close

from tlab.errors import UnknownOption
from tlab.experiments.dataflow import Dataflow, dataflow
from tlab.experiments.prompts import inputs_of
from tlab.results import Result
from tlab.views import dataflow as view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import PreTrainedModel

    from tlab import Model

_PROMPT = "The cat sat"


def _ids(model: Model) -> dict[str, Any]:
    inputs = inputs_of(model, _PROMPT)
    return {"ids": inputs.ids} if inputs.source is None else {"ids": inputs.source, "decoder_ids": inputs.ids}


def test_the_steps_add_up_to_hugging_faces_streams(
    specimen: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(specimen), untouched(specimen)
    found = dataflow(model, _PROMPT, position=-1)
    assert found.identity_error < 1e-5
    given = _ids(model)
    for stack in oracle.stacks(specimen):
        in_encoder = stack == "encoder" and model.family == "encoder-decoder"
        prefix = "encoder." if in_encoder else ""
        n_blocks = len(model.anatomy.encoder.blocks) if in_encoder and model.anatomy.encoder else model.n_layers
        for layer in range(n_blocks):
            before, after = oracle.residuals(hf, specimen, **given, layer=layer, stack=stack)
            rows = found.frame[found.frame["name"].str.startswith(f"{prefix}L{layer}.")]
            expected = after[0].norm(dim=-1).mean() if in_encoder else after[0, -1].norm()
            assert float(rows["stream_norm"].dropna().iloc[-1]) == pytest.approx(float(expected), rel=1e-4)
            entered = found.frame.loc[: rows.index[0] - 1, "stream_norm"].dropna().iloc[-1]
            expected = before[0].norm(dim=-1).mean() if in_encoder else before[0, -1].norm()
            assert float(entered) == pytest.approx(float(expected), rel=1e-4)


def test_every_part_is_there_once_with_what_it_adds(
    specimen: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(specimen), untouched(specimen)
    frame = dataflow(model, _PROMPT, position=-1).frame
    assert frame["name"].is_unique
    assert frame["step"].tolist() == list(range(len(frame)))
    given = _ids(model)
    parts = [("attn", "attn"), ("mlp", "mlp")] + ([("cross", "cross")] if model.anatomy.decoder.blocks[0].cross else [])
    lengths = frame.set_index("name")["norm"]
    for layer in range(model.n_layers):
        for name, part in parts:
            added = oracle.contribution(hf, specimen, **given, layer=layer, part=part)  # type: ignore[arg-type]
            assert lengths[f"L{layer}.{name}"] == pytest.approx(float(added[0, -1].norm()), rel=1e-4), (layer, part)


def test_the_answer_is_the_models_own_and_the_last_lens_names_it(
    specimen: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model = dissected(specimen)
    found = dataflow(model, _PROMPT, position=-1)
    probabilities = oracle.logits(untouched(specimen), **_ids(model))[0, -1].softmax(-1)
    assert found.answer == model.to_text(int(probabilities.argmax()))
    assert found.probability == pytest.approx(float(probabilities.max()), abs=1e-5)
    last = found.frame[found.frame["top_token"].notna() & (found.frame["kind"] != "logits")].iloc[-1]
    assert last["top_token"] == found.answer
    assert last["answer_probability"] == pytest.approx(found.probability, abs=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "llama-grouped", "gemma-2", "gpt-neox", "opt-post-norm"])
def test_sizes_and_angles_are_those_of_the_vectors(name: str, dissected: Callable[..., Model]) -> None:
    from tlab.engine import run  # noqa: PLC0415

    model = dissected(name)
    sites = ("blocks.1.resid_pre", "blocks.1.attn.out")
    captured = run(model, model.to_ids(_PROMPT), sites=sites).captured
    stream, written = (captured[site][0, 3] for site in sites)
    row = dataflow(model, _PROMPT, position=3).frame.set_index("name").loc["L1.attn"]
    assert row["relative"] == pytest.approx(float(written.norm() / stream.norm()), rel=1e-4)
    assert row["cosine"] == pytest.approx(float(torch.cosine_similarity(written, stream, dim=0)), abs=1e-5)
    assert row["shape"] == "11×32"


def test_a_parallel_blocks_second_norm_meets_the_stream_before_attention(dissected: Callable[..., Model]) -> None:
    from tlab.engine import run  # noqa: PLC0415

    model = dissected("falcon-new")
    sites = ("blocks.1.resid_pre", "blocks.1.ln2.out")
    captured = run(model, model.to_ids(_PROMPT), sites=sites).captured
    stream, normed = (captured[site][0, -1] for site in sites)
    row = dataflow(model, _PROMPT).frame.set_index("name").loc["L1.ln2"]
    assert row["relative"] == pytest.approx(float(normed.norm() / stream.norm()), rel=1e-4)


def test_the_order_is_that_of_the_wiring(dissected: Callable[..., Model]) -> None:
    def names(name: str, layer: int) -> list[str]:
        frame = dataflow(dissected(name), _PROMPT).frame
        return [step.split(".", 1)[1] for step in frame["name"] if step.startswith(f"L{layer}.")]

    assert names("llama", 1) == ["ln1", "attn", "ln2", "mlp"]
    assert names("gpt-j", 1) == ["ln1", "attn", "mlp"]
    assert names("olmo-2", 1) == ["attn", "mlp"]
    assert names("bert", 1) == ["attn", "attn_norm", "mlp", "mlp_norm"]
    assert names("t5", 1) == ["ln1", "attn", "ln_cross", "cross", "ln2", "mlp"]
    first = dataflow(dissected("gpt2"), _PROMPT).frame["name"].tolist()
    assert first[:3] == ["tokens", "embed", "positions and scale"]
    assert first[-2:] == ["ln_final", "logits"]
    assert dataflow(dissected("llama"), _PROMPT).frame["name"].tolist()[:3] == ["tokens", "embed", "L0.ln1"]
    assert "widening" in dataflow(dissected("opt-post-norm"), _PROMPT).frame["name"].tolist()


def test_an_encoder_is_read_at_its_mask_and_a_decoder_at_its_end(dissected: Callable[..., Model]) -> None:
    assert dataflow(dissected("bert"), "a[MASK]b").position == 2
    assert dataflow(dissected("bert"), "ab").position == 3
    assert dataflow(dissected("gpt2"), "ab").position == 1
    both = dataflow(dissected("t5"), "abc", target="de")
    assert (len(both.source_tokens), len(both.tokens), both.position) == (4, 3, 2)


@pytest.mark.parametrize("position", [11, -12, 1.0, True, "last"])
def test_a_position_outside_the_prompt_is_refused(llama: Model, position: Any) -> None:  # noqa: ANN401
    with pytest.raises(
        UnknownOption, match=r"^position refused: expected a whole number from -11 to 10, got .*; the prompt"
    ):
        dataflow(llama, _PROMPT, position=position)


def test_the_answer_settles_where_the_lens_no_longer_changes_its_mind(llama: Model) -> None:
    found = dataflow(llama, _PROMPT)
    read = found.frame[found.frame["top_token"].notna() & (found.frame["kind"] != "logits")]
    tokens = dict(zip(read["name"], read["top_token"], strict=True))
    behind = list(tokens)[list(tokens).index(found.settled) :]
    assert {tokens[name] for name in behind} == {found.answer}
    before = list(tokens)[list(tokens).index(found.settled) - 1]
    assert tokens[before] != found.answer


def test_a_dataflow_says_and_draws_its_numbers(llama: Model, dissected: Callable[..., Model]) -> None:
    for model in (llama, dissected("t5"), dissected("bert")):
        found = dataflow(model, "The <b> cat")
        sentence = found.explain()
        assert re.fullmatch(r"[A-Z0-9][^\n]*\.", sentence)
        largest = found.writes.loc[found.writes["relative"].idxmax()]
        assert f"{largest['name']} ({largest['relative']:.2f} times its length)" in sentence
        assert "no causes" in sentence
        picture = view.draw(found)
        drawn = {name for marks in picture.data for name in marks.x}
        assert set(found.writes["name"]) <= drawn
        assert not any("<b>" in (note.text or "") for note in picture.layout.annotations)
        assert picture.layout.xaxis.title.text
        (stream,) = (trace for trace in picture.data if trace.name == "stream")
        assert all(math.isfinite(length) for length in stream.y)


def test_a_dataflow_is_saved_and_done_again(llama: Model, tmp_path: Path) -> None:
    found = dataflow(llama, _PROMPT, position=2)
    loaded = Result.load(found.save(tmp_path / "d.tlab"))
    assert isinstance(loaded, Dataflow)
    assert loaded.explain() == found.explain()
    again = loaded.replay(llama)
    assert_close(
        torch.tensor(again.to_frame()["norm"].tolist()), torch.tensor(found.frame["norm"].tolist()), equal_nan=True
    )


@pytest.mark.slow
def test_smollm2_settles_on_paris_in_its_last_layer(model: Model) -> None:
    found = dataflow(model, "The capital of France is")
    assert (found.answer, found.settled) == (" Paris", "L29.mlp")
    assert found.probability == pytest.approx(0.773, abs=1e-3)
    assert found.identity_error < 1e-5
    assert len(found.frame) == 3 + 4 * 30 + 1
