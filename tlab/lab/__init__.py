"""The Lab: a dashboard that unfolds a model, asks it questions, and changes it.

The front end computes nothing about a model: it asks, and this package answers with tlab's own verbs. Refuses: drawing.
"""

from tlab.lab.answers import answer, answers
from tlab.lab.program import replay
from tlab.lab.widget import open  # noqa: A004  as one says it: tlab.lab.open

__all__ = ["answer", "answers", "open", "replay"]
