"""Programs of autoencoders and probes as text, and where they come from: what is refused, and what is special."""

from __future__ import annotations

import ast
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import torch
import zoo
from programs import Numbers, found, manifest_of, program
from test_code_parity_learned import LABELS, PROMPTS, TEXTS
from torch.testing import assert_close
from transformers import AutoModelForCausalLM

import tlab
from tlab import probe as probes
from tlab import sae as saes
from tlab.code import LIBRARIES, write
from tlab.code.recipes.corpus import texts_lines
from tlab.errors import UnknownOption, UnknownSite
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tlab import Model
    from tlab.probe import ProbeResult
    from tlab.sae import Sae

_PROMPT = "The cat <b>&amp; 12</b>"
_HOSTILE = '"""\nimport os; os.abort()\n# \'\'\' \\" {x} \\N{BULLET} \u2028 \x85 \x00 é \N{SNOWMAN}'
_SMALL: dict[str, Any] = {"site": "blocks.1.resid_post", "n_features": 48, "k": 4, "steps": 30, "batch": 64}
_WIDEST = 120
_LEARNT: dict[str, dict[str, Any]] = {
    "probe.apply": {"prompts": [_PROMPT]},
    "probe.erase": {"prompt": _PROMPT, "layer": 1},
    "probe.train": {"prompts": PROMPTS, "labels": LABELS},
    "sae.ablate": {"prompt": _PROMPT, "features": (3, 5)},
    "sae.encode": {"prompt": _PROMPT},
    "sae.read": {"texts": TEXTS, "feature": 3},
    "sae.reconstruct": {"texts": TEXTS},
    "sae.steer": {"prompt": _PROMPT, "feature": 3, "coef": 2.0},
    "sae.train": {"texts": TEXTS, **_SMALL},
}


@pytest.fixture(scope="module")
def sae(llama: Model) -> Sae:
    """Train a small autoencoder on a small model."""
    return saes.train(llama, TEXTS, **_SMALL)


@pytest.fixture(scope="module")
def probe(llama: Model) -> ProbeResult:
    """Train one probe a layer on a small model."""
    return probes.train(llama, PROMPTS, LABELS, controls=1)


