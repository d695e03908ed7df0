"""Programs that ask who wrote what: every part's share of a logit, what one head writes, and what kind each head is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlab.code.dialects.dialect import Keep, Place, indented
from tlab.code.metrics import token_id
from tlab.code.recipes.pieces import LARGEST, every_layer, printed, prompt_chunk, top_tokens
from tlab.code.recipes.recipe import Recipe
from tlab.code.script import Chunk

if TYPE_CHECKING:
    from tlab.code.dialects.dialect import Dialect
    from tlab.code.request import Request

__all__ = ["RECIPES"]

_SHOWN_TOKENS = 10
_FARTHEST = 1_000_000
_SCORES = ("previous_token", "duplicate_token", "induction", "first_token", "entropy_nats")
_GROUPS = ("component", "layer", "head")


def _attribute(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: what the embedding and each part of every layer add to one token's logit."""
    by = ask.choice("by", _GROUPS, "component")
    position = ask.whole("position", -1, least=-_FARTHEST, below=_FARTHEST)
    each = every_layer(say)
    attn = (
        Keep("zs", Place("attn.z", "layer", each)) if by == "head" else Keep("attns", Place("attn.out", "layer", each))
    )
    keep = [Keep("embedded", Place("resid_pre", "0")), attn, Keep("mlps", Place("mlp.out", "layer", each))]
    against = ask.value("against")
    tokens = [f"token = {token_id(ask.value('target'), say)}"]
    tokens += [] if against is None else [f"other = {token_id(against, say)}"]
    is_biased = not say.layout.names.is_rms
    return [
        prompt_chunk(ask.text("prompt"), say),
        Chunk("", tokens),
        Chunk(
            "One run that notes what every part writes to the residual stream.",
            say.run("logits", "ids", keep=keep),
        ),
        Chunk(
            "The parts at one position. Their sum is the stream that the final norm reads.",
            [
                'names, parts = ["embed"], ' + f"[embedded[0, {position}]]",
                *_parts(by, position, say),
                "parts = torch.stack(parts)",
                "stream = parts.sum(0)",
            ],
        ),
        Chunk(
            "With the norm's divisor held fixed, norm and unembedding are linear: each part has a share of its own.",
            [
                f"direction = {say.unembedding()}.weight[token]"
                + ("" if against is None else f" - {say.unembedding()}.weight[other]"),
                *_divided(say),
                "table = written @ direction",
                *_norm_bias(say, is_biased=is_biased),
                f"logit = logits[{position}, token]" + ("" if against is None else f" - logits[{position}, other]"),
                "print(float(table.sum()), float(logit))  # the shares add up to the logit",
                "for name, share in zip(names, table.tolist()):",
                '    print(f"{name}: {share:.4f}")',
            ],
        ),
        printed(LARGEST, "The largest share, for or against."),
    ]


