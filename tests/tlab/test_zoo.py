"""Every specimen is fit to be an oracle: each part matters, and the oracle's paths add up to the residual stream."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import oracle
import pytest
import torch
import zoo
from torch import Tensor
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, AutoTokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from architectures import Family
    from oracle import Part, Stack
    from transformers import PreTrainedModel

_AUTO: dict[Family, Any] = {
    "decoder": AutoModelForCausalLM,
    "encoder": AutoModelForMaskedLM,
    "encoder-decoder": AutoModelForSeq2SeqLM,
}
_VISIBLE = 1e-3
# Its attention fills a float32 scalar with the least number of the model's dtype, whatever that is.
_SINGLE_ONLY = ("xglm",)
# Without rotary positions a key's bias adds the same to every score of a query, which a softmax does not see.
_KEY_BIAS = re.compile(r"(k_proj|key|k_lin|attn\.k)\.bias$")

every = pytest.mark.parametrize("name", zoo.SPECIMENS)


class _Prompt(TypedDict):
    ids: Tensor
    decoder_ids: NotRequired[Tensor]


@cache
def _built(name: str) -> PreTrainedModel:
    return zoo.build(name)


def _prompt(name: str, *, seed: int = 0, length: int = 12) -> _Prompt:
    """Random bytes, the special tokens left out, since RoBERTa's positions skip padding."""
    dice = torch.Generator().manual_seed(seed)
    prompt: _Prompt = {"ids": torch.randint(4, 256, (2, length), generator=dice)}
    if zoo.SPECIMENS[name].family == "encoder-decoder":
        prompt["decoder_ids"] = torch.randint(4, 256, (2, length - 3), generator=dice)
    return prompt


def _layers(name: str, stack: Stack) -> range:
    config = zoo.SPECIMENS[name].config
    if stack == "encoder" and hasattr(config, "encoder_layers"):
        return range(config.encoder_layers)
    return range(config.num_hidden_layers)


def _parts(name: str, stack: Stack) -> tuple[Part, ...]:
    return ("attn", "mlp") if oracle.paths(name, stack).cross is None else ("attn", "cross", "mlp")


def test_the_zoo_is_large_and_has_every_family() -> None:
    assert len(zoo.SPECIMENS) == sum(len(zoo.names(family)) for family in _AUTO) >= 80
    assert all(len(zoo.names(family)) >= 10 for family in _AUTO)
    assert "gemma-2" in zoo.names("decoder", trait="soft-cap")


def test_importing_the_zoo_imports_no_model() -> None:
    code = "import sys, zoo; zoo.names(); sys.exit(any(name.startswith('transformers.models') for name in sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=zoo.__file__.removesuffix("zoo.py"))


@every
def test_a_specimen_is_built_twice_the_same(name: str) -> None:
    again = zoo.build(name).state_dict()
    for path, tensor in _built(name).state_dict().items():
        assert_close(again[path], tensor, rtol=0, atol=0)


@every
def test_logits_are_finite_and_rounding_hardly_shows(name: str) -> None:
    prompt = _prompt(name)
    found = oracle.logits(_built(name), **prompt)
    assert found.isfinite().all()
    assert 0.1 < float(found.std()) < 10.0
    if name not in _SINGLE_ONLY:
        exact = oracle.logits(zoo.build(name, dtype=torch.float64), **prompt)
        assert_close(found.double(), exact, rtol=0, atol=2e-5)


@every
def test_every_part_of_every_layer_matters(name: str) -> None:
    model, prompt = _built(name), _prompt(name)
    untouched = oracle.logits(model, **prompt)
    for stack in oracle.stacks(name):
        for layer in _layers(name, stack):
            for part in _parts(name, stack):
                without = oracle.replaced(
                    model, name, **prompt, layer=layer, part=part, by=torch.zeros_like, stack=stack
                )
                assert float((without - untouched).abs().max()) > _VISIBLE, (stack, layer, part)


@every
def test_every_head_matters(name: str) -> None:
    model, prompt = _built(name), _prompt(name)
    untouched = oracle.logits(model, **prompt)
    for stack in oracle.stacks(name):
        for head in range(4):
            without = oracle.ablate_head(model, name, **prompt, layer=1, head=head, stack=stack)
            assert float((without - untouched).abs().max()) > _VISIBLE, (stack, head)


