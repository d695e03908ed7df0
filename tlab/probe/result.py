"""What training a probe gives: how well each layer can be read, against which baselines, and in which direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlab.errors import UnknownOption, UnknownTarget, shown
from tlab.probe.examples import Label  # noqa: TC001  the type of a field
from tlab.probe.fitting import Classifier
from tlab.results import Result, percent
from tlab.sites import layer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from jaxtyping import Float
    from torch import Tensor

    from tlab.models import Model
    from tlab.probe.reading import ProbeReading

__all__ = ["ProbeResult"]

_TWO = 2


@dataclass(frozen=True, eq=False, repr=False)
class ProbeResult(Result):
    """One linear probe a site, trained on some prompts and judged on others.

    Args:
        sites: where the probes read, in order.
        labels: the classes, in order.
        method: `logistic` or `difference_of_means`.
        position: where in each prompt they read: a position, `all` or `mean`.
        weights: `site class width`: a class' score is the product with its row …
        biases: `site class`: … plus its offset; the largest score is the answer.
        class_means: `site class width`: of the training vectors.
        mean: `site width`: of all training vectors.
        n_train: prompts that the probes were trained on.
        n_test: prompts that they were judged on.
        baseline: accuracy of always giving the training prompts' commonest label.
        control_by: what the control task's random labels depend on: `token`, `prompt` or `given` types.
        n_types: how many of those there are.
        types_met: what share of the held-out rows have a type that the probe has met in training.
        n_controls: over how many draws of random labels the control's accuracy is a mean.
        l2: strength of the penalty in logistic regression.
        seed: of the split and the random labels.
        frame: `site layer accuracy low high control selectivity train_accuracy has_converged`, one row a
            site; `low` and `high` are the 95 % interval of the accuracy.

    """

    sites: tuple[str, ...]
    labels: tuple[Label, ...]
    method: str
    position: int | str
    weights: Float[Tensor, "site class width"]
    biases: Float[Tensor, "site class"]
    class_means: Float[Tensor, "site class width"]
    mean: Float[Tensor, "site width"]
    n_train: int
    n_test: int
    baseline: float
    control_by: str
    n_types: int
    types_met: float
    n_controls: int
    l2: float
    seed: int
    frame: pd.DataFrame

    @property
    def best_site(self) -> str:
        """Where the held-out prompts are read best; the first of several that are equally good."""
        return str(self.frame.loc[self.frame["accuracy"].idxmax(), "site"])

    @property
    def layers(self) -> tuple[int | None, ...]:
        """The sites' layers; `None` for one outside the blocks."""
        return tuple(layer_of(site) for site in self.sites)

    def place(self, layer: int | None = None) -> int:
        """Return the row of a layer's probe.

        Raises:
            UnknownTarget: there is no probe of this layer, or it was left out and there are several.

        """
        if layer is None and len(self.sites) == 1:
            return 0
        if layer in self.layers and not isinstance(layer, bool):
            return self.layers.index(layer)
        known = ", ".join(str(one) for one in self.layers)
        raise UnknownTarget(
            f"layer not probed: expected one of {shown(known)}, got {shown(layer)}; train a probe there"
        )

    @property
    def classifiers(self) -> tuple[Classifier, ...]:
        """The probes, site by site, as what can score vectors."""
        return tuple(Classifier(weights, biases) for weights, biases in zip(self.weights, self.biases, strict=True))

    def apply(self, model: Model, prompts: Sequence[str] | str) -> ProbeReading:
        """Read prompts with these probes, as `tlab.probe.apply` does."""
        from tlab.probe.reading import apply  # noqa: PLC0415  the verb knows this result

        return apply(model, prompts, self)

    def direction(self, layer: int | None = None, *, toward: Label | None = None) -> Float[Tensor, " width"]:
        """Return the vector along which a layer's probe tells one class from the others.

        It is as long as the classes' means lie apart along it, so that adding it once moves the one mean to the other:
        a steering vector. With `difference_of_means` it is that difference. A logistic direction is what reads best,
        which need not be what the model writes.

        Args:
            layer: which; may be left out if only one was probed.
            toward: the class that it points to; by default the last of `labels`.

        Raises:
            UnknownTarget: there is no probe of this layer.
            UnknownOption: there is no such class.

        Source:
            Haufe et al., "On the interpretation of weight vectors of linear models in multivariate neuroimaging"
            (2014), NeuroImage 87: why weights that read differ from patterns that were written.

        """
        place = self.place(layer)
        toward = self.labels[-1] if toward is None else toward
        if toward not in self.labels:
            raise UnknownOption(
                f"toward refused: expected one of {', '.join(map(repr, self.labels))}, got {shown(toward)}; "
                f"leave it out for {self.labels[-1]!r}"
            )
        chosen = self.labels.index(toward)
        others = [number for number in range(len(self.labels)) if number != chosen]
        weights, means = self.weights[place], self.class_means[place]
        reading = weights[chosen] - weights[others].mean(0)
        apart = means[chosen] - means[others].mean(0)
        unit: Tensor = reading / reading.norm().clamp(min=1e-12)
        return unit * (apart @ unit)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a site: how well it is read, with which certainty, against which control."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.frame.round(3)

    def explain(self) -> str:
        """Say where and how well the label is read, beside baseline and control, and what that does not show."""
        best = self.frame.loc[self.frame["accuracy"].idxmax()]
        n_sites = len(self.sites)
        where = (
            f"Of {n_sites} sites, {best['site']} is read best"
            if n_sites > 1
            else f"The label is read at {best['site']}"
        )
        verdict = "" if best["low"] > self.baseline else " That is not clearly better than the baseline."
        slow = int((~self.frame["has_converged"]).sum())
        return (
            f"{where}: {percent(best['accuracy'])} of the held-out rows are right (95 % interval "
            f"{percent(best['low'])} to {percent(best['high'])}, {self.n_test} prompts), against "
            f"{percent(self.baseline)} for always giving the commonest label and {percent(best['control'])} on a "
            f"control task with random labels {self._control()}, a selectivity of {100 * best['selectivity']:.1f} "
            f"points.{verdict}{self._luck()}{f' {slow} fits did not converge.' if slow else ''} What can be read off "
            f"need not be used: take the direction out with tlab.probe.erase, or steer along .direction(), and see "
            f"whether the prediction changes."
        )

    def _control(self) -> str:
        if not self.types_met:
            return f"(one for each {self._type()}, none of which is met in training: it shows chance only)"
        return (
            f"(one for each of {self.n_types} {self._type()}s, which a probe can only remember; "
            f"{percent(self.types_met)} of the held-out rows have one that it has met)"
        )

    def _type(self) -> str:
        return "given type" if self.control_by == "given" else self.control_by

    def _luck(self) -> str:
        if len(self.sites) < _TWO:
            return ""
        return " The best of several sites was chosen by these same prompts, so its figure flatters."
