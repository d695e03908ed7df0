"""Edge attribution: an estimate for every edge of what cutting it from the whole model would cost.

Refuses: running circuits. What is estimated here is measured in `running`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tlab.engine import Edit, run
from tlab.engine.branches import Branches
from tlab.engine.gradient import gradients, head_gradients, mlp_gradient
from tlab.experiments.paths import PORTS
from tlab.precision import precise_dtype

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from tlab.circuits.graph import Graph
    from tlab.circuits.task import Task
    from tlab.models import Model

__all__ = ["edge_scores"]

_START = "blocks.0.resid_pre"


def edge_scores(model: Model, graph: Graph, task: Task, *, steps: int) -> Float[Tensor, "writer reader"]:
    """Return, for every edge, the change of the writer's word times the gradient at the reader's stream.

    The mean over the pairs; positive where the edge carries what makes the clean run the clean one.

    Args:
        model: from `load`.
        graph: the model's.
        task: the prompts and what is measured.
        steps: 1 takes the gradient in the clean run, more its mean over runs whose embeddings lie between the two.

    Cost: for each pair and step two passes forward and one back, and back through the attention projections once for
    each head's query, key and value.

    """
    total = torch.zeros(graph.possible.shape, dtype=torch.float64)
    branches = Branches(model, task.clean[0])
    for pair in range(task.n_pairs):
        changes = _changes(model, task, pair, branches)
        for way in _ways(steps):
            slopes = _slopes(model, task, pair, branches, way)
            total += (changes.flatten(1) @ slopes.flatten(1).T).double().cpu()
    return (total / (steps * task.n_pairs) * graph.possible).to(precise_dtype(model.dtype))


def _ways(steps: int) -> list[float]:
    """Return the points on the way from the corrupted to the clean run: its end, or the middles of equal parts."""
    return [1.0] if steps == 1 else [(step + 0.5) / steps for step in range(steps)]


def _changes(model: Model, task: Task, pair: int, branches: Branches) -> Tensor:
    """Return what each writer says in the clean run less what it says in the corrupted one, `writer pos d_model`."""
    kinds = ("attn.z", "attn.out", "mlp.out")
    sites = [f"blocks.{layer}.{kind}" for layer in range(model.n_layers) for kind in kinds]
    here = [_START, *(site for site in sites if site in model.sites)]
    clean, corrupted = (
        run(model, ids[pair], sites=here, predicts=False).captured for ids in (task.clean, task.corrupted)
    )
    found = [clean[_START] - corrupted[_START]]
    for layer, block in enumerate(model.anatomy.decoder.blocks):
        z, other = clean[f"blocks.{layer}.attn.z"], corrupted[f"blocks.{layer}.attn.z"]
        heads = torch.arange(model.n_heads, device=z.device)
        without = torch.where((heads[:, None] == heads)[:, None, :, None], other, z)
        found.append(clean[f"blocks.{layer}.attn.out"] - branches.write(layer, without))
        if block.mlp is not None:
            found.append(clean[f"blocks.{layer}.mlp.out"] - corrupted[f"blocks.{layer}.mlp.out"])
    return torch.cat(found)


def _slopes(model: Model, task: Task, pair: int, branches: Branches, way: float) -> Tensor:
    """Return the gradient at every reader's stream, `reader pos d_model`, in a run on the way between the two."""
    kinds = ("resid_pre", "resid_mid", "attn.z", "mlp.out")
    end = f"blocks.{model.n_layers - 1}.resid_post"
    sites = [f"blocks.{layer}.{kind}" for layer in range(model.n_layers) for kind in kinds]
    ids = task.clean[pair : pair + 1]
    ends = [
        run(model, one[pair], sites=(_START,), predicts=False).captured[_START] for one in (task.corrupted, task.clean)
    ]
    between = ends[0] + way * (ends[1] - ends[0])
    _, seen, slopes = gradients(
        model,
        ids,
        [*(site for site in sites if site in model.sites), end],
        lambda logits: task.measure(logits, pair),
        edits=() if way == 1 else (Edit(_START, lambda _: between),),
        read=task.reads,
    )
    found = []
    for layer, block in enumerate(model.anatomy.decoder.blocks):
        prefix = f"blocks.{layer}"
        ports = head_gradients(branches, layer, seen[f"{prefix}.resid_pre"], slopes[f"{prefix}.attn.z"])
        # The ports of one head stand together in the list of readers.
        found.append(ports[:, :, 0].transpose(0, 1).reshape(len(PORTS) * model.n_heads, *ports.shape[3:]))
        if block.mlp is not None:
            read = seen[f"{prefix}.resid_{'pre' if block.is_parallel else 'mid'}"]
            found.append(mlp_gradient(branches, layer, read, slopes[f"{prefix}.mlp.out"]))
    return torch.cat([*found, slopes[end]])
