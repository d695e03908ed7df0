"""tlab: look into a transformer, change something, and see the consequence.

Every experiment is one function, `verb(model, prompt, …)`, and returns one result that is a table (`.to_frame()`),
a picture (`.plot()`) and a sentence (`.explain()`). Importing loads no model and opens no connection.
"""

from tlab import circuits, exercises, lab, metrics, probe, sae, training, views
from tlab.checking import check
from tlab.differences import why_different
from tlab.errors import TlabError
from tlab.experiments.ablation import ablate
from tlab.experiments.ablation_sweep import ablation_sweep
from tlab.experiments.attention import attention
from tlab.experiments.attribution import attribute
from tlab.experiments.attribution_patching import attribution_patch_sweep
from tlab.experiments.capture import capture
from tlab.experiments.comparison import compare
from tlab.experiments.component import component
from tlab.experiments.dataflow import dataflow
from tlab.experiments.direction import steering_vector
from tlab.experiments.dose import dose_curve
from tlab.experiments.generate import generate, stream_tokens
from tlab.experiments.heads import head_scores
from tlab.experiments.knockout import knockout, knockout_sweep
from tlab.experiments.lens_training import train_tuned_lens
from tlab.experiments.logit_lens import logit_lens
from tlab.experiments.patch_sweep import patch_sweep
from tlab.experiments.patching import patch
from tlab.experiments.path_patching import path_patch, path_patch_sweep
from tlab.experiments.predict import predict
from tlab.experiments.steering import steer
from tlab.experiments.tuned_lens import tuned_lens
from tlab.experiments.unfolding import unfold
from tlab.loading import load, models
from tlab.models import Model
from tlab.results import Result

__all__ = [
    "Model",
    "Result",
    "TlabError",
    "ablate",
    "ablation_sweep",
    "attention",
    "attribute",
    "attribution_patch_sweep",
    "capture",
    "check",
    "circuits",
    "compare",
    "component",
    "dataflow",
    "dose_curve",
    "exercises",
    "generate",
    "head_scores",
    "knockout",
    "knockout_sweep",
    "lab",
    "load",
    "logit_lens",
    "metrics",
    "models",
    "patch",
    "patch_sweep",
    "path_patch",
    "path_patch_sweep",
    "predict",
    "probe",
    "sae",
    "steer",
    "steering_vector",
    "stream_tokens",
    "train_tuned_lens",
    "training",
    "tuned_lens",
    "unfold",
    "views",
    "why_different",
]
