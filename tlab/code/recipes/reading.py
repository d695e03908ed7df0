"""Programs that only look: prediction, captured sites, attention, the logit lens, the flow of data, two prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlab.code.dialects.dialect import Keep, Place, indented
from tlab.code.recipes.pieces import every_layer, printed, prompt_chunk, prompts_chunk, top_tokens
from tlab.code.recipes.recipe import Recipe
from tlab.code.script import Chunk

if TYPE_CHECKING:
    from tlab.code.dialects.dialect import Dialect
    from tlab.code.request import Request

__all__ = ["RECIPES"]

_SHOWN_TOKENS = 10
_FARTHEST = 1_000_000


def _predict(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the probability of the likeliest next token."""
    k = ask.whole("k", _SHOWN_TOKENS, least=1, below=say.layout.d_vocab + 1)
    position = ask.whole("position", -1, least=-_FARTHEST, below=_FARTHEST)
    where = "The last position's logits say" if position == -1 else f"The logits at position {position} say"
    return [
        prompt_chunk(ask.text("prompt"), say),
        Chunk(f"One run. {where} what comes next.", say.run("logits", "ids")),
        Chunk(
            "",
            [
                f"probabilities = logits[{position}].softmax(-1)",
                f"table = probabilities.topk({k}).values",
                *top_tokens("probabilities", k, say, "probability"),
            ],
        ),
        printed("float(probabilities.max())"),
    ]


