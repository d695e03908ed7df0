"""tlab against plain Hugging Face: the same numbers, with and without an intervention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import oracle
import pytest
import torch
import zoo
from torch.testing import assert_close

import tlab
from tlab.engine import Edit, run
from tlab.errors import UnsupportedModel
from tlab.loading import dissect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel

    from tlab import Model
    from tlab.engine import Inputs

# TransformerLens' guide calls differences from 1e-4 on suspicious in float32.
_ATOL = 1e-4
_RTOL = 1e-4

# In float64 nothing but the order of the sums is left to differ.
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
_NOT_DOUBLE = {"xglm": "its own attention fills a float32 scalar with the least number of float64, and fails"}
_ROUNDED = {
    "codegen": (1e-6, "its scores are float32 at any dtype; it divides them after the mask is added, tlab before")
}

_PROMPT = "The capital of France is"
_REFERENCE = ("The dog ran home.", "A mat, 12 cats")


def _plain_run(plain: PreTrainedModel, model: Model, prompt: str, **options: bool) -> Any:  # noqa: ANN401  Hugging Face's output
    with torch.no_grad():
        return plain(model.to_ids(prompt)[None], **options)


@pytest.mark.parametrize("prompt", [_PROMPT, "Mary  gave 12 é to\nJohn", "a"])
def test_logits_equal_plain_hugging_face(subject: Model, plain: PreTrainedModel, prompt: str) -> None:
    expected = _plain_run(plain, subject, prompt).logits
    assert_close(tlab.capture(subject, prompt, sites=["logits"])["logits"], expected, atol=_ATOL, rtol=_RTOL)


def test_predict_ranks_as_plain_hugging_face(subject: Model, plain: PreTrainedModel) -> None:
    logits = _plain_run(plain, subject, _PROMPT).logits[0, -1]
    probabilities, ids = logits.softmax(-1).topk(10)
    frame = tlab.predict(subject, _PROMPT, k=10).to_frame()
    assert frame["rank"].tolist() == list(range(1, 11))
    assert frame["token"].tolist() == [subject.tokenizer.decode([token_id]) for token_id in ids.tolist()]
    assert_close(torch.tensor(frame["probability"].tolist()), probabilities, atol=_ATOL, rtol=_RTOL)
    assert_close(torch.tensor(frame["logit"].tolist()), logits[ids], atol=_ATOL, rtol=_RTOL)


def test_attention_patterns_equal_plain_hugging_face(subject: Model, plain: PreTrainedModel) -> None:
    expected = torch.cat(_plain_run(plain, subject, _PROMPT, output_attentions=True).attentions)
    assert_close(tlab.attention(subject, _PROMPT).pattern, expected, atol=_ATOL, rtol=_RTOL)


def test_residual_streams_equal_plain_hidden_states(subject: Model, plain: PreTrainedModel) -> None:
    states = _plain_run(plain, subject, _PROMPT, output_hidden_states=True).hidden_states
    streams = [f"blocks.{layer}.{name}" for layer in range(subject.n_layers) for name in ("resid_pre", "resid_post")]
    captured = tlab.capture(subject, _PROMPT, sites=[*streams, "ln_final.out"])
    for layer in range(subject.n_layers):
        assert_close(captured[f"blocks.{layer}.resid_pre"], states[layer], atol=_ATOL, rtol=_RTOL)
    for layer in range(subject.n_layers - 1):
        assert_close(captured[f"blocks.{layer}.resid_post"], states[layer + 1], atol=_ATOL, rtol=_RTOL)
    # Hugging Face normalises the last one before it hands it out.
    assert_close(captured["ln_final.out"], states[-1], atol=_ATOL, rtol=_RTOL)


def test_the_lens_equals_plain_norm_and_unembedding(subject: Model, plain: PreTrainedModel) -> None:
    states = _plain_run(plain, subject, _PROMPT, output_hidden_states=True).hidden_states
    base = plain.base_model
    norm = base.norm if hasattr(base, "norm") else base.ln_f
    frame = tlab.logit_lens(subject, _PROMPT).to_frame()
    with torch.no_grad():
        read = [plain.lm_head(norm(state))[0].softmax(-1) for state in states[:-1]]
        read.append(plain.lm_head(states[-1])[0].softmax(-1))
    target = int(read[-1][-1].argmax())
    assert frame["layer"].max() == subject.n_layers
    for layer, probabilities in enumerate(read):
        rows = frame[frame["layer"] == layer]
        assert_close(torch.tensor(rows["probability"].tolist()), probabilities.amax(-1), atol=_ATOL, rtol=_RTOL)
        assert_close(
            torch.tensor(rows["target_probability"].tolist()), probabilities[:, target], atol=_ATOL, rtol=_RTOL
        )


def test_the_last_layer_of_the_lens_is_the_output(subject: Model) -> None:
    lens = tlab.logit_lens(subject, _PROMPT)
    last = lens.to_frame().iloc[-1]
    prediction = tlab.predict(subject, _PROMPT)
    assert (last["layer"], last["top_token"]) == (subject.n_layers, prediction.token)
    assert last["probability"] == pytest.approx(prediction.probability, abs=1e-5)
    assert last["target_probability"] == pytest.approx(prediction.probability, abs=1e-5)
    assert lens.target == prediction.token


def _spots(plain: PreTrainedModel, layer: int, part: str) -> list[tuple[Module, bool]]:
    """Return the modules where a part's output stands, and whether it is the module's input that counts."""
    if plain.config.model_type == "gpt2":
        block = plain.transformer.h[layer]
        mixer, mlp = block.attn.c_proj, block.mlp
    else:
        block = plain.model.layers[layer]
        mixer, mlp = block.self_attn.o_proj, block.mlp
    return {"head": [(mixer, True)], "attn": [(mixer, False)], "mlp": [(mlp, False)]}.get(
        part, [(mixer, False), (mlp, False)]
    )


def _hooked(
    plain: PreTrainedModel, ids: Tensor, spots: list[tuple[Module, bool]], functions: list[Callable[[Tensor], Tensor]]
) -> Tensor:
    handles = []
    for (module, is_input), function in zip(spots, functions, strict=True):
        if is_input:
            handles.append(module.register_forward_pre_hook(lambda _m, args, f=function: (f(args[0]), *args[1:])))
        else:
            handles.append(module.register_forward_hook(lambda _m, _args, output, f=function: f(output)))
    try:
        with torch.no_grad():
            logits: Tensor = plain(ids[None]).logits
    finally:
        for handle in handles:
            handle.remove()
    return logits[0, -1]


def _reference_values(plain: PreTrainedModel, model: Model, spot: tuple[Module, bool]) -> list[Tensor]:
    seen: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        seen.append(tensor[0].clone())
        return tensor

    for prompt in _REFERENCE:
        _hooked(plain, model.to_ids(prompt), [spot], [note])
    return seen


def _replacing(replacement: Tensor, columns: slice) -> Callable[[Tensor], Tensor]:
    def replace(tensor: Tensor) -> Tensor:
        changed = tensor.clone()
        changed[0, :, columns] = replacement[:, columns]
        return changed

    return replace


def _plain_ablation(plain: PreTrainedModel, model: Model, layer: int, part: str, method: str, *, head: int) -> Tensor:
    ids = model.to_ids(_PROMPT)
    spots = _spots(plain, layer, part)
    functions = []
    for spot in spots:
        values = _reference_values(plain, model, spot)
        replacement = torch.zeros(len(ids), values[0].shape[-1])
        if method == "mean":
            replacement[0] = torch.stack([value[0] for value in values]).mean(0)
            replacement[1:] = torch.cat([value[1:] for value in values]).mean(0)
        columns = slice(head * model.d_head, (head + 1) * model.d_head) if part == "head" else slice(None)
        functions.append(_replacing(replacement, columns))
    return _hooked(plain, ids, spots, functions)


@pytest.mark.parametrize("method", ["zero", "mean"])
@pytest.mark.parametrize("part", ["head", "attn", "mlp", "layer"])
def test_ablation_equals_plain_hugging_face_hooks(
    subject: Model, plain: PreTrainedModel, part: str, method: str
) -> None:
    layer, head = subject.n_layers // 2, 2
    patched = _plain_ablation(plain, subject, layer, part, method, head=head)
    clean = _plain_run(plain, subject, _PROMPT).logits[0, -1]
    name = f"L{layer}" + {"head": f"H{head}", "attn": ".attn", "mlp": ".mlp", "layer": ""}[part]
    result = tlab.ablate(subject, _PROMPT, name, method=method, reference=_REFERENCE)

    token_id = int(clean.argmax())
    assert result.token == subject.to_text(token_id)
    assert result.clean_logit == pytest.approx(float(clean[token_id]), abs=_ATOL)
    assert result.patched_logit == pytest.approx(float(patched[token_id]), abs=_ATOL)
    assert result.clean_probability == pytest.approx(float(clean.softmax(-1)[token_id]), abs=_ATOL)
    assert result.patched_probability == pytest.approx(float(patched.softmax(-1)[token_id]), abs=_ATOL)
    kl = torch.nn.functional.kl_div(patched.log_softmax(-1), clean.log_softmax(-1), log_target=True, reduction="sum")
    assert result.kl_nats == pytest.approx(float(kl), abs=_ATOL)
    after = result.to_frame()["patched"].sort_values(ascending=False).tolist()[:5]
    assert_close(torch.tensor(after), patched.softmax(-1).topk(5).values, atol=_ATOL, rtol=_RTOL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompt", "token", "probability"),
    [
        ("The capital of France is", " Paris", 0.77),
        ("When Mary and John went to the store, John gave a drink to", " Mary", 0.92),
    ],
)
def test_the_lessons_prompts_have_their_known_answers(
    model: Model, prompt: str, token: str, probability: float
) -> None:
    prediction = tlab.predict(model, prompt)
    assert prediction.token == token
    assert prediction.probability == pytest.approx(probability, abs=0.01)


@pytest.mark.slow
def test_the_default_model_has_its_published_shape(model: Model) -> None:
    assert (model.n_layers, model.n_heads, model.n_kv_heads) == (30, 9, 3)
    assert (model.d_model, model.d_head, model.d_mlp, model.d_vocab) == (576, 64, 1536, 49_152)
    assert (model.n_ctx, model.n_params) == (8192, 134_515_008)


class _Part(NamedTuple):
    """A part of one layer: what the oracle calls it, and where tlab has what it writes and what its heads hand over."""

    stack: oracle.Stack
    layer: int
    part: oracle.Part
    out: str
    z: str | None

    @property
    def where(self) -> dict[str, Any]:
        return {"stack": self.stack, "layer": self.layer}

    @property
    def is_cross(self) -> bool:
        return self.part == "cross"


def _block(name: str, stack: oracle.Stack, layer: int) -> str:
    is_second = zoo.SPECIMENS[name].family == "encoder-decoder" and stack == "encoder"
    return f"{'encoder.' if is_second else ''}blocks.{layer}"


def _n_layers(model: Model, stack: oracle.Stack) -> int:
    encoder = model.anatomy.encoder
    return len(encoder.blocks) if stack == "encoder" and encoder is not None else model.n_layers


def _parts(name: str, model: Model) -> Iterator[_Part]:
    for stack in oracle.stacks(name):
        has_cross = oracle.paths(name, stack).cross is not None
        for layer in range(_n_layers(model, stack)):
            block = _block(name, stack, layer)
            yield _Part(stack, layer, "attn", f"{block}.attn.out", f"{block}.attn.z")
            if has_cross:
                yield _Part(stack, layer, "cross", f"{block}.cross_attn.out", f"{block}.cross_attn.z")
            yield _Part(stack, layer, "mlp", f"{block}.mlp.out", None)


def _given(inputs: Inputs) -> dict[str, Tensor]:
    """Return the inputs by the oracle's names for them."""
    return {"ids": inputs.ids} if inputs.source is None else {"ids": inputs.source, "decoder_ids": inputs.ids}


