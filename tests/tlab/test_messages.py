"""Every message that tlab raises on purpose, word for word where it counts: expected, got, where, and the repair."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import torch

import tlab
from tlab.engine import Edit, run
from tlab.errors import (
    TlabError,
    UnequalPrompts,
    UnknownExercise,
    UnknownModel,
    UnknownOption,
    UnknownSite,
    UnknownTarget,
    UnusableEdit,
    UnusablePrompt,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from tlab import Model

_PROMPT = "The cat"
_LONGEST_MESSAGE = 400
_LONG = "x" * 10_000

_CALLS: list[tuple[str, Callable[[Any], object], type[TlabError], str]] = [
    (
        "a prompt that is no text",
        lambda model: tlab.predict(model, ["The", "cat"]),
        UnusablePrompt,
        r"prompt unusable: expected a text of at least one character, got \['The', 'cat'\]; try 'The capital of",
    ),
    (
        "an empty prompt",
        lambda model: tlab.attention(model, ""),
        UnusablePrompt,
        r"prompt unusable: expected a text of at least one character, got ''; try ",
    ),
    (
        "no prompt",
        lambda model: tlab.logit_lens(model, None),
        UnusablePrompt,
        r"prompt unusable: expected a text .*, got None; try ",
    ),
    (
        "half a surrogate pair",
        lambda model: tlab.predict(model, "a\ud800b"),
        UnusablePrompt,
        r"prompt unusable: expected .*, got 'a\\ud800b'; ",
    ),
    (
        "a prompt beyond the context",
        lambda model: tlab.predict(model, "a" * 97),
        UnusablePrompt,
        r"prompt too long: expected at most 96 tokens, got 97; shorten the text",
    ),
    (
        "no tokens wanted",
        lambda model: tlab.predict(model, _PROMPT, k=0),
        UnknownOption,
        r"k refused: expected a whole number from 1 to 257, got 0; try k=10",
    ),
    (
        "more tokens than there are",
        lambda model: tlab.predict(model, _PROMPT, k=258),
        UnknownOption,
        r"k refused: expected a whole number from 1 to 257, got 258; try k=10",
    ),
    (
        "half a token",
        lambda model: tlab.predict(model, _PROMPT, k=2.5),
        UnknownOption,
        r"k refused: expected a whole number from 1 to 257, got 2\.5; try k=10",
    ),
    (
        "a truth value for a number",
        lambda model: tlab.predict(model, _PROMPT, k=True),
        UnknownOption,
        r"k refused: expected a whole number from 1 to 257, got True; try k=10",
    ),
    (
        "a misspelt site",
        lambda model: tlab.capture(model, _PROMPT, sites=["blocks.2.attn.patern"]),
        UnknownSite,
        r"site unknown: expected a name such as 'blocks\.2\.attn\.pattern', '.*', '.*', got '.*patern'; list them with",
    ),
    (
        "a site in a block too many",
        lambda model: tlab.capture(model, _PROMPT, sites=["blocks.3.resid_pre"]),
        UnknownSite,
        r"site unknown: expected a block from 0 to 2, got 'blocks\.3\.resid_pre'; count layers from 0",
    ),
    (
        "TransformerLens' name for a site",
        lambda model: tlab.capture(model, _PROMPT, sites=["blocks.0.attn.hook_pattern"]),
        UnknownSite,
        r"expected a name such as 'blocks\.0\.attn\.pattern'",
    ),
    (
        "a number for a site",
        lambda model: tlab.capture(model, _PROMPT, sites=[3]),
        UnknownSite,
        r"site unknown: expected a name such as '.*', got 3; ",
    ),
    (
        "a number for all sites",
        lambda model: tlab.capture(model, _PROMPT, sites=3),
        UnknownSite,
        r"site unknown: expected .*, got 3; ",
    ),
    (
        "an unreadable target",
        lambda model: tlab.ablate(model, _PROMPT, "layer 3"),
        UnknownTarget,
        r"target unknown: expected 'L3H4', 'L3\.attn', 'L3\.mlp' or 'L3', got 'layer 3'; L is the layer, H the head",
    ),
    (
        "a target of an impossible layer",
        lambda model: tlab.ablate(model, _PROMPT, ["L0", "L3.mlp"]),
        UnknownTarget,
        r"target outside the model: expected layers 0 to 2 and heads 0 to 3, got 'L3\.mlp'; both count from 0",
    ),
    (
        "a target of an impossible head",
        lambda model: tlab.ablate(model, _PROMPT, "L0H4"),
        UnknownTarget,
        r"target outside the model: expected layers 0 to 2 and heads 0 to 3, got 'L0H4'; both count from 0",
    ),
    (
        "a number for a target",
        lambda model: tlab.ablate(model, _PROMPT, 3),
        UnknownTarget,
        r"target unknown: expected a name such as 'L3H4' or a list of names, got 3; put it in quotes",
    ),
    (
        "a pair for a target",
        lambda model: tlab.ablate(model, _PROMPT, (1, 2)),
        UnknownTarget,
        r"target unknown: expected 'L3H4', .*, got 1; ",
    ),
    (
        "an unknown method",
        lambda model: tlab.ablate(model, _PROMPT, "L0", method="median"),
        UnknownOption,
        r"method refused: expected one of zero, mean, resample, got 'median'; try 'zero'",
    ),
    (
        "no reference",
        lambda model: tlab.ablate(model, _PROMPT, "L0", method="mean", reference=()),
        TlabError,
        r"expected at least one.*, got (none|an empty list); ",
    ),
    (
        "references of one token",
        lambda model: tlab.ablate(model, _PROMPT, "L0", method="resample", reference=("a", "b")),
        UnknownOption,
        r"reference refused: expected at least one prompt of two tokens or more, got none; leave it out",
    ),
    (
        "one text for the list of references",
        lambda model: tlab.ablate(model, _PROMPT, "L0", method="mean", reference="é sentence"),
        UnknownOption,
        r"reference refused: expected .*, got 'é sentence'; ",
    ),
    (
        "a number for the list of references",
        lambda model: tlab.ablate(model, _PROMPT, "L0", method="mean", reference=3),
        TlabError,
        r"expected .*, got 3; ",
    ),
    (
        "a list among the references",
        lambda model: tlab.ablate(model, _PROMPT, "L0", method="mean", reference=("a b", ["c d"])),
        TlabError,
        r"expected .*, got .*; ",
    ),
    (
        "a followed text of two tokens",
        lambda model: tlab.ablate(model, _PROMPT, "L0", token="ab"),  # noqa: S106  no password
        UnusablePrompt,
        r"token unusable: expected exactly one token, got 2 in 'ab'; its first is 'a' \(a leading space counts\)",
    ),
    (
        "an empty token",
        lambda model: tlab.ablate(model, _PROMPT, "L0", token=""),
        UnusablePrompt,
        r"unusable: expected .*, got ''; ",
    ),
    (
        "a layer too many to look at",
        lambda model: tlab.attention(model, _PROMPT, layer=3),
        UnknownTarget,
        r"head unknown: expected a layer from 0 to 2 and a head from 0 to 3, got layer 3, head 0; both count from 0",
    ),
    (
        "a head that is no number",
        lambda model: tlab.attention(model, _PROMPT, head="2"),
        UnknownTarget,
        r"head unknown: .*, got layer 0, head '2'; both count from 0",
    ),
    (
        "the heat map of a head too many",
        lambda model: tlab.attention(model, _PROMPT).heatmap(0, 4),
        UnknownTarget,
        r"head unknown: .*, got layer 0, head 4; both count from 0",
    ),
    (
        "the head view of a layer too many",
        lambda model: tlab.attention(model, _PROMPT).head_view(layers=[1, 7]),
        UnknownTarget,
        r"head unknown: .*, got layer 7, head 0; both count from 0",
    ),
    (
        "the head view of no layer",
        lambda model: tlab.attention(model, _PROMPT).head_view(layers=[]),
        UnknownTarget,
        r"expected .*, got .*; ",
    ),
    (
        "a misspelt site, whose three nearest are named",
        lambda model: tlab.capture(model, _PROMPT, sites=["block.1.mlp.output"]),
        UnknownSite,
        r"expected a name such as 'blocks\.\d\.mlp\.\w+', 'blocks\.\d\.mlp\.\w+', 'blocks\.\d\.mlp\.\w+', got ",
    ),
    (
        "prompts of unequal length in a patch",
        lambda model: tlab.patch(model, "The cat sat", "The tiger sat", "L1.attn"),
        UnequalPrompts,
        r"prompts unequal: expected as many tokens in both, got 11 and 13; at token 4 .* stands against .*: replace",
    ),
    (
        "a patch of a layer too many",
        lambda model: tlab.patch(model, "The cat", "The dog", "L7.attn"),
        UnknownTarget,
        r"target outside the model: expected layers 0 to 2 and heads 0 to 3, got 'L7\.attn'; both count from 0",
    ),
    (
        "a patch of a head too many",
        lambda model: tlab.patch(model, "The cat", "The dog", "L1H4"),
        UnknownTarget,
        r"target outside the model: .*, got 'L1H4'; both count from 0",
    ),
    (
        "a metric that is none",
        lambda model: tlab.patch(model, "The cat", "The dog", "L1", metric="logit"),
        UnknownOption,
        r"metric refused: expected one of tlab\.metrics, got 'logit'; try tlab\.metrics\.logit_diff",
    ),
    (
        "a metric's token that is several",
        lambda model: tlab.patch(model, "The cat", "The dog", "L1", metric=tlab.metrics.logit_diff(" Mary", "J")),
        UnusablePrompt,
        r"token unusable: expected exactly one token, got 5 in ' Mary'; its first is ' ' \(a leading space counts\)",
    ),
    (
        "a metric's position outside the prompt",
        lambda model: tlab.patch(model, "ab", "cb", "L1", metric=tlab.metrics.logit("x", position=2)),
        UnknownOption,
        r"position refused: expected -2 to 1, got 2; the prompt has 2 tokens",
    ),
    (
        "the loss of a single token",
        lambda model: tlab.patch(model, "a", "b", "L1", metric=tlab.metrics.loss()),
        UnusablePrompt,
        r"prompt unusable: expected at least two tokens for a loss, got one; write a longer text",
    ),
    (
        "a token of several tokens",
        lambda model: model.to_id("Paris"),
        UnusablePrompt,
        r"token unusable: expected exactly one token, got 5 in 'Paris'; its first is 'P' \(a leading space counts\)",
    ),
    (
        "an id outside the vocabulary",
        lambda model: model.to_id(257),
        UnusablePrompt,
        r"token unusable: expected an id from 0 to 256, got 257; see model\.to_ids",
    ),
    (
        "no token at all",
        lambda model: model.to_id(None),
        UnusablePrompt,
        r"token unusable: expected a text or an id, got None; write ' Paris'",
    ),
    (
        "an edit that divides by zero",
        lambda model: _edited(model, "blocks.1.attn.z", lambda tensor: tensor / 0),
        UnusableEdit,
        r"edit refused: expected finite numbers, got 224 of 224 that are not at blocks\.1\.attn\.z; look for a div",
    ),
    (
        "an edit that leaves one number that is none",
        lambda model: _edited(model, "blocks.1.mlp.out", _with_one_nan),
        UnusableEdit,
        r"edit refused: expected finite numbers, got 1 of 224 that are not at blocks\.1\.mlp\.out; look for a division",
    ),
    (
        "an edit of scores that are none",
        lambda model: _edited(model, "blocks.1.attn.scores", _with_one_nan),
        UnusableEdit,
        r"edit refused: expected finite numbers, got 1 of 196 that are not at blocks\.1\.attn\.scores; look for",
    ),
    (
        "an edit of another shape",
        lambda model: _edited(model, "blocks.1.attn.z", lambda tensor: tensor[:, 1:]),
        UnusableEdit,
        r"edit refused: expected a tensor of shape \(1, 7, 4, 8\), got \(1, 6, 4, 8\) at blocks\.1\.attn\.z; return",
    ),
    (
        "an edit that returns nothing",
        lambda model: _edited(model, "blocks.1.attn.z", lambda _: None),
        UnusableEdit,
        r"edit refused: expected a tensor of shape \(1, 7, 4, 8\), got NoneType at blocks\.1\.attn\.z; return",
    ),
    (
        "an edit of a head too many",
        lambda model: _edited(model, "blocks.1.attn.z", torch.zeros_like, heads=(4,)),
        UnusableEdit,
        r"edit refused: expected heads from 0 to 3, got \(4,\) at blocks\.1\.attn\.z; count from 0",
    ),
    (
        "an edit of a query head where keys are shared",
        lambda model: _edited(model, "blocks.1.attn.v", torch.zeros_like, heads=(0, 3)),
        UnusableEdit,
        r"edit refused: expected heads from 0 to 1, got \(0, 3\) at blocks\.1\.attn\.v; count from 0",
    ),
    (
        "an edit behind the prompt's end",
        lambda model: _edited(model, "blocks.1.attn.z", torch.zeros_like, positions=(6, 7)),
        UnusableEdit,
        r"edit refused: expected positions from 0 to 6, got \(6, 7\) at blocks\.1\.attn\.z; count from 0",
    ),
    (
        "an edit at a position counted from the end",
        lambda model: _edited(model, "blocks.1.resid_pre", torch.zeros_like, positions=(-1,)),
        UnusableEdit,
        r"edit refused: expected positions from 0 to 6, got \(-1,\) at blocks\.1\.resid_pre; count from 0",
    ),
    (
        "an edit of a head where there are none",
        lambda model: _edited(model, "blocks.1.mlp.out", torch.zeros_like, heads=(1,)),
        UnusableEdit,
        r"edit refused: expected a site with heads, got \(1,\) at blocks\.1\.mlp\.out; leave them out",
    ),
    (
        "an unknown exercise",
        lambda _: tlab.exercises.check("ablation/the-head-that-reads-spain", "L0H0"),
        UnknownExercise,
        r"such as 'ablation/the-head-that-reads-france', got '.*-spain'; list them with tlab\.exercises\.names\(\)",
    ),
    (
        "an exercise whose name is no text",
        lambda _: tlab.exercises.check(["ablation"], "L0H0"),
        UnknownExercise,
        r"exercise unknown: expected a name such as '.*', got \['ablation'\]; ",
    ),
    (
        "a near miss of a model's name",
        lambda _: tlab.load("smollm2-135M"),
        UnknownModel,
        r"expected 'smollm2-135m'.*, a folder, or a .* id, got 'smollm2-135M'; did you mean 'smollm2-135m'\?",
    ),
    (
        "another near miss",
        lambda _: tlab.load("smollm-135m"),
        UnknownModel,
        r"got 'smollm-135m'; did you mean 'smollm2-135m'\?",
    ),
    (
        "a name that can be no id",
        lambda _: tlab.load("not a model!"),
        UnknownModel,
        r"model unknown: expected 'smollm2-135m'.*, a folder, .*, got 'not a model!'; no model has this id; check the",
    ),
    (
        "no model name",
        lambda _: tlab.load(""),
        UnknownModel,
        r"model unknown: expected a name, got ''; the catalogue has 'smollm2-135m'",
    ),
    (
        "a model name that is no text",
        lambda _: tlab.load(135),
        UnknownModel,
        r"model unknown: expected a name, got 135; the catalogue has 'smollm2-135m'",
    ),
    ("a long prompt", lambda model: tlab.predict(model, [_LONG]), UnusablePrompt, r"got \['xxx.*…; try "),
    ("a long site", lambda model: tlab.capture(model, _PROMPT, sites=[_LONG]), UnknownSite, r"got 'xxx.*…; list"),
    ("a long target", lambda model: tlab.ablate(model, _PROMPT, _LONG), UnknownTarget, r"got 'xxx.*…; L is"),
    ("a long method", lambda model: tlab.ablate(model, _PROMPT, "L0", method=_LONG), UnknownOption, r"…; try 'zero'"),
    ("a long token", lambda model: tlab.ablate(model, _PROMPT, "L0", token="a" * 96), UnusablePrompt, r"in 'aaa.*…; "),
    ("a long exercise", lambda _: tlab.exercises.check(_LONG, ""), UnknownExercise, r"got 'xxx.*…; list"),
    ("a long model name", lambda _: tlab.load(_LONG), UnknownModel, r"got 'xxx.*…; "),
]


def _edited(model: Model, site: str, function: Callable[[Tensor], Any], **chosen: tuple[int, ...]) -> object:
    return run(model, model.to_ids(_PROMPT), edits=[Edit(site, function, **chosen)])


def _with_one_nan(tensor: Tensor) -> Tensor:
    tensor.view(-1)[3] = float("nan")
    return tensor


@pytest.mark.parametrize(("call", "error", "message"), [pytest.param(*case, id=name) for name, *case in _CALLS])
def test_a_mistake_is_answered_with_what_was_expected_and_how_to_repair_it(
    llama: Model, call: Callable[[Model], object], error: type[TlabError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        call(llama)
    text = str(caught.value)
    assert re.fullmatch(r"[a-z].*: expected .+, got .+; .+", text)
    assert len(text) <= _LONGEST_MESSAGE
