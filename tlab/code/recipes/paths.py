"""Programs that change what one part says to some others and to nobody else: one path, and the paths from all parts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from tlab.code.dialects.dialect import Edit, Keep, Place, indented
from tlab.code.metrics import contrast_lines
from tlab.code.recipes.pieces import every_layer, pair_chunk, printed, roles, roles_named, three_values
from tlab.code.recipes.recipe import Recipe
from tlab.code.script import Chunk
from tlab.errors import UnknownOption, UnknownTarget, shown
from tlab.targets import parse_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.code.dialects.dialect import Dialect
    from tlab.code.request import Request

__all__ = ["RECIPES"]

_RECEIVER = re.compile(r"L(\d{1,6})(?:H(\d{1,6})(?:\.([qkv]))?|\.mlp)")


class _Sender(NamedTuple):
    """A part that writes: where its output stands, when it writes, and which head it is, if it is one."""

    place: Place
    stage: int
    head: int | None


class _Reader(NamedTuple):
    """A place that reads: `q`, `k`, `v`, `mlp` or `logits` of a layer, when, and which heads there."""

    step: str
    layer: int
    stage: int
    heads: tuple[int, ...]

    @property
    def stream(self) -> Place | None:
        """What it reads."""
        if self.step == "logits":
            return None
        return Place("resid_mid" if self.step == "mlp" else "resid_pre", str(self.layer))

    @property
    def place(self) -> Place:
        """What is changed there."""
        kinds = {"mlp": "mlp.out", "logits": "resid_post"}
        return Place(kinds.get(self.step, f"attn.{self.step}"), str(self.layer))


def _path_patch(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: a metric of the run in which some readers get what a part says in the other run."""
    base, source = roles(ask, "noise")
    sender = _sender(ask)
    readers = [reader for reader in _readers(ask, say) if sender.stage < reader.stage]
    streams = {reader.stream: _heard_from(reader) for reader in readers if reader.stream is not None}
    keep = [Keep("base_says", sender.place), *(Keep(name, place) for place, name in streams.items())]
    edits = [_edit(reader) for reader in readers]
    message = "source_says - base_says"
    if sender.head is not None:
        writing = say.head_output(sender.place.layer, str(sender.head))
        message = f"({message})[:, :, {sender.head}] @ writing"
    says, metric = contrast_lines(ask.value("metric"), say)
    return [
        pair_chunk(ask, say),
        Chunk(
            f"What the sender says in the {source} run, and the {base} run with what the readers read.",
            [
                f"base_ids, source_ids = {base}_ids, {source}_ids",
                *say.run("source", "source_ids", keep=[Keep("source_says", sender.place)]),
                *say.run("base", "base_ids", keep=keep),
                roles_named(base),
            ],
        ),
        Chunk(f"What is followed: {says}.", metric),
        Chunk(
            "The change of the sender's message. Everything between stays as it was, so each reader\n"
            "reads its old stream plus this change.",
            [
                *([f"writing = {writing}"] if sender.head is not None else []),
                f"message = {message}",
                *(line for reader in readers for line in _hearing(reader, _heard_from(reader), say)),
            ],
        ),
        Chunk(
            f"The {base} run once more; only the readers are changed, and what follows from them.",
            [*say.definitions(edits), "", *say.run("patched", "base_ids", edits=edits)],
        ),
        *three_values(ask),
    ]