class _Pair(NamedTuple):
    """One architecture in one kind of number: tlab's model, Hugging Face's, the same inputs, and what may differ."""

    name: str
    model: Model
    hf: PreTrainedModel
    inputs: Inputs
    atol: float

    def check(self, found: Tensor, expected: Tensor, what: object) -> None:
        assert_close(found, expected, rtol=0, atol=self.atol, msg=lambda text: f"{what}: {text}")


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def pair(
    request: pytest.FixtureRequest,
    specimen: str,
    dissected: Callable[..., Model],
    untouched: Callable[..., PreTrainedModel],
    prompted: Callable[..., Inputs],
) -> _Pair:
    """Return each architecture twice, as tlab has it and as Hugging Face has it alone."""
    dtype = request.param
    if dtype == torch.float64 and specimen in _NOT_DOUBLE:
        pytest.skip(_NOT_DOUBLE[specimen])
    atol = _TOLERANCE[dtype]
    if dtype == torch.float64 and specimen in _ROUNDED:
        atol = _ROUNDED[specimen][0]
    return _Pair(specimen, dissected(specimen, dtype), untouched(specimen, dtype), prompted(specimen), atol)


def test_logits_patterns_and_streams_of_every_architecture_equal_plain_hugging_face(pair: _Pair) -> None:
    name, model, hf, inputs, _ = pair
    given = _given(inputs)
    finished = run(model, inputs, sites=model.sites)
    assert set(finished.captured) == set(model.sites)
    pair.check(finished.logits, oracle.logits(hf, **given), "logits")
    for stack in oracle.stacks(name):
        kinds: list[tuple[Literal["attn", "cross_attn"], bool]] = [("attn", False)]
        kinds += [("cross_attn", True)] if oracle.paths(name, stack).cross else []
        for kind, is_cross in kinds:
            patterns = oracle.attentions(hf, **given, stack=stack, cross=is_cross)
            assert len(patterns) == _n_layers(model, stack)
            for layer, pattern in enumerate(patterns):
                site = f"{_block(name, stack, layer)}.{kind}.pattern"
                pair.check(finished.captured[site], pattern, site)
        for layer in range(_n_layers(model, stack)):
            before, after = oracle.residuals(hf, name, **given, layer=layer, stack=stack)
            block = _block(name, stack, layer)
            pair.check(finished.captured[f"{block}.resid_pre"], before, f"{block}.resid_pre")
            pair.check(finished.captured[f"{block}.resid_post"], after, f"{block}.resid_post")


