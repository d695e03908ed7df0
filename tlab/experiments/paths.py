"""Paths from a part that writes to the residual stream to parts that read it, with everything between held still.

Owns the names of senders and receivers, and what a sender's change becomes on its way. Refuses: models in which the
stream is not the sum of what was written to it, where there is no such thing as one part's share.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlab.engine import Edit, Variant, run
from tlab.engine.branches import Branches
from tlab.errors import UnknownOption, UnknownTarget, shown
from tlab.targets import parse_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Int
    from torch import Tensor

    from tlab.models import Model

__all__ = ["PORTS", "Paths", "Receiver", "Sender", "check_sums", "parse_receivers", "parse_sender", "senders_before"]

PORTS = ("q", "k", "v")
_RECEIVER = re.compile(r"(L\d{1,6}H\d{1,6})(?:\.([qkv]))?")


@dataclass(frozen=True)
class Sender:
    """A part that writes to the stream.

    Args:
        kind: `embed`, `head`, `attn` or `mlp`.
        layer: its block; -1 for the embedding.
        head: which head, if it is one.

    """

    kind: str
    layer: int = -1
    head: int | None = None

    @property
    def site(self) -> str:
        """Where its output stands."""
        if self.kind == "embed":
            return "blocks.0.resid_pre"
        return f"blocks.{self.layer}." + {"head": "attn.z", "attn": "attn.out", "mlp": "mlp.out"}[self.kind]

    @property
    def stage(self) -> int:
        """When it writes; who reads at a later stage can read it."""
        return 2 * self.layer + (1 if self.kind in {"mlp", "embed"} else 0)

    def __str__(self) -> str:
        tail = {"embed": "embed", "head": f"L{self.layer}H{self.head}"}
        return tail.get(self.kind, f"L{self.layer}.{self.kind}")


@dataclass(frozen=True)
class Receiver:
    """A part that reads the stream, through one of its inputs.

    Args:
        kind: `head`, `mlp` or `logits`.
        layer: its block; for the logits the number of blocks.
        stage: when it reads.
        head: which head, if it is one.
        port: `q`, `k` or `v`, for a head.

    """

    kind: str
    layer: int
    stage: int
    head: int | None = None
    port: str = ""

    def __str__(self) -> str:
        tail = {"logits": "logits", "head": f"L{self.layer}H{self.head}.{self.port}"}
        return tail.get(self.kind, f"L{self.layer}.{self.kind}")


def check_sums(model: Model) -> None:
    """Return quietly if the model's stream is the sum of what its parts write.

    Raises:
        UnknownOption: it is not.

    """
    blocks = model.anatomy.decoder.blocks
    if any(place.endswith("_sum") for block in blocks for place in block.norms) or blocks[0].adds_to_normed:
        raise UnknownOption(
            f"model refused: expected one whose stream is the sum of what its parts write, got {shown(model.name)}, "
            f"which norms the stream at each addition, so that no part's share can be told; "
            f"take a model such as 'smollm2-135m'"
        )


def parse_sender(name: object, model: Model) -> Sender:
    """Return the part that a name stands for: `embed`, `L3H4`, `L3.attn` or `L3.mlp`.

    Raises:
        UnknownTarget: the name cannot be read or lies outside the model.

    """
    if name == "embed":
        return Sender("embed")
    (target,) = parse_targets(name if isinstance(name, str) else repr(name), model.n_layers, model.n_heads)
    if target.part == "layer" or (target.part == "mlp" and model.anatomy.decoder.blocks[target.layer].mlp is None):
        raise UnknownTarget(
            f"sender unknown: expected 'embed', 'L3H4', 'L3.attn' or 'L3.mlp', got {shown(name)}; name one part"
        )
    return Sender(target.part, target.layer, target.head)


def parse_receivers(names: str | Iterable[str], model: Model) -> tuple[Receiver, ...]:
    """Return the inputs that names stand for: `L3H4.q`, `L3H4` (all three), `L3.mlp` or `logits`.

    Raises:
        UnknownTarget: a name cannot be read or lies outside the model, or there is none.

    """
    given = (names,) if isinstance(names, str) else tuple(names) if isinstance(names, Iterable) else (names,)
    found = tuple(dict.fromkeys(one for name in given for one in _receivers(name, model)))
    if not found:
        raise UnknownTarget("receiver unknown: expected at least one, got none; name one such as 'logits' or 'L10H7.q'")
    return found


def _receivers(name: object, model: Model) -> list[Receiver]:
    if name == "logits":
        return [Receiver("logits", model.n_layers, 2 * model.n_layers)]
    match = _RECEIVER.fullmatch(name) if isinstance(name, str) else None
    plain = match[1] if match else name if isinstance(name, str) else repr(name)
    (target,) = parse_targets(plain, model.n_layers, model.n_heads)
    block = model.anatomy.decoder.blocks[target.layer]
    if match:
        ports = (match[2],) if match[2] else PORTS
        return [Receiver("head", target.layer, 2 * target.layer, target.head, port) for port in ports]
    if target.part != "mlp" or block.mlp is None:
        raise UnknownTarget(
            f"receiver unknown: expected 'L3H4.q', 'L3H4', 'L3.mlp' or 'logits', got {shown(name)}; name one part"
        )
    return [Receiver("mlp", target.layer, 2 * target.layer + (0 if block.is_parallel else 1))]


def senders_before(model: Model, receivers: Sequence[Receiver]) -> list[Sender]:
    """Return every embedding, head and MLP that some receiver can read, in the order in which they write."""
    last = max(receiver.stage for receiver in receivers)
    found = [Sender("embed")]
    for layer, block in enumerate(model.anatomy.decoder.blocks):
        found += [Sender("head", layer, head) for head in range(model.n_heads)]
        found += [] if block.mlp is None else [Sender("mlp", layer)]
    return [sender for sender in found if sender.stage < last]


class Paths:
    """Two runs, and what becomes of the one when single paths carry what the other says.

    Args:
        model: one whose stream is a sum.
        base: the ids of the run in which all else stays.
        source: the ids of the run from which senders take their values.
        through_mlps: whether MLPs between sender and receiver pass the change on; attention never does.

    """

    def __init__(
        self, model: Model, base: Int[Tensor, " pos"], source: Int[Tensor, " pos"], *, through_mlps: bool
    ) -> None:
        check_sums(model)
        self._blocks = model.anatomy.decoder.blocks
        kinds = ("resid_pre", "resid_mid", "attn.z", "attn.out", "mlp.out", "resid_post")
        sites = [f"blocks.{layer}.{kind}" for layer in range(model.n_layers) for kind in kinds]
        here = [site for site in sites if site in model.sites]
        self._base = run(model, base, sites=here, predicts=False).captured
        self._source = run(model, source, sites=here, predicts=False).captured
        self._branches = Branches(model, base)
        self._through_mlps = through_mlps

    def variants(self, senders: Sequence[Sender], receivers: Sequence[Receiver]) -> list[Variant]:
        """Return, for each sender, the run in which only its paths to the receivers carry the other run's value."""
        arrived = self._arrived(senders, {_point(receiver) for receiver in receivers})
        edits: list[list[Edit]] = [[] for _ in senders]
        for layer in sorted({receiver.layer for receiver in receivers}):
            here = [receiver for receiver in receivers if receiver.layer == layer]
            for kind in dict.fromkeys(receiver.kind for receiver in here):
                chosen = [receiver for receiver in here if receiver.kind == kind]
                for row, made in enumerate(self._received(kind, layer, chosen, arrived)):
                    edits[row] += made
        return [Variant(tuple(made)) for made in edits]

    def whole(self, sender: Sender) -> Variant:
        """Return the run in which all that a sender writes is the other run's, for all who read it."""
        value = self._source[sender.site]
        heads = None if sender.head is None else (sender.head,)
        return Variant((Edit(sender.site, _Put(value if heads is None else value[:, :, list(heads)]), heads=heads),))

    def _arrived(self, senders: Sequence[Sender], points: set[str]) -> dict[str, Tensor]:
        """Return, at the points of the stream that are wanted, by how much each sender's change moved it."""
        start = self._base["blocks.0.resid_pre"]
        shift = start.new_zeros(len(senders), *start.shape[1:])
        found = {}
        self._add(shift, senders, -1, ("embed",))
        for layer, block in enumerate(self._blocks):
            before = shift.clone()
            found[f"blocks.{layer}.resid_pre"] = before
            self._add(shift, senders, layer, ("head", "attn"))
            found[f"blocks.{layer}.resid_mid"] = before if block.is_parallel else shift.clone()
            if block.mlp is None:
                continue
            if self._through_mlps:
                self._think(shift, layer, found[f"blocks.{layer}.resid_mid"])
            self._add(shift, senders, layer, ("mlp",))
            found = {point: tensor for point, tensor in found.items() if point in points}
        return found | {"end": shift}

    def _add(self, shift: Tensor, senders: Sequence[Sender], layer: int, kinds: tuple[str, ...]) -> None:
        """Add what the senders of one layer write otherwise in the other run."""
        for row, sender in enumerate(senders):
            if sender.layer == layer and sender.kind in kinds:
                shift[row] += self._change(sender)[0]

    def _change(self, sender: Sender) -> Tensor:
        if sender.head is None:
            return self._source[sender.site] - self._base[sender.site]
        z = self._base[sender.site].clone()
        z[:, :, sender.head] = self._source[sender.site][:, :, sender.head]
        return self._branches.write(sender.layer, z) - self._base[f"blocks.{sender.layer}.attn.out"]

    def _think(self, shift: Tensor, layer: int, read: Tensor) -> None:
        """Let one layer's MLP pass on what reached it."""
        rows = read.flatten(1).any(1)
        if bool(rows.any()):
            base = self._base[self._mid(layer)] + read[rows]
            shift[rows] += self._branches.think(layer, base) - self._base[f"blocks.{layer}.mlp.out"]

    def _mid(self, layer: int) -> str:
        return f"blocks.{layer}.resid_pre" if self._blocks[layer].is_parallel else f"blocks.{layer}.resid_mid"

    def _received(
        self, kind: str, layer: int, receivers: Sequence[Receiver], arrived: dict[str, Tensor]
    ) -> list[list[Edit]]:
        """Return, for each sender, the edits that give the receivers of one layer what reached them."""
        shift = arrived[_point(receivers[0])]
        if kind == "logits":
            last = f"blocks.{len(self._blocks) - 1}.resid_post"
            return [[Edit(last, _Shifted(row))] for row in _rows(shift)]
        if kind == "mlp":
            written = self._branches.think(layer, self._base[self._mid(layer)] + shift)
            return [[Edit(f"blocks.{layer}.mlp.out", _Put(row))] for row in _rows(written)]
        made = self._branches.read(layer, self._base[f"blocks.{layer}.resid_pre"] + shift)
        ports: dict[int, str] = {}
        for receiver in receivers:
            ports[receiver.head or 0] = ports.get(receiver.head or 0, "") + receiver.port
        rows = zip(*map(_rows, made), strict=True)
        turned = self._blocks[layer].attn.is_rotary
        return [_Reading(self._branches, layer, ports, row).edits(is_rotary=turned) for row in rows]


