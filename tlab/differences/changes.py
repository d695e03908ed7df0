"""The usual causes, as changes: another text, another kind of number, another attention, other weights.

Refuses: judging what they explain. Every change is made to a copy; the model at hand stays as it is.
"""

from __future__ import annotations

import copy
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tlab.errors import ModelTooLarge, shown
from tlab.loading import dissect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlab.engine import Inputs
    from tlab.models import Model

__all__ = [
    "has_weights_of",
    "in_dtype",
    "naming",
    "own_logits",
    "rewritten",
    "special_token",
    "with_config",
    "with_tokenizer",
    "with_weights",
]


# Causes are tried on copies, and a second model of a larger size would fill a laptop.
_LARGEST_COPY = 2e9


def special_token(model: Model) -> str | None:
    """Return the text of the token that other libraries put in front of a prompt, if there is one."""
    tokenizer = model.tokenizer
    found = getattr(tokenizer, "bos_token", None) or getattr(tokenizer, "eos_token", None)
    return str(found) if found and model.family == "decoder" else None


def rewritten(text: str, model: Model) -> Iterator[tuple[str, str]]:
    """Yield the ways in which a text is often written otherwise: what is done to it, and the text."""
    special = special_token(model)
    ways = {}
    if special:
        is_there = text.startswith(special)
        ways["no special token in front" if is_there else "special token in front"] = (
            text.removeprefix(special) if is_there else special + text
        )
    ways["no space in front" if text.startswith(" ") else "space in front"] = (
        text.removeprefix(" ") if text.startswith(" ") else f" {text}"
    )
    ways["no space at the end" if text.endswith(" ") else "space at the end"] = (
        text.removesuffix(" ") if text.endswith(" ") else f"{text} "
    )
    for form in ("NFC", "NFD", "NFKC"):
        ways[f"unicode form {form}"] = unicodedata.normalize(form, text)
    yield from ((way, new) for way, new in ways.items() if new not in (text, ""))


def naming(a: str, b: str, model: Model) -> str:
    """Name what two texts differ in."""
    special = special_token(model)
    if special and a.removeprefix(special) == b.removeprefix(special):
        return "special token in front"
    if a.strip() == b.strip():
        is_in_front = _before(a) != _before(b)
        is_at_end = _before(a[::-1]) != _before(b[::-1])
        return "spaces" if is_in_front and is_at_end else "space in front" if is_in_front else "space at the end"
    if a.split() == b.split():
        return "spaces"
    if unicodedata.normalize("NFKC", a) == unicodedata.normalize("NFKC", b):
        return "unicode form"
    return "capitals" if a.casefold() == b.casefold() else "text"


def in_dtype(model: Model, dtype: torch.dtype) -> Model:
    """Return the model in another kind of number, as if its weights had been loaded in it."""
    _check_size(model)
    hf = _twin(model.hf)
    if dtype == torch.float64:
        # As the loader does: grouped matrix products know no float64.
        hf.set_experts_implementation("eager")
    for module in hf.modules():
        for name, parameter in module._parameters.items():  # noqa: SLF001  torch offers no way to replace one alone
            if parameter is not None and parameter.is_floating_point():
                module._parameters[name] = nn.Parameter(parameter.to(dtype), requires_grad=False)  # noqa: SLF001
        for name, buffer in module._buffers.items():  # noqa: SLF001
            # What is computed and not loaded (angles of rotary positions) stays as it was computed.
            is_loaded = name not in module._non_persistent_buffers_set  # noqa: SLF001
            if buffer is not None and buffer.is_floating_point() and is_loaded:
                module._buffers[name] = buffer.to(dtype)  # noqa: SLF001
    return _dissected(model, hf)


def has_weights_of(model: Model, other: Model) -> bool:
    """Tell whether two models have the same weights, up to what their kinds of number can hold."""
    one, two = model.hf.state_dict(), other.hf.state_dict()
    coarser = min(model.dtype, other.dtype, key=lambda dtype: dtype.itemsize)
    return one.keys() == two.keys() and all(
        tensor.shape == two[name].shape and torch.equal(tensor.cpu().to(coarser), two[name].cpu().to(coarser))
        for name, tensor in one.items()
    )


def with_weights(model: Model, other: Model) -> Model:
    """Return the model with another one's weights."""
    _check_size(model)
    hf = copy.deepcopy(model.hf)
    hf.load_state_dict(other.hf.state_dict())
    return _dissected(model, hf)


def with_config(model: Model, other: Model) -> Model:
    """Return the model's weights in a model that is configured like another one."""
    _check_size(model)
    config = copy.deepcopy(other.hf.config)
    hf = type(model.hf)._from_config(config, attn_implementation="eager")  # noqa: SLF001  the public way reads files
    hf.load_state_dict(model.hf.state_dict())
    fresh = _dissected(model, hf)
    return fresh if fresh.dtype == model.dtype else in_dtype(fresh, model.dtype)


def with_tokenizer(model: Model, other: Model) -> Model:
    """Return the model reading through another one's tokenizer."""
    return replace(model, tokenizer=other.tokenizer)


def own_logits(model: Model, inputs: Inputs, implementation: str) -> Tensor:
    """Return Hugging Face's own logits with one of its attention implementations, `batch pos d_vocab`.

    Raises:
        ValueError: the architecture has no such implementation.

    """
    hf = _twin(model.hf)
    hf.set_attn_implementation(implementation)
    given: dict[str, Any] = {"input_ids": inputs.ids}
    if inputs.source is not None:
        given = {"input_ids": inputs.source, "decoder_input_ids": inputs.ids}
    # Its parameters ask for no gradients, so that no graph is kept.
    logits: Tensor = hf(**given).logits
    return logits


def _check_size(model: Model) -> None:
    if model.n_params > _LARGEST_COPY:
        raise ModelTooLarge(
            f"model too large: expected at most {_LARGEST_COPY / 1e6:,.0f} million parameters to copy, got "
            f"{model.n_params / 1e6:,.0f} million in {shown(model.name)}; try a smaller model"
        )


def _twin(hf: Any) -> Any:  # noqa: ANN401  Hugging Face's models have no common type
    """Return a copy of the modules and the configuration that shares all tensors."""
    shared = {id(tensor): tensor for tensor in (*hf.parameters(), *hf.buffers())}
    return copy.deepcopy(hf, shared)


def _dissected(model: Model, hf: Any) -> Model:  # noqa: ANN401
    return dissect(model.name, hf, model.tokenizer, folder=model.folder)


def _before(text: str) -> str:
    return text[: len(text) - len(text.lstrip())]
