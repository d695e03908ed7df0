"""Programs that move activations from one run into another: at named parts, as a map, and estimated."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tlab.code.dialects.dialect import Edit, Keep, Place, indented
from tlab.code.metrics import contrast_lines
from tlab.code.recipes.pieces import LARGEST, every_layer, pair_chunk, printed, roles, roles_named, three_values
from tlab.code.recipes.recipe import Recipe
from tlab.code.script import Chunk
from tlab.errors import UnknownOption, shown

if TYPE_CHECKING:
    from tlab.code.dialects.dialect import Dialect
    from tlab.code.request import Request

__all__ = ["RECIPES"]


class _Sweep(NamedTuple):
    """What a sweep goes over.

    Args:
        kind: the places' kind.
        variable: what the program calls the tensor there.
        second: the second axis of the map: `pos`, `head`, or `kv_head` for keys and values that heads share.
        summed: the axes over which an estimate is summed, batch axis removed.

    """

    kind: str
    variable: str
    second: str
    summed: str


_SWEEPS = {
    "resid_pre": _Sweep("resid_pre", "stream", "pos", "-1"),
    "resid_mid": _Sweep("resid_mid", "stream", "pos", "-1"),
    "attn_out": _Sweep("attn.out", "attn", "pos", "-1"),
    "mlp_out": _Sweep("mlp.out", "mlp", "pos", "-1"),
    "heads": _Sweep("attn.z", "z", "head", "(0, 2)"),
    "q": _Sweep("attn.q", "q", "head", "(0, 2)"),
    "k": _Sweep("attn.k", "k", "head", "(0, 2)"),
    "v": _Sweep("attn.v", "v", "head", "(0, 2)"),
    "pattern": _Sweep("attn.pattern", "pattern", "head", "(1, 2)"),
}
_FARTHEST = 1_000_000


def _patch(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: a metric of the run in which parts have the other run's values."""
    base, source = roles(ask, "denoise")
    parts = _parts(ask)
    keep = [Keep(_variable(place), place) for place in parts]
    edits = [edit for place, heads in parts.items() for edit in _edits(place, heads, _positions(ask))]
    remembers = any(place.kind == "resid_mid" for place in parts)
    names = ", ".join(str(target) for target in ask.targets(with_stream=True)) or "nothing"
    says, metric = contrast_lines(ask.value("metric"), say)
    return [
        pair_chunk(ask, say),
        Chunk(
            f"The {source} run's values enter the {base} run.",
            [
                f"base_ids, source_ids = {base}_ids, {source}_ids",
                *say.run("source", "source_ids", keep=keep),
                *say.run("base", "base_ids"),
                roles_named(base),
            ],
        ),
        Chunk(f"What is followed: {says}.", metric),
        Chunk(
            f"The {base} run once more, with {names} as in the {source} run.",
            [
                *(["entered = {}  # the streams that enter the blocks of this run"] if remembers else []),
                "",
                *say.definitions(edits),
                "",
                *say.run("patched", "base_ids", edits=edits),
            ],
        ),
        *three_values(ask),
    ]


