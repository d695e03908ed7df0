"""Paths and circuits by brute force: plain Hugging Face models in which every part is told what to say.

It owns the second opinion on what happens when parts read different streams: one full run for each input of each part,
all others frozen by torch's own hooks. It imports nothing from tlab.
"""

from __future__ import annotations

import copy
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import oracle
import torch
import zoo

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel

__all__ = ["WIRINGS", "circuit_logits", "edge_slope", "path_logits", "plain"]

# Each with queries, keys and values in three layers, which the hooks need; and what is peculiar about it.
WIRINGS = {
    "llama-grouped": "heads share keys and values",
    "opt": "learned positions, biases",
    "phi": "parallel, one norm for both",
    "cohere": "parallel, heads share keys and values",
    "gemma-2": "norms before and after each part, capped scores, a window",
    "granite": "outputs are scaled before they join the stream",
    "qwen3": "queries and keys are normed",
    "starcoder2": "means are taken out, biases, heads share keys and values, a window",
}

Key = tuple[str, int]


def plain(name: str, dtype: torch.dtype = torch.float64) -> PreTrainedModel:
    """The specimen with a key and a value for every head, as many times the same where heads share them."""
    grouped = copy.deepcopy(zoo.build(name, dtype=dtype))
    n_heads = grouped.config.num_attention_heads
    n_shared = n_heads // (getattr(grouped.config, "num_key_value_heads", None) or n_heads)
    if n_shared == 1:
        return grouped
    config = copy.deepcopy(zoo.SPECIMENS[name].config)
    config.num_key_value_heads = n_heads
    apart = zoo.SPECIMENS[name].kind._from_config(config, attn_implementation="eager").to(dtype).eval()
    state = grouped.state_dict()
    for key in state:
        if ".k_proj." in key or ".v_proj." in key:
            rows = state[key].unflatten(0, (n_heads // n_shared, -1))
            state[key] = rows.repeat_interleave(n_shared, 0).flatten(0, 1)
    apart.load_state_dict(state)
    return apart  # type: ignore[no-any-return]


@torch.no_grad()
def _run(
    hf: PreTrainedModel, name: str, ids: Tensor, told: Mapping[Key, Callable[[Tensor], Tensor]] | None = None
) -> dict[Key, Tensor]:
    """What every part computes, whatever it is then told to say; the logits last."""
    seen: dict[Key, Tensor] = {}
    told = told or {}

    def heard(key: Key, tensor: Tensor) -> Tensor:
        seen[key] = tensor.clone()
        return told[key](tensor.clone()).reshape(tensor.shape) if key in told else tensor

    def after(key: Key) -> Callable[..., Any]:
        def hook(_module: Module, _arguments: object, output: Any) -> Any:  # noqa: ANN401  a module's own
            if isinstance(output, tuple):
                return (heard(key, output[0]), *output[1:])
            return heard(key, output)

        return hook

    def before(key: Key) -> Callable[..., Any]:
        def hook(_module: Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:  # noqa: ANN401
            if arguments:
                return (heard(key, arguments[0]), *arguments[1:]), options
            return arguments, {**options, "hidden_states": heard(key, options["hidden_states"])}

        return hook

    with ExitStack() as stack:
        for key, module, is_input in _places(hf, name):
            if is_input:
                handle = module.register_forward_pre_hook(before(key), with_kwargs=True)
            else:
                handle = module.register_forward_hook(after(key))
            stack.callback(handle.remove)
        seen["logits", 0] = hf(ids).logits
    return seen


def _places(hf: PreTrainedModel, name: str) -> list[tuple[Key, Module, bool]]:
    where, n_layers = oracle.paths(name), hf.config.num_hidden_layers
    projection = where.attn_proj or where.attn
    prefix = projection.rpartition(".")[0]
    found: list[tuple[Key, Module, bool]] = [
        (("embed", 0), oracle.module_at(hf, name, 0, ""), True),
        (("end", 0), oracle.module_at(hf, name, n_layers - 1, ""), False),
    ]
    for layer in range(n_layers):
        made = {(port, layer): oracle.module_at(hf, name, layer, f"{prefix}.{port}_proj") for port in "qkv"}
        found += [(key, module, False) for key, module in made.items()]
        found.append((("z", layer), oracle.module_at(hf, name, layer, projection), True))
        found.append((("mlp", layer), oracle.module_at(hf, name, layer, where.mlp), False))
    return found


def _say(value: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda _: value.clone()


def _say_in_head(value: Tensor, head: int, n_heads: int) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        tensor.view(*tensor.shape[:-1], n_heads, -1)[..., head, :] = _of(value, head, n_heads)
        return tensor

    return change


def _both(first: Callable[[Tensor], Tensor] | None, second: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return second if first is None else lambda tensor: second(first(tensor))


def _of(merged: Tensor, head: int, n_heads: int) -> Tensor:
    return merged.view(*merged.shape[:-1], n_heads, -1)[..., head, :]


def path_logits(
    hf: PreTrainedModel,
    name: str,
    base: Tensor,
    source: Tensor,
    *,
    sender: str,
    receivers: Sequence[str],
    through_mlps: bool,
) -> Tensor:
    """The logits of the base run in which the receivers hear from the sender what it says in the source run."""
    n_layers, n_heads = hf.config.num_hidden_layers, hf.config.num_attention_heads
    here, there = _run(hf, name, base), _run(hf, name, source)
    told = {("z", layer): _say(here["z", layer]) for layer in range(n_layers)}
    if not through_mlps:
        told |= {("mlp", layer): _say(here["mlp", layer]) for layer in range(n_layers)}
    kind, layer, head = _part(sender)
    if kind == "head":
        told["z", layer] = _both(told["z", layer], _say_in_head(there["z", layer], head, n_heads))
    else:
        told[kind, layer] = _say(there[kind, layer])
    frozen = _run(hf, name, base, told)
    if list(receivers) == ["logits"]:
        return frozen["logits", 0]
    given: dict[Key, Callable[[Tensor], Tensor]] = {}
    for receiver in receivers:
        if receiver == "logits":
            given["end", 0] = lambda tensor: tensor + frozen["end", 0] - here["end", 0]
            continue
        kind, layer, head = _part(receiver.removesuffix(".q").removesuffix(".k").removesuffix(".v"))
        if kind == "mlp":
            given["mlp", layer] = _say(frozen["mlp", layer])
            continue
        for port in receiver[-1] if "." in receiver else "qkv":
            new = _say_in_head(frozen[port, layer], head, n_heads)
            given[port, layer] = _both(given.get((port, layer)), new)
    return _run(hf, name, base, given)["logits", 0]


def circuit_logits(
    hf: PreTrainedModel, name: str, clean: Tensor, corrupted: Tensor, edges: Collection[tuple[str, str]]
) -> Tensor:
    """The logits when each part hears along `edges` what is said in this run, and else what the corrupted run says."""
    n_layers, n_heads = hf.config.num_hidden_layers, hf.config.num_attention_heads
    old = _run(hf, name, corrupted)
    words = {key: tensor.clone() for key, tensor in old.items()}
    words["embed", 0] = _run(hf, name, clean)["embed", 0]

    def heard_by(reader: str) -> dict[Key, Tensor]:
        told: dict[Key, Callable[[Tensor], Tensor]] = {}
        for layer in range(n_layers):
            mixed = old["z", layer].clone()
            for head in range(n_heads):
                if (f"L{layer}H{head}", reader) in edges:
                    mixed = _say_in_head(words["z", layer], head, n_heads)(mixed)
            told["z", layer] = _say(mixed)
            told["mlp", layer] = _say((words if (f"L{layer}.mlp", reader) in edges else old)["mlp", layer])
        told["embed", 0] = _say((words if ("embed", reader) in edges else old)["embed", 0])
        return _run(hf, name, corrupted, told)

    for layer in range(n_layers):
        results = words["z", layer].clone()
        for head in range(n_heads):
            made = {
                (port, layer): _say_in_head(heard_by(f"L{layer}H{head}.{port}")[port, layer], head, n_heads)
                for port in "qkv"
            }
            read = _run(hf, name, corrupted, made)["z", layer]
            results = _say_in_head(read, head, n_heads)(results)
        # Parts of a block hear nothing of its heads but through the stream.
        spoken = heard_by(f"L{layer}.mlp") if oracle.paths(name).parallel else None
        words["z", layer] = results
        words["mlp", layer] = (spoken or heard_by(f"L{layer}.mlp"))["mlp", layer]
    return heard_by("logits")["logits", 0]


def edge_slope(
    hf: PreTrainedModel,
    name: str,
    clean: Tensor,
    corrupted: Tensor,
    *,
    edge: tuple[str, str],
    measure: Callable[[Tensor], Tensor],
    step: float,
) -> float:
    """By how much the clean run's measure grows, a unit step, as one edge carries more of clean less corrupted."""
    n_layers, n_heads = hf.config.num_hidden_layers, hf.config.num_attention_heads
    here, there = _run(hf, name, clean), _run(hf, name, corrupted)
    writer, reader = edge
    kind, layer, head = _part(writer)
    key = ("z", layer) if kind == "head" else (kind, layer)

    def value(way: float) -> float:
        told = {(part, one): _say(here[part, one]) for part in ("z", "mlp") for one in range(n_layers)}
        told["embed", 0] = _say(here["embed", 0])
        more = here[key] + way * (here[key] - there[key])
        told[key] = _both(told[key], _say_in_head(more, head, n_heads) if kind == "head" else _say(more))
        frozen = _run(hf, name, clean, told)
        if reader == "logits":
            return float(measure(frozen["logits", 0]))
        part, place, index = _part(reader.removesuffix(".q").removesuffix(".k").removesuffix(".v"))
        if part == "mlp":
            return float(measure(_run(hf, name, clean, {("mlp", place): _say(frozen["mlp", place])})["logits", 0]))
        port = reader[-1]
        given = {(port, place): _say_in_head(frozen[port, place], index, n_heads)}
        return float(measure(_run(hf, name, clean, given)["logits", 0]))

    return (value(step) - value(-step)) / (2 * step)


def _part(name: str) -> tuple[str, int, int]:
    if name == "embed":
        return "embed", 0, 0
    layer, _, rest = name[1:].partition("H" if "H" in name else ".")
    return ("head", int(layer), int(rest)) if "H" in name else (rest, int(layer), 0)
