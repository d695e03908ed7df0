"""`apply`: let trained probes read other prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from tlab.errors import UnknownOption, shown
from tlab.learning.limits import one_stream_model, several_texts
from tlab.manifest import experiment
from tlab.probe.examples import examples_at
from tlab.probe.result import ProbeResult
from tlab.results import Result
from tlab.sites import axes_of, layer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.models import Model

__all__ = ["ProbeReading", "apply", "checked_probe"]


@dataclass(frozen=True, eq=False, repr=False)
class ProbeReading(Result):
    """What trained probes say of other prompts.

    Args:
        frame: `prompt pos token site layer label margin`, one row for each reading of each probe: the class with the
            largest score, and by how much it leads. For logistic regression of two classes the margin is the logarithm
            of the odds. `pos` is -1 for a mean over positions.
        method: how the probes were fitted.

    """

    frame: pd.DataFrame
    method: str

    def to_frame(self) -> pd.DataFrame:
        """Return `prompt pos token site layer label margin`."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.frame.round(3)

    def explain(self) -> str:
        """Say what the last probe reads in how many of the readings."""
        site = self.frame["site"].iloc[-1]
        last = self.frame[self.frame["site"] == site]
        counts = " and ".join(f"{label!r} in {n_times}" for label, n_times in last["label"].value_counts().items())
        return (
            f"The {self.method} probe of {site} reads {counts} of {len(last)} readings. A probe answers for any text, "
            f"also for one that is unlike those it was trained on, and its margin is no measure of that."
        )


@experiment
def apply(model: Model, prompts: Sequence[str] | str, probe: ProbeResult) -> ProbeReading:
    """Read prompts with trained probes, at the position at which they were trained.

    Args:
        model: the one that the probes were trained on.
        prompts: one or several.
        probe: from `train`.

    Raises:
        UnknownOption: no probe of this model, or no prompts.
        UnusablePrompt: a prompt is no prompt, or has no such position.

    Cost: one forward pass a prompt.

    """
    one_stream_model(model.name, model.family)
    checked_probe(probe, model)
    texts = (prompts,) if isinstance(prompts, str) else several_texts("prompts", prompts)
    examples = examples_at(model, texts, probe.sites, probe.position)
    frames = []
    for number, site in enumerate(probe.sites):
        scores = probe.classifiers[number].scores(examples.vectors[number])
        leading, _ = scores.topk(2, dim=-1)
        frames.append(
            pd.DataFrame(
                {
                    "prompt": [texts[one] for one in examples.prompt.tolist()],
                    "pos": examples.pos,
                    "token": examples.token,
                    "site": site,
                    "layer": layer_of(site),
                    "label": [probe.labels[one] for one in scores.argmax(-1).tolist()],
                    "margin": (leading[:, 0] - leading[:, 1]).tolist(),
                }
            )
        )
    return ProbeReading(frame=pd.concat(frames, ignore_index=True), method=probe.method)


def checked_probe(probe: object, model: Model) -> ProbeResult:
    """Return a probe that fits the model.

    Raises:
        UnknownOption: it is none, or the model has not its sites with vectors of its width.

    """
    if not isinstance(probe, ProbeResult):
        raise UnknownOption(
            f"probe refused: expected what tlab.probe.train returns, got {shown(probe)}; train one first"
        )
    width = probe.weights.shape[-1]
    sizes = {"d_model": model.d_model, "d_mlp": model.d_mlp, "d_vocab": model.d_vocab}
    if all(site in model.sites and sizes[axes_of(site)[-1]] == width for site in probe.sites):
        return probe
    raise UnknownOption(
        f"probe refused: expected one of {shown(model.name)}, got one of {probe.sites[0]} "
        f"with vectors of width {width}; train one with tlab.probe.train"
    )