def test_what_every_part_writes_equals_plain_hugging_face(pair: _Pair) -> None:
    name, model, hf, inputs, _ = pair
    given, parts = _given(inputs), list(_parts(name, model))
    captured = run(model, inputs, sites=[site for part in parts for site in (part.out, part.z) if site]).captured
    for part in parts:
        pair.check(captured[part.out], oracle.contribution(hf, name, **given, part=part.part, **part.where), part)
        if part.z is not None:
            merged = oracle.merged_z(hf, name, **given, cross=part.is_cross, **part.where)
            pair.check(captured[part.z].flatten(2), merged, part)


def test_ablating_any_part_of_every_architecture_equals_plain_hugging_face_hooks(pair: _Pair) -> None:
    name, model, hf, inputs, _ = pair
    given = _given(inputs)
    for part in _parts(name, model):
        found = run(model, inputs, edits=[Edit(part.out, torch.zeros_like)]).logits
        expected = oracle.replaced(hf, name, **given, part=part.part, by=torch.zeros_like, **part.where)
        pair.check(found, expected, part)


def test_ablating_a_head_of_every_architecture_equals_plain_hugging_face_hooks(pair: _Pair) -> None:
    name, model, hf, inputs, _ = pair
    given = _given(inputs)
    for part in _parts(name, model):
        # Each layer with another head, so that all four are met where there are four layers or stacks.
        head = (part.layer + 2 * part.is_cross + (part.stack == "encoder")) % 4
        if part.z is not None:
            found = run(model, inputs, edits=[Edit(part.z, torch.zeros_like, heads=(head,))]).logits
            expected = oracle.ablate_head(hf, name, **given, head=head, cross=part.is_cross, **part.where)
            pair.check(found, expected, (part, head))


