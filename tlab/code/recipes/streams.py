"""Pieces of the programs about circuits: runs that note every word, heads that read streams of their own, some edges.

Refuses: models whose attention scores are made otherwise than from queries, keys and the width of a head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlab.code.dialects.dialect import Keep, Place, indented
from tlab.code.recipes.pieces import every_layer
from tlab.code.script import Chunk
from tlab.errors import UnknownOption

if TYPE_CHECKING:
    from tlab.code.dialects.dialect import Dialect
    from tlab.code.layout import Layout

__all__ = ["heads", "reading", "running"]


def reading(say: Dialect, *, has_streams: bool) -> Chunk:
    """Return the runs of all prompts, in which what the parts write is noted.

    Args:
        say: the dialect.
        has_streams: whether what the parts read is noted as well.

    """
    each = every_layer(say)
    keep = [Keep("zs", Place("attn.z", "layer", each)), Keep("mlps", Place("mlp.out", "layer", each))]
    noted = "what the heads found, [layer pos head d_head], and what the MLPs wrote, [layer pos d_model]."
    if has_streams:
        streams = [Keep("pres", Place("resid_pre", "layer", each)), Keep("mids", Place("resid_mid", "layer", each))]
        keep = [streams[0], keep[0], streams[1], keep[1]]
        says = f"Every prompt by itself: the streams that heads and MLPs read,\n{noted}"
    else:
        keep = [Keep("embedded", Place("resid_pre", "0")), *keep]
        says = f"Every prompt by itself: its embedding, [pos d_model],\n{noted}"
    values = ['"logits": logits']
    values += ['"embedded": pres[0][0]'] if has_streams else ['"embedded": embedded[0]']
    values += [f'"{one.variable}": torch.cat({one.variable})' for one in keep if one.place.each]
    return Chunk(
        says,
        [
            "def read(ids):",
            *indented(say.run("logits", "ids", keep=keep)),
            "    return {",
            *indented([f"{value}," for value in values], 2),
            "    }",
            "",
            "clean_runs = [read(ids[None]) for ids in clean_ids]",
            "corrupted_runs = [read(ids[None]) for ids in corrupted_ids]",
        ],
    )


def heads(say: Dialect) -> list[Chunk]:
    """Return a function that runs a layer's heads on streams that differ from head to head, and what it needs.

    Raises:
        UnknownOption: the model makes its scores in another way.

    """
    layout = say.layout
    if not layout.has_plain_scores:
        raise UnknownOption(
            f"code refused: expected attention scores divided by the root of the head's width, got others in this "
            f"{layout.architecture}; run the experiment without code"
        )
    made: list[str] = []
    for port, step in enumerate("qkv"):
        made += say.projected({"q": "query", "k": "key", "v": "value"}[step], step, "layer", f"streams[:, {port}]")
    n_shared = layout.n_heads // layout.n_kv_heads
    shared = [
        "# Several heads share keys and values; here each gets its own.",
        f"key, value = (tensor.repeat_interleave({n_shared}, dim=2) for tensor in (key, value))",
    ]
    every_head = say.head_output("layer", ":").removesuffix("[:]")
    norms = [(name, say.head_norm(step, "layer")) for name, step in (("query", "q"), ("key", "k"))]
    return [
        *_turning(say),
        Chunk(
            "What each head of a layer may see, and how it writes to the stream: [head d_head d_model].",
            [*_hidden(layout), f"writing = [{every_head} for layer in range(n_layers)]"],
        ),
        Chunk(
            "A layer's heads, when the queries, keys and values of each read a stream of their own:\n"
            "streams are [head qkv pos d_model], what the heads find is [pos head d_head].",
            [
                "def attend(layer, streams):",
                *indented(dict.fromkeys(made)),
                *indented(shared if n_shared > 1 else []),
                "    # Each stream was projected for every head: of these, take the head that reads it.",
                '    query, key, value = (torch.einsum("hphd->hpd", tensor) for tensor in (query, key, value))',
                *(f"    {name} = {norm}({name})" for name, norm in norms if norm is not None),
                *indented(_turned(layout)),
                f"    scores = query @ key.transpose(-1, -2) * {layout.d_head}**-0.5",
                f"    pattern = scores.masked_fill({_hidden_here(layout)}, -torch.inf).softmax(-1)",
                "    return (pattern @ value).transpose(0, 1)",
            ],
        ),
    ]


def _turning(say: Dialect) -> list[Chunk]:
    rotation = say.rotation()
    if rotation is None or not any(say.layout.is_turned):
        return []
    return [
        Chunk(
            "Rotary embedding: queries and keys are turned by angles that grow with the position.",
            [
                "positions = torch.arange(clean_ids.shape[1])[None]",
                f'cos, sin = (wave[0] for wave in {rotation}(clean_runs[0]["embedded"], positions))',
                "",
                "def turned(vectors):",
                "    first, second = vectors.chunk(2, dim=-1)",
                "    return vectors * cos + torch.cat([-second, first], dim=-1) * sin",
            ],
        )
    ]


def _turned(layout: Layout) -> list[str]:
    if not any(layout.is_turned):
        return []
    line = "query, key = turned(query), turned(key)"
    if all(layout.is_turned):
        return [line]
    return [f"if layer not in {[layer for layer, is_so in enumerate(layout.is_turned) if not is_so]}:", f"    {line}"]


def _hidden(layout: Layout) -> list[str]:
    """Return the lines that say what no head sees: what comes later, and what lies too far back."""
    lines = [
        "n_pos = clean_ids.shape[1]",
        "is_hidden = torch.ones(n_pos, n_pos, dtype=torch.bool).triu(1)  # [dest_pos src_pos]",
    ]
    widths = {width for width in layout.windows if width is not None}
    if not widths:
        return lines
    far = f"torch.ones(n_pos, n_pos, dtype=torch.bool).tril(-{min(widths)})"
    if None not in layout.windows:
        return [*lines, f"is_hidden |= {far}  # too far back"]
    return [*lines, f"is_far = is_hidden | {far}"]


def _hidden_here(layout: Layout) -> str:
    near = [layer for layer, width in enumerate(layout.windows) if width is not None]
    is_mixed = bool(near) and len(near) < layout.n_layers
    return f"is_far if layer in {near} else is_hidden" if is_mixed else "is_hidden"


def running(say: Dialect) -> list[Chunk]:
    """Return a function that runs some edges, and one that measures them."""
    return [
        Chunk(
            "A circuit: its edges carry what their writers say now, all others what they say in the corrupted run.\n"
            "Part by part, what is said otherwise than in the corrupted run: [writer pos d_model].",
            [
                "def run(edges, pair):",
                "    base = corrupted_runs[pair]",
                '    changes = base["mlps"].new_zeros(len(writers), *base["embedded"].shape)',
                '    changes[0] = clean_runs[pair]["embedded"] - base["embedded"]',
                "    edges = edges.to(changes)",
                "    for layer in range(n_layers):",
                "        reader, writer = layer * (3 * n_heads + 1), 1 + layer * (n_heads + 1)",
                "        ports = edges[:, reader : reader + 3 * n_heads].unflatten(1, (n_heads, 3))",
                '        shifts = torch.einsum("whr,wpd->hrpd", ports, changes)',
                "        hears = shifts.flatten(1).any(1)  # a head that hears nothing new says nothing new",
                "        if hears.any():",
                '            found = attend(layer, base["pres"][layer] + shifts) - base["zs"][layer]',
                '            said = torch.einsum("phe,hed->hpd", found, writing[layer])',
                "            changes[writer : writer + n_heads][hears] = said[hears]",
                '        shift = torch.einsum("w,wpd->pd", edges[:, reader + 3 * n_heads], changes)',
                "        if shift.any():",
                *indented(say.thought("said", "layer", '(base["mids"][layer] + shift)[None]'), 3),
                '            changes[writer + n_heads] = said[0] - base["mlps"][layer]',
                '    end = base["mids"][-1] + base["mlps"][-1] + torch.einsum("w,wpd->pd", edges[:, -1], changes)',
                f"    return {say.unembedding()}({say.final_norm()}(end[None]))[0]",
            ],
        ),
        Chunk(
            "The metric with some edges alone, for each pair of prompts.",
            [
                "def measured(edges):",
                "    return torch.stack([metric(run(edges, pair), pair) for pair in range(len(clean))])",
            ],
        ),
    ]
