"""Programs that push: a direction from two prompts, a push along it, and edges of attention that are cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlab.code.dialects.dialect import Edit, Place, indented
from tlab.code.metrics import metric_lines, token_id
from tlab.code.recipes.pieces import LARGEST, outcome, printed, prompt_chunk
from tlab.code.recipes.recipe import Recipe
from tlab.code.recipes.vectors import difference, texts_of, vector_chunks
from tlab.code.script import Chunk
from tlab.errors import UnknownOption, shown

if TYPE_CHECKING:
    from tlab.code.dialects.dialect import Dialect
    from tlab.code.request import Request

__all__ = ["RECIPES"]

_FARTHEST = 1_000_000
_PAIR = 2
_RENORMING = (
    "# What is left of each row sums to 1 again, as if the softmax had never seen the cut edges.",
    "pattern /= pattern.sum(-1, keepdim=True)",
)


def _steering_vector(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the difference of the streams after a layer between two kinds of prompts."""
    plus, minus = texts_of("plus", ask.value("plus")), texts_of("minus", ask.value("minus"))
    return [
        *difference(plus, minus, ask.layer(), ask.value("position"), say),
        printed("float(vector.norm())", "The vector's length."),
    ]


def _steer(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the change of one token's probability when a vector is added to the stream after a layer."""
    made = getattr(ask.value("vector"), "layer", None)
    layer = ask.layer(default=made)
    coef = ask.real("coef", 1.0)
    index, where = _pushed_positions(ask)
    edit = Edit("push", Place("resid_post", str(layer)), "stream", (f"stream[{index}] += {coef!r} * vector",))
    token = ask.value("token")
    followed = "int(clean[-1].argmax())" if token is None else token_id(token, say)
    return [
        *vector_chunks(ask, say),
        prompt_chunk(ask.text("prompt"), say),
        Chunk("The clean run, and the token to follow.", [*say.run("clean", "ids"), f"token = {followed}"]),
        Chunk(
            f"The same run with the vector added to the stream after layer {layer}, {where}.",
            [*say.definitions([edit]), "", *say.run("steered", "ids", edits=[edit])],
        ),
        *outcome("clean", "steered"),
    ]


def _knockout(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the change of a metric when positions may not read from others."""
    chosen = _chosen_heads(ask, say)
    edges = ", ".join(f"({_place(source)}, {_place(end)})" for source, end in _edges(ask.value("edges")))
    statements = (
        "for source, destination in edges:",
        "    pattern[:, heads[layer], destination, source] = 0",
        *_RENORMING,
    )
    edit = Edit("cut", Place("attn.pattern", "layer", "heads"), "pattern", statements, knows_layer=True)
    says, metric = metric_lines(ask.value("metric"), say, plain="clean", answer="clean", ids="ids")
    return [
        prompt_chunk(ask.text("prompt"), say),
        Chunk("The clean run.", say.run("clean", "ids")),
        Chunk(f"What is followed: {says}.", metric),
        Chunk(
            "The same run, in which a destination cannot read from a source.",
            [
                f"tokens = [{say.tokenizer}.decode([token]) for token in ids[0].tolist()]",
                f"edges = [{edges}]",
                f"heads = {chosen}",
                "",
                *say.definitions([edit]),
                "",
                *say.run("patched", "ids", edits=[edit]),
                "table = [float(metric(clean)), float(metric(patched))]",
                "print(table)",
            ],
        ),
        printed("table[1] - table[0]", "What the metric gained or lost."),
    ]


def _knockout_sweep(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the change of a metric when the same reading is forbidden in one window of layers after the other."""
    window = ask.whole("window", 5, least=1, below=_FARTHEST)
    n_layers = say.layout.n_layers
    statements = ("for destination in destinations:", "    pattern[:, :, destination, sources] = 0", *_RENORMING)
    edit = Edit("cut", Place("attn.pattern", "layer", "window"), "pattern", statements)
    says, metric = metric_lines(ask.value("metric"), say, plain="clean", answer="clean", ids="ids")
    before, after = (window - 1) // 2, window // 2 + 1
    return [
        prompt_chunk(ask.text("prompt"), say),
        Chunk("The clean run.", say.run("clean", "ids")),
        Chunk(f"What is followed: {says}.", metric),
        Chunk(
            "The same run again and again, each time without the reading in some neighbouring layers.",
            [
                f"tokens = [{say.tokenizer}.decode([token]) for token in ids[0].tolist()]",
                f"sources = {_places(ask.value('source'))}",
                f"destinations = {_places(-1 if ask.value('destination') is None else ask.value('destination'))}",
                "",
                *say.definitions([edit]),
                "",
                f"table = torch.zeros({n_layers})",
                f"for middle in range({n_layers}):",
                f"    window = range(max(0, middle - {before}), min({n_layers}, middle + {after}))",
                *indented(say.run("patched", "ids", edits=[edit])),
                "    table[middle] = metric(patched) - metric(clean)",
            ],
        ),
        printed(LARGEST, "The largest change, up or down."),
    ]


def _pushed_positions(ask: Request) -> tuple[str, str]:
    """Return the index of the positions that the vector is added to, and where that is in words."""
    positions = ask.arguments.get("positions", "all")
    if positions in ("all", "prompt"):
        return ":", "at every position"
    if positions in ("last", "continuation"):
        return ":, -1", "at the last position"
    numbers = ask.wholes("positions", (), below=_FARTHEST, least=-_FARTHEST)
    return f":, {numbers}", "at some positions"


def _chosen_heads(ask: Request, say: Dialect) -> dict[int, list[int]]:
    """Return the heads in which edges are cut, by layer."""
    if not ask.has("heads"):
        layers = ask.wholes("layers", range(say.layout.n_layers), below=say.layout.n_layers)
        return {layer: list(range(say.layout.n_heads)) for layer in sorted(set(layers))}
    found: dict[int, list[int]] = {}
    for target in ask.targets("heads"):
        if target.head is None:
            raise UnknownOption(f"head refused: expected a name such as 'L3H4', got {shown(str(target))}; add H…")
        found.setdefault(target.layer, []).append(target.head)
    return {layer: sorted(found[layer]) for layer in sorted(found)}


def _edges(value: object) -> list[tuple[object, object]]:
    pairs: list[tuple[object, object]] = []
    for edge in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(edge, list | tuple) or len(edge) != _PAIR:
            raise UnknownOption(
                f"edge refused: expected a pair (source, destination), got {shown(edge)}; try [(' France', -1)]"
            )
        pairs.append((edge[0], edge[1]))
    return pairs


def _places(value: object) -> str:
    """Return the expression for one or several positions."""
    return f"[{', '.join(_place(one) for one in (value if isinstance(value, list | tuple) else [value]))}]"


def _place(value: object) -> str:
    """Return the expression for a position that is given as a number or as the text of a token."""
    if isinstance(value, str):
        return f"tokens.index({value!r})"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _FARTHEST:
        return str(value)
    raise UnknownOption(f"position refused: expected a number or a token's text, got {shown(value)}; try -1")


RECIPES = {
    "knockout": Recipe(
        _knockout,
        takes=frozenset({"prompt", "edges", "layers", "heads", "metric"}),
        beside=frozenset({"controls", "seed"}),
    ),
    "knockout_sweep": Recipe(
        _knockout_sweep,
        takes=frozenset({"prompt", "source", "destination", "window", "metric"}),
        beside=frozenset({"controls", "seed"}),
    ),
    "steer": Recipe(
        _steer,
        takes=frozenset({"prompt", "vector", "layer", "coef", "positions", "token"}),
        beside=frozenset({"max_new_tokens", "temperature", "seed", "controls"}),
        only={"target": None},
    ),
    "steering_vector": Recipe(
        _steering_vector, takes=frozenset({"plus", "minus", "layer", "position"}), only={"source": "activations"}
    ),
}