def _point(receiver: Receiver) -> str:
    """Return the place of the stream that a receiver reads."""
    if receiver.kind == "logits":
        return "end"
    return f"blocks.{receiver.layer}.resid_{'pre' if receiver.kind == 'head' else 'mid'}"


def _rows(tensor: Tensor) -> list[Tensor]:
    return [tensor[row : row + 1] for row in range(len(tensor))]


class _Reading:
    """Some heads of one layer with queries, keys or values that were made of another stream than the layer's.

    The heads' results are computed once more, since heads that share a key cannot be given different ones.
    """

    def __init__(self, branches: Branches, layer: int, ports: dict[int, str], given: tuple[Tensor, ...]) -> None:
        self._branches, self._layer, self._ports = branches, layer, ports
        self._given = dict(zip(PORTS, given, strict=True))
        self._seen: dict[str, Tensor] = {}

    def edits(self, *, is_rotary: bool) -> list[Edit]:
        """Return the edits that note what the layer reads by itself, and then replace the heads' results."""
        prefix = f"blocks.{self._layer}.attn"
        names = {"q": "rot_q", "k": "rot_k", "v": "v"} if is_rotary else dict(zip(PORTS, PORTS, strict=True))
        notes = [Edit(f"{prefix}.{name}", self._noting(port)) for port, name in names.items()]
        return [*notes, Edit(f"{prefix}.z", self._results)]

    def _noting(self, port: str) -> Any:  # noqa: ANN401  an edit's function
        def note(tensor: Tensor) -> Tensor:
            self._seen[port] = tensor
            return tensor

        return note

    def _results(self, z: Tensor) -> Tensor:
        for ports in dict.fromkeys(self._ports.values()):
            heads = [head for head, chosen in self._ports.items() if chosen == ports]
            read = [(self._given if port in ports else self._seen)[port] for port in PORTS]
            z[:, :, heads] = self._branches.attend(self._layer, *read)[:, :, heads].to(z.dtype)
        return z


class _Put:
    def __init__(self, value: Tensor) -> None:
        self._value = value

    def __call__(self, tensor: Tensor) -> Tensor:
        return self._value.expand_as(tensor)


class _Shifted:
    def __init__(self, shift: Tensor) -> None:
        self._shift = shift

    def __call__(self, tensor: Tensor) -> Tensor:
        return tensor + self._shift