def _capture(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: what stands at sites, and how long the vectors there are on average."""
    default = [f"blocks.{layer}.resid_post" for layer in range(say.layout.n_layers)]
    places = ask.places("sites", default)
    if [site for site, _ in places] == default:
        keep = [Keep("streams", Place("resid_post", "layer", every_layer(say)))]
        lines = ['sites = {f"blocks.{layer}.resid_post": stream for layer, stream in enumerate(streams)}']
    else:
        keep = [Keep(_variable(place), place) for _, place in places]
        pairs = zip(places, keep, strict=True)
        lines = ["sites = {", *(f"    {site!r}: {one.variable}," for (site, _), one in pairs), "}"]
    return [
        prompt_chunk(ask.text("prompt"), say),
        Chunk("One run that notes what passes these places.", [*say.run("", "ids", keep=keep), *lines]),
        Chunk(
            "The mean length of the vectors along the last axis. Masked scores, the smallest number\n"
            "that there is, count as 0.",
            [
                "table = []",
                "for site, tensor in sites.items():",
                "    values = tensor.masked_fill(tensor <= torch.finfo(tensor.dtype).min, 0)",
                "    table.append(float(values.norm(dim=-1).mean()))",
                "    print(site, tuple(tensor.shape), table[-1])",
            ],
        ),
        printed("table[-1]"),
    ]


def _attention(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the largest weight with which the last token reads, in one head."""
    layer, head = ask.layer(default=0), ask.whole("head", 0, least=0, below=say.layout.n_heads)
    keep = [Keep("pattern", Place("attn.pattern", str(layer)))]
    return [
        prompt_chunk(ask.text("prompt"), say),
        Chunk(
            f"The attention pattern of layer {layer}: [batch head dest_pos src_pos]; every row sums to 1.",
            say.run("", "ids", keep=keep),
        ),
        Chunk(
            f"Head {head}: how much the last token reads from each position.",
            [
                f"table = pattern[0, {head}]",
                "for token, weight in zip(ids[0], table[-1]):",
                f'    print(f"{{float(weight):.4f}}", repr({say.tokenizer}.decode([int(token)])))',
            ],
        ),
        printed("float(table[-1].max())", "The weight of the position that it reads most."),
    ]


def _logit_lens(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: from which layer on the lens names the model's final answer."""
    is_normed = ask.flag("use_final_norm", default=True)
    read = f"{say.unembedding()}({say.final_norm()}(stream))" if is_normed else f"{say.unembedding()}(stream)"
    how = "final norm, then unembedding" if is_normed else "but for the final norm, which it would not leave out"
    keep = [
        Keep("embedded", Place("resid_pre", "0")),
        Keep("streams", Place("resid_post", "layer", every_layer(say))),
    ]
    return [
        prompt_chunk(ask.text("prompt"), say),
        Chunk(
            "One run that notes the residual stream before the first block and after every block.",
            say.run("logits", "ids", keep=keep),
        ),
        Chunk("", ["target = int(logits[-1].argmax())  # the model's own final answer"]),
        Chunk(
            f"Read each stream as the model reads only its last: {how}.",
            [
                "table, tops = [], []",
                "for stream in [embedded, *streams]:",
                f"    probabilities = {read}[0, -1].softmax(-1)",
                "    table.append(float(probabilities[target]))",
                "    tops.append(int(probabilities.argmax()))",
                f"    print(len(tops) - 1, repr({say.tokenizer}.decode([tops[-1]])), table[-1])",
            ],
        ),
        Chunk(
            "The first layer from which on the answer stands without interruption.",
            ["first = len(tops)", "while first > 0 and tops[first - 1] == target:", "    first -= 1"],
        ),
        printed("first"),
    ]


def _dataflow(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: how much attention and MLP of every layer write at one position, and what the model then expects."""
    each = every_layer(say)
    position = ask.whole("position", -1, least=-_FARTHEST, below=_FARTHEST)
    keep = [
        Keep("attns", Place("attn.out", "layer", each)),
        Keep("mlps", Place("mlp.out", "layer", each)),
        Keep("streams", Place("resid_post", "layer", each)),
    ]
    return [
        prompt_chunk(ask.text("prompt"), say),
        Chunk(
            "One run that notes what every attention layer and every MLP writes, and the stream after them.",
            say.run("logits", "ids", keep=keep),
        ),
        Chunk(
            "The length of each vector at one position: one row a layer.",
            [
                "parts = zip(attns, mlps, streams)",
                f"table = torch.stack([torch.stack([part[0, {position}].norm() for part in row]) for row in parts])",
                "for layer, (attn, mlp, stream) in enumerate(table.tolist()):",
                '    print(f"layer {layer}: attention {attn:.3f}, MLP {mlp:.3f}, stream {stream:.3f}")',
            ],
        ),
        printed(f"float(logits[{position}].softmax(-1).max())", "The probability of what the model expects next."),
    ]


def _compare(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: how far apart the predictions after two prompts are, and the streams on the way there."""
    keep = [
        Keep("embedded", Place("resid_pre", "0")),
        Keep("streams", Place("resid_post", "layer", every_layer(say))),
    ]
    return [
        prompts_chunk({"a": ask.text("a"), "b": ask.text("b")}, "Two prompts as token ids: [batch pos].", say),
        Chunk(
            "One run of each, noting the stream before the first block and after every block.",
            [
                "def read(ids):",
                *indented(say.run("logits", "ids", keep=keep)),
                "    return logits, [embedded, *streams]",
                "",
                "a_logits, a_streams = read(a_ids)",
                "b_logits, b_streams = read(b_ids)",
            ],
        ),
        Chunk(
            "How alike the streams are at the last position, layer by layer.",
            [
                "pairs = zip(a_streams, b_streams)",
                "table = torch.stack([torch.cosine_similarity(a[0, -1], b[0, -1], dim=0) for a, b in pairs])",
                "for layer, cosine in enumerate(table.tolist()):",
                '    print(f"layer {layer}: cosine similarity {cosine:.4f}")',
            ],
        ),
        Chunk(
            "Kullback-Leibler divergence of b's prediction from a's, in nats.",
            [
                "expected, other = a_logits[-1].log_softmax(-1), b_logits[-1].log_softmax(-1)",
                "answer = float((expected.exp() * (expected - other)).sum())",
                "print(answer)",
            ],
        ),
    ]


def _generate(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the likeliest continuation, and how surprising the model finds its own tokens."""
    n_most = ask.whole("max_new_tokens", 20, least=1, below=_FARTHEST)
    return [
        prompt_chunk(ask.text("prompt"), say),
        Chunk(
            "Take the likeliest token, write it behind the text, and read again.",
            [
                "table, written = [], []",
                f"for _ in range({n_most}):",
                *indented(say.run("logits", "ids")),
                "    probabilities = logits[-1].softmax(-1)",
                "    token = int(probabilities.argmax())",
                "    table.append(float(probabilities[token]))",
                "    written.append(token)",
                "    ids = torch.cat([ids, torch.tensor([[token]])], dim=1)",
                f"    if token in {list(ask.stop_ids)} or ids.shape[1] > {ask.n_ctx}:",
                "        break  # the text is over, or as long as the model can read",
                f"print(repr({say.tokenizer}.decode(written)))",
            ],
        ),
        printed("-float(torch.tensor(table).log().mean())", "The mean surprise at each token, in nats."),
    ]


def _variable(place: Place) -> str:
    """Return a name for what stands at a place: `attn_z_3`, `embed`."""
    return "_".join(part for part in (*place.kind.split("."), place.layer) if part)


RECIPES = {
    "attention": Recipe(
        _attention, takes=frozenset({"prompt", "layer", "head"}), only={"kind": "self", "target": None}
    ),
    "capture": Recipe(_capture, takes=frozenset({"prompt", "sites"}), only={"positions": None, "target": None}),
    "compare": Recipe(_compare, takes=frozenset({"a", "b"})),
    "dataflow": Recipe(_dataflow, takes=frozenset({"prompt", "position"}), only={"target": None}),
    "generate": Recipe(
        _generate,
        takes=frozenset({"prompt", "max_new_tokens"}),
        beside=frozenset({"n_alternatives", "seed", "method", "reference", "layer", "coef", "positions"}),
        only={
            "temperature": 0.0,
            "top_k": None,
            "top_p": None,
            "ablate": (),
            "vector": None,
            "edits": (),
            "target": None,
        },
    ),
    "logit_lens": Recipe(
        _logit_lens,
        takes=frozenset({"prompt", "use_final_norm"}),
        beside=frozenset({"token"}),
        only={"layers": None, "target": None},
    ),
    "predict": Recipe(_predict, takes=frozenset({"prompt", "k", "position"}), only={"target": None}),
}
