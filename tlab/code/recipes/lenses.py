"""Programs that train a tuned lens, and read a prompt through it beside the plain one.

A lens' weights are too many to be written out. Texts, order and first weights come from the same seeds as in
`tlab.train_tuned_lens`, so that the same numbers come out. Refuses: lenses of which nobody noted how they were trained.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tlab.code.dialects.dialect import Keep, Place, indented
from tlab.code.recipes.corpus import cutting_lines, listed, texts_lines
from tlab.code.recipes.pieces import every_layer, ids_line, printed, prompt_chunk
from tlab.code.recipes.recipe import Recipe
from tlab.code.script import Chunk
from tlab.errors import UnknownOption, shown
from tlab.learning.texts import sample_texts
from tlab.references import REFERENCE_PROMPTS

if TYPE_CHECKING:
    from tlab.code.dialects.dialect import Dialect
    from tlab.code.request import Request

__all__ = ["RECIPES"]

_MOST = 10**9
_USUAL_CONTEXT, _USUAL_RANK = 128, 64
_LOAD_BYTES, _LOAD_POSITIONS = 128 * 2**20, 4096
_BYTES_A_CHARACTER, _MARKS, _BYTES_A_NUMBER = 4, 2, 4
_N_MEASURED = 200


def _train_tuned_lens(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: how far the trained lens stays from the final prediction, on texts that it was not trained on."""
    return [
        *_trained(ask, say),
        _measuring(),
        Chunk(
            "Both lenses on the texts that were kept, and on sentences of another kind: nats, a row a layer.",
            [
                *listed("sentences", REFERENCE_PROMPTS),
                "table = measured(pieces_of(held_out, context))",
                f"n_layers = {len(_layers(ask))}",
                "ordinary = []",
                "for text in sentences:",
                *indented([ids_line("ids", "text", say), f"ordinary.append(ids[:, :{ask.n_ctx}])"]),
                "table += measured(ordinary)",
            ],
        ),
        printed(
            "sum(tuned for plain, tuned in table[:n_layers]) / n_layers", "The tuned lens on kept texts, on average."
        ),
    ]


