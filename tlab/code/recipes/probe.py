"""Programs around linear probes: training them beside a control task, reading prompts, and erasing what is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlab.code.dialects.dialect import Keep, Place
from tlab.code.recipes.classifiers import FITTING, data_chunks, fit_lines, places_of, probe_of, probes, training_of
from tlab.code.recipes.corpus import listed
from tlab.code.recipes.pieces import printed, prompt_chunk
from tlab.code.recipes.recipe import Recipe
from tlab.code.recipes.sae import pushed
from tlab.code.script import Chunk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.code.dialects.dialect import Dialect
    from tlab.code.request import Request

__all__ = ["RECIPES"]

_MOST_CONTROLS = 1000
_CONTROL = (
    "def random_classes(kinds, classes, seed):",
    "    distinct, in_order = list(dict.fromkeys(kinds)), sorted(classes)",
    "    last, n_steps = len(in_order) - 1, max(1, len(distinct) - 1)",
    "    dealt = [in_order[round(last * number / n_steps)] for number in range(len(distinct))]",
    "    random.Random(seed).shuffle(dealt)",
    "    given = dict(zip(distinct, dealt))",
    "    return torch.tensor([given[kind] for kind in kinds])",
)
_JUDGING = (
    "import math",
    "def accuracy(rows, classes, is_seen):",
    "    weights, biases = fit(rows[is_seen], classes[is_seen])",
    "    is_right = (rows @ weights.T + biases).argmax(-1) == classes",
    "    return float(is_right[~is_seen].float().mean()), float(is_right[is_seen].float().mean())",
    "",
    "def interval(share):",
    "    n_trials = int(is_held_out.sum())",
    "    ratio = 1.959964**2 / n_trials",
    "    centre = (share + ratio / 2) / (1 + ratio)",
    "    half = 1.959964 / (1 + ratio) * math.sqrt(share * (1 - share) / n_trials + ratio / (4 * n_trials))",
    "    return max(0.0, centre - half), min(1.0, centre + half)",
)


def _train(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: how well the best site's probe reads held-out prompts, beside its control."""
    training = training_of(ask, _places_asked(ask))
    types = list(ask.texts("types", ()))
    n_controls = ask.whole("controls", 5, least=1, below=_MOST_CONTROLS + 1)
    by_token = not types and training.position != "mean"
    return [
        *data_chunks(training, say, with_tokens=by_token),
        Chunk(FITTING[training.method], fit_lines(training, has_absent=True)),
        Chunk(
            "The control task: each kind of row gets a random label, which a probe can only remember.",
            [*_kinds(types, by_token=by_token), "", *_CONTROL],
        ),
        Chunk("How often the class with the largest score is the right one, with its 95 % interval.", _JUDGING),
        Chunk(
            "One probe a site: accuracy, its interval, the control's accuracy, the difference, the training accuracy.",
            [
                f"seeds = range({training.seed}, {training.seed + n_controls})",
                "control_classes = [random_classes(kinds, classes.tolist(), seed) for seed in seeds]",
                "table = []",
                "for rows in vectors:",
                "    right = accuracy(rows, classes, ~is_test)",
                "    by_control = [accuracy(rows, labels, ~is_test) for labels in control_classes]",
                "    control = sum(score for score, _ in by_control) / len(by_control)",
                "    table.append([right[0], *interval(right[0]), control, right[0] - control, right[1]])",
                "    print(table[-1])",
            ],
        ),
        printed("max(row[0] for row in table)", "The best site's accuracy."),
    ]


def _apply(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the class that each probe reads in each prompt, and by how much it leads."""
    probe = probe_of(ask)
    given = ask.value("prompts")
    texts = (ask.text("prompts"),) if isinstance(given, str) else ask.texts("prompts", ())
    return [
        *probes(ask, probe, places_of(ask, probe.sites), say),
        Chunk("The prompts to read.", listed("new_prompts", texts)),
        Chunk(
            "For each site and row: the class with the largest score, and by how much it leads.",
            [
                "new_vectors, owners = read(new_prompts)",
                "table = []",
                "for (weights, biases), rows in zip(probes, new_vectors):",
                "    for owner, scores in zip(owners.tolist(), rows @ weights.T + biases):",
                "        first, second = scores.topk(2).values.tolist()",
                "        table.append([int(scores.argmax()), first - second])",
                "        print(repr(new_prompts[owner]), repr(class_names[table[-1][0]]), table[-1][1])",
            ],
        ),
        printed("table[-1][1]", "By how much the winning class leads in the last reading."),
    ]


def _erase(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the change of one token's probability when what a probe reads is taken out."""
    probe = probe_of(ask)
    number = probe.place(ask.value("layer"))
    (place,) = places_of(ask, probe.sites[number : number + 1])
    is_mean = ask.choice("method", ("mean", "zero"), "mean") == "mean"
    centre = "mean" if is_mean else "torch.zeros_like(mean)"
    to = "the training's mean" if is_mean else "zero"
    return [
        *probes(ask, probe, (place,), say, number=number),
        Chunk(
            "Directions at right angles that span all differences between the classes' weights.",
            [
                "differences = (weights - weights.mean(0)).double()",
                "_, sizes, directions = torch.linalg.svd(differences, full_matrices=False)",
                "basis = directions[sizes > sizes[0] * 1e-9][: len(weights) - 1].float()",
            ],
        ),
        prompt_chunk(ask.text("prompt"), say),
        Chunk(
            f"What must be added so that along these directions only {to} remains; the first position, and vectors\n"
            "ten times as long as the median, are left alone.",
            [
                *say.run("", "ids", keep=[Keep("stream", place)]),
                "vectors = stream[0].float()",
                "chosen = torch.arange(len(vectors)) >= min(1, len(vectors) - 1)",
                "lengths = vectors.norm(dim=-1)",
                "chosen = chosen & (lengths <= 10 * float(lengths[chosen].median()))",
                f"change = -((vectors - {centre}) @ basis.T) @ basis * chosen[:, None]",
            ],
        ),
        *pushed(place, "The same run without what the probe reads.", ask, say),
    ]


def _places_asked(ask: Request) -> tuple[Place, ...]:
    """Return where `tlab.probe.train` was told to read; `L` in the name stands for the layers."""
    site = ask.value("site") or "blocks.L.resid_post"
    if not isinstance(site, str) or ".L." not in site:
        return places_of(ask, [site])
    layers = ask.wholes("layers", range(ask.layout.n_layers), below=ask.layout.n_layers)
    return places_of(ask, [site.replace(".L.", f".{layer}.") for layer in dict.fromkeys(layers)])


def _kinds(types: Sequence[str], *, by_token: bool) -> list[str]:
    by_prompt = "kinds = [prompts[owner] for owner in owners.tolist()]"
    if types:
        return [*listed("types", types), "kinds = [types[owner] for owner in owners.tolist()]"]
    if not by_token:
        return [f"{by_prompt}  # each prompt is its own kind"]
    return ["kinds = tokens", "if len(set(tokens)) == 1:  # then each prompt is its own kind", f"    {by_prompt}"]


RECIPES = {
    "probe.apply": Recipe(_apply, takes=frozenset({"prompts", "probe"})),
    "probe.erase": Recipe(
        _erase,
        takes=frozenset({"prompt", "probe", "layer", "method", "token"}),
        beside=frozenset({"controls", "seed"}),
    ),
    "probe.train": Recipe(
        _train,
        takes=frozenset(
            {
                "prompts",
                "labels",
                "site",
                "layers",
                "position",
                "method",
                "types",
                "test_fraction",
                "l2",
                "controls",
                "seed",
            }
        ),
    ),
}
