"""A tiny random model of every architecture; it knows no module paths and reads no activations: the oracle does."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from architectures import ARCHITECTURES

if TYPE_CHECKING:
    from pathlib import Path

    from architectures import Family
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

__all__ = ["SPECIMENS", "Specimen", "build", "byte_tokenizer", "names", "write"]

_N_BYTES = 256
_SPECIAL: dict[Family, tuple[str, ...]] = {
    "decoder": ("<|endoftext|>",),
    "encoder": ("[CLS]", "[PAD]", "[SEP]", "[MASK]"),
    "encoder-decoder": ("<pad>", "</s>"),
}
_SPECIAL_IDS: dict[Family, dict[str, int | None]] = {
    "decoder": {"bos_token_id": _N_BYTES, "eos_token_id": _N_BYTES, "pad_token_id": None},
    "encoder": {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2},
    "encoder-decoder": {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1, "decoder_start_token_id": 0},
}
_ROLES: dict[Family, dict[str, str]] = {
    "decoder": {"eos_token": "<|endoftext|>"},
    "encoder": {"cls_token": "[CLS]", "pad_token": "[PAD]", "sep_token": "[SEP]", "mask_token": "[MASK]"},
    "encoder-decoder": {"pad_token": "<pad>", "eos_token": "</s>"},
}
# A normal of this width over the square root of the inputs: every part changes the logits, and none drowns the others.
_GAIN = 1.0
_SPREAD = 0.3
# Grouped matrix products know no float64, in which a test may want its reference.
_EXPERTS = {"experts_implementation": "eager"}


@dataclass(frozen=True)
class Specimen:
    """One architecture in the zoo: the model class, a tiny config, and what is peculiar about it."""

    name: str
    family: Family
    kind: type[PreTrainedModel]
    config: PreTrainedConfig
    traits: frozenset[str]


class _Specimens(Mapping[str, Specimen]):
    """A mapping that imports a model class only when its specimen is asked for."""

    def __getitem__(self, name: str) -> Specimen:
        return _specimen(name)

    def __iter__(self) -> Iterator[str]:
        return iter(ARCHITECTURES)

    def __len__(self) -> int:
        return len(ARCHITECTURES)


SPECIMENS: Mapping[str, Specimen] = _Specimens()


def names(family: Family | None = None, *, trait: str | None = None) -> tuple[str, ...]:
    """Names of the specimens of a family, or with a trait, without importing a model class."""
    return tuple(
        name
        for name, entry in ARCHITECTURES.items()
        if family in (None, entry.family) and (trait is None or trait in entry.traits)
    )


def build(name: str, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A seeded random model of an architecture, eager and in evaluation mode; the same at every call."""
    specimen = SPECIMENS[name]
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(zlib.crc32(name.encode()))
        model: PreTrainedModel = specimen.kind._from_config(specimen.config, attn_implementation="eager", **_EXPERTS)
        _randomise(model)
    torch.nn.Module.to(model, dtype=dtype)
    model.eval()
    return model


def write(name: str, folder: Path) -> Path:
    """Write weights, config and a tokenizer of one token a byte into a folder, as a published checkpoint has them."""
    folder.mkdir(parents=True, exist_ok=True)
    build(name).save_pretrained(folder)
    byte_tokenizer(SPECIMENS[name].family).save_pretrained(folder)
    return folder


def byte_tokenizer(family: Family) -> PreTrainedTokenizerFast:
    """A tokenizer of one token a byte, with the special tokens and the frame that a family puts around a text."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, processors  # noqa: PLC0415  importing stays cheap
    from tokenizers.models import BPE  # noqa: PLC0415  likewise
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415  likewise

    special, alphabet = _SPECIAL[family], sorted(pre_tokenizers.ByteLevel.alphabet())
    # A decoder's one special token comes last; the padding of the others is a small id, since positions count from it.
    ordered = [*alphabet, *special] if family == "decoder" else [*special, *alphabet]
    ids = {token: token_id for token_id, token in enumerate(ordered)}
    tokenizer = Tokenizer(BPE(vocab=ids, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if family != "decoder":
        frame = "[CLS] $A [SEP]" if family == "encoder" else "$A </s>"
        tokenizer.post_processor = processors.TemplateProcessing(
            single=frame, special_tokens=[(token, ids[token]) for token in special]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_ROLES[family])


@cache
def _specimen(name: str) -> Specimen:
    import transformers  # noqa: PLC0415  importing this module stays cheap

    entry = ARCHITECTURES[name]
    kind = getattr(transformers, entry.kind)
    vocabulary = _N_BYTES + len(_SPECIAL[entry.family])
    options = {"vocab_size": vocabulary, **_SPECIAL_IDS[entry.family], **entry.options}
    config = kind.config_class(**options)
    return Specimen(name, entry.family, kind, config, entry.traits)


@torch.no_grad()
def _randomise(model: PreTrainedModel) -> None:
    """Draw every trained number anew: biases at nought and scales at one would hide their own omission."""
    for module in model.modules():
        # Sinusoids are computed, not trained, and a checkpoint may leave them out.
        if "Sinusoidal" in type(module).__name__:
            continue
        for parameter in module.parameters(recurse=False):
            if parameter.dim() < 2 or parameter.min() == parameter.max():
                centre = parameter.flatten()[0] if parameter.min() == parameter.max() else 0.0
                parameter.copy_(centre + _SPREAD * torch.randn_like(parameter))
            else:
                torch.nn.init.normal_(parameter, std=_GAIN / parameter.shape[-1] ** 0.5)
        for key, buffer in module.named_buffers(recurse=False):
            saved = key not in module._non_persistent_buffers_set
            if saved and buffer.is_floating_point() and not buffer.any():
                buffer.copy_(_SPREAD * torch.randn_like(buffer))
