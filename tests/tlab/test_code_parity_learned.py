"""Plain code of what is learnt from a model: autoencoders and probes are trained again, and give the same numbers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from programs import Case, Numbers, of, parity_test

from tlab import probe as probes
from tlab import sae as saes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tlab import Model
    from tlab.learning.push import PushResult
    from tlab.probe import Erasure, ProbeReading, ProbeResult
    from tlab.sae import FeatureActivations, FeatureReading, Reconstruction, Sae

_FOLLOWED = "e"
_PROMPT = "The cat <b>&amp; 12</b>"
TEXTS = (
    "The train left the station a few minutes after nine, and nobody waved.",
    "Water boils at a lower temperature on a mountain because the air is thinner there.",
    "She opened the letter, read it twice, and put it back into the drawer.",
    "Our survey covers three hundred households in the north of the country.",
)
# More features than can be alive, and enough steps for the dead ones to be helped.
_SMALL_SAE: dict[str, Any] = {"site": "blocks.1.resid_post", "n_features": 200, "k": 3, "steps": 60, "batch": 64}
_OTHER_SAES: dict[str, dict[str, Any]] = {
    "usual": {**_SMALL_SAE, "context": 24},
    # Few features and steps: where an activation is as good as 0, rounding decides whether it counts.
    "price": {
        **_SMALL_SAE,
        "n_features": 48,
        "steps": 30,
        "k": None,
        "l1": 0.05,
        "seed": 3,
        "site": "blocks.1.resid_mid",
        "context": 24,
    },
    "neurons": {**_SMALL_SAE, "site": "blocks.0.mlp.post", "skip": 2, "n_tokens": 200},
    "defaults": {"steps": 30, "batch": 500},
}
_READ = ("Nobody waved at the train.", "On a mountain the air is thin and cold.", "Put the letter back.")
_WORDS = "abcdefghiou"
PROMPTS = tuple(f"{beginning} {letter}" for beginning in ("my <b>", "is it", "12", "so,") for letter in _WORDS)
LABELS = tuple("vowel" if prompt[-1] in "aeiou" else "consonant" for prompt in PROMPTS)
_THREE = tuple(number % 3 for number in range(len(PROMPTS)))
_BY_TYPE = tuple(prompt[:2] for prompt in PROMPTS)
_PROBES: dict[str, dict[str, Any]] = {
    "usual": {"controls": 2},
    "some-layers": {"layers": (2, 0), "site": "blocks.L.resid_pre", "l2": 0.5, "controls": 3, "seed": 5},
    "means": {"site": "blocks.1.mlp.out", "method": "difference_of_means", "position": "all", "controls": 2},
    "mean": {"layers": [1], "position": "mean", "test_fraction": 0.5, "controls": 1},
    "types": {"site": "ln_final.out", "types": _BY_TYPE, "position": -2, "controls": 2},
}


@functools.cache
def _sae(model: Model, name: str) -> Sae:
    return saes.train(model, TEXTS, **_OTHER_SAES[name])


@functools.cache
def _probe(model: Model, name: str) -> ProbeResult:
    labels: tuple[Any, ...] = _THREE if name in {"some-layers", "mean"} else LABELS
    return probes.train(model, PROMPTS, labels, **_PROBES[name])


def _feature(model: Model, name: str) -> int:
    """Return a feature that is active in the prompt, and neither dead nor active nowhere else."""
    sae = _sae(model, name)
    return next(one for one in saes.encode(model, _PROMPT, sae).strongest(20) if float(sae.largest[one]))


def _of_sae(name: str = "usual", **others: object) -> Callable[[Model], Mapping[str, Any]]:
    """Return the arguments of a verb that takes an autoencoder; `feature` and `features` are found in the prompt."""

    def given(model: Model) -> Mapping[str, Any]:
        sae = _sae(model, name)
        strongest = saes.encode(model, _PROMPT, sae).strongest(3)
        named = {"feature": _feature(model, name), "features": strongest}
        return {"sae": sae, **{key: named[key] if value is Ellipsis else value for key, value in others.items()}}

    return given


def _of_probe(name: str, **others: object) -> Callable[[Model], Mapping[str, Any]]:
    return lambda model: {"probe": _probe(model, name), **others}


def _learnt(result: Sae) -> Numbers:
    return result.held_out_fvu, result.curve[["step", "loss", "fvu", "held_out_fvu"]].to_numpy().tolist()


def _encoded(result: FeatureActivations) -> Numbers:
    return float(result.activations.max()), result.activations


def _looked(result: FeatureReading) -> Numbers:
    table = [*result.contexts["activation"].tolist(), *result.effects["logit"].tolist()]
    return result.n_active / result.n_tokens, table


def _replaced(result: Reconstruction) -> Numbers:
    losses = result.losses
    return losses["reconstruction"] - losses["itself"], list(losses.values())


def _pushed(result: PushResult | Erasure) -> Numbers:
    return result.change, [result.clean_probability, result.patched_probability, result.kl_nats]


def _judged(result: ProbeResult) -> Numbers:
    columns = ["accuracy", "low", "high", "control", "selectivity", "train_accuracy"]
    return float(result.frame["accuracy"].max()), result.frame[columns].to_numpy().tolist()


def _applied(model: Model, arguments: Mapping[str, Any]) -> Numbers:
    result: ProbeReading = probes.apply(model, **arguments)
    labels = arguments["probe"].labels
    rows = [[labels.index(row.label), row.margin] for row in result.frame.itertuples()]
    return rows[-1][1], rows


_ABLATE, _STEER = of(saes.ablate, _pushed), of(saes.steer, _pushed)
_ERASE, _TRAIN = of(probes.erase, _pushed), of(probes.train, _judged)
_READING: dict[str, Any] = {"texts": _READ, "feature": ..., "n_strongest": 3, "n_ordinary": 4, "window": 3, "seed": 2}
CASES: dict[str, Case] = {
    **{
        f"sae.train-{name}": Case("sae.train", {"texts": TEXTS, **options}, of(saes.train, _learnt))
        for name, options in _OTHER_SAES.items()
    },
    "sae.encode": Case("sae.encode", _of_sae(prompt=_PROMPT), of(saes.encode, _encoded)),
    "sae.encode-price": Case("sae.encode", _of_sae("price", prompt=_PROMPT), of(saes.encode, _encoded)),
    "sae.read": Case("sae.read", _of_sae(**_READING, n_tokens=90, context=20), of(saes.read, _looked)),
    "sae.read-neurons": Case(
        "sae.read", _of_sae("neurons", **_READING, n_tokens=900, context=None), of(saes.read, _looked)
    ),
    "sae.reconstruct": Case(
        "sae.reconstruct",
        _of_sae(texts=_READ, n_tokens=70, context=16, seed=4),
        of(saes.reconstruct, _replaced),
    ),
    "sae.reconstruct-one": Case(
        "sae.reconstruct",
        _of_sae("price", texts=_READ[0], n_tokens=1024, context=None, seed=0),
        of(saes.reconstruct, _replaced),
    ),
    "sae.ablate": Case("sae.ablate", _of_sae(prompt=_PROMPT, features=..., token=None, controls=1, seed=0), _ABLATE),
    "sae.ablate-many": Case(
        "sae.ablate",
        _of_sae("price", prompt=_PROMPT, features=range(0, 48, 2), token=_FOLLOWED, controls=0, seed=0),
        _ABLATE,
    ),
    "sae.ablate-neurons": Case(
        "sae.ablate", _of_sae("neurons", prompt=_PROMPT, features=..., token=97, controls=0, seed=0), _ABLATE
    ),
    "sae.steer": Case(
        "sae.steer",
        _of_sae(prompt=_PROMPT, feature=..., coef=1.5, positions="all", token=None, controls=0, seed=0),
        _STEER,
    ),
    "sae.steer-last": Case(
        "sae.steer",
        _of_sae("price", prompt=_PROMPT, feature=..., coef=-2.0, positions="last", token=_FOLLOWED, controls=0, seed=0),
        _STEER,
    ),
    **{
        f"probe.train-{name}": Case(
            "probe.train",
            {"prompts": PROMPTS, "labels": _THREE if name in {"some-layers", "mean"} else LABELS, **options},
            _TRAIN,
        )
        for name, options in _PROBES.items()
    },
    **{
        f"probe.apply-{name}": Case("probe.apply", _of_probe(name, prompts=["not <i> a", "12 t", "so, u"]), _applied)
        for name in _PROBES
    },
    "probe.apply-one": Case("probe.apply", _of_probe("usual", prompts="my <b> u"), _applied),
    "probe.erase": Case(
        "probe.erase",
        _of_probe("usual", prompt=_PROMPT, layer=1, method="mean", token=None, controls=1, seed=0),
        _ERASE,
    ),
    "probe.erase-three": Case(
        "probe.erase",
        _of_probe("some-layers", prompt=_PROMPT, layer=2, method="zero", token=_FOLLOWED, controls=0, seed=0),
        _ERASE,
    ),
    "probe.erase-means": Case(
        "probe.erase",
        _of_probe("means", prompt=_PROMPT, layer=None, method="mean", token=97, controls=0, seed=0),
        _ERASE,
    ),
}

test_a_program_learns_the_same_numbers = parity_test(CASES)
