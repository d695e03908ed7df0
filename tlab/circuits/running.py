"""Running a circuit: its edges carry what their writers say in this run, all others what they say in the corrupted one.

Each reader's stream is the corrupted run's, plus what the writers that it has an edge from now say otherwise. Refuses:
saying whether the circuit is any good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlab.engine import run, unembed
from tlab.engine.branches import Branches
from tlab.experiments.paths import PORTS
from tlab.precision import precise

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    from tlab.circuits.graph import Graph
    from tlab.circuits.task import Task
    from tlab.models import Model

__all__ = ["Runner"]

_BUDGET_BYTES = 512 * 2**20
_START = "blocks.0.resid_pre"


class Runner:
    """Runs circuits of one model on one task.

    Args:
        model: from `load`.
        graph: the model's.
        task: the prompts and what is measured.

    """

    def __init__(self, model: Model, graph: Graph, task: Task) -> None:
        self._model, self._graph, self._task = model, graph, task
        width = 2 * len(graph.writers) + 24 * model.n_heads
        row_bytes = model.dtype.itemsize * task.n_pos * model.d_model * width
        self._at_once = max(1, _BUDGET_BYTES // row_bytes)
        self._branches = Branches(model, task.clean[0])
        self._kept: _Base | None = None

    def values(self, edges: Bool[Tensor, "writer reader"]) -> Float[Tensor, " pair"]:
        """Return the metric for each pair with only these edges."""
        task = self._task
        found = []
        for first in range(0, task.n_pairs, self._at_once):
            last = min(first + self._at_once, task.n_pairs)
            found.append(precise(task.measure(self._logits(edges, first, last), first)).cpu())
        return torch.cat(found)

    def logits(self, edges: Bool[Tensor, "writer reader"]) -> Float[Tensor, "pair read d_vocab"]:
        """Return the logits at the read positions with only these edges."""
        pairs = range(0, self._task.n_pairs, self._at_once)
        return torch.cat(
            [self._logits(edges, first, min(first + self._at_once, self._task.n_pairs)) for first in pairs]
        )

    def _logits(self, edges: Tensor, first: int, last: int) -> Tensor:
        base = self._base(first, last)
        end = _Pass(self._model, self._graph, self._branches, base, edges & self._graph.possible).stream()
        return unembed(self._model, end[:, list(self._task.reads)])

    def _base(self, first: int, last: int) -> _Base:
        if self._kept is not None:
            return self._kept
        base = _base(self._model, self._task.clean[first:last], self._task.corrupted[first:last])
        # If all pairs fit at once, the runs that every circuit starts from are the same each time.
        self._kept = base if last - first == self._task.n_pairs else None
        return base


@dataclass(frozen=True, eq=False)
class _Base:
    """What a circuit starts from: the corrupted run, and by how much the clean prompts' embeddings differ."""

    seen: dict[str, Tensor]
    embedded: Tensor


def _base(model: Model, clean: Tensor, corrupted: Tensor) -> _Base:
    kinds = ("resid_pre", "resid_mid", "attn.z", "attn.out", "mlp.out", "resid_post")
    sites = [f"blocks.{layer}.{kind}" for layer in range(model.n_layers) for kind in kinds]
    here = [site for site in sites if site in model.sites]
    seen = run(model, corrupted, sites=here, predicts=False).captured
    return _Base(seen, run(model, clean, sites=[_START], predicts=False).captured[_START] - seen[_START])


