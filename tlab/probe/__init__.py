"""Linear probes: what can be read off a model's vectors, with a control task, and whether the model needs it."""

from __future__ import annotations

from tlab.probe.erasure import Erasure, erase
from tlab.probe.reading import ProbeReading, apply
from tlab.probe.result import ProbeResult
from tlab.probe.training import train

__all__ = ["Erasure", "ProbeReading", "ProbeResult", "apply", "erase", "train"]
