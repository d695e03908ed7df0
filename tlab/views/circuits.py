"""The pictures of circuits: the graph, what it recovers, and what its nodes are there for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import CLEAN, CORRUPTED, PATCHED, defused, figure

if TYPE_CHECKING:
    import pandas as pd

    from tlab.results import Result

__all__ = ["draw", "draw_completeness", "draw_curve", "draw_faithfulness", "draw_minimality"]

# More lines than that are a grey cloud, and more labels lie on top of each other.
_MOST_EDGES = 100
_MOST_LABELS = 40
# How far the path between two MLPs swings out, as a share of its length.
_SWING = 0.06
_WIDTHS = ((0.5, 5.0), (0.2, 3.0), (0.05, 1.6), (0.0, 0.7))
_SIGNS = ((1, "helps the answer", PATCHED, "solid"), (-1, "works against it", CLEAN, "dot"))
_KINDS = (("scores", PATCHED, "solid"), ("random", CORRUPTED, "dot"), ("exchanged", CLEAN, "dash"))


def draw(result: Result) -> go.Figure:
    """Return the circuit as a graph: layers upwards, heads side by side, MLPs in a column to the right of them."""
    shown: Any = result
    frame = result.to_frame()
    drawn = frame.head(_MOST_EDGES)
    places = _places(shown.writers)
    lines = [trace for sign in _SIGNS for trace in _lines(drawn, places, sign)]
    weights = _weights(drawn)
    names = list(weights)
    labelled = set(sorted(names, key=lambda name: -weights[name])[:_MOST_LABELS])
    nodes = go.Scatter(
        x=[places[name][0] for name in names],
        y=[places[name][1] for name in names],
        text=[name if name in labelled else "" for name in names],
        customdata=names,
        mode="markers+text",
        textposition=[_side(name) for name in names],
        marker={"size": 8, "color": CORRUPTED},
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )
    rest = len(frame) - len(drawn)
    more = f" (the {len(drawn)} largest of {len(frame):,} edges)" if rest > 0 else f" ({len(frame):,} edges)"
    picture = figure(
        [*lines, nodes], title=f"Circuit{more}", x="head, MLPs at the right", y="layer", height=900 if names else 300
    )
    n_layers = max(y for _, y in places.values())
    picture.update_yaxes(tickvals=list(range(0, round(n_layers), max(1, round(n_layers) // 10))), zeroline=False)
    across = [x for x, _ in places.values()]
    picture.update_xaxes(showticklabels=False, zeroline=False, range=[min(across) - 0.6, max(across) + 1.6])
    return picture


def draw_faithfulness(result: Result) -> go.Figure:
    """Return one bar for the whole model, the corrupted run, the circuit and each control."""
    shown: Any = result
    rows = [
        ("whole model", shown.clean_value, CLEAN, ""),
        ("circuit", shown.circuit_value, PATCHED, "/"),
        *((name, value, CORRUPTED, ".") for name, value in shown.controls.items()),
        ("no edges", shown.corrupted_value, CORRUPTED, ""),
    ]
    bars = go.Bar(
        x=[round(value, 4) for _, value, _, _ in rows],
        y=[name for name, _, _, _ in rows],
        orientation="h",
        text=[f"{value:.2f}" for _, value, _, _ in rows],
        textposition="outside",
        marker={"color": [row[2] for row in rows], "pattern": {"shape": [row[3] for row in rows]}},
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    title = f"{shown.n_edges:,} of {shown.n_possible:,} edges recover {100 * shown.share:.0f} %"
    picture = figure([bars], title=title, x=defused(shown.metric), y="run", height=170 + 34 * len(rows))
    picture.update_yaxes(autorange="reversed")
    return picture


def draw_curve(result: Result) -> go.Figure:
    """Return the share that circuits of growing size recover, with the controls beside."""
    frame = result.to_frame()
    lines = []
    for kind, colour, dash in _KINDS:
        rows = frame[frame["kind"] == kind]
        if len(rows):
            lines.append(
                go.Scatter(
                    name={"scores": "by score", "random": "random", "exchanged": "heads exchanged"}[kind],
                    x=rows["n_edges"].tolist(),
                    y=rows["share"].round(4).tolist(),
                    mode="lines+markers",
                    line={"color": colour, "dash": dash},
                    hovertemplate="%{x} edges: %{y:.3f}<extra></extra>",
                )
            )
    picture = figure(lines, title="What circuits of growing size recover", x="edges", y="share recovered", height=380)
    picture.update_xaxes(type="log")
    return picture


def draw_completeness(result: Result) -> go.Figure:
    """Return circuit against model, one point a set of removed nodes; on the line the two agree."""
    frame = result.to_frame()
    both = [*frame["circuit_value"], *frame["model_value"]]
    low, high = min(both), max(both)
    line = go.Scatter(
        name="complete", x=[low, high], y=[low, high], mode="lines", line={"color": CORRUPTED, "dash": "dash"}
    )
    points = go.Scatter(
        name="sets of nodes",
        x=frame["model_value"].round(4).tolist(),
        y=frame["circuit_value"].round(4).tolist(),
        mode="markers+text",
        text=[str(number) for number in frame["n_removed"]],
        textposition="top center",
        marker={"size": 9, "color": PATCHED},
        hovertemplate="%{text} nodes removed<br>model %{x:.3f}, circuit %{y:.3f}<extra></extra>",
    )
    title = "The same nodes removed from both (the figure says how many)"
    return figure([line, points], title=title, x="whole model", y="circuit", height=420)


def draw_minimality(result: Result) -> go.Figure:
    """Return one bar a node: the largest change that removing it makes."""
    frame = result.to_frame()
    bars = go.Bar(
        x=frame["share"].round(4).tolist(),
        y=frame["node"].tolist(),
        orientation="h",
        marker={"color": PATCHED},
        hovertemplate="%{y}: %{x:.3f} of the whole effect<extra></extra>",
    )
    picture = figure(
        [bars],
        title="What removing each node changes",
        x="share of the whole effect",
        y="node",
        height=170 + 18 * len(frame),
    )
    picture.update_yaxes(autorange="reversed")
    return picture


def _places(writers: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Return where each node is drawn: its head across, its layer upwards."""
    heads = [name for name in writers if "H" in name]
    n_heads = 1 + max((int(name.partition("H")[2]) for name in heads), default=0)
    n_layers = 1 + max(int(name[1:].partition("H")[0].partition(".")[0]) for name in writers if name != "embed")
    places = {"embed": (n_heads / 2, -1.0), "logits": (n_heads / 2, float(n_layers))}
    for name in writers:
        if "H" in name:
            layer, _, head = name[1:].partition("H")
            places[name] = (float(head), float(layer))
        elif name != "embed":
            layer = name[1:].partition(".")[0]
            places[name] = (n_heads + 1.0, float(layer) + 0.4)
    return places


