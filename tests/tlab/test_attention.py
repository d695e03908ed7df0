"""Attention patterns of every stack are Hugging Face's, and bertviz' views of them fetch nothing from elsewhere."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
import pytest
import torch
import zoo
from torch.testing import assert_close

import tlab
from tlab.errors import UnknownOption, UnknownTarget, UnusablePrompt
from tlab.experiments.attention import AttentionResult, attention
from tlab.experiments.prompts import inputs_of
from tlab.results import Result
from tlab.views import attention as view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import PreTrainedModel

    from tlab import Model
    from tlab.results import HtmlView

_PROMPT = "The cat sat"
_FOREIGN = re.compile(r"""(?:src|href)=["'](?:https?:)?//|['"](?:https?:)?//[^'"]*(?:d3|jquery|require)""")
# bertviz reads its scripts without closing the files.
_bertviz_leaves_files_open = pytest.mark.filterwarnings(
    r"ignore:Exception ignored in.*(head|model)_view\.js:pytest.PytestUnraisableExceptionWarning"
)


def test_patterns_are_hugging_faces(
    specimen: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(specimen), untouched(specimen)
    inputs = inputs_of(model, _PROMPT)
    found = attention(model, _PROMPT, layer=1, head=2)
    if inputs.source is None:
        expected = oracle.attentions(hf, inputs.ids)
    else:
        expected = oracle.attentions(hf, inputs.source, decoder_ids=inputs.ids)
    assert_close(found.pattern, torch.stack(expected)[:, 0], atol=1e-5, rtol=1e-4)
    assert found.is_causal == (model.family != "encoder")
    n_pos = len(found.tokens)
    assert len(found.to_frame()) == (n_pos * (n_pos + 1) // 2 if found.is_causal else n_pos**2)
    if "sinks" not in zoo.SPECIMENS[specimen].traits:
        assert found.to_frame().groupby("dest_pos")["weight"].sum().to_numpy() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", zoo.names("encoder-decoder"))
def test_cross_and_encoder_attention_are_hugging_faces(
    name: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(name), untouched(name)
    inputs = inputs_of(model, _PROMPT, target="ab")
    assert inputs.source is not None
    given: dict[str, Any] = {"ids": inputs.source, "decoder_ids": inputs.ids}
    cross = attention(model, _PROMPT, kind="cross", target="ab", layer=1, head=3)
    assert_close(cross.pattern, torch.stack(oracle.attentions(hf, **given, cross=True))[:, 0], atol=1e-5, rtol=1e-4)
    assert (len(cross.tokens), len(cross.source_tokens)) == (3, 12)
    assert len(cross.to_frame()) == 36
    assert "of the source" in cross.explain()
    inside = attention(model, _PROMPT, kind="encoder")
    assert_close(
        inside.pattern, torch.stack(oracle.attentions(hf, **given, stack="encoder"))[:, 0], atol=1e-5, rtol=1e-4
    )
    assert inside.tokens == inside.source_tokens == cross.source_tokens
    (heat,) = view.draw(cross).data
    assert np.array(heat.z, dtype=float) == pytest.approx(cross.selected.numpy(), abs=5e-4)
    assert view.draw(cross).layout.title.text == "Cross-attention pattern, layer 1, head 3"


@pytest.mark.parametrize(
    "name", ["gpt2", "llama", "llama-grouped", "mistral", "qwen3", "gpt-neox", "phi", "falcon", "gpt-j"]
)
def test_queries_and_keys_make_the_pattern(name: str, dissected: Callable[..., Model]) -> None:
    model = dissected(name)
    found = attention(model, _PROMPT)
    keys = found.keys.repeat_interleave(model.n_heads // found.keys.shape[1], dim=1)
    scores = found.queries @ keys.transpose(-1, -2) / math.sqrt(model.d_head)
    hidden = found.pattern == 0
    assert_close(scores.masked_fill(hidden, -math.inf).softmax(-1), found.pattern, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        (
            "llama",
            {"kind": "cross"},
            UnknownOption,
            r"^kind refused: expected 'self' for a model with a single stack, got",
        ),
        ("llama", {"kind": "encoder"}, UnknownOption, r"^kind refused: .* the decoder 'llama'; leave it out"),
        ("t5", {"kind": "both"}, UnknownOption, r"^kind refused: expected one of self, cross, encoder, got 'both'"),
        (
            "t5",
            {"kind": "cross", "layer": 2},
            UnknownTarget,
            r"^head unknown: expected a layer from 0 to 1 .*got layer 2",
        ),
        ("llama", {"target": "a"}, UnusablePrompt, r"^target unusable"),
        ("llama", {"head": True}, UnknownTarget, r"^head unknown: .*got layer 0, head True"),
    ],
)
def test_attention_that_is_not_there_is_refused(
    name: str, options: dict[str, Any], error: type[Exception], message: str, dissected: Callable[..., Model]
) -> None:
    with pytest.raises(error, match=message):
        attention(dissected(name), _PROMPT, **options)


def test_an_encoders_own_attention_has_two_names(dissected: Callable[..., Model]) -> None:
    model = dissected("bert")
    assert_close(attention(model, _PROMPT, kind="encoder").pattern, attention(model, _PROMPT).pattern)


def _views(found: AttentionResult, **options: bool) -> dict[str, HtmlView]:
    return {
        "head": found.head_view(**options),
        "model": found.model_view(**options),
        "neuron": found.neuron_view(**options),
    }


def _parameters(html: str) -> dict[str, Any]:
    (written,) = re.findall(r"params = (\{.*?\});\n", html)
    found: dict[str, Any] = json.loads(written)
    return found


@_bertviz_leaves_files_open
@pytest.mark.parametrize(("name", "kind"), [("llama", "self"), ("bert", "self"), ("t5", "cross"), ("t5", "encoder")])
def test_the_views_fetch_nothing_from_elsewhere(name: str, kind: Any, dissected: Callable[..., Model]) -> None:  # noqa: ANN401
    found = attention(dissected(name), _PROMPT, kind=kind)
    for view_name, one in _views(found).items():
        assert not _FOREIGN.search(one.html), view_name
        assert "from_cdn=True" in one.html
        assert one.twin == found.text()
    for view_name, one in _views(found, from_cdn=True).items():
        assert len(_FOREIGN.findall(one.html)) >= 3, view_name


@_bertviz_leaves_files_open
def test_tokens_cannot_end_the_script_that_draws_them(llama: Model) -> None:
    plain = attention(llama, "abc", layer=1, head=1)
    hostile = ("</script><script>alert(1)</script>", "<!--<script>", "'\\u2028\"; // HACK")
    found = AttentionResult(
        tokens=hostile,
        source_tokens=hostile,
        pattern=plain.pattern,
        queries=plain.queries,
        keys=plain.keys,
        layer=1,
        head=1,
    )
    for name, one in _views(found).items():
        assert one.html.count("</script>") == one.html.count("<script ") == (2 if name == "neuron" else 1)
        assert "<!--" not in one.html
        given = _parameters(one.html)["attention"]
        content = given["all"] if name == "neuron" else given[0]
        assert content["left_text"] == content["right_text"] == list(hostile)


@_bertviz_leaves_files_open
def test_the_views_show_the_patterns_that_were_found(llama: Model, dissected: Callable[..., Model]) -> None:
    found = attention(llama, "The cat", layer=1, head=2)
    for one in (found.head_view(layers=[2, 1]), found.model_view(layers=[2, 1])):
        given = _parameters(one.html)
        assert given["include_layers"] == [2, 1]
        assert np.array(given["attention"][0]["attn"]) == pytest.approx(found.pattern[[2, 1]].numpy(), abs=5e-3)
    cross = attention(dissected("t5"), "abc", kind="cross")
    (content,) = _parameters(cross.model_view().html)["attention"]
    assert content["right_text"] == list(cross.source_tokens)
    assert np.array(content["attn"]) == pytest.approx(cross.pattern.numpy(), abs=5e-3)


def test_the_neuron_view_is_given_queries_and_keys_of_the_shown_layer(llama: Model) -> None:
    found = attention(llama, "The cat", layer=1, head=2)
    html = found.neuron_view().html
    given = _parameters(html)
    content = given["attention"]["all"]
    assert (given["layer"], given["head"], given["bidirectional"]) == (0, 2, False)
    assert ".val(i).text(1)" in html
    assert np.array(content["attn"][0]) == pytest.approx(found.pattern[1].numpy(), abs=5e-3)
    assert np.array(content["queries"][0]) == pytest.approx(found.queries[1].numpy(), abs=5e-3)
    shared = found.keys[1].repeat_interleave(2, dim=0)
    assert np.array(content["keys"][0]) == pytest.approx(shared.numpy(), abs=5e-3)
    for root in re.findall(r'<div id="(bertviz-[0-9a-f]+)"', html):
        assert given["root_div_id"] == root


def test_views_of_layers_that_are_not_there_are_refused(llama: Model) -> None:
    found = attention(llama, "ab")
    for layers in ([3], [], [-1], ["0"]):
        with pytest.raises(UnknownTarget, match=r"^head unknown: expected a layer from 0 to 2"):
            found.model_view(layers=layers)  # type: ignore[arg-type]


def test_a_pattern_is_saved_and_done_again(llama: Model, tmp_path: Path) -> None:
    found = attention(llama, _PROMPT, layer=2, head=1)
    loaded = Result.load(found.save(tmp_path / "p.tlab"))
    assert isinstance(loaded, AttentionResult)
    assert_close(loaded.pattern, found.pattern)
    assert loaded.explain() == found.explain()
    again = loaded.replay(llama)
    assert isinstance(again, AttentionResult)
    assert_close(again.queries, found.queries)


@_bertviz_leaves_files_open
@pytest.mark.slow
def test_smollm2_reads_france_before_it_says_paris(model: Model) -> None:
    found = tlab.attention(model, "The capital of France is", layer=23, head=4)
    assert float(found.selected[-1, 3]) == pytest.approx(0.903, abs=1e-3)
    assert "' France' at position 3 (90.3 %" in found.explain()
    sizes = {name: len(one.html) for name, one in _views(found).items()}
    assert max(sizes.values()) < 300_000
