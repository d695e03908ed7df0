"""One training loop for all toys: seeded, on the CPU, remembering the weights at the steps that will be measured.

Refuses: data and measures, which belong to each toy, and files.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlab.errors import UnknownOption, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    Weights = dict[str, Tensor]

__all__ = ["Fit", "Plan", "fit", "seeded", "weights_of"]


@dataclass(frozen=True)
class Plan:
    """How a toy is trained: everything but its data.

    Args:
        steps: of the optimiser (AdamW), over which the learning rate rises and falls.
        learning_rate: after the warm-up.
        weight_decay: as AdamW takes it (multiplied by the learning rate at every step).
        betas: AdamW's two averages.
        warmup_steps: over which the learning rate rises from nothing.
        final_fraction: of the training, at its end, over which the learning rate falls to a hundredth; 0 keeps it.
        measured_every: steps between two rows of the curve.

    """

    steps: int
    learning_rate: float
    weight_decay: float
    betas: tuple[float, float] = (0.9, 0.98)
    warmup_steps: int = 10
    final_fraction: float = 0.0
    measured_every: int = 100

    def rate_at(self, step: int) -> float:
        """Return the factor on the learning rate at a step."""
        rising = min((step + 1) / self.warmup_steps, 1.0)
        falling_steps = self.steps * self.final_fraction
        falling = min((self.steps - step) / falling_steps, 1.0) if falling_steps else 1.0
        return rising * max(falling, 0.01)


@dataclass(frozen=True, eq=False)
class Fit:
    """What a training left: weights along the way, and the loss of every batch.

    Args:
        history: step → copy of the weights, before that step was taken; the last step is the end.
        losses: of the batch of each step.
        wall_time_s: of the loop alone.

    """

    history: dict[int, Weights]
    losses: tuple[float, ...]
    wall_time_s: float


def fit(
    module: nn.Module,
    loss: Callable[[], Tensor],
    plan: Plan,
    *,
    steps: int | None = None,
    report: Callable[[int, float], None] | None = None,
) -> Fit:
    """Train `module` in place with AdamW and return its weights along the way.

    Args:
        module: whose parameters are trained.
        loss: draws a batch and returns its loss, with gradients.
        plan: the learning rate, step by step, and what to remember.
        steps: to stop after; by default the plan's. Fewer give the beginning of the same training.
        report: called with the step and its loss wherever the weights are remembered.

    Invariants:
        The same module, losses and plan give the same weights on the same machine with the same number of threads.

    Raises:
        UnknownOption: there would be no step.

    Cost: one forward and one backward pass a step; memory for one copy of the weights a measured step.

    """
    n_steps = plan.steps if steps is None else steps
    if not isinstance(n_steps, int) or n_steps < 1:
        raise UnknownOption(f"steps refused: expected a whole number above 0, got {shown(steps)}; try 100")
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=plan.learning_rate, betas=plan.betas, weight_decay=plan.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, plan.rate_at)
    history: dict[int, Weights] = {}
    losses: list[float] = []
    started = time.perf_counter()
    for step in range(n_steps):
        if step % plan.measured_every == 0:
            history[step] = weights_of(module)
        value = loss()
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]  # torch types it on some versions only
        optimiser.step()
        schedule.step()
        losses.append(float(value.detach()))
        if report is not None and step in history:
            report(step, losses[-1])
    history[n_steps] = weights_of(module)
    return Fit(history=history, losses=tuple(losses), wall_time_s=time.perf_counter() - started)


def weights_of(module: nn.Module) -> Weights:
    """Return a copy of the parameters, each shared one once, under the name by which the module lists it."""
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
    """Seed torch's global generator for a while, and hand out one for data; what was there before comes back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)