def _side(name: str) -> str:
    """Return where a node's label stands; neighbouring heads' labels do not meet."""
    if name.endswith(".mlp"):
        return "middle left"
    return "bottom center" if name[-1] in "13579" else "top center"


def _weights(frame: pd.DataFrame) -> dict[str, float]:
    """Return how much passes through each node, in order of appearance."""
    found: dict[str, float] = {}
    for row in frame.itertuples():
        for name in (row.writer, _node(row.reader)):
            found[name] = found.get(name, 0.0) + abs(row.score)
    return found


def _lines(
    frame: pd.DataFrame, places: dict[str, tuple[float, float]], kind: tuple[int, str, str, str]
) -> list[go.Scatter]:
    """Return the edges of one sign, in a few widths; hovering names an edge at its middle."""
    sign, name, colour, dash = kind
    chosen = frame[frame["score"] * sign > 0]
    largest = float(frame["score"].abs().max()) if len(frame) else 1.0
    traces: list[go.Scatter] = []
    taken = 0
    for least, width in _WIDTHS:
        rows = chosen[chosen["score"].abs() >= least * largest].iloc[taken:]
        taken += len(rows)
        x: list[float | None] = []
        y: list[float | None] = []
        text = []
        for row in rows.itertuples():
            start, end = places[row.writer], places[_node(row.reader)]
            # MLPs stand in one column: straight lines between them would lie on top of each other.
            swing = _SWING * abs(end[1] - start[1]) if start[0] == end[0] else 0.0
            x += [start[0], (start[0] + end[0]) / 2 + swing, end[0], None]
            y += [start[1], (start[1] + end[1]) / 2, end[1], None]
            text += ["", f"{row.writer} → {row.reader}<br>{row.score:+.3f}", "", ""]
        if len(rows):
            traces.append(
                go.Scatter(
                    x=x,
                    y=y,
                    text=text,
                    mode="lines",
                    name=name,
                    legendgroup=name,
                    showlegend=not traces,
                    line={"color": colour, "width": width, "dash": dash, "shape": "spline"},
                    opacity=0.6,
                    hovertemplate="%{text}<extra></extra>",
                )
            )
    return traces


def _node(reader: str) -> str:
    return reader.rpartition(".")[0] if reader[-2:] in {".q", ".k", ".v"} else reader