@pytest.fixture(scope="module")
def massive(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Load a small model in whose stream one token has a vector many times as long as the others."""
    folder = zoo.write("llama-grouped", tmp_path_factory.mktemp("massive"))
    spoilt: Any = AutoModelForCausalLM.from_pretrained(folder)
    (token,) = zoo.byte_tokenizer("decoder").encode("t")
    with torch.no_grad():
        spoilt.get_input_embeddings().weight[token] *= 1000
    spoilt.save_pretrained(folder)
    return tlab.load(str(folder))


def _arguments(verb: str, sae: Sae, probe: ProbeResult) -> dict[str, Any]:
    kind, _, name = verb.partition(".")
    made = {} if name == "train" else {"sae": sae} if kind == "sae" else {"probe": probe}
    return {**_LEARNT[verb], **made}


def _without_literals(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


def _literals(text: str) -> list[object]:
    return [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]


def _imported(text: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    return found


def _same(mine: Numbers, theirs: Numbers) -> None:
    assert_close(float(mine[0]), float(theirs[0]), atol=1e-4, rtol=1e-4)
    assert_close(torch.as_tensor(mine[1]).float(), torch.as_tensor(theirs[1]).float(), atol=1e-4, rtol=1e-4)


def _learnt(sae: Sae) -> Numbers:
    return sae.held_out_fvu, sae.curve[["step", "loss", "fvu", "held_out_fvu"]].to_numpy().tolist()


def _pushed(result: Any) -> Numbers:  # noqa: ANN401  whatever was pushed
    return result.change, [result.clean_probability, result.patched_probability, result.kl_nats]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("verb", _LEARNT)
def test_a_program_stands_alone_and_ends_in_its_number(
    verb: str, library: str, llama: Model, sae: Sae, probe: ProbeResult
) -> None:
    text = program(verb, _arguments(verb, sae, probe), library, llama)
    own = {"torch": "transformers"}.get(library, library)
    assert _imported(text) - {"math", "random", "sklearn"} == {"torch", own}
    assert [ast.unparse(node) for node in ast.parse(text).body[-1:]] == ["print(answer)"]
    assert text.startswith(f"# {verb} with ")
    assert [line for line in text.splitlines() if len(line) > _WIDEST] == []


@pytest.mark.parametrize("verb", _LEARNT)
def test_texts_labels_and_tokens_are_literals(verb: str, llama: Model, sae: Sae, probe: ProbeResult) -> None:
    tame = _arguments(verb, sae, probe)
    other = "another text"
    changed: dict[str, Callable[[str], object]] = {
        "prompt": lambda text: text,
        "prompts": lambda text: [text, *tame.get("prompts", ())[1:]],
        "texts": lambda text: [text, *TEXTS[1:]],
        "labels": lambda text: [text if label == "vowel" else label for label in LABELS],
    }
    named = [name for name in changed if name in tame]
    mild, wild = ({**tame, **{name: changed[name](text) for name in named}} for text in (other, _HOSTILE))
    if "token" not in mild and verb in {"sae.ablate", "sae.steer", "probe.erase"}:
        mild, wild = {**mild, "token": other}, {**wild, "token": _HOSTILE}
    before, after = (program(verb, arguments, "torch", llama) for arguments in (mild, wild))
    assert _HOSTILE in _literals(after)
    assert _without_literals(after) == _without_literals(before)


def test_an_ablation_of_features_is_not_mistaken_for_one_of_heads(llama: Model, sae: Sae) -> None:
    features = saes.encode(llama, _PROMPT, sae).strongest(2)
    of_features = saes.ablate(llama, _PROMPT, sae, features, controls=0)
    text = of_features.code("torch")
    assert text.startswith("# sae.ablate with ")
    assert "optimiser" in text
    assert tlab.ablate(llama, _PROMPT, "L0H1").code("torch").startswith("# ablate with ")
    assert of_features.kl_nats > 1e-3
    _same(found(text), _pushed(of_features))


def test_a_result_from_a_file_gives_the_same_program(llama: Model, sae: Sae, tmp_path: Path) -> None:
    steered = saes.steer(llama, _PROMPT, sae, saes.encode(llama, _PROMPT, sae).strongest(1)[0], 1.0, controls=0)
    read = Result.load(steered.save(tmp_path / "steered.zip"))
    assert read.code("torch") == steered.code("torch")


def test_an_autoencoder_of_unknown_origin_is_refused_with_the_way_out(llama: Model, sae: Sae) -> None:
    bare = dataclasses.replace(sae)
    assert bare.manifest is None
    said = r"sae refused: expected one with the note of how it was trained, .*; make it with tlab.sae.train"
    for library in LIBRARIES:
        with pytest.raises(UnknownOption, match=said):
            saes.encode(llama, _PROMPT, bare).code(library)


def test_an_autoencoder_of_another_model_or_device_is_refused(llama: Model, sae: Sae) -> None:
    assert sae.manifest is not None
    cases = [
        (dataclasses.replace(sae.manifest, model="another"), r"trained on the same .*, got one of 'another' in"),
        (dataclasses.replace(sae.manifest, dtype="float64"), r"got one of .* in 'float64'"),
        (
            dataclasses.replace(sae.manifest, arguments={**sae.manifest.arguments, "device": "cuda"}),
            r"trained on the CPU, .* got 'cuda'; train it with device='cpu'",
        ),
    ]
    for manifest, said in cases:
        other = dataclasses.replace(sae)
        other.attach(manifest)
        with pytest.raises(UnknownOption, match=said):
            program("sae.encode", {"prompt": _PROMPT, "sae": other}, "torch", llama)


def test_weights_that_differ_from_those_of_the_training_are_refused(llama: Model, sae: Sae) -> None:
    assert sae.manifest is not None
    other = dataclasses.replace(sae)
    other.attach(dataclasses.replace(sae.manifest, fingerprint="1"))
    manifest = manifest_of("sae.encode", {"prompt": _PROMPT, "sae": other}, llama)
    manifest = dataclasses.replace(manifest, fingerprint="2")
    with pytest.raises(UnknownOption, match=r"sae refused: expected one that was trained on the same"):
        write(manifest, "torch", llama)


def test_a_probe_of_unknown_origin_is_written_out(llama: Model, sae: Sae, probe: ProbeResult) -> None:
    bare = dataclasses.replace(probe)
    assert bare.manifest is None
    erased = probes.erase(llama, _PROMPT, bare, 1, controls=0)
    assert "sklearn" not in _imported(erased.code("torch"))
    _same(found(erased.code("torch")), _pushed(erased))
    reading = probes.apply(llama, [_PROMPT, "my <b> a"], bare)
    rows = [[bare.labels.index(row.label), row.margin] for row in reading.frame.itertuples()]
    _same(found(reading.code("torch")), (rows[-1][1], rows))
    hostile = dataclasses.replace(probe, labels=("vowel", _HOSTILE))
    for verb in ("probe.apply", "probe.erase"):
        text = program(verb, _arguments(verb, sae, hostile), "torch", llama)
        assert not any("os.abort" in line for line in text.splitlines() if line.startswith("#"))
    broken = dataclasses.replace(probe, weights=probe.weights * float("nan"))
    with pytest.raises(UnknownOption, match=r"probe refused: expected finite numbers, got others at weights"):
        program("probe.apply", {"prompts": [_PROMPT], "probe": broken}, "torch", llama)


@pytest.mark.parametrize("texts", [saes.sample_texts(), saes.sample_texts()[7:12]])
def test_pythons_own_texts_are_gathered_and_not_written_out(texts: tuple[str, ...]) -> None:
    lines = texts_lines("texts", texts)
    namespace: dict[str, Any] = {}
    exec("\n".join(lines), namespace)  # noqa: S102  that is what programs are for
    assert tuple(namespace["texts"]) == texts
    assert max(map(len, lines)) < 100
    assert texts_lines("texts", [texts[0], texts[2]])[1] == f"    {texts[0]!r},"


def test_vectors_that_fill_several_loads_are_learnt_load_by_load(
    llama: Model, sae: Sae, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = 100 * llama.d_model * 4
    monkeypatch.setattr("tlab.sae.training._BUFFER_BYTES", bound)
    monkeypatch.setattr("tlab.code.recipes.dictionary._BUFFER_BYTES", bound)
    streamed = saes.train(llama, TEXTS, **_SMALL)
    assert (streamed.curve["fvu"] - sae.curve["fvu"]).abs().max() > 1e-2
    text = streamed.code("torch")
    assert "n_loads" in text
    _same(found(text), _learnt(streamed))


def test_massive_activations_are_left_alone(massive: Model) -> None:
    sae = saes.train(massive, TEXTS, **_SMALL)
    encoded = saes.encode(massive, "a cat that sits on a mat is", sae)
    assert encoded.n_left_out > 1
    _same(found(sae.code("torch")), _learnt(sae))
    _same(found(encoded.code("torch")), (float(encoded.activations.max()), encoded.activations))
    probe = probes.train(massive, PROMPTS, LABELS, layers=[1], controls=1)
    erased = probes.erase(massive, "a cat that sits on a mat is", probe, 1, controls=0)
    assert erased.n_pushed < len("a cat that sits on a mat is") - 1
    _same(found(erased.code("torch")), _pushed(erased))


def test_short_texts_need_no_cutting(llama: Model) -> None:
    texts = [text[:20] for text in TEXTS]
    short = saes.train(llama, texts, **_SMALL, skip=0)
    assert "parts_of" not in short.code("torch")
    assert "parts_of" in program("sae.train", {"texts": TEXTS, **_SMALL}, "torch", llama)
    _same(found(short.code("torch")), _learnt(short))


_TRAIN = {"texts": TEXTS, **_SMALL}
_FIT = {"prompts": PROMPTS, "labels": LABELS}


@pytest.mark.parametrize(
    ("verb", "arguments", "kind", "said"),
    [
        ("sae.train", {**_TRAIN, "device": "cuda"}, UnknownOption, r"expected 'cpu' at device, got 'cuda'"),
        ("sae.train", {**_TRAIN, "site": "blocks.0.attn.z"}, UnknownSite, r"one vector at every position, got 'blocks"),
        ("sae.train", {**_TRAIN, "site": "blocks.9.resid_pre"}, UnknownSite, r"got 'blocks.9.resid_pre'"),
        ("sae.train", {**_TRAIN, "k": 49}, UnknownOption, r"k refused: expected a whole number from 1 to 48, got 49"),
        ("sae.train", {**_TRAIN, "texts": "a b"}, UnknownOption, r"texts refused: expected a list of texts"),
        ("sae.encode", {"prompt": "a", "sae": None}, UnknownOption, r"sae refused: .* got 'NoneType' without"),
        ("probe.train", {**_FIT, "labels": LABELS[1:]}, UnknownOption, r"one for each of 44 different prompts, got 43"),
        ("probe.train", {**_FIT, "labels": [1.5] * 44}, UnknownOption, r"texts, whole numbers or truth values"),
        ("probe.train", {**_FIT, "position": "some"}, UnknownOption, r"position refused: .* got 'some'"),
        ("probe.train", {**_FIT, "l2": -1.0}, UnknownOption, r"expected l2 above 0 .* got -1"),
        ("probe.train", {**_FIT, "method": "x"}, UnknownOption, r"logistic, difference_of_means, got 'x'"),
        ("probe.apply", {"prompts": ["a"], "probe": 3}, UnknownOption, r"probe refused: .* got 3"),
    ],
)
def test_what_a_program_cannot_say_is_refused(
    verb: str, arguments: Mapping[str, Any], kind: type[Exception], said: str, llama: Model
) -> None:
    for library in LIBRARIES:
        with pytest.raises(kind, match=said):
            program(verb, arguments, library, llama)
