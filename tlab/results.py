"""What every experiment returns: a result that is a table, a picture and a sentence at once.

Refuses: drawing (that is `tlab.views`) and running anything.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from plotly.graph_objects import Figure

    from tlab.manifest import Manifest
    from tlab.models import Model

__all__ = ["HtmlView", "Result", "percent"]

_TWIN_ROWS = 12
_PLOTLY = "application/vnd.plotly.v1+json"


class Result(ABC):
    """A finished experiment. In a notebook it shows its picture, elsewhere its text twin."""

    @property
    def manifest(self) -> Manifest | None:
        """How the result came about; `None` if no experiment made it."""
        return self.__dict__.get("_manifest")

    def attach(self, manifest: Manifest) -> None:
        """Note how the result came about."""
        # Past the frozen dataclass: the note is no part of what was found.
        self.__dict__["_manifest"] = manifest

    @abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """Return the numbers as a table with one row an observation."""

    @abstractmethod
    def explain(self) -> str:
        """Return what was found, in plain words; every number comes from the run."""

    def plot(self) -> Figure:
        """Return the picture as a plotly figure."""
        # The one door from results to views: it lets a result show itself while importing tlab stays free of plotly.
        from tlab.views.drawing import draw  # noqa: PLC0415

        return draw(self)

    def save(self, path: str | Path) -> Path:
        """Write the result with its manifest into one file (a zip of JSON and safetensors).

        Raises:
            UnknownOption: the place cannot be written to.

        """
        from tlab import archive, replay  # noqa: PLC0415  the door from results to the disk

        replay.fingerprint(self)
        return archive.save(self, path)

    @staticmethod
    def load(path: str | Path) -> Result:
        """Read a result that `save` wrote; no code in the file is run.

        Raises:
            DamagedResult: the file is none of tlab's results, or is not whole.

        """
        from tlab import archive  # noqa: PLC0415

        return archive.load(path)

    def replay(self, model: Model | None = None) -> Result:
        """Do the experiment again, as the manifest says, and return what came out this time.

        Args:
            model: the model to take; by default the one of that name is loaded.

        Raises:
            DamagedResult: there is no manifest, or the model's weights are others.

        """
        from tlab import replay  # noqa: PLC0415

        return replay.replay(self, model)

    def code(self, library: str) -> str:
        """Return the experiment as plain code for another library; it runs by itself and gives the same number.

        Args:
            library: `"transformer_lens"`, `"nnsight"` or `"torch"`.

        Raises:
            UnknownOption: another library, or an experiment that it cannot do.

        """
        from tlab import replay  # noqa: PLC0415

        return replay.code(self, library)

    def text(self) -> str:
        """Return the text twin: the explanation and the first rows of the table."""
        table = self._twin_frame()
        rest = len(table) - _TWIN_ROWS
        lines = [self.explain(), "", table.head(_TWIN_ROWS).to_string(index=False)]
        if rest > 0:
            lines.append(f"… and {rest} more rows in .to_frame()")
        return "\n".join(lines)

    def _twin_frame(self) -> pd.DataFrame:
        return self.to_frame()

    def __repr__(self) -> str:
        return self.text()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:  # noqa: ARG002
        import json  # noqa: PLC0415  only a notebook calls this

        twin = self.text()
        try:
            picture = json.loads(self.plot().to_json())
        except Exception as error:  # noqa: BLE001  a view that fails shows the text twin and says why
            return {"text/plain": f"{twin}\n(no picture: {type(error).__name__}: {error})"}
        return {_PLOTLY: picture, "text/plain": twin}


class HtmlView:
    """A view that another library draws in HTML with scripts of its own, beside the text that says the same.

    Args:
        html: the document fragment.
        twin: the text twin.

    """

    def __init__(self, html: str, twin: str) -> None:
        self.html = html
        self.twin = twin

    def __repr__(self) -> str:
        return self.twin

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002
        return {"text/html": self.html, "text/plain": self.twin}


def percent(probability: float) -> str:
    """Return a probability for a sentence: `77.3 %`, or `below 0.1 %`."""
    smallest = 0.001
    return f"{100 * probability:.1f} %" if probability >= smallest else "below 0.1 %"
