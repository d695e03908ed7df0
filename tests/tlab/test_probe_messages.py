"""What probes refuse: every message word for word where it counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tlab import probe as probes
from tlab.errors import TlabError, UnknownOption, UnknownSite, UnknownTarget, UnusablePrompt

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlab import Model
    from tlab.probe import ProbeResult

_PROMPTS = tuple(f"{beginning} {letter}" for beginning in ("my", "is it", "12", "so,") for letter in "abcdefghiou")
_LABELS = tuple("vowel" if prompt[-1] in "aeiou" else "consonant" for prompt in _PROMPTS)


@pytest.fixture(scope="module")
def trained(llama: Model) -> ProbeResult:
    """Train probes of what every layer of a small model begins with."""
    return probes.train(llama, _PROMPTS, _LABELS, site="blocks.L.resid_pre", controls=1)


_REFUSED: list[tuple[str, Callable[[Any, Any], object], type[TlabError], str]] = [
    (
        "a label too few",
        lambda model, _: probes.train(model, _PROMPTS, _LABELS[1:]),
        UnknownOption,
        r"labels refused: expected one label for each of 44 prompts, got 43 in .*; give two lists of equal length",
    ),
    (
        "one class",
        lambda model, _: probes.train(model, ["a b", "c d"], [1, 1]),
        UnknownOption,
        r"labels refused: expected at least two classes, got only 1; add prompts of another class",
    ),
    (
        "a class of one example",
        lambda model, _: probes.train(model, ["a b", "c d", "e f"], ["x", "x", "y"]),
        UnknownOption,
        r"labels refused: expected at least two examples of each class, got 1 of 'y'; one must be held out, so add",
    ),
    (
        "labels that are measurements",
        lambda model, _: probes.train(model, ["a b", "c d"], [0.5, 0.7]),
        UnknownOption,
        r"labels refused: expected texts, whole numbers or truth values, got \[0\.5, 0\.7\]; ",
    ),
    (
        "a prompt twice",
        lambda model, _: probes.train(model, ["a b", "c d", "a b", "e f"], [0, 1, 0, 1]),
        UnknownOption,
        r"prompts refused: expected each prompt once, got 2 times 'a b'; leave the copies out",
    ),
    (
        "one prompt for a list",
        lambda model, _: probes.train(model, "a b", [0]),
        UnknownOption,
        r"prompts refused: expected a list of texts, got 'a b'; put them in brackets",
    ),
    (
        "a misspelt site",
        lambda model, _: probes.train(model, _PROMPTS, _LABELS, site="blocks.L.resid_pots"),
        UnknownSite,
        r"site unknown: expected a name such as 'blocks\.0\.resid_post', .*, got 'blocks\.0\.resid_pots'; list them",
    ),
    (
        "a site split by heads",
        lambda model, _: probes.train(model, _PROMPTS, _LABELS, site="blocks.L.attn.z"),
        UnknownSite,
        r"site unusable: expected one vector at every position, got the axes batch pos head d_head at .*; take",
    ),
    (
        "a layer too many",
        lambda model, _: probes.train(model, _PROMPTS, _LABELS, layers=[0, 3]),
        UnknownTarget,
        r"layer refused: expected a whole number from 0 to 2, got 3; leave layers out to read them all",
    ),
    (
        "no layers",
        lambda model, _: probes.train(model, _PROMPTS, _LABELS, layers=[]),
        UnknownOption,
        r"layers refused: expected a list of layers, got \[\]; leave it out to read them all",
    ),
    (
        "layers of a single site",
        lambda model, _: probes.train(model, _PROMPTS, _LABELS, site="embed", layers=[0]),
        UnknownOption,
        r"layers refused: expected none for the single site 'embed', got \[0\]; write the site with L",
    ),
    (
        "a position of no prompt",
        lambda model, _: probes.train(model, _PROMPTS, _LABELS, position=5),
        UnusablePrompt,
        r"prompt unusable: expected one with a position 5, got 4 tokens in 'my a'; write a longer text, or read at",
    ),
    (
        "a position by name",
        lambda model, _: probes.train(model, _PROMPTS, _LABELS, position="last"),
        UnknownOption,
        r"position refused: expected a whole number, 'all' or 'mean', got 'last'; try position=-1 for the last token",
    ),
    (
        "the mean of one token",
        lambda model, _: probes.train(model, ["a", "b", "c", "d"], [0, 1, 0, 1], position="mean"),
        UnusablePrompt,
        r"prompt unusable: expected at least two tokens, since the first is left out, got one in 'a'; write a longer",
    ),
    (
        "an unknown method",
        lambda model, _: probes.train(model, _PROMPTS, _LABELS, method="svm"),
        UnknownOption,
        r"method refused: expected one of logistic, difference_of_means, got 'svm'; try 'logistic'",
    ),
    (
        "everything held out",
        lambda model, _: probes.train(model, _PROMPTS, _LABELS, test_fraction=1),
        UnknownOption,
        r"test_fraction refused: expected a number between 0 and 1, got 1; try test_fraction=0\.3",
    ),
    (
        "types of another number",
        lambda model, _: probes.train(model, _PROMPTS, _LABELS, types=["a", "b"]),
        UnknownOption,
        r"types refused: expected one text for each of 44 prompts, .*, got 2 in \('a', 'b'\); leave them out",
    ),
    (
        "a layer that was not probed",
        lambda model, trained: probes.erase(model, "my a", trained, 7),
        UnknownTarget,
        r"layer not probed: expected one of '0, 1, 2', got 7; train a probe there",
    ),
    (
        "no layer of several",
        lambda model, trained: probes.erase(model, "my a", trained),
        UnknownTarget,
        r"layer not probed: expected one of '0, 1, 2', got None; train a probe there",
    ),
    (
        "no probe",
        lambda model, _: probes.erase(model, "my a", torch.ones(3), 0),
        UnknownOption,
        r"probe refused: expected what tlab\.probe\.train returns, got tensor\(.*\); train one first",
    ),
    (
        "a probe of another width",
        lambda model, trained: probes.apply(model, "my a", replace(trained, weights=torch.zeros(3, 2, 7))),
        UnknownOption,
        r"probe refused: expected one of '.*', got one of blocks\.0\.resid_pre with vectors of width 7; train one",
    ),
    (
        "a class that is none",
        lambda _, trained: trained.direction(0, toward="digit"),
        UnknownOption,
        r"toward refused: expected one of 'consonant', 'vowel', got 'digit'; leave it out for 'vowel'",
    ),
]


@pytest.mark.parametrize(
    ("call", "kind", "message"), [pytest.param(call, kind, message, id=name) for name, call, kind, message in _REFUSED]
)
def test_what_cannot_be_done_is_refused_in_one_sentence(
    llama: Model, trained: ProbeResult, call: Callable[[Any, Any], object], kind: type[TlabError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        call(llama, trained)
    assert "\n" not in str(caught.value)
