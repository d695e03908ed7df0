"""Circuits: the few edges of a model that carry a behaviour; finding them, and measuring how good the find is."""

from tlab.circuits.discovery import Circuit, discover
from tlab.circuits.recovery import faithfulness, faithfulness_curve
from tlab.circuits.removal import completeness, minimality

__all__ = ["Circuit", "completeness", "discover", "faithfulness", "faithfulness_curve", "minimality"]