@pytest.mark.parametrize("name", zoo.names("encoder-decoder"))
def test_cross_attention_is_read_and_silenced_a_head_at_a_time(name: str) -> None:
    model, prompt = _built(name), _prompt(name)
    untouched = oracle.logits(model, **prompt)
    for pattern in oracle.attentions(model, **prompt, cross=True):
        assert pattern.shape == (2, 4, prompt["decoder_ids"].shape[1], prompt["ids"].shape[1])
    projection = oracle.module_at(model, name, 1, oracle.paths(name).cross or "")
    with torch.no_grad():
        added = projection(oracle.merged_z(model, name, **prompt, layer=1, cross=True))
    assert_close(added, oracle.contribution(model, name, **prompt, layer=1, part="cross"))
    for head in range(4):
        without = oracle.ablate_head(model, name, **prompt, layer=1, head=head, cross=True)
        assert float((without - untouched).abs().max()) > _VISIBLE


@pytest.mark.parametrize("name", ["gpt2", "gemma-2", "bert", "t5"])
def test_a_part_that_adds_nothing_leaves_the_stream_as_it_was(name: str) -> None:
    model, prompt = _built(name), _prompt(name)
    silent = zoo.build(name)
    last = len(_layers(name, oracle.stacks(name)[-1])) - 1
    for part, ablate in (("attn", oracle.ablate_attn), ("mlp", oracle.ablate_mlp)):
        path = oracle.paths(name).attn if part == "attn" else oracle.paths(name).mlp
        module, kept = oracle.module_at(silent, name, last, path), silent.state_dict()
        kept = {key: value.clone() for key, value in kept.items()}
        with torch.no_grad():
            for parameter in module.parameters():
                # Gemma's norms scale by one more than their weight.
                parameter.fill_(-1.0 if "norm-plus-one" in zoo.SPECIMENS[name].traits else 0.0)
        assert_close(ablate(model, name, **prompt, layer=last), oracle.logits(silent, **prompt))
        silent.load_state_dict(kept)


@every
def test_every_trained_tensor_moves_the_logits(name: str) -> None:
    model, prompt = _built(name), _prompt(name)
    options = {"decoder_input_ids": prompt["decoder_ids"]} if "decoder_ids" in prompt else {}
    with torch.enable_grad():
        found = model(prompt["ids"], **options).logits
        (found * torch.linspace(-1.0, 1.0, found.shape[-1])).sum().backward()
    slopes = {
        path: 0.0 if p.grad is None else float(p.grad.abs().max())
        for path, p in model.named_parameters()
        if p.requires_grad
    }
    model.zero_grad()
    traits = zoo.SPECIMENS[name].traits
    flat = {path for path in slopes if _KEY_BIAS.search(path) and "rotary" not in traits}
    flat |= {path for path in slopes if path.endswith("router.weight") and "hard-routing" in traits}
    assert {path for path, slope in slopes.items() if slope < _VISIBLE} == flat


@every
def test_contributions_add_up_to_the_residual_stream(name: str) -> None:
    model, prompt = _built(name), _prompt(name)
    for stack in oracle.stacks(name):
        where, states = oracle.paths(name, stack), oracle.hidden_states(model, **prompt, stack=stack)
        assert len(states) == len(_layers(name, stack)) + 1
        for layer in _layers(name, stack):
            stream, after = oracle.residuals(model, name, **prompt, layer=layer, stack=stack)
            assert_close(stream, states[layer], rtol=0, atol=0)
            for index, part in enumerate(_parts(name, stack)):
                added = oracle.contribution(model, name, **prompt, layer=layer, part=part, stack=stack)
                path = where.norms[index] if where.norms else None
                norm = oracle.module_at(model, name, layer, path, stack=stack) if path else torch.nn.Identity()
                with torch.no_grad():
                    stream = norm(stream) + added if where.chain == "through-norms" else norm(stream + added)
            assert_close(stream, after, rtol=1e-5, atol=1e-5)


