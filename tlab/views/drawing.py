"""Pictures of results, in plotly: one function a kind of result, and `draw` picks it.

Refuses: making results. A view knows their shape, not the experiments that make them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlab.views import (
    ablation,
    attention,
    attribution,
    attribution_patching,
    capture,
    circuits,
    comparison,
    component,
    dataflow,
    generation,
    heads,
    knockout,
    lens,
    patching,
    path_patching,
    prediction,
    probe,
    sae,
    steering,
    sweeps,
    table,
    training,
    unfolding,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from plotly.graph_objects import Figure

    from tlab.results import Result

__all__ = ["draw"]

# By name, not by class: views know the results' shape, not the experiments that make them.
_VIEWS: dict[str, Callable[..., Figure]] = {
    "AblationResult": ablation.draw,
    "AblationSweep": sweeps.draw_ablation,
    "AttentionResult": attention.draw,
    "Attribution": attribution.draw,
    "AttributionSweep": attribution_patching.draw,
    "Capture": capture.draw,
    "Catalogue": table.draw,
    "CheckReport": table.draw,
    "Circuit": circuits.draw,
    "Comparison": comparison.draw,
    "Completeness": circuits.draw_completeness,
    "Dataflow": dataflow.draw,
    "Differences": table.draw,
    "DoseCurve": steering.draw_dose,
    "Faithfulness": circuits.draw_faithfulness,
    "FaithfulnessCurve": circuits.draw_curve,
    "FeatureActivations": sae.draw_activations,
    "FeatureReading": sae.draw_reading,
    "Generation": generation.draw,
    "HeadScores": heads.draw,
    "HeadZoom": component.draw,
    "Knockout": knockout.draw,
    "KnockoutSweep": knockout.draw_sweep,
    "LensResult": lens.draw,
    "Minimality": circuits.draw_minimality,
    "MlpZoom": component.draw,
    "PatchResult": patching.draw,
    "PatchSweep": sweeps.draw_patch,
    "PathPatch": path_patching.draw,
    "PathPatchSweep": path_patching.draw_sweep,
    "Prediction": prediction.draw,
    "ProbeReading": probe.draw_reading,
    "ProbeResult": probe.draw,
    "PushResult": sae.draw_push,
    "Reconstruction": sae.draw_reconstruction,
    "Sae": sae.draw_training,
    "SteerResult": steering.draw,
    "SteeringVector": steering.draw_vector,
    "StreamZoom": component.draw,
    "SuperpositionModel": training.draw_superposition,
    "TrainingCurve": training.draw,
    "TunedLens": lens.draw_training,
    "TunedLensResult": lens.draw_both,
    "Unfolding": unfolding.draw,
}


def draw(result: Result) -> Figure:
    """Return the picture of a result as a plotly figure.

    Raises:
        TypeError: no view is registered for this kind of result.

    """
    for kind in type(result).__mro__:
        if kind.__name__ in _VIEWS:
            return _VIEWS[kind.__name__](result)
    raise TypeError(
        f"no picture: expected a result with a view ({', '.join(_VIEWS)}), got {type(result).__name__}; use .to_frame()"
    )
