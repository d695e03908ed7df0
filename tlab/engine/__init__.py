"""Running a model: reading and replacing what stands at its sites, one pass or many at once."""

from __future__ import annotations

from tlab.engine.flow import Edit
from tlab.engine.forward import Inputs, Run, run, unembed
from tlab.engine.sweep import Sweep, Variant
from tlab.engine.verify import agrees_with_itself, own_outputs

__all__ = ["Edit", "Inputs", "Run", "Sweep", "Variant", "agrees_with_itself", "own_outputs", "run", "unembed"]