def test_every_head_of_one_layer_is_the_one_that_its_number_says(
    specimen: str,
    dissected: Callable[..., Model],
    untouched: Callable[..., PreTrainedModel],
    prompted: Callable[..., Inputs],
) -> None:
    model, inputs = dissected(specimen), prompted(specimen)
    for head in range(model.n_heads):
        found = run(model, inputs, edits=[Edit("blocks.1.attn.z", torch.zeros_like, heads=(head,))]).logits
        expected = oracle.ablate_head(untouched(specimen), specimen, **_given(inputs), layer=1, head=head)
        assert_close(found, expected, rtol=0, atol=_ATOL)


def _tilted(tensor: Tensor) -> Tensor:
    return tensor * torch.linspace(0.2, 1.0, tensor.shape[-1])


@pytest.mark.parametrize("step", ["pattern", "scores"])
def test_an_edited_pattern_is_what_hugging_face_makes_of_the_mixture_done_by_hand(
    specimen: str,
    step: str,
    dissected: Callable[..., Model],
    untouched: Callable[..., PreTrainedModel],
    prompted: Callable[..., Inputs],
) -> None:
    model, hf, inputs = dissected(specimen), untouched(specimen), prompted(specimen)
    # Not the same factor for all of the pattern: a norm behind attention would undo it.
    edit = _tilted if step == "pattern" else (lambda scores: scores * 0.5)
    ours = run(model, inputs, edits=[Edit(f"blocks.1.attn.{step}", edit)]).logits

    pattern = oracle.attentions(hf, **_given(inputs))[1]
    pattern = _tilted(pattern) if step == "pattern" else oracle.halved_scores(hf, specimen, pattern, 1)
    value = run(model, inputs, sites=["blocks.1.attn.v"]).captured["blocks.1.attn.v"]
    shared = value.repeat_interleave(model.n_heads // value.shape[2], dim=2)
    z = torch.einsum("bhds,bshe->bdhe", pattern, shared).flatten(2)
    where = oracle.paths(specimen)
    projection = oracle.module_at(hf, specimen, 1, where.attn_proj or where.attn)
    handle = projection.register_forward_pre_hook(lambda _module, arguments: (z.reshape(arguments[0].shape),))
    try:
        expected = oracle.logits(hf, **_given(inputs))
    finally:
        handle.remove()
    assert_close(ours, expected, rtol=0, atol=_ATOL)
    assert float((ours - run(model, inputs).logits).abs().max()) > _ATOL


@pytest.mark.parametrize("name", _NOT_DOUBLE)
def test_what_is_left_out_in_float64_cannot_be_run_there_by_hugging_face(name: str) -> None:
    with pytest.raises(RuntimeError, match="cannot be converted to type float without overflow"):
        oracle.logits(zoo.build(name, dtype=torch.float64), torch.tensor([[5, 6, 7]]))


def test_what_tlab_does_not_take_is_refused_by_name(refused: str) -> None:
    tokenizer = zoo.byte_tokenizer(zoo.SPECIMENS[refused].family)
    kind = zoo.SPECIMENS[refused].kind.__name__
    with pytest.raises(UnsupportedModel, match=rf"model unsupported: expected a transformer whose parts .*, a {kind} "):
        dissect(refused, zoo.build(refused), tokenizer)


def test_the_model_by_itself_gives_what_hugging_face_gives_before_and_after_experiments(
    specimen: str,
    dissected: Callable[..., Model],
    untouched: Callable[..., PreTrainedModel],
    prompted: Callable[..., Inputs],
) -> None:
    model, inputs = dissected(specimen), prompted(specimen)
    given = _given(inputs)
    expected = oracle.logits(untouched(specimen), **given)
    assert_close(oracle.logits(model.hf, **given), expected, rtol=0, atol=0)
    run(model, inputs, sites=model.sites, edits=[Edit("blocks.1.attn.z", torch.zeros_like)])
    assert_close(oracle.logits(model.hf, **given), expected, rtol=0, atol=0)
    for ours, theirs in zip(
        oracle.attentions(model.hf, **given), oracle.attentions(untouched(specimen), **given), strict=True
    ):
        assert_close(ours, theirs, rtol=0, atol=0)