class _Pass:
    """One run of one circuit on some pairs."""

    def __init__(self, model: Model, graph: Graph, branches: Branches, base: _Base, edges: Tensor) -> None:
        self._model, self._branches, self._base = model, branches, base.seen
        self._blocks = model.anatomy.decoder.blocks
        alive = graph.alive(edges)
        self._alive = alive.tolist()
        # What a dead writer says is the corrupted run's word anyway.
        self._edges = (edges & alive[:, None]).to(model.device)
        self._writers = {name: place for place, name in enumerate(graph.writers)}
        self._readers = {name: place for place, name in enumerate(graph.readers)}
        # By how much each writer's word differs from its word in the corrupted run, and the heads' new results.
        self._changes = base.embedded.new_zeros(len(graph.writers), *base.embedded.shape)
        self._changes[0] = base.embedded
        self._results: dict[int, Tensor] = {}

    def stream(self) -> Tensor:
        """Return the stream that the logits are made of."""
        n_heads = self._model.n_heads
        for layer, block in enumerate(self._blocks):
            if any(self._alive[self._writers[f"L{layer}H{head}"]] for head in range(n_heads)):
                self._run_heads(layer)
            if block.mlp is not None and self._alive[self._writers[f"L{layer}.mlp"]]:
                self._run_mlp(layer, is_parallel=block.is_parallel)
        end = self._base[f"blocks.{len(self._blocks) - 1}.resid_post"]
        return end + self._shifts([self._readers["logits"]])[0]

    def _run_heads(self, layer: int) -> None:
        n_heads = self._model.n_heads
        ports = [self._readers[f"L{layer}H{head}.{port}"] for port in PORTS for head in range(n_heads)]
        streams, place = self._distinct(ports)
        base = self._base[f"blocks.{layer}.resid_pre"]
        made = self._branches.read(layer, (base + streams).flatten(0, 1))
        query, key, value = (tensor.view(*streams.shape[:2], *tensor.shape[1:]) for tensor in made)
        place = place.view(len(PORTS), n_heads)
        n_shared = n_heads // key.shape[3]
        old = self._base[f"blocks.{layer}.attn.z"]
        new = old.clone()
        queries = torch.stack([query[place[0, head], :, :, head] for head in range(n_heads)], dim=2)
        for turn in range(n_shared):
            # Heads that share a key take turns, since here each may have made it of another stream.
            heads = range(turn, n_heads, n_shared)
            keys = torch.stack([key[place[1, head], :, :, head // n_shared] for head in heads], dim=2)
            values = torch.stack([value[place[2, head], :, :, head // n_shared] for head in heads], dim=2)
            new[:, :, list(heads)] = self._branches.attend(layer, queries, keys, values)[:, :, list(heads)].to(new)
        self._results[layer] = new
        block = self._blocks[layer]
        if "attn_post" not in block.norms:
            written = torch.einsum("bphe,hed->hbpd", new - old, block.attn.W_O) * block.scale
            for head in range(n_heads):
                writer = self._writers[f"L{layer}H{head}"]
                if self._alive[writer]:
                    self._changes[writer] = written[head]

    def _run_mlp(self, layer: int, *, is_parallel: bool) -> None:
        base = self._base[f"blocks.{layer}.resid_{'pre' if is_parallel else 'mid'}"]
        shift = self._shifts([self._readers[f"L{layer}.mlp"]])[0]
        written = self._branches.think(layer, base + shift)
        self._changes[self._writers[f"L{layer}.mlp"]] = written - self._base[f"blocks.{layer}.mlp.out"]

    def _distinct(self, readers: list[int]) -> tuple[Tensor, Tensor]:
        """Return the different shifts that some readers see, and which of them each sees."""
        masks, place = torch.unique(self._edges[:, readers], dim=1, return_inverse=True)
        firsts = [readers[int((place == one).nonzero()[0])] for one in range(masks.shape[1])]
        return self._shifts(firsts), place

    def _shifts(self, readers: list[int]) -> Tensor:
        """Return by how much each reader's stream differs from the corrupted run's, `reader pair pos d_model`."""
        chosen = self._edges[:, readers]
        weights = chosen.T.to(self._changes.dtype)
        shifts: Tensor = torch.tensordot(weights, self._changes, dims=1)
        for layer, new in self._results.items():
            if "attn_post" in self._blocks[layer].norms:
                self._add_normed(shifts, layer, new, chosen)
        return shifts

    def _add_normed(self, shifts: Tensor, layer: int, new: Tensor, chosen: Tensor) -> None:
        """Add what the chosen heads of a layer change together where a norm stands between them and the stream."""
        first = self._writers[f"L{layer}H0"]
        old = self._base[f"blocks.{layer}.attn.z"]
        masks, place = torch.unique(chosen[first : first + self._model.n_heads], dim=1, return_inverse=True)
        for one in range(masks.shape[1]):
            if bool(masks[:, one].any()):
                mixed = torch.where(masks[:, one][:, None], new, old)
                written = self._branches.write(layer, mixed) - self._base[f"blocks.{layer}.attn.out"]
                shifts[place == one] += written
