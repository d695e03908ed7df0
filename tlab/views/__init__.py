"""Views that move: sliders over answers computed beforehand, and figures that Python changes after they are shown.

The pictures of results are drawn by `tlab.views.drawing`, which a result asks itself: `result.plot()`. Importing this
package brings no plotly.
"""

from tlab.views.grid import Grid, grid
from tlab.views.live_figure import live_figure

__all__ = ["Grid", "grid", "live_figure"]