def _component(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: how much one head writes at one position, and which tokens that speaks for."""
    layer, head = ask.head("site")
    position = ask.whole("position", -1, least=-_FARTHEST, below=_FARTHEST)
    k = ask.whole("k", _SHOWN_TOKENS, least=1, below=say.layout.d_vocab + 1)
    keep = [
        Keep("before", Place("resid_pre", str(layer))),
        Keep("z", Place("attn.z", str(layer))),
        Keep("last", Place("resid_post", str(say.layout.n_layers - 1))),
    ]
    return [
        prompt_chunk(ask.text("prompt"), say),
        Chunk(
            f"One run that notes what the heads of layer {layer} read, [batch pos head d_head], and the stream\n"
            f"before them and at the end.",
            say.run("", "ids", keep=keep),
        ),
        Chunk(
            f"What head {head} writes to the stream at one position.",
            [
                f"writing = {say.head_output(str(layer), str(head))}",
                f"table = z[0, {position}, {head}] @ writing",
            ],
        ),
        Chunk(
            "What that does directly to the logits, the final norm's divisor held fixed.",
            [
                f"stream, parts = last[0, {position}], table",
                *_divided(say),
                f"effects = {say.unembedding()}.weight @ written",
                *top_tokens("effects", k, say, "effect"),
            ],
        ),
        printed(f"float(table.norm() / before[0, {position}].norm())", "How long the write is beside the stream."),
    ]


def _head_scores(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: how much each head looks back by one, at the same token, at what followed it, or at the first."""
    n_tokens = ask.whole("n_tokens", 50, least=2, below=_FARTHEST)
    n_sequences = ask.whole("n_sequences", 4, least=1, below=_FARTHEST)
    seed = ask.whole("seed", 0, least=0, below=2**63)
    shown_score = ask.choice("show", _SCORES, "induction")
    keep = [Keep("patterns", Place("attn.pattern", "layer", every_layer(say)))]
    return [
        Chunk(
            "Random tokens, said twice: only a head that looks back can know what comes in the second half.",
            [
                f"n_tokens, n_sequences = {n_tokens}, {n_sequences}",
                f"known = range(min({say.layout.d_vocab}, len({say.tokenizer})))",
                f"special = set({say.tokenizer}.all_special_ids)",
                "plain = torch.tensor([token for token in known if token not in special])",
                f"generator = torch.Generator().manual_seed({seed})",
                "weights = torch.ones(n_sequences, len(plain))",
                "is_short = len(plain) < 2 * n_tokens  # then tokens may come twice",
                "chosen = torch.multinomial(weights, 2 * n_tokens, replacement=is_short, generator=generator)",
                "ids = plain[chosen][:, :n_tokens].repeat(1, 2)",
            ],
        ),
        Chunk(
            "One run that notes every attention pattern: [batch head dest_pos src_pos].", say.run("", "ids", keep=keep)
        ),
        Chunk(
            "What each head reads on average: from a fixed distance back, from the first token, and how spread out.",
            [
                "pattern = torch.stack(patterns)  # [layer batch head dest_pos src_pos]",
                "",
                "def looking_back(distance, first):",
                "    diagonal = pattern.diagonal(-distance, dim1=-2, dim2=-1)  # its first entry is row `distance`",
                "    return diagonal[..., first - distance :].mean((1, -1))",
                "",
                "later = pattern[..., 1:, :]",
                "scores = {",
                '    "previous_token": looking_back(1, first=1),',
                '    "duplicate_token": looking_back(n_tokens, first=n_tokens),',
                '    "induction": looking_back(n_tokens - 1, first=n_tokens),',
                '    "first_token": later[..., 0].mean((1, -1)),',
                '    "entropy_nats": torch.special.entr(later).sum(-1).mean((1, -1)),',
                "}",
                "table = torch.stack(list(scores.values()))  # [score layer head]",
                f'layer, head = divmod(int(scores["{shown_score}"].argmax()), {say.layout.n_heads})',
                f'print(f"highest {shown_score}: L{{layer}}H{{head}}")',
            ],
        ),
        printed(f'float(scores["{shown_score}"].max())'),
    ]


def _weight(say: Dialect) -> str:
    weight = f"{say.final_norm()}.weight"
    return f"(1 + {weight})" if say.layout.names.plus_one else weight


def _parts(by: str, position: int, say: Dialect) -> list[str]:
    """Write the loop over layers that lists what their parts wrote."""
    at = f"[0, {position}]"
    if by == "layer":
        inside = ['names.append(f"L{layer}")', f"parts.append((attn + mlp){at})"]
    elif by == "component":
        inside = ['names += [f"L{layer}.attn", f"L{layer}.mlp"]', f"parts += [attn{at}, mlp{at}]"]
    else:
        bias = say.attention_bias("layer")
        inside = [
            f"for head in range({say.layout.n_heads}):",
            '    names.append(f"L{layer}H{head}")',
            f"    parts.append(z{at}[head] @ {say.head_output('layer', 'head')})",
            *([] if bias is None else ['names.append(f"L{layer}.attn.b_O")', f"parts.append({bias})"]),
            'names.append(f"L{layer}.mlp")',
            f"parts.append(mlp{at})",
        ]
    listed = "z, mlp) in enumerate(zip(zs, mlps)):" if by == "head" else "attn, mlp) in enumerate(zip(attns, mlps)):"
    return [f"for layer, ({listed}", *indented(inside)]


def _norm_bias(say: Dialect, *, is_biased: bool) -> list[str]:
    if not is_biased:
        return []
    return [
        "# What the norm itself adds to the logit.",
        'names.append("norm bias")',
        f"table = torch.cat([table, ({say.final_norm()}.bias @ direction)[None]])",
    ]


def _divided(say: Dialect) -> list[str]:
    """Write `written`: what the final norm makes of `parts` of a `stream`, its divisor held fixed."""
    if say.layout.names.is_rms:
        return [
            f"divisor = (stream.pow(2).mean() + {say.norm_epsilon()}).sqrt()",
            f"written = parts / divisor * {_weight(say)}",
        ]
    return [
        f"divisor = (stream.var(correction=0) + {say.norm_epsilon()}).sqrt()",
        f"written = (parts - parts.mean(-1, keepdim=True)) / divisor * {_weight(say)}",
    ]


RECIPES = {
    "attribute": Recipe(
        _attribute,
        takes=frozenset({"prompt", "target", "against", "by", "position"}),
        beside=frozenset({"controls", "seed"}),
        only={"written": None},
    ),
    "component": Recipe(_component, takes=frozenset({"prompt", "site", "position", "k"}), only={"target": None}),
    "head_scores": Recipe(_head_scores, takes=frozenset({"n_tokens", "n_sequences", "seed", "show"})),
}
