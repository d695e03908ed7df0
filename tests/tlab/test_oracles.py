"""tlab against plain Hugging Face: the same numbers, with and without an intervention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.testing import assert_close

import tlab

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel

    from tlab import Model

# TransformerLens' guide calls differences from 1e-4 on suspicious in float32.
_ATOL = 1e-4
_RTOL = 1e-4

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
    assert frame["token"].tolist() == [subject.bridge.tokenizer.decode([token_id]) for token_id in ids.tolist()]
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
