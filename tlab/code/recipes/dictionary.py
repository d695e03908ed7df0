"""How a program gets its sparse autoencoder: it lets the model read the same texts, and trains it again.

Its weights are too many to be written out. Texts, batches and first weights come from the same seeds as in
`tlab.sae.train`, so that the same numbers come out. Where a library adds numbers in another order (TransformerLens does
in GPT-2), rounding now and then gives a vector another k-th feature, or an activation that is just not 0: then a count
differs by one, and the weights of a feature that is hardly ever active by more than rounding. What is left unexplained
does not hang on it. Refuses: autoencoders of which nobody noted how they were trained.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlab.code.dialects.dialect import Keep, Place, indented
from tlab.code.recipes.corpus import cutting_lines, texts_lines
from tlab.code.script import Chunk
from tlab.errors import UnknownOption, UnknownSite, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.code.dialects.dialect import Dialect
    from tlab.code.request import Request

__all__ = ["Training", "context_of", "sae_of", "trained", "training_of", "vector_place"]

_MOST = 10**9
_MARKS, _BYTES_A_CHARACTER, _BYTES_A_NUMBER = 2, 4, 4
_BUFFER_BYTES = 256 * 2**20
_USUAL_CONTEXT, _USUAL_K, _WIDTHS = 128, 32, 4
_NEURONS = ("mlp.pre", "mlp.pre_linear", "mlp.post")
_SPLIT = ("attn.q", "attn.k", "attn.v", "attn.z", "attn.scores", "attn.pattern")
_ORDINARY = (
    "held_out = torch.cat([vectors_at(ids)[skip:] for ids in pieces[:n_held_out]])",
    "longest = 10 * float(held_out.norm(dim=-1).median())",
    "held_out = held_out[held_out.norm(dim=-1) <= longest][:8192]",
    "",
    "def is_read(vectors):",
    "    return (torch.arange(len(vectors)) >= skip) & (vectors.norm(dim=-1) <= longest)",
    "",
    "vectors = [vectors_at(ids) for ids in pieces[n_held_out:]]",
    "vectors = torch.cat([rows[is_read(rows)] for rows in vectors])",
    "mean = vectors.mean(0)",
)
_UNEXPLAINED = (
    "def unexplained(vectors, found):  # the share of their variance that is missing",
    "    return float((vectors - found).pow(2).sum() / (vectors - vectors.mean(0)).pow(2).sum())",
    "",
)
_NOTED = " Noted are step, loss, and the unexplained variance of the batch and of held-out vectors."
_POINT = (
    "if (step + 1) % max(1, steps // 40) == 0 or step + 1 in (1, steps):",
    "    with torch.no_grad():",
    "        seen = (held_out[:1024] - centre) / scale",
    "        fvu, held_out_fvu = unexplained(rows, rows - missing), unexplained(seen, decode(encode(seen)))",
    "        table.append([step + 1, loss.item(), fvu, held_out_fvu])",
    "        l0, n_dead = float((activations > 0).sum(-1).float().mean()), int((silent > max(20, steps // 16)).sum())",
    '        print(*table[-1], f"{l0:.1f} features active at once, {n_dead} dead")',
)
_OWN_UNITS = (
    "W_enc, W_dec = W_enc.detach(), W_dec.detach()",
    "b_enc, b_dec = b_enc.detach() * scale, centre + b_dec.detach() * scale",
)


@dataclass(frozen=True)
class Training:
    """What `tlab.sae.train` was asked for.

    Args:
        place: where the vectors stand.
        width: of one vector.
        texts: what the model reads.
        n_features: number of directions.
        k: how many may be active at once; 0 if `l1` decides.
        l1: the price of activation.
        n_tokens: how many tokens are read at most.
        context: how many at once.
        steps: of the optimiser.
        batch: vectors in each.
        lr: largest learning rate.
        skip: positions left out at the beginning of each piece.
        seed: of everything random.
        longest_text: how many characters are tokenized at once.

    """

    place: Place
    width: int
    texts: tuple[str, ...]
    n_features: int
    k: int
    l1: float
    n_tokens: int
    context: int
    steps: int
    batch: int
    lr: float
    skip: int
    seed: int
    longest_text: int

    @property
    def is_large(self) -> bool:
        """Whether the vectors may be too many for one load; a text has no more tokens than bytes."""
        n_most = min(self.n_tokens, sum(len(text.encode()) for text in self.texts))
        return n_most * self.width * _BYTES_A_NUMBER > _BUFFER_BYTES


def training_of(ask: Request) -> Training:
    """Return what the arguments of `tlab.sae.train` say, defaults filled in."""
    place = vector_place(ask, ask.value("site") or f"blocks.{ask.layout.n_layers // 2}.resid_post")
    width = ask.widths["d_mlp" if place.kind in _NEURONS else "d_vocab" if place.kind == "logits" else "d_model"]
    n_features = ask.whole("n_features", _WIDTHS * width, least=1, below=_MOST)
    has_price = ask.has("l1")
    return Training(
        place=place,
        width=width,
        texts=ask.texts("texts", ()),
        n_features=n_features,
        k=0 if has_price else ask.whole("k", min(_USUAL_K, n_features), least=1, below=n_features + 1),
        l1=ask.real("l1", 0.0) if has_price else 0.0,
        n_tokens=ask.whole("n_tokens", 32_768, least=2, below=_MOST),
        context=context_of(ask),
        steps=ask.whole("steps", 1000, least=1, below=_MOST),
        batch=ask.whole("batch", 256, least=1, below=_MOST),
        lr=ask.real("lr", 2e-3),
        skip=ask.whole("skip", 1, least=0, below=_MOST),
        seed=ask.whole("seed", 0, least=0, below=_MOST),
        longest_text=max(1, (ask.n_ctx - _MARKS) // _BYTES_A_CHARACTER),
    )


def sae_of(ask: Request) -> Training:
    """Return how the autoencoder that is an argument was trained.

    Raises:
        UnknownOption: nobody noted it, or it was another model that it was trained on.

    """
    sae = ask.value("sae")
    made = getattr(sae, "manifest", None)
    if made is None or made.name != "sae.train":
        raise UnknownOption(
            f"sae refused: expected one with the note of how it was trained, since its weights are too many to write "
            f"out, got {shown(type(sae).__name__)} without; make it with tlab.sae.train"
        )
    if not ask.is_of_same_model(made):
        raise UnknownOption(
            f"sae refused: expected one that was trained on the same {shown(getattr(ask.manifest, 'model', ''))}, "
            f"since the program trains it again, got one of {shown(made.model)} in {shown(made.dtype)}; "
            f"train one on this model with tlab.sae.train"
        )
    if made.arguments.get("device") != "cpu":
        raise UnknownOption(
            f"sae refused: expected one that was trained on the CPU, as the program trains it, got "
            f"{shown(made.arguments.get('device'))}; train it with device='cpu'"
        )
    return training_of(dataclasses.replace(ask, arguments=made.arguments))


def context_of(ask: Request) -> int:
    """Return how many tokens the model reads at once."""
    return ask.whole("context", min(_USUAL_CONTEXT, ask.n_ctx), least=2, below=ask.n_ctx + 1)


def vector_place(ask: Request, site: object) -> Place:
    """Return the place of a site at which one vector stands at every position.

    Raises:
        UnknownSite: there are several sites of that name, or what stands there is split by heads.

    """
    places = dataclasses.replace(ask, arguments={"site": site}).places("site", ())
    if len(places) == 1 and places[0][1].kind not in _SPLIT:
        return places[0][1]
    raise UnknownSite(
        f"site without code: expected one with one vector at every position, got {shown(site)}; "
        f"try 'blocks.0.resid_post'"
    )


def trained(
    training: Training, say: Dialect, *, more_texts: Sequence[str] = (), with_curve: bool = False
) -> list[Chunk]:
    """Write the training.

    Behind it, the program has `vectors_at(ids)`, `pieces_of(texts, context)`, `is_read(vectors)`, `encode(vectors)`,
    `decode(activations)`, `W_dec`, `held_out` and the mean `mean` of the vectors; with a curve, `table` and
    `unexplained` as well.

    Args:
        training: what to train.
        say: the dialect.
        more_texts: what else the program will cut into pieces.
        with_curve: whether to note how the training went.

    """
    return [
        Chunk("What the model reads while the autoencoder learns.", texts_lines("texts", training.texts)),
        Chunk("What the autoencoder is to be, and how it learns.", _numbers(training)),
        Chunk(f"What stands at {_named(training.place)}, one vector a position.", _vectors_at(training.place, say)),
        Chunk(
            "The texts in random order, in pieces that the model reads one by one; a tenth is held out.",
            _pieces(training, (*training.texts, *more_texts), say),
        ),
        Chunk(
            "Left out: the first positions, and vectors ten times as long as the median (massive activations).",
            _ORDINARY,
        ),
        Chunk(
            "In training, the mean is the origin and a typical vector has length 1; the encoder starts as the\n"
            "decoder's transpose.",
            _start(training),
        ),
        Chunk(
            f"A vector is written as a sum of {_rule(training)}, each with a positive weight, its activation.",
            _coding(training),
        ),
        Chunk("All vectors in random order, and then again in another.", _batches(training)),
        Chunk(f"The training.{_NOTED if with_curve else ''}", _steps(training, with_curve=with_curve)),
        Chunk("From here on in the units of the stream.", _OWN_UNITS),
    ]


def _numbers(training: Training) -> list[str]:
    price = (
        f"l1 = {training.n_features}, {training.l1!r}" if training.l1 else f"k = {training.n_features}, {training.k}"
    )
    return [
        f"n_features, {price}",
        f"steps, batch, lr, seed = {training.steps}, {training.batch}, {training.lr!r}, {training.seed}",
        f"n_tokens, context, skip = {training.n_tokens}, {training.context}, {training.skip}",
    ]


def _named(place: Place) -> str:
    return f"blocks.{place.layer}.{place.kind}" if place.layer else place.kind


def _rule(training: Training) -> str:
    return "few directions" if training.l1 else "the k directions that fit it best"


def _vectors_at(place: Place, say: Dialect) -> list[str]:
    run = say.run("", "ids", keep=[Keep("stream", place)])
    return ["def vectors_at(ids):", *indented(run), "    return stream[0].float()"]


def _pieces(training: Training, texts: Sequence[str], say: Dialect) -> list[str]:
    return [
        "import random",
        *cutting_lines(training.longest_text, texts, say),
        "",
        "random.Random(seed).shuffle(texts)",
        "pieces, n_left = [], n_tokens",
        "for piece in pieces_of(texts, context):",
        "    pieces.append(piece[:, :n_left])",
        "    n_left -= pieces[-1].shape[1]",
        "    if n_left < 2:",
        "        break",
        "n_held_out = max(1, round(0.1 * len(pieces)))",
    ]


def _start(training: Training) -> list[str]:
    first = [
        "centre = mean",
        "scale = float((vectors - centre).pow(2).sum(-1).mean().sqrt().clamp(min=1e-12))",
    ]
    if training.is_large:
        first = [
            "# The vectors come in loads of bounded size; mean and scale are those of the first.",
            "n_rows = sum(max(0, ids.shape[1] - skip) for ids in pieces[n_held_out:])",
            f"n_loads = max(1, math.ceil(n_rows * vectors.shape[1] * {_BYTES_A_NUMBER} / {_BUFFER_BYTES}))",
            "loads = vectors.split(max(1, math.ceil(n_rows / n_loads)))",
            "centre = loads[0].mean(0)",
            "scale = float((loads[0] - centre).pow(2).sum(-1).mean().sqrt().clamp(min=1e-12))",
        ]
    return [
        *(["import math"] if training.is_large else []),
        "from torch.nn.functional import normalize",
        *first,
        "dice = torch.Generator().manual_seed(seed)",
        "start = normalize(torch.randn(n_features, vectors.shape[1], generator=dice), dim=-1)",
        "W_enc, W_dec = start.T.clone().requires_grad_(), start.clone().requires_grad_()",
        "b_enc, b_dec = torch.zeros(n_features).requires_grad_(), torch.zeros(vectors.shape[1]).requires_grad_()",
    ]


def _coding(training: Training) -> list[str]:
    sparse = [
        "from torch.nn.functional import embedding_bag",
        "def strongest(scores, k):",
        "    values, chosen = scores.topk(k, dim=-1)",
        "    return values.relu(), chosen",
        "",
        "def written(values, chosen):  # only the chosen directions are read: faster than a product with all",
        '    return embedding_bag(chosen, W_dec, per_sample_weights=values, mode="sum")',
        "",
    ]
    encoded = [
        "    values, chosen = strongest(scores_of(vectors), k)",
        "    return torch.zeros(len(vectors), n_features).scatter(-1, chosen, values)",
    ]
    return [
        *([] if training.l1 else sparse),
        "def scores_of(vectors):",
        "    return (vectors - b_dec) @ W_enc + b_enc",
        "",
        "def encode(vectors):  # [row feature], most of them 0",
        *(["    return scores_of(vectors).relu()"] if training.l1 else encoded),
        "",
        "def decode(activations):",
        "    return activations @ W_dec + b_dec",
    ]


def _batches(training: Training) -> list[str]:
    one = [
        "def batches(rows, n_batches, seed):",
        "    dice, size = torch.Generator().manual_seed(seed), min(batch, len(rows))",
        "    order, at = torch.randperm(len(rows), generator=dice), 0",
        "    for _ in range(n_batches):",
        "        if at + size > len(rows):",
        "            order, at = torch.randperm(len(rows), generator=dice), 0",
        "        yield rows[order[at : at + size]]",
        "        at += size",
    ]
    several = [
        "",
        "def all_batches():",
        "    done = 0",
        "    for number, load in enumerate(loads):  # each gets its share of the steps",
        "        until = steps * (number + 1) // max(n_loads, number + 1)",
        "        yield from batches(load, until - done, seed + number)",
        "        done = until",
    ]
    return [*one, *(several if training.is_large else [])]


def _steps(training: Training, *, with_curve: bool) -> list[str]:
    source = "all_batches()" if training.is_large else "batches(vectors, steps, seed)"
    return [
        *(_UNEXPLAINED if with_curve else []),
        "optimiser = torch.optim.Adam([W_enc, b_enc, W_dec, b_dec])",
        *([] if training.l1 and not with_curve else ["silent = torch.zeros(n_features)  # steps without firing"]),
        *(["table = []"] if with_curve else []),
        f"for step, rows in enumerate({source}):",
        "    rows = (rows - centre) / scale",
        *indented(_loss(training, with_curve=with_curve)),
        "    share = min(1, (step + 1) / (0.05 * steps), (steps - step) / (0.25 * steps))  # up, on, and down",
        '    optimiser.param_groups[0]["lr"] = lr * share',
        "    optimiser.zero_grad()",
        "    loss.backward()",
        "    with torch.no_grad():  # every direction keeps length 1",
        "        W_dec.grad -= (W_dec.grad * W_dec).sum(-1, keepdim=True) * W_dec",
        "        optimiser.step()",
        "        W_dec.copy_(normalize(W_dec, dim=-1))",
        *(indented(_POINT) if with_curve else []),
    ]


def _loss(training: Training, *, with_curve: bool) -> list[str]:
    if training.l1:
        counting = ["silent += 1", "silent[(activations > 0).any(0)] = 0"]
        return [
            "activations = encode(rows)",
            "missing = rows - decode(activations)",
            *(counting if with_curve else []),
            "loss = missing.pow(2).sum(-1).mean() + l1 * activations.sum(-1).mean()",
        ]
    return [
        "scores = scores_of(rows)",
        "activations, chosen = strongest(scores, k)",
        "missing = rows - written(activations, chosen) - b_dec",
        "loss = missing.pow(2).sum(-1).mean()",
        "silent += 1",
        "silent[chosen[activations > 0]] = 0",
        "# Dead features get no gradient: the best of them try to explain what the living ones miss.",
        "dead = (silent > max(20, steps // 16)).nonzero()[:, 0]",
        "if len(dead):",
        "    helping, chosen = strongest(scores[:, dead], min(max(1, n_features // 8, k), len(dead)))",
        "    rest = (missing.detach() - written(helping, dead[chosen])).pow(2).sum(-1).mean()",
        "    loss = loss + rest / loss.detach().clamp(min=1e-12) / 32",
    ]
