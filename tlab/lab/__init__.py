"""The Lab: a dashboard that unfolds a model, asks it questions, and changes it.

The front end computes nothing about a model: it asks, and this package answers with tlab's own verbs. Refuses: drawing.
"""

from tlab.lab.answers import answer, answers

__all__ = ["answer", "answers"]
