"""The program that pushes again and again, each time further: what the push does, and what it breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlab.code.dialects.dialect import Edit, Place, indented
from tlab.code.metrics import metric_lines
from tlab.code.recipes.pieces import ids_line, printed, prompt_chunk
from tlab.code.recipes.recipe import Recipe
from tlab.code.recipes.vectors import vector_chunks
from tlab.code.script import Chunk
from tlab.errors import UnknownOption, shown
from tlab.metrics import kl
from tlab.references import REFERENCE_PROMPTS

if TYPE_CHECKING:
    from tlab.code.dialects.dialect import Dialect
    from tlab.code.request import Request

__all__ = ["RECIPES"]

_COEFS = (-8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 8.0)
_MOST_CONTROLS = 100


def _dose_curve(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: a metric and the loss of ordinary sentences, for each coefficient, beside random directions."""
    made = getattr(ask.value("vector"), "layer", None)
    layer = ask.layer(default=made)
    edit = Edit("push", Place("resid_post", str(layer)), "stream", ("stream += coef * direction",))
    metric = kl() if ask.value("metric") is None else ask.value("metric")
    says, measured = metric_lines(metric, say, plain="clean", answer="clean", ids="ids")
    seed = ask.whole("seed", 0, least=0, below=2**63)
    n_controls = ask.whole("controls", 4, least=0, below=_MOST_CONTROLS + 1)
    return [
        *vector_chunks(ask, say),
        prompt_chunk(ask.text("prompt"), say),
        Chunk("The clean run.", say.run("clean", "ids")),
        Chunk(f"What is followed: {says}.", measured),
        _ordinary(ask, say),
        Chunk(
            "Random directions of the same length show what any push of that length does.",
            [
                "directions = [vector]",
                f"for seed in range({seed}, {seed + n_controls}):",
                "    drawn = torch.randn(len(vector), generator=torch.Generator().manual_seed(seed))",
                "    directions.append(drawn / drawn.norm() * vector.norm())",
            ],
        ),
        Chunk(
            f"The runs with a direction added to the stream after layer {layer}, at every position.",
            [*say.definitions([edit]), "", f"coefs = {_coefs(ask)}", "table = []", *_runs(say, edit)],
        ),
        printed("max(damage for _, damage in table[:len(coefs)])", "The most that the vector itself costs."),
    ]


def _ordinary(ask: Request, say: Dialect) -> Chunk:
    """Write the sentences whose prediction shows the damage."""
    return Chunk(
        "Ordinary sentences, and how surprising the plain model finds them (in nats).",
        [
            "def surprise(logits, tokens):",
            '    return float(torch.nn.functional.cross_entropy(logits[:-1], tokens[0, 1:], reduction="sum"))',
            "",
            "texts = []",
            "plain_surprise = n_tokens = 0",
            "for text in [",
            *(f"    {text!r}," for text in ask.texts("reference", REFERENCE_PROMPTS[:3])),
            "]:",
            *indented([ids_line("tokens", "text", say), *say.run("logits", "tokens")]),
            "    texts.append(tokens)",
            "    plain_surprise += surprise(logits, tokens)",
            "    n_tokens += tokens.shape[1] - 1",
        ],
    )


def _runs(say: Dialect, edit: Edit) -> list[str]:
    """Return the loop over directions and coefficients."""
    return [
        "for direction in directions:",
        "    for coef in coefs:",
        *indented(say.run("pushed", "ids", edits=[edit]), 2),
        "        steered_surprise = 0",
        "        for tokens in texts:",
        *indented(say.run("logits", "tokens", edits=[edit]), 3),
        "            steered_surprise += surprise(logits, tokens)",
        "        damage = (steered_surprise - plain_surprise) / n_tokens",
        "        table.append([float(metric(pushed)), damage])",
        "        print(coef, table[-1])",
    ]


def _coefs(ask: Request) -> list[float]:
    value = ask.value("coefs")
    listed = list(_COEFS if value is None else value) if not isinstance(value, str | int | float) else []
    if not listed or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in listed):
        raise UnknownOption(f"coefs refused: expected a list of numbers, got {shown(value)}; try coefs=(-4, 0, 4)")
    return sorted({float(one) for one in listed})


RECIPES = {
    "dose_curve": Recipe(
        _dose_curve,
        takes=frozenset({"prompt", "vector", "layer", "coefs", "metric", "controls", "seed", "reference"}),
        beside=frozenset({"max_new_tokens"}),
        only={"target": None},
    ),
}