def _tuned_lens(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: from which layer on a tuned lens, trained anew, names the model's final answer."""
    lens = ask.value("lens")
    made = getattr(lens, "manifest", None)
    if made is None or made.name != "train_tuned_lens" or not ask.is_of_same_model(made):
        raise UnknownOption(
            f"lens refused: expected one with the note of how it was trained on this model, since the program trains "
            f"it again, got {shown(type(lens).__name__)} without; make it with tlab.train_tuned_lens"
        )
    training = dataclasses.replace(ask, arguments=made.arguments)
    layers = _layers(training)
    return [
        *_trained(training, say),
        prompt_chunk(ask.text("prompt"), say),
        Chunk(
            "The streams of the prompt, and the model's own final answer.",
            [
                *say.run("logits", "ids", keep=_kept(say)),
                "target = int(logits[-1].argmax())",
                "streams = [stream[0, -1] for stream in [embedded, *streams]]",
            ],
        ),
        Chunk(
            "Each stream through its translator, then read as the model reads its last; the last needs none.",
            [
                "table, tops = [], []",
                f"for place, layer in enumerate({[*layers, say.layout.n_layers]}):",
                "    stream = streams[layer]",
                f"    if place < {len(layers)}:",
                "        stream = translated(place, stream)",
                f"    probabilities = {say.unembedding()}({say.final_norm()}(stream[None, None]))[0, 0].softmax(-1)",
                "    table.append(float(probabilities[target]))",
                "    tops.append((layer, int(probabilities.argmax())))",
                f"    print(layer, repr({say.tokenizer}.decode([tops[-1][1]])), table[-1])",
            ],
        ),
        Chunk(
            "The first layer from which on the answer stands without interruption.",
            [
                f"first = {say.layout.n_layers + 1}",
                "for layer, top in reversed(tops):",
                "    if top != target:",
                "        break",
                "    first = layer",
            ],
        ),
        printed("first"),
    ]


def _trained(ask: Request, say: Dialect) -> list[Chunk]:
    """Write the training: behind it, the program has `translated(place, stream)` and `held_out`, texts that it kept."""
    texts = ask.texts("texts", sample_texts())
    context = ask.whole("context", min(_USUAL_CONTEXT, ask.n_ctx), least=2, below=ask.n_ctx + 1)
    seed = ask.whole("seed", 0, least=0, below=_MOST)
    longest = max(1, (ask.n_ctx - _MARKS) // _BYTES_A_CHARACTER)
    return [
        Chunk(
            "Texts to train on; a tenth is kept to measure on.",
            [
                "import random",
                *texts_lines("texts", texts),
                f"random.Random({seed}).shuffle(texts)",
                "n_held_out = max(1, round(0.1 * len(texts)))",
                "training, held_out = texts[n_held_out:], texts[:n_held_out]",
                f"context = {context}",
                "",
                *cutting_lines(longest, texts, say),
            ],
        ),
        _streams(ask, say),
        _loads(ask),
        _reading(say),
        _translators(ask, seed),
        _steps(ask),
    ]


def _streams(ask: Request, say: Dialect) -> Chunk:
    layers = [*_layers(ask), say.layout.n_layers]
    return Chunk(
        "The streams of some layers (0 is the embedding) and the last at every ordinary position: not the first, and\n"
        "none where a vector is ten times longer than usual (a massive activation).",
        [
            "def streams_of(ids):",
            *indented(say.run("", "ids", keep=_kept(say))),
            "    every = [embedded, *streams]",
            f"    rows = torch.stack([every[layer][0, 1:] for layer in {layers}]).float()",
            "    lengths = rows.norm(dim=-1)",
            "    usual = lengths.median(dim=-1, keepdim=True).values",
            "    return rows[:, (lengths <= 10 * usual).all(0)]",
        ],
    )


def _loads(ask: Request) -> Chunk:
    n_rows = len(_layers(ask)) + 1
    wanted = ask.whole("steps", 600, least=1, below=_MOST) * ask.whole("batch", 32, least=1, below=_MOST)
    at_once = max(1, min(wanted, _LOAD_POSITIONS, _LOAD_BYTES // (n_rows * ask.widths["d_model"] * _BYTES_A_NUMBER)))
    return Chunk(
        "The training texts' streams again and again, in loads that fit into memory: [layer row d_model].",
        [
            "def loads():",
            "    while True:",
            "        waiting = []",
            "        for ids in pieces_of(training, context):",
            "            waiting.append(streams_of(ids))",
            f"            if sum(part.shape[1] for part in waiting) >= {at_once}:",
            "                yield torch.cat(waiting, dim=1)",
            "                waiting = []",
            "        if waiting:",
            "            yield torch.cat(waiting, dim=1)",
        ],
    )


def _reading(say: Dialect) -> Chunk:
    return Chunk(
        "How the model reads its last stream: the logits of some tokens only, or of all.",
        [
            f"rows_of_unembedding = {say.unembedding_rows()}",
            "",
            "def read(stream, tokens=slice(None)):",
            f"    return {say.final_norm()}(stream) @ rows_of_unembedding[tokens].T",
        ],
    )


def _translators(ask: Request, seed: int) -> Chunk:
    n_layers, d_model = len(_layers(ask)), ask.widths["d_model"]
    rank = min(ask.whole("rank", _USUAL_RANK, least=1, below=_MOST), d_model) if _has_rank(ask) else None
    reading = (
        []
        if rank is None
        else [f"W_read = torch.randn({n_layers}, {d_model}, {rank}, generator=generator) / {d_model} ** 0.5"]
    )
    inner = "streams" if rank is None else "streams @ W_read"
    names = "W_write, bias" if rank is None else "W_read, W_write, bias"
    return Chunk(
        "One translator a layer: an affine map of the stream that is added to it. At first it adds nothing.",
        [
            f"generator = torch.Generator().manual_seed({seed})",
            *reading,
            f"W_write = torch.zeros({n_layers}, {rank or d_model}, {d_model})",
            f"bias = torch.zeros({n_layers}, {d_model})",
            f"weights = [{names}]",
            "for weight in weights:",
            "    weight.requires_grad_()",
            "",
            "def added(streams):",
            f"    return ({inner}) @ W_write + bias[:, None]",
        ],
    )


def _steps(ask: Request) -> Chunk:
    steps, batch = ask.whole("steps", 600, least=1, below=_MOST), ask.whole("batch", 32, least=1, below=_MOST)
    is_low = _has_rank(ask)
    inner = "stream @ W_read[place]" if is_low else "stream"
    return Chunk(
        "Bring each layer's reading near to the model's own final prediction. The divergence is estimated over the\n"
        "likeliest tokens and a random sample of all others, whose members stand for those that were not drawn.",
        [
            f"steps, batch, lr = {steps}, {batch}, {ask.real('lr', 3e-3)!r}",
            "every_load = loads()",
            "load = next(every_load)",
            "scale = load[:-1].norm(dim=-1).median(dim=-1).values / load.shape[-1] ** 0.5",
            "average = torch.cat([read(part).softmax(-1) for part in load[-1, :1024].split(128)]).mean(0)",
            "log_average = average.clamp(min=torch.finfo(torch.float32).tiny).log()",
            "by_likelihood = log_average.argsort(descending=True)",
            "frequent, others = by_likelihood[:1024], by_likelihood[1024:]",
            "optimiser = torch.optim.Adam(weights, lr=lr, betas=(0.9, 0.99))",
            "",
            "step = 0",
            "while step < steps:",
            "    order = torch.randperm(load.shape[1], generator=generator)",
            "    for chosen in order.split(batch)[: steps - step]:",
            "        rows = load[:, chosen]",
            "        drawn = others[torch.randperm(len(others), generator=generator)[:512]]",
            "        tokens = torch.cat([frequent, drawn])",
            "        stands_for = torch.zeros(len(tokens))  # the logarithm of how many tokens each stands for",
            "        if len(drawn):",
            "            stands_for[len(frequent):] = torch.tensor(len(others) / len(drawn)).log()",
            "        units = scale[:, None, None]",
            "        translated_rows = rows[:-1] + units * added(rows[:-1] / units)",
            "        log_p = (read(rows[-1], tokens) + stands_for).log_softmax(-1)",
            "        log_q = (read(translated_rows, tokens) + stands_for).log_softmax(-1)",
            "        divergence = (log_p.exp() * (log_p - log_q)).sum(-1).mean(-1)",
            '        optimiser.param_groups[0]["lr"] = lr * min(1, (step + 1) / 10) * (1 - step / steps)',
            "        optimiser.zero_grad()",
            "        divergence.sum().backward()",
            "        optimiser.step()",
            "        step += 1",
            "    load = next(every_load)",
            "",
            "for weight in weights:",
            "    weight.requires_grad_(False)",
            "",
            "def translated(place, stream):",
            f"    return stream + {inner} @ W_write[place] + bias[place] * scale[place]",
        ],
    )


def _measuring() -> Chunk:
    return Chunk(
        "How far both lenses are from the final prediction (KL, in nats), over all tokens, at some positions.",
        [
            "def measured(pieces):",
            "    found = []",
            "    for ids in pieces:",
            "        found.append(streams_of(ids))",
            f"        if sum(part.shape[1] for part in found) >= {2 * _N_MEASURED}:",
            "            break",
            "    every = torch.cat(found, dim=1)",
            f"    evenly = torch.linspace(0, every.shape[1] - 1, min({_N_MEASURED}, every.shape[1])).long()",
            "    *streams, last = every[:, evenly]",
            "    log_p = read(last).log_softmax(-1)",
            "",
            "    def divergence(stream):",
            "        log_q = read(stream).log_softmax(-1)",
            "        return float((log_p.exp() * (log_p - log_q)).sum(-1).mean())",
            "",
            "    return [[divergence(s), divergence(translated(place, s))] for place, s in enumerate(streams)]",
        ],
    )


def _kept(say: Dialect) -> list[Keep]:
    return [
        Keep("embedded", Place("resid_pre", "0")),
        Keep("streams", Place("resid_post", "layer", every_layer(say))),
    ]


def _layers(ask: Request) -> list[int]:
    n_layers = ask.layout.n_layers
    return sorted(set(ask.wholes("layers", range(n_layers), below=n_layers)))


def _has_rank(ask: Request) -> bool:
    return "rank" not in ask.arguments or ask.has("rank")


_TRAINING = frozenset({"texts", "layers", "rank", "steps", "batch", "lr", "context", "seed"})
RECIPES = {
    "train_tuned_lens": Recipe(_train_tuned_lens, takes=_TRAINING),
    "tuned_lens": Recipe(_tuned_lens, takes=frozenset({"prompt", "lens"}), beside=frozenset({"token"})),
}
