"""What happens before the first block: embedding, positions, masks. The model's own code does it, up to there.

A twin of the model that shares everything but its blocks is called; recorders stand in the blocks' places and note
what each block would have been called with. Refuses: touching the model itself.
"""

from __future__ import annotations

import copy
import inspect
import threading
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

__all__ = ["Entrance", "later"]

# Of no use to a single pass, and in the way of several at once.
_LEFT_OUT = frozenset(
    {"past_key_values", "past_key_value", "layer_past", "use_cache", "output_attentions", "output_router_logits"}
)
# Along which axis an argument of the blocks runs over the destination positions.
_DEST_AXES = {
    "attention_mask": -2,
    "position_bias": -2,
    "position_embeddings": -2,
    "position_ids": -1,
    "cache_position": -1,
}
_notes = threading.local()


class Entrance:
    """The way from token ids to the first block.

    Args:
        module: Hugging Face's module that embeds ids and calls the blocks.
        path: attribute names that lead from it to the list of blocks.

    """

    def __init__(self, module: Any, path: tuple[str, ...]) -> None:
        owner = module
        for name in path:
            owner = getattr(owner, name)
        layers = list(owner)
        recorders = [_Recorder(layer, is_last=layer is layers[-1]) for layer in layers]
        self._twin = _twin(module, path, nn.ModuleList(recorders))
        self._first = layers[0]

    def __call__(self, ids: Tensor, **inputs: Any) -> tuple[Tensor, list[dict[str, Any]]]:
        """Return the stream that enters the first block, and each block's arguments by name.

        Shapes:
            ids: `batch pos`
            returns: `batch pos d_model`
        """
        seen: list[tuple[Tensor, dict[str, Any]]] = []
        outer = getattr(_notes, "seen", None)
        _notes.seen = seen
        try:
            self._twin(input_ids=ids, use_cache=False, **inputs)
        except _Arrived:
            pass
        finally:
            _notes.seen = outer
        stream = seen[0][0]
        arguments = [given for _, given in seen]
        self._complete_position_bias(arguments, ids.shape[-1])
        return stream, arguments

    def _complete_position_bias(self, arguments: list[dict[str, Any]], n_pos: int) -> None:
        """Give T5's layers the relative position bias that its first layer computes and hands on."""
        if not hasattr(self._first, "layer"):
            return
        bias = None
        for layer, given in zip(self._layers(), arguments, strict=True):
            attention = layer.layer[0].SelfAttention
            if attention.has_relative_attention_bias:
                bias = attention.compute_bias(n_pos, n_pos)
            given["position_bias"] = bias

    def _layers(self) -> Iterator[Any]:
        for module in self._twin.modules():
            if isinstance(module, _Recorder):
                yield module.__dict__["layer"]


def later(arguments: dict[str, Any], start: int) -> dict[str, Any]:
    """Return a block's arguments for the positions from `start` on alone."""

    def cut(value: Any, axis: int) -> Any:
        if isinstance(value, tuple):
            return tuple(cut(part, axis) for part in value)
        if not isinstance(value, torch.Tensor) or value.shape[axis] == 1:
            return value
        return value.narrow(axis, start, value.shape[axis] - start)

    return {name: cut(value, _DEST_AXES[name]) if name in _DEST_AXES else value for name, value in arguments.items()}


class _Arrived(Exception):
    """All blocks were asked for; what would follow is not needed."""


class _Recorder(nn.Module):
    """Stands in a block's place, notes the call, and answers for the block's attributes."""

    def __init__(self, layer: nn.Module, *, is_last: bool) -> None:
        super().__init__()
        # Past nn.Module's registry: the block must not become a part of the twin.
        self.__dict__["layer"] = layer
        self.__dict__["signature"] = inspect.signature(layer.forward)
        self.__dict__["is_last"] = is_last

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["layer"], name)

    def forward(self, *arguments: Any, **named: Any) -> tuple[Any, None, None]:
        """Note the arguments by the block's own names for them."""
        bound = self.__dict__["signature"].bind(*arguments, **named).arguments
        bound.update(bound.pop("kwargs", {}))
        stream = bound.pop("hidden_states")
        _notes.seen.append((stream, {name: value for name, value in bound.items() if name not in _LEFT_OUT}))
        if self.__dict__["is_last"]:
            raise _Arrived
        # Some callers unpack two or three values, some take the first, some pass on the whole: nobody computes with it.
        return stream, None, None


def _twin(module: Any, path: tuple[str, ...], replacement: nn.Module) -> Any:
    """Return a copy of `module` that shares all but the module at `path`, which is `replacement`."""
    twin = copy.copy(module)
    twin.__dict__["_modules"] = dict(module._modules)  # noqa: SLF001  a shallow copy would share the dictionary
    name, *rest = path
    inner = _twin(module._modules[name], tuple(rest), replacement) if rest else replacement  # noqa: SLF001
    twin._modules[name] = inner  # noqa: SLF001
    return twin