def _path_patch_sweep(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the change of a metric for the path from every head and MLP to one place."""
    base, source = roles(ask, "noise")
    readers = _readers(ask, say)
    if len({(reader.stage, reader.layer) for reader in readers}) > 1:
        raise UnknownOption(
            f"code refused: expected receivers in one place, got {shown(ask.value('receivers'))}; "
            f"sweep each place by itself"
        )
    each = every_layer(say)
    kinds = {"pres": "resid_pre", "zs": "attn.z", "mids": "resid_mid", "mlps": "mlp.out"}
    if readers[0].step != "mlp":
        del kinds["mids"]
    keep = [Keep(name, Place(kind, "layer", each)) for name, kind in kinds.items()]
    says, metric = contrast_lines(ask.value("metric"), say)
    edits = [_edit(reader) for reader in readers]
    return [
        pair_chunk(ask, say),
        Chunk(
            f"Both runs. The {base} run is changed; the messages come from the {source} run.",
            [
                f"base_ids, source_ids = {base}_ids, {source}_ids",
                "",
                "def read(ids):",
                *indented(say.run("logits", "ids", keep=keep)),
                f"    return logits, {', '.join(kinds)}",
                "",
                f"base, {', '.join(f'base_{name}' for name in kinds)} = read(base_ids)",
                f"source, {', '.join(f'source_{name}' for name in kinds)} = read(source_ids)",
                roles_named(base),
            ],
        ),
        Chunk(f"What is followed: {says}.", metric),
        Chunk(
            "From each head, and in the last column each MLP: the change of its message reaches the readers\n"
            "alone. Where there is no path, the table has no number.",
            [*say.definitions(edits), "", *_sweeping(readers, edits, say)],
        ),
        printed("float(table.flatten()[table.nan_to_num().abs().argmax()])", "The path that carries most."),
    ]


def _sweeping(readers: Sequence[_Reader], edits: Sequence[Edit], say: Dialect) -> list[str]:
    reader, heads = readers[0], say.layout.n_heads
    stream = f"base_{'mids' if reader.step == 'mlp' else 'pres'}[{reader.layer}]"
    reach = {"logits": say.layout.n_layers, "mlp": reader.layer + 1}.get(reader.step, reader.layer)
    inside = [
        f"if column < {heads}:",
        f"    writing = {say.head_output('layer', 'column')}",
        "    message = (source_zs[layer] - base_zs[layer])[:, :, column] @ writing",
        "else:",
        "    message = source_mlps[layer] - base_mlps[layer]",
        *(line for one in readers for line in _hearing(one, stream, say)),
        *say.run("patched", "base_ids", edits=edits),
        "table[layer, column] = metric(patched) - metric(base)",
    ]
    if reader.step == "mlp":
        inside = [f"if (layer, column) == ({reader.layer}, {heads}):", "    continue  # the reader itself", *inside]
    return [
        f"table = torch.full(({say.layout.n_layers}, {heads + 1}), torch.nan)",
        f"for layer in range({reach}):",
        f"    for column in range({heads + 1}):",
        *indented(inside, 2),
    ]


def _hearing(reader: _Reader, stream: str, say: Dialect) -> list[str]:
    """Write what a reader makes of its old stream plus the message."""
    variable = f"heard_{reader.step}_{reader.layer}"
    if reader.step == "logits":
        return []
    if reader.step == "mlp":
        return say.thought(variable, str(reader.layer), f"{stream} + message")
    return say.projected(variable, reader.step, str(reader.layer), f"{stream} + message")


def _edit(reader: _Reader) -> Edit:
    heard = f"heard_{reader.step}_{reader.layer}"
    if reader.step == "logits":
        return Edit("hear_logits", reader.place, "stream", ("stream[:] += message",))
    if reader.step == "mlp":
        return Edit(f"hear_mlp_{reader.layer}", reader.place, "mlp", (f"mlp[:] = {heard}",))
    written = tuple(f"{reader.step}[:, :, {head}] = {heard}[:, :, {head}]" for head in reader.heads)
    return Edit(f"hear_{reader.step}_{reader.layer}", reader.place, reader.step, written)


def _heard_from(reader: _Reader) -> str:
    return f"{'mid' if reader.step == 'mlp' else 'pre'}_{reader.layer}"


def _sender(ask: Request) -> _Sender:
    name = ask.value("sender")
    if name == "embed":
        return _Sender(Place("resid_pre", "0"), -1, None)
    (target,) = parse_targets(name if isinstance(name, str) else repr(name), ask.layout.n_layers, ask.layout.n_heads)
    if target.part == "layer":
        raise UnknownTarget(
            f"sender unknown: expected 'embed', 'L3H4', 'L3.attn' or 'L3.mlp', got {shown(name)}; name one part"
        )
    place = Place(target.sites[0].split(".", 2)[2], str(target.layer))
    return _Sender(place, 2 * target.layer + (target.part == "mlp"), target.head)


def _readers(ask: Request, say: Dialect) -> list[_Reader]:
    """Return the places that the receivers stand for, in forward order, with the heads that are meant at each."""
    value = ask.value("receivers")
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else [value]
    layout = say.layout
    heads: dict[tuple[int, str], list[int]] = {}
    for name in names:
        match = _RECEIVER.fullmatch(name) if isinstance(name, str) else None
        layer, head = (int(match[1]), int(match[2] or 0)) if match else (layout.n_layers - 1, 0)
        if (match is None and name != "logits") or layer >= layout.n_layers or head >= layout.n_heads:
            raise UnknownTarget(
                f"receiver unknown: expected 'L3H4.q', 'L3H4', 'L3.mlp' or 'logits', inside the model, "
                f"got {shown(name)}; name one part"
            )
        steps = ("logits",) if match is None else ("mlp",) if match[2] is None else tuple(match[3] or "qkv")
        if layout.n_kv_heads < layout.n_heads and {"k", "v"} & set(steps):
            raise UnknownOption(
                f"code refused: expected a head's queries, got {shown(name)}, whose keys and values other heads share; "
                f"name {f'L{layer}H{head}.q'!r}, or run the experiment without code"
            )
        for step in steps:
            heads.setdefault((layer, step), []).append(head)
    order = ("q", "k", "v", "mlp", "logits")
    return [
        _Reader(step, layer, {"mlp": 2 * layer + 1, "logits": 2 * layout.n_layers}.get(step, 2 * layer), tuple(chosen))
        for (layer, step), chosen in sorted(heads.items(), key=lambda item: (item[0][0], order.index(item[0][1])))
    ]


_TAKEN = frozenset({"clean", "corrupted", "receivers", "metric", "direction"})

RECIPES = {
    "path_patch": Recipe(
        _path_patch, takes=_TAKEN | {"sender"}, beside=frozenset({"controls", "seed"}), only={"through": "direct"}
    ),
    "path_patch_sweep": Recipe(_path_patch_sweep, takes=_TAKEN, only={"through": "direct"}),
}
