"""tlab: look into a transformer, change something, and see the consequence.

Every experiment is one function, `verb(model, prompt, …)`, and returns one result that is a table (`.to_frame()`),
a picture (`.plot()`) and a sentence (`.explain()`). Importing loads no model and opens no connection.
"""

from tlab import exercises
from tlab.errors import TlabError
from tlab.experiments.ablation import ablate
from tlab.experiments.attention import attention
from tlab.experiments.capture import capture
from tlab.experiments.logit_lens import logit_lens
from tlab.experiments.predict import predict
from tlab.models import Model, load, models
from tlab.results import Result

__all__ = [
    "Model",
    "Result",
    "TlabError",
    "ablate",
    "attention",
    "capture",
    "exercises",
    "load",
    "logit_lens",
    "models",
    "predict",
]
