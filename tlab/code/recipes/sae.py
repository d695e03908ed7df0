"""Programs around a sparse autoencoder: training one, reading its features, and taking them out or turning one up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlab.code.dialects.dialect import Edit, Keep, Place, indented
from tlab.code.metrics import token_id
from tlab.code.recipes.corpus import texts_lines
from tlab.code.recipes.dictionary import context_of, sae_of, trained, training_of
from tlab.code.recipes.pieces import outcome, printed, prompt_chunk
from tlab.code.recipes.recipe import Recipe
from tlab.code.script import Chunk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.code.dialects.dialect import Dialect
    from tlab.code.request import Request

__all__ = ["RECIPES", "pushed", "pushing"]

_MOST = 10**9
_SHOWN = 5
_USUAL = {"n_strongest": 10, "n_ordinary": 5, "window": 10, "seed": 0}


def _train(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the share of held-out variance that a trained autoencoder leaves unexplained."""
    return [
        *trained(training_of(ask), say, with_curve=True),
        printed(
            "unexplained(held_out, decode(encode(held_out)))",
            "The share of the held-out vectors' variance that is left unexplained.",
        ),
    ]


def _encode(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the largest activation in a prompt."""
    training = sae_of(ask)
    return [
        *trained(training, say),
        prompt_chunk(ask.text("prompt"), say),
        Chunk(
            "Every feature's activation at every position: [pos feature].",
            [
                "vectors = vectors_at(ids)",
                "table = encode(vectors) * is_read(vectors)[:, None]",
                "for token, row in zip(ids[0].tolist(), table):",
                f"    values, features = row.topk({min(_SHOWN, training.n_features)})",
                f"    print(repr({say.tokenizer}.decode([token])), dict(zip(features.tolist(), values.tolist())))",
            ],
        ),
        printed("float(table.max())", "The largest activation."),
    ]


def _read(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: on what share of the tokens one feature is active, in which contexts, and what it speaks for."""
    training = sae_of(ask)
    feature = _feature(ask, training.n_features)
    numbers = {name: ask.whole(name, usual, least=0, below=_MOST) for name, usual in _USUAL.items()}
    n_tokens = ask.whole("n_tokens", 32_768, least=2, below=_MOST)
    has_effects = training.width == ask.widths["d_model"]
    texts = ask.texts("texts", ())
    return [
        *trained(training, say, more_texts=texts),
        Chunk("The texts to look through.", texts_lines("looked_through", texts)),
        Chunk(
            f"Every place where feature {feature} is active: its activation, the number of the piece, the position.",
            _active(feature, n_tokens, context_of(ask)),
        ),
        Chunk("The strongest contexts, one a piece, and ordinary ones drawn from all others.", _contexts(numbers, say)),
        *([_effects(feature, ask, say)] if has_effects else []),
        printed("len(active) / n_read", "The share of the tokens on which it is active."),
    ]


def _reconstruct(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the loss with the vectors of a site as they are, and with other things in their place."""
    training = sae_of(ask)
    text = ask.value("texts")
    texts = (ask.text("texts"),) if isinstance(text, str) else ask.texts("texts", ())
    edit = pushing(training.place)
    return [
        *trained(training, say, more_texts=texts),
        Chunk("The texts to read.", texts_lines("given", texts)),
        Chunk(
            "The model's loss at the chosen positions, as it is and with other vectors in the place of its own.",
            [
                "def loss(logits):",
                "    targets = ids[0, 1:][chosen[:-1]]",
                "    before = logits[:-1][chosen[:-1]]",
                '    return float(torch.nn.functional.cross_entropy(before, targets, reduction="sum"))',
                "",
                *say.definitions([edit]),
            ],
        ),
        Chunk(
            "The sums over all pieces: itself, the reconstruction, errors of the same size in random directions,\n"
            "the mean, zeros.",
            [
                f"dice = torch.Generator().manual_seed({ask.whole('seed', 0, least=0, below=_MOST)})",
                f"sums, n_chosen, n_left = torch.zeros(5), 0, {ask.whole('n_tokens', 1024, least=2, below=_MOST)}",
                f"for piece in pieces_of(given, {context_of(ask)}):",
                "    if n_left < 2:",
                "        break",
                "    ids = piece[:, :n_left]",
                "    n_left -= ids.shape[1]",
                *indented(say.run("logits", "ids", keep=[Keep("stream", training.place)])),
                "    vectors = stream[0].float()",
                "    chosen = is_read(vectors)",
                "    chosen[-1] = False  # the last position predicts a token that is not there",
                "    if ids.shape[1] < skip + 2 or not chosen.any():",
                "        continue",
                "    own = vectors[chosen]",
                "    found = decode(encode(own))",
                "    noise = torch.randn(own.shape, generator=dice)",
                "    noise = noise * ((own - found).norm(dim=-1) / noise.norm(dim=-1))[:, None]",
                "    losses = [loss(logits)]",
                "    for instead in (found, own + noise, mean.expand_as(own), torch.zeros_like(own)):",
                "        change = torch.zeros_like(vectors)",
                "        change[chosen] = instead - own",
                *indented(say.run("patched", "ids", edits=[edit]), 2),
                "        losses.append(loss(patched))",
                "    sums += torch.tensor(losses)",
                "    n_chosen += int(chosen.sum())",
                "table = (sums / n_chosen).tolist()",
                "print(table)",
            ],
        ),
        printed("table[1] - table[0]", "What the reconstruction costs, in nats a token."),
    ]


def _ablate(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the change of one token's probability when features are taken out."""
    training = sae_of(ask)
    features = ask.wholes("features", (), below=training.n_features)
    return [
        *trained(training, say),
        prompt_chunk(ask.text("prompt"), say),
        Chunk(
            "What these features add to the vectors; the autoencoder's own error is left in place.",
            [
                f"features = {list(dict.fromkeys(features))}",
                "vectors = vectors_at(ids)",
                "activations = encode(vectors) * is_read(vectors)[:, None]",
                "change = -activations[:, features] @ W_dec[features]",
            ],
        ),
        *pushed(training.place, "The same run without the features.", ask, say),
    ]


def _steer(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the change of one token's probability when a feature is added."""
    training = sae_of(ask)
    feature = _feature(ask, training.n_features)
    is_last = ask.choice("positions", ("all", "last"), "all") == "last"
    return [
        *trained(training, say),
        prompt_chunk(ask.text("prompt"), say),
        Chunk(
            f"The direction of feature {feature}, as long as its largest activation on held-out vectors, times coef.",
            [
                f"feature, coef = {feature}, {ask.real('coef', 1.0)!r}",
                "largest = encode(held_out)[:, feature].max()",
                "chosen = is_read(vectors_at(ids))",
                *(["chosen[:-1] = False  # the last position alone"] if is_last else []),
                "change = chosen[:, None] * coef * largest * W_dec[feature]",
            ],
        ),
        *pushed(training.place, "The same run with the feature added.", ask, say),
    ]


def pushing(place: Place) -> Edit:
    """Return the edit that adds `change`, one vector a position, to what stands at a place."""
    # The stream in the middle of a block is a sum: what is added to its second summand is added to it.
    where = Place("attn.out", place.layer) if place.kind == "resid_mid" else place
    return Edit("push", where, "value", ("value[0] += change",))


def pushed(place: Place, says: str, ask: Request, say: Dialect) -> list[Chunk]:
    """Write a clean run and one with `change` added at a place, and compare them by the token to follow."""
    edit = pushing(place)
    token = ask.value("token")
    followed = "int(clean[-1].argmax())" if token is None else token_id(token, say)
    return [
        Chunk("The clean run, and the token to follow.", [*say.run("clean", "ids"), f"token = {followed}"]),
        Chunk(says, [*say.definitions([edit]), "", *say.run("patched", "ids", edits=[edit])]),
        *outcome("clean", "patched"),
    ]


def _feature(ask: Request, n_features: int) -> int:
    return ask.whole("feature", least=0, below=n_features)


def _active(feature: int, n_tokens: int, context: int) -> list[str]:
    return [
        "def numbered_pieces(texts, context, n_left):",
        "    for number, text in enumerate(texts):",
        "        at = 0",
        "        for piece in pieces_of([text], context):",
        "            ids = piece[:, :n_left]",
        "            if ids.shape[1] < 2:",
        "                return",
        "            yield number, at, ids",
        "            n_left, at = n_left - ids.shape[1], at + ids.shape[1]",
        "",
        "looked_at, active, n_read = [], [], 0",
        f"for number, at, ids in numbered_pieces(looked_through, {context}, {n_tokens}):",
        "    vectors = vectors_at(ids)",
        f"    values = encode(vectors)[:, {feature}] * is_read(vectors)",
        "    active += [(float(values[pos]), len(looked_at), pos) for pos in values.nonzero()[:, 0].tolist()]",
        "    looked_at.append((number, at, ids[0]))",
        "    n_read += int(is_read(vectors).sum())",
    ]


def _contexts(numbers: dict[str, int], say: Dialect) -> Sequence[str]:
    return [
        "best = {}",
        "for place in active:",
        "    if place[1] not in best or place[0] > best[place[1]][0]:",
        "        best[place[1]] = place",
        f"strongest_places = sorted(best.values(), key=lambda place: -place[0])[:{numbers['n_strongest']}]",
        "others = [place for place in active if place not in strongest_places]",
        f"n_ordinary = min({numbers['n_ordinary']}, len(others))",
        f"ordinary = sorted(random.Random({numbers['seed']}).sample(others, n_ordinary), reverse=True)",
        "table = []",
        "for activation, piece, pos in [*strongest_places, *ordinary]:",
        "    number, at, ids = looked_at[piece]",
        f"    start, end = max(0, pos - {numbers['window']}), pos + 1 + {numbers['window']}",
        "    parts = (ids[start:pos], ids[pos : pos + 1], ids[pos + 1 : end])",
        f"    words = [{say.tokenizer}.decode(part) for part in parts]",
        '    print(f"{activation:.3f}", "|".join(words), f"(text {number}, position {at + pos})")',
        "    table.append(activation)",
    ]


def _effects(feature: int, ask: Request, say: Dialect) -> Chunk:
    dtype = getattr(ask.manifest, "dtype", "float32")
    cast = "" if dtype not in {"float64", "bfloat16", "float16"} else f".to(torch.{dtype})"
    return Chunk(
        "Which tokens its direction speaks for and against: final norm and unembedding alone, at the length\n"
        "that the norm gives to every vector, without what they say of no vector at all.",
        [
            f"vector = W_dec[{feature}] * len(W_dec[{feature}]) ** 0.5",
            f"both = torch.stack([vector, torch.zeros_like(vector)])[None]{cast}",
            f"logits = {say.unembedding()}({say.final_norm()}(both))[0].float()",
            "effect = logits[0] - logits[1]",
            "effect = effect - effect.mean()",
            "for sign in (1, -1):",
            "    values, tokens = (sign * effect).topk(min(10, len(effect)))",
            "    for value, token in zip(values.tolist(), tokens.tolist()):",
            f'        print(f"{{sign * value:.4f}}", repr({say.tokenizer}.decode([token])))',
            "        table.append(sign * value)",
        ],
    )


_BESIDE = frozenset({"controls", "seed"})

RECIPES = {
    "sae.ablate": Recipe(_ablate, takes=frozenset({"prompt", "sae", "features", "token"}), beside=_BESIDE),
    "sae.encode": Recipe(_encode, takes=frozenset({"prompt", "sae"})),
    "sae.read": Recipe(
        _read,
        takes=frozenset(
            {"texts", "sae", "feature", "n_strongest", "n_ordinary", "window", "n_tokens", "context", "seed"}
        ),
    ),
    "sae.reconstruct": Recipe(_reconstruct, takes=frozenset({"texts", "sae", "n_tokens", "context", "seed"})),
    "sae.steer": Recipe(
        _steer, takes=frozenset({"prompt", "sae", "feature", "coef", "positions", "token"}), beside=_BESIDE
    ),
    "sae.train": Recipe(
        _train,
        takes=frozenset(
            {
                "texts",
                "site",
                "n_features",
                "k",
                "l1",
                "n_tokens",
                "context",
                "steps",
                "batch",
                "lr",
                "skip",
                "seed",
            }
        ),
        only={"device": "cpu"},
    ),
}
