"""`tuned_lens`: what the model would say if it stopped after each block, read through a trained lens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from tlab.engine import unembed
from tlab.errors import UnknownOption, shown
from tlab.experiments.logit_lens import LensResult, reading_of
from tlab.experiments.prompts import inputs_of
from tlab.manifest import experiment
from tlab.results import Result, percent

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from tlab.models import Model

__all__ = ["HELD_OUT", "ORDINARY", "TunedLens", "TunedLensResult", "tuned_lens"]

# The two kinds of texts on which a lens is measured.
HELD_OUT = "held out"
ORDINARY = "tlab.references"


@dataclass(frozen=True, eq=False, repr=False)
class TunedLens(Result):
    """A trained lens: for each layer an affine map from its stream to one that the unembedding can read.

    Args:
        model_name: the model that it was trained for.
        layers: the layers that have a translator; 0 is the embedding.
        rank: of what a translator adds; `None` for any.
        read: what each translator reads of the stream; `None` if it reads all of it.
        write: what it makes of that.
        bias: what it adds in any case.
        n_positions: on how many positions of text it was trained, counting repetitions.
        held_out: how many texts were kept from training.
        frame: `texts layer n_positions logit_lens_kl_nats tuned_lens_kl_nats average_kl_nats`: how far both lenses are
            from the final prediction on texts that were not trained on, and how far the mean prediction is, which
            reads nothing; over the whole vocabulary.
        curve: `step layer loss_nats`: the training's own estimate of the divergence.

    """

    model_name: str
    layers: tuple[int, ...]
    rank: int | None
    read: Float[Tensor, "layer d_model rank"] | None
    write: Float[Tensor, "layer rank d_model"]
    bias: Float[Tensor, "layer d_model"]
    n_positions: int
    held_out: int
    frame: pd.DataFrame
    curve: pd.DataFrame

    def translate(self, layer: int, stream: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return the stream of a layer as the unembedding can read it; that of a layer without translator as it is."""
        if layer not in self.layers:
            return stream
        index = self.layers.index(layer)
        inner = stream if self.read is None else stream @ self.read[index].to(stream)
        return stream + inner @ self.write[index].to(stream) + self.bias[index].to(stream)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a layer and kind of text."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self._of(HELD_OUT).drop(columns="texts").round(3)

    def _of(self, texts: str) -> pd.DataFrame:
        return self.frame[self.frame["texts"] == texts]

    def explain(self) -> str:
        """Say how it was trained, how far it is from the final prediction on other texts, and what that is worth."""
        said = [self._compared(texts, of) for texts, of in ((HELD_OUT, "held-out"), (ORDINARY, "ordinary"))]
        kind = "of any rank" if self.rank is None else f"of rank {self.rank}"
        return (
            f"A tuned lens for {self.model_name!r}: {len(self.layers)} translators {kind}, trained on "
            f"{self.n_positions:,} positions of text. {' '.join(part for part in said if part)} A translator was made "
            f"to say what comes at the end: what it reads early can be read there, and need not be used there."
        )

    def _compared(self, texts: str, of: str) -> str:
        rows = self._of(texts)
        if rows.empty:
            return ""
        means = rows[["logit_lens_kl_nats", "tuned_lens_kl_nats", "average_kl_nats"]].mean()
        return (
            f"On {rows['n_positions'].iloc[0]} {of} positions the plain lens is {means.iloc[0]:.2f} nats from the "
            f"final prediction, averaged over layers, the tuned one {means.iloc[1]:.2f}; always saying the mean "
            f"prediction would be {means.iloc[2]:.2f}."
        )


@dataclass(frozen=True, eq=False, repr=False)
class TunedLensResult(Result):
    """One prompt through both lenses.

    Args:
        plain: the logit lens' reading.
        tuned: the tuned lens' reading.

    """

    plain: LensResult
    tuned: LensResult

    @property
    def tokens(self) -> tuple[str, ...]:
        """The prompt, token by token."""
        return self.plain.tokens

    @property
    def target(self) -> str:
        """The model's own final answer at `position`."""
        return self.plain.target

    @property
    def position(self) -> int:
        """The position that `explain` and the picture are about."""
        return self.plain.position

    def to_frame(self) -> pd.DataFrame:
        """Return the rows of both lenses, told apart by the column `lens`."""
        both = [("logit lens", self.plain), ("tuned lens", self.tuned)]
        return pd.concat([one.to_frame().assign(lens=name) for name, one in both], ignore_index=True)

    def _twin_frame(self) -> pd.DataFrame:
        plain, tuned = (one.at(self.position).iloc[::-1] for one in (self.plain, self.tuned))
        return pd.DataFrame(
            {
                "layer": plain["layer"],
                "logit_lens": plain["top_token"],
                "tuned_lens": tuned["top_token"],
                "logit_lens_kl_nats": plain["kl_nats"].round(3),
                "tuned_lens_kl_nats": tuned["kl_nats"].round(3),
            }
        )

    def explain(self) -> str:
        """Say where each lens first names the answer, and how far each is from the end on the way there."""
        final = self.plain.at(self.position).iloc[-1]
        plain, tuned = (self._on_the_way(one) for one in (self.plain, self.tuned))
        return (
            f"The model ends on {self.target!r} ({percent(final['target_probability'])}). Through the logit lens that "
            f"answer comes first from layer {self.plain.first_layer} of {self.plain.n_layers} on, through the tuned "
            f"lens from layer {self.tuned.first_layer} on. At the last layer they agree; before it they are "
            f"{plain:.2f} and {tuned:.2f} nats from the final prediction, averaged over layers. The tuned lens was "
            f"trained to find the end early, so that it may name what the model itself does not use yet."
        )

    def _on_the_way(self, lens: LensResult) -> float:
        rows = lens.at(self.position)
        return float(rows[rows["layer"] < lens.n_layers]["kl_nats"].mean())


@experiment
def tuned_lens(
    model: Model,
    prompt: str,
    lens: TunedLens,
    *,
    token: str | int | None = None,
) -> TunedLensResult:
    """Read the residual stream after every block through a trained lens, beside the plain one.

    The plain lens asks what the unembedding makes of an early stream, although early layers may speak another dialect.
    The tuned lens translates first.

    Args:
        model: from `load`; the one that the lens was trained for.
        prompt: the text to run.
        lens: from `train_tuned_lens`.
        token: a token to follow through the layers beside the model's own answer.

    Units: divergences in nats.

    Invariants:
        At the last layer both lenses are the model's own output. An untrained lens is the plain one.

    Raises:
        UnknownOption: the lens is none, or was trained for another model.

    Cost: one forward pass and `2 × layer × pos` unembeddings.

    Source:
        Belrose et al., "Eliciting Latent Predictions from Transformers with the Tuned Lens" (2023), arXiv:2303.08112.

    """
    if not isinstance(lens, TunedLens):
        raise UnknownOption(f"lens refused: expected one from train_tuned_lens, got {shown(lens)}; train one first")
    if (lens.model_name, lens.bias.shape[1]) != (model.name, model.d_model) or max(lens.layers) >= model.n_layers:
        raise UnknownOption(
            f"lens refused: expected one trained for {shown(model.name)}, got one for {shown(lens.model_name)}; "
            f"train one for this model"
        )
    reading = reading_of(model, inputs_of(model, prompt), (*lens.layers, model.n_layers), token)

    def read(stream: Tensor) -> Tensor:
        return unembed(model, stream)

    return TunedLensResult(
        plain=reading.result(model, reading.frame(model, read)),
        tuned=reading.result(model, reading.frame(model, read, lens.translate), name="Tuned lens"),
    )
