"""How a program gets its probes: trained again on the same prompts, or, if nobody noted how, written out.

Training again shows where a probe comes from, and keeps its numbers, thousands of them, out of the text.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlab.code.dialects.dialect import Keep, Place, indented
from tlab.code.recipes.corpus import listed
from tlab.code.recipes.dictionary import vector_place
from tlab.code.recipes.pieces import every_layer, ids_line
from tlab.code.script import Chunk
from tlab.errors import UnknownOption, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.code.dialects.dialect import Dialect
    from tlab.code.request import Request

__all__ = ["FITTING", "ProbeTraining", "data_chunks", "fit_lines", "places_of", "probe_of", "probes", "training_of"]

_MOST = 10**9
_FARTHEST = 1_000_000
_FITTED = "How a probe is fitted: one row of weights and one offset a class"
# What the program says of each method.
FITTING = {
    "logistic": f"{_FITTED} (needs: pip install scikit-learn).",
    "difference_of_means": f"{_FITTED}; the class whose mean is nearest gets the largest score.",
}
_MEANS = (
    "def fit(vectors, classes):",
    "    means = torch.stack([vectors[classes == number].mean(0) for number in range(len(class_names))])",
    "    return means, -means.pow(2).sum(-1) / 2",
)


@dataclass(frozen=True)
class ProbeTraining:
    """What `tlab.probe.train` was asked for.

    Args:
        prompts: what the model reads.
        labels: one for each.
        names: the classes, in order.
        places: where the probes read.
        position: at which position of each prompt, or `all`, or `mean`.
        method: how to fit.
        l2: the penalty of logistic regression.
        test_fraction: how many prompts are held out.
        seed: of the split and the random labels.

    """

    prompts: tuple[str, ...]
    labels: tuple[str | int | bool, ...]
    names: tuple[str | int | bool, ...]
    places: tuple[Place, ...]
    position: int | str
    method: str
    l2: float
    test_fraction: float
    seed: int


def probe_of(ask: Request) -> Any:  # noqa: ANN401  tlab's results are no part of this package
    """Return the probe that is an argument.

    Raises:
        UnknownOption: it is none.

    """
    value = ask.value("probe")
    if all(hasattr(value, name) for name in ("sites", "weights", "biases", "mean", "labels", "place")):
        return value
    raise UnknownOption(f"probe refused: expected what tlab.probe.train returns, got {shown(value)}; train one first")


def probes(
    ask: Request,
    probe: Any,  # noqa: ANN401  likewise
    places: Sequence[Place],
    say: Dialect,
    number: int | None = None,
) -> list[Chunk]:
    """Write how the program gets its probes: trained again, or, if nobody noted how, number by number.

    Behind it, the program has `read(prompts)`, `class_names` and `probes`; with a number, it has `weights` and `mean`
    of that one.
    """
    made = probe.manifest
    if made is None or made.name != "probe.train" or not ask.is_of_same_model(made):
        return _written(probe, places, say, number)
    training = training_of(dataclasses.replace(ask, arguments=made.arguments), places)
    single = [] if number is None else ["(weights, _), mean = probes[0], vectors[0, ~is_test].mean(0)"]
    return [
        *data_chunks(training, say),
        Chunk(FITTING[training.method], fit_lines(training, has_absent=False)),
        Chunk(
            "One probe a site, from the prompts that are not held out.",
            ["probes = [fit(rows[~is_test], classes[~is_test]) for rows in vectors]", *single],
        ),
    ]


def _written(probe: Any, places: Sequence[Place], say: Dialect, number: int | None) -> list[Chunk]:  # noqa: ANN401  likewise
    names = list(_labels(probe.labels))
    if number is not None:
        return [
            Chunk(
                "What the probe looks at, one row a class, and the training's mean.",
                [*_numbers("weights", probe.weights[number]), *_numbers("mean", probe.mean[number])],
            )
        ]
    reading = ProbeTraining((), (), (), tuple(places), _position(probe.position), "", 1.0, 0.0, 0)
    return [
        Chunk("What the model has where the probes read: [site row width].", _reading(reading, say)),
        Chunk(
            "The probes' weights [site class width] and offsets [site class].",
            [
                f"class_names = {names!r}",
                *_numbers("weights", probe.weights),
                *_numbers("biases", probe.biases),
                "probes = list(zip(weights, biases))",
            ],
        ),
    ]


def _numbers(name: str, tensor: Any) -> list[str]:  # noqa: ANN401  torch is loaded by whoever made it
    """Return the line that writes a tensor out."""
    if not bool(tensor.isfinite().all()):
        raise UnknownOption(f"probe refused: expected finite numbers, got others at {name}; train one again")
    return [f"{name} = torch.tensor({_rounded(tensor.tolist())!r})"]


def _rounded(value: Any) -> Any:  # noqa: ANN401  numbers in lists of any depth
    return [_rounded(one) for one in value] if isinstance(value, list) else float(f"{value:.9g}")


def training_of(ask: Request, places: Sequence[Place]) -> ProbeTraining:
    """Return what the arguments of `tlab.probe.train` say."""
    prompts, labels = ask.texts("prompts", ()), _labels(ask.value("labels"))
    if len(labels) != len(prompts) or len(set(prompts)) != len(prompts):
        raise UnknownOption(
            f"labels refused: expected one for each of {len(prompts)} different prompts, got {len(labels)}; "
            f"check the call"
        )
    l2, test_fraction = ask.real("l2", 1.0), ask.real("test_fraction", 0.3)
    if l2 <= 0 or not 0 < test_fraction < 1:
        raise UnknownOption(
            f"probe refused: expected l2 above 0 and test_fraction between 0 and 1, got {l2:g} and {test_fraction:g}; "
            f"check the call"
        )
    return ProbeTraining(
        prompts=prompts,
        labels=labels,
        names=tuple(sorted(set(labels), key=lambda label: (type(label).__name__, label))),
        places=tuple(places),
        position=_position(ask.arguments.get("position", -1)),
        method=ask.choice("method", tuple(FITTING), "logistic"),
        l2=l2,
        test_fraction=test_fraction,
        seed=ask.whole("seed", 0, least=0, below=_MOST),
    )


def _labels(value: object) -> tuple[str | int | bool, ...]:
    given = tuple(value) if isinstance(value, list | tuple) else ()
    if given and all(type(label) in {str, int, bool} for label in given):
        return given
    raise UnknownOption(f"labels refused: expected texts, whole numbers or truth values, got {shown(value)}; name them")


def _position(value: object) -> int | str:
    if isinstance(value, str) and value in {"all", "mean"}:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _FARTHEST:
        return value
    raise UnknownOption(f"position refused: expected a whole number, 'all' or 'mean', got {shown(value)}; try -1")


def places_of(ask: Request, sites: Sequence[object]) -> tuple[Place, ...]:
    """Return the places of sites at which one vector stands at every position."""
    return tuple(vector_place(ask, site) for site in sites)


def data_chunks(training: ProbeTraining, say: Dialect, *, with_tokens: bool = False) -> list[Chunk]:
    """Write the prompts with their labels, what the model has there, and which are held out."""
    tokens = ", tokens" if with_tokens else ""
    return [
        Chunk(
            "The prompts, the label of each, and the classes in order.",
            [
                *listed("prompts", training.prompts),
                *listed("labels", training.labels),
                f"class_names = {list(training.names)!r}",
            ],
        ),
        Chunk(
            "What the model has where the probes read: [site row width], and the prompt that a row is from.",
            [*_reading(training, say, with_tokens=with_tokens), "", f"vectors, owners{tokens} = read(prompts)"],
        ),
        Chunk(
            "The same share of each class is held out: no prompt is both trained on and judged on.",
            [
                "import random",
                "classes = torch.tensor([class_names.index(label) for label in labels])",
                "is_held_out = torch.zeros(len(prompts), dtype=torch.bool)",
                f"draw = random.Random({training.seed})",
                "for number in range(len(class_names)):",
                "    members = (classes == number).nonzero()[:, 0].tolist()",
                f"    n_test = min(max(1, round({training.test_fraction!r} * len(members))), len(members) - 1)",
                "    is_held_out[draw.sample(members, n_test)] = True",
                "classes, is_test = classes[owners], is_held_out[owners]",
            ],
        ),
    ]


def _reading(training: ProbeTraining, say: Dialect, *, with_tokens: bool = False) -> list[str]:
    places, position = training.places, training.position
    kinds = {place.kind for place in places}
    layers = [place.layer for place in places]
    if len(kinds) == 1 and layers == [str(layer) for layer in range(say.layout.n_layers)] and len(layers) > 1:
        keep, gathered = [Keep("streams", Place(places[0].kind, "layer", every_layer(say)))], []
    else:
        keep = [Keep(f"stream_{number}", place) for number, place in enumerate(places)]
        gathered = [f"streams = [{', '.join(one.variable for one in keep)}]"]
    index = f"[{position}]" if isinstance(position, int) else "1:"
    mean = ".mean(1, keepdim=True)" if position == "mean" else ""
    token = f"tokens += [{say.tokenizer}.decode([token]) for token in ids[0, {index}].tolist()]"
    inside = [
        ids_line("ids", "prompt", say),
        *say.run("", "ids", keep=keep),
        *gathered,
        f"rows = torch.stack([stream[0].float() for stream in streams])[:, {index}]{mean}",
        "vectors.append(rows)",
        "owners += [number] * rows.shape[1]",
        *([token] if with_tokens else []),
    ]
    names = ["vectors", "owners", *(["tokens"] if with_tokens else [])]
    return [
        "def read(prompts):",
        f"    {', '.join(names)} = {', '.join(['[]'] * len(names))}",
        "    for number, prompt in enumerate(prompts):",
        *indented(inside, 2),
        f"    return torch.cat(vectors, dim=1), torch.tensor(owners){', tokens' if with_tokens else ''}",
    ]


def fit_lines(training: ProbeTraining, *, has_absent: bool) -> list[str]:
    """Return the definition of `fit`, which with a control task must be able to do without some of the classes."""
    if training.method != "logistic":
        return list(_MEANS)
    absent = [
        "    # A class that is absent from the control's random labels keeps a score that never wins.",
        "    present = classes.unique()",
        "    weights = torch.zeros(len(class_names), vectors.shape[1])",
        '    biases = torch.full((len(class_names),), -float("inf"))',
        "    if len(present) == 1:",
        "        biases[present] = 0.0",
        "        return weights, biases",
    ]
    end = ["    weights[present], biases[present] = slopes.float(), offsets.float()", "    return weights, biases"]
    return [
        "from sklearn.linear_model import LogisticRegression",
        "def fit(vectors, classes):",
        *(absent if has_absent else []),
        "    mean, spread = vectors.mean(0), vectors.std(0).clamp(min=1e-6)",
        f"    solver = LogisticRegression(C=1 / {training.l2!r}, max_iter=1000)",
        "    solver.fit(((vectors - mean) / spread).double().numpy(), classes.numpy())",
        "    slopes, offsets = torch.from_numpy(solver.coef_), torch.from_numpy(solver.intercept_)",
        "    if len(slopes) == 1:  # two classes share one row; here each has half of it",
        "        slopes, offsets = torch.cat([-slopes, slopes]) / 2, torch.cat([-offsets, offsets]) / 2",
        "    slopes = slopes / spread  # back in the vectors' own units",
        "    offsets = offsets - slopes @ mean.double()",
        *(end if has_absent else ["    return slopes.float(), offsets.float()"]),
    ]
