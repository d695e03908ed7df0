"""Small random models of several architectures, each beside plain Hugging Face, and the pretrained one among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

import tlab
from tlab import weights
from tlab.catalogue import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tlab import Model

_N_BYTES = 256
_VOCABULARY = _N_BYTES + 1
_LLAMA = {
    "vocab_size": _VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 96,
    # Larger than in practice, so that every part of a random model has a visible effect.
    "initializer_range": 0.3,
}


def _architectures() -> dict[str, tuple[type[PreTrainedModel], object]]:
    return {
        "llama-grouped": (LlamaForCausalLM, LlamaConfig(**_LLAMA, num_key_value_heads=2)),
        "llama-every-head-its-own-key": (LlamaForCausalLM, LlamaConfig(**_LLAMA)),
        "llama-one-key-wide-heads-biases": (
            LlamaForCausalLM,
            LlamaConfig(**_LLAMA, num_key_value_heads=1, head_dim=16, attention_bias=True, tie_word_embeddings=True),
        ),
        "gpt2": (
            GPT2LMHeadModel,
            GPT2Config(
                vocab_size=_VOCABULARY,
                n_positions=96,
                n_embd=32,
                n_layer=3,
                n_head=4,
                initializer_range=0.3,
                bos_token_id=_N_BYTES,
                eos_token_id=_N_BYTES,
            ),
        ),
    }


_TINY = ("llama-grouped", "llama-every-head-its-own-key", "llama-one-key-wide-heads-biases", "gpt2")
_PRETRAINED = "smollm2-135m"


def _byte_tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: token_id for token_id, character in enumerate([*alphabet, "<|end|>"])}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")  # noqa: S106  no password


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute in one thread: beside other work, threads that wait for each other take ten times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write one random model of each architecture, with a tokenizer that has one token a byte."""
    folders = {}
    for name, (kind, config) in _architectures().items():
        torch.manual_seed(0)
        folders[name] = tmp_path_factory.mktemp(name)
        random_model = kind(config)
        for parameter in random_model.parameters():
            # Biases start at zero, where an omitted one would go unnoticed.
            if parameter.dim() == 1 and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.3)
        random_model.save_pretrained(folders[name])
        _byte_tokenizer().save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="session")
def llama(tiny_folders: dict[str, Path]) -> Model:
    """Load the small model with grouped-query attention."""
    return tlab.load(str(tiny_folders["llama-grouped"]))


@pytest.fixture(scope="session", params=_TINY)
def tiny(request: pytest.FixtureRequest, tiny_folders: dict[str, Path]) -> Model:
    """Load each small model in turn."""
    return tlab.load(str(tiny_folders[request.param]))


@pytest.fixture(scope="session", params=[*_TINY, pytest.param(_PRETRAINED, marks=pytest.mark.slow)])
def architecture(request: pytest.FixtureRequest) -> str:
    """Name each model in turn, the pretrained one last."""
    return str(request.param)


@pytest.fixture(scope="session")
def subject(architecture: str, request: pytest.FixtureRequest) -> Model:
    """Load the model under test through tlab."""
    if architecture == _PRETRAINED:
        loaded: Model = request.getfixturevalue("model")
        return loaded
    return tlab.load(str(request.getfixturevalue("tiny_folders")[architecture]))


@pytest.fixture(scope="session")
def plain(architecture: str, subject: Model, request: pytest.FixtureRequest) -> PreTrainedModel:
    """Load the same weights with Hugging Face alone: the oracle. `subject` comes first, since it fills the cache."""
    assert subject.n_layers > 0
    if architecture == _PRETRAINED:
        folder = weights.cache_folder(CATALOGUE[_PRETRAINED])
    else:
        folder = request.getfixturevalue("tiny_folders")[architecture]
    with weights.quiet_transformers():
        oracle: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, attn_implementation="eager", dtype=torch.float32
        )
    return oracle.eval()