def _patch_sweep(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the change of a metric for each place whose value comes from the other run."""
    sweep, base, source = _asked(ask)
    n_second = "base_ids.shape[1]" if sweep.second == "pos" else str(_n_heads(sweep, say))
    place = Place("attn.out" if sweep.kind == "resid_mid" else sweep.kind, "layer")
    edit = Edit("patch", place, sweep.variable, (_patching(sweep),))
    run = [
        *say.run("patched", "base_ids", edits=[edit]),
        f"table[layer, {sweep.second}] = metric(patched) - metric(base)",
    ]
    return [
        *_two_runs(ask, say, sweep, base, source),
        Chunk(
            f"The {base} run again and again, each time with one place as in the {source} run.",
            [
                *say.definitions([edit]),
                "",
                f"table = torch.zeros({say.layout.n_layers}, {n_second})",
                f"for layer in {every_layer(say)}:",
                f"    for {sweep.second} in range({n_second}):",
                *indented(run, 2),
            ],
        ),
        printed(LARGEST, "The largest effect, up or down."),
    ]


def _attribution_patch_sweep(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the same map, estimated by one gradient instead of one run for each place."""
    sweep, base, source = _asked(ask)
    if say.layout.names.has_head_norms and sweep.kind in {"attn.q", "attn.k"}:
        raise UnknownOption(
            f"code refused: expected a model that uses queries and keys as projected, got {say.layout.architecture}, "
            f"which norms them first, at over={shown(ask.value('over'))}; use patch_sweep"
        )
    return [
        *_two_runs(ask, say, sweep, base, source),
        Chunk(
            f"One more {base} run, and the metric's derivative by what stands at each place.",
            say.gradients("base_ids", Place(sweep.kind, "layer", every_layer(say))),
        ),
        Chunk(
            "To first order, a small change moves the metric by change times derivative.",
            [
                "rows = []",
                "for there, here, grad in zip(source_values, base_values, grads):",
                f"    rows.append(((there - here) * grad)[0].sum({sweep.summed}))",
                "table = torch.stack(rows).detach()",
            ],
        ),
        printed(LARGEST, "The largest estimate, up or down."),
    ]


def _asked(ask: Request) -> tuple[_Sweep, str, str]:
    sweep = _SWEEPS[ask.choice("over", tuple(_SWEEPS), "resid_pre")]
    if sweep.kind in {"attn.k", "attn.v"} and ask.layout.n_kv_heads < ask.layout.n_heads:
        sweep = sweep._replace(second="kv_head")
    return (sweep, *roles(ask, "denoise"))


def _n_heads(sweep: _Sweep, say: Dialect) -> int:
    return say.layout.n_kv_heads if sweep.kind in {"attn.k", "attn.v"} else say.layout.n_heads


def _two_runs(ask: Request, say: Dialect, sweep: _Sweep, base: str, source: str) -> list[Chunk]:
    keep = [Keep("values", Place(sweep.kind, "layer", every_layer(say)))]
    if sweep.kind == "resid_mid":
        keep.insert(0, Keep("before", Place("resid_pre", "layer", every_layer(say))))
    kept = ", ".join(one.variable for one in keep)
    returned = ["base_before, base_values" if sweep.kind == "resid_mid" else "base_values"]
    unused = "_, source_values" if sweep.kind == "resid_mid" else "source_values"
    says, metric = contrast_lines(ask.value("metric"), say)
    return [
        pair_chunk(ask, say),
        Chunk(
            f"What is changed is the {base} run; the values come from the {source} run.",
            [
                f"base_ids, source_ids = {base}_ids, {source}_ids",
                "",
                "def read(ids):",
                *indented(say.run("logits", "ids", keep=keep)),
                f"    return logits, {kept}",
                "",
                f"base, {returned[0]} = read(base_ids)",
                f"source, {unused} = read(source_ids)",
                roles_named(base),
            ],
        ),
        Chunk(f"What is followed: {says}.", metric),
    ]


def _patching(sweep: _Sweep) -> str:
    if sweep.kind == "resid_mid":
        # The stream in the middle is what came in plus what attention wrote: writing the difference makes it so.
        return "stream[:, pos] = source_values[layer][:, pos] - base_before[layer][:, pos]"
    index = f":, {sweep.second}" if sweep.second == "pos" or sweep.kind == "attn.pattern" else f":, :, {sweep.second}"
    return f"{sweep.variable}[{index}] = source_values[layer][{index}]"


def _parts(ask: Request) -> dict[Place, list[int] | None]:
    """Return the places that the targets stand at, in forward order, with their heads; `None` for all of a place."""
    parts: dict[Place, list[int] | None] = {}
    for target in ask.targets(with_stream=True):
        for site in target.sites:
            place = Place(site.split(".", 2)[2], str(target.layer))
            heads = parts.setdefault(place, [] if target.heads else None)
            if heads is not None and target.heads:
                heads += target.heads
    return dict(sorted(parts.items(), key=lambda part: part[0].order))


def _positions(ask: Request) -> str:
    """Return the index of the positions that are patched: all of them, or those that were asked for."""
    if not ask.has("positions"):
        return ":"
    positions = ask.wholes("positions", (), below=_FARTHEST, least=-_FARTHEST)
    return str(positions[0]) if len(positions) == 1 else str(positions)


def _edits(place: Place, heads: list[int] | None, positions: str) -> list[Edit]:
    """Return what puts the source run's values in a place."""
    kept = _variable(place)
    if place.kind == "resid_mid":
        # Nothing stands there that could be replaced: the stream in the middle is a sum. So its second summand is.
        entered = f"entered[{place.layer}]"
        remember = Edit(
            f"remember_{place.layer}", Place("resid_pre", place.layer), "stream", (f"{entered} = stream.clone()",)
        )
        value = f"attn[:, {positions}] = {kept}[:, {positions}] - {entered}[:, {positions}]"
        return [remember, Edit(f"patch_{kept}", Place("attn.out", place.layer), "attn", (value,))]
    if heads is None:
        statements = [f"value[:, {positions}] = {kept}[:, {positions}]"]
    else:
        statements = [f"value[:, {positions}, {head}] = {kept}[:, {positions}, {head}]" for head in heads]
    return [Edit(f"patch_{kept}", place, "value", tuple(statements))]


def _variable(place: Place) -> str:
    return f"{place.kind.rpartition('.')[2] if place.kind != 'mlp.out' else 'mlp'}_{place.layer}"


_BOTH = frozenset({"clean", "corrupted", "direction", "metric"})

RECIPES = {
    "attribution_patch_sweep": Recipe(
        _attribution_patch_sweep, takes=_BOTH | {"over"}, only={"steps": 1}, has_graph=True
    ),
    "patch": Recipe(_patch, takes=_BOTH | {"targets", "positions"}, beside=frozenset({"controls", "seed"})),
    "patch_sweep": Recipe(_patch_sweep, takes=_BOTH | {"over"}),
}