@every
def test_what_attention_adds_is_the_projection_of_its_merged_heads(name: str) -> None:
    model, prompt = _built(name), _prompt(name)
    for stack in oracle.stacks(name):
        where = oracle.paths(name, stack)
        expected = oracle.contribution(model, name, **prompt, layer=1, part="attn", stack=stack)
        found = oracle.merged_z(model, name, **prompt, layer=1, stack=stack)
        with torch.no_grad():
            for path in (where.attn_proj, where.attn) if where.attn_proj else (where.attn,):
                found = oracle.module_at(model, name, 1, path, stack=stack)(found)
        assert_close(found * getattr(model.config, where.multiplier or "", 1.0), expected, rtol=1e-5, atol=1e-5)


@every
def test_only_a_sequential_blocks_mlp_sees_its_attention(name: str) -> None:
    model, prompt = _built(name), _prompt(name)
    assert oracle.paths(name).parallel == ("parallel" in zoo.SPECIMENS[name].traits)
    seen = oracle.contribution(model, name, **prompt, layer=1, part="mlp")
    projection = oracle.module_at(model, name, 1, oracle.paths(name).attn)
    handle = projection.register_forward_hook(lambda _module, _arguments, output: torch.zeros_like(output))
    try:
        blind = oracle.contribution(model, name, **prompt, layer=1, part="mlp")
    finally:
        handle.remove()
    assert torch.equal(blind, seen) == oracle.paths(name).parallel


@every
def test_patterns_are_shares_and_only_a_window_hides_what_lies_before(name: str) -> None:
    specimen, model, prompt = zoo.SPECIMENS[name], _built(name), _prompt(name)
    hidden = False
    for stack in oracle.stacks(name):
        for pattern in oracle.attentions(model, **prompt, stack=stack):
            total = pattern.sum(-1)
            if "sinks" in specimen.traits:
                assert bool((total < 1.0).all())
            else:
                assert_close(total, torch.ones_like(total))
            reachable = torch.ones(pattern.shape[-2:], dtype=torch.bool)
            hidden |= bool((pattern[..., reachable.tril() if stack == "decoder" else reachable] == 0.0).any())
    assert hidden == ("sliding" in specimen.traits)


@pytest.mark.parametrize("name", zoo.names("decoder"))
def test_a_decoder_sees_nothing_that_comes_later(name: str) -> None:
    model, ids = _built(name), _prompt(name)["ids"]
    changed = torch.cat([ids[:, :-1], (ids[:, -1:] + 1) % 256], dim=1)
    before, after = oracle.logits(model, ids), oracle.logits(model, changed)
    assert_close(after[:, :-1], before[:, :-1])
    assert float((after[:, -1] - before[:, -1]).abs().max()) > _VISIBLE


@every
def test_what_is_written_loads_the_same(name: str, tmp_path: Path) -> None:
    specimen, prompt = zoo.SPECIMENS[name], _prompt(name)
    folder = zoo.write(name, tmp_path / name)
    loaded, report = _AUTO[specimen.family].from_pretrained(
        folder, attn_implementation="eager", experts_implementation="eager", output_loading_info=True
    )
    assert type(loaded) is specimen.kind
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert_close(oracle.logits(loaded.eval(), **prompt), oracle.logits(_built(name), **prompt), rtol=0, atol=0)


@every
def test_the_tokenizer_has_a_token_a_byte_and_fits_the_model(name: str, tmp_path: Path) -> None:
    specimen = zoo.SPECIMENS[name]
    specimen.config.save_pretrained(tmp_path)
    zoo.byte_tokenizer(specimen.family).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) == specimen.config.vocab_size
    text = "Zoë's cat"
    ids = tokenizer(text)["input_ids"]
    frame = {"decoder": 0, "encoder": 2, "encoder-decoder": 1}[specimen.family]
    assert len(ids) == len(text.encode()) + frame
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    if specimen.family == "encoder":
        special = (tokenizer.cls_token_id, tokenizer.pad_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id)
        assert (ids[0], ids[-1], special) == (0, 2, (0, 1, 2, 3))
        assert tokenizer("a[MASK]")["input_ids"][2] == 3
