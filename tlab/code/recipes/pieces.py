"""Pieces of programs that several recipes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlab.code.script import Chunk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.code.dialects.dialect import Dialect
    from tlab.code.request import Request

__all__ = [
    "LARGEST",
    "every_layer",
    "ids_line",
    "outcome",
    "pair_chunk",
    "printed",
    "prompt_chunk",
    "prompts_chunk",
    "roles",
    "roles_named",
    "three_values",
    "top_tokens",
]

# The entry of `table` that is furthest from zero.
LARGEST = "float(table.flatten()[table.abs().argmax()])"


def ids_line(variable: str, text: str, say: Dialect) -> str:
    """Return the line that turns a text, given as an expression, into token ids."""
    return f'{variable} = {say.tokenizer}({text}, return_tensors="pt", add_special_tokens=False)["input_ids"]'


def prompt_chunk(prompt: str, say: Dialect) -> Chunk:
    """Return the prompt and its ids."""
    return Chunk("The prompt as token ids: [batch pos].", [f"prompt = {prompt!r}", ids_line("ids", "prompt", say)])


def prompts_chunk(prompts: dict[str, str], comment: str, say: Dialect) -> Chunk:
    """Return several prompts, each with its ids: `clean` and `clean_ids`."""
    lines = [f"{name} = {text!r}" for name, text in prompts.items()]
    lines += [ids_line(f"{name}_ids", name, say) for name in prompts]
    return Chunk(comment, lines)


def pair_chunk(ask: Request, say: Dialect) -> Chunk:
    """Return the clean and the corrupted prompt and their ids."""
    prompts = {"clean": ask.text("clean"), "corrupted": ask.text("corrupted")}
    return prompts_chunk(prompts, "Two prompts of the same length in tokens: [batch pos].", say)


def roles(ask: Request, default: str) -> tuple[str, str]:
    """Return which of the two runs is changed, and which one gives the values."""
    direction = ask.choice("direction", ("denoise", "noise"), default)
    return ("corrupted", "clean") if direction == "denoise" else ("clean", "corrupted")


def roles_named(base: str) -> str:
    """Return the line that gives the logits of the two roles the prompts' names as well."""
    given = ("base", "source") if base == "clean" else ("source", "base")
    return f"clean_logits, corrupted_logits = {', '.join(given)}"


def three_values(ask: Request) -> list[Chunk]:
    """Return the metric in both runs and in the patched one, and the end of the program."""
    lines = ["table = [float(metric(logits)) for logits in (clean_logits, corrupted_logits, patched)]"]
    if getattr(ask.value("metric"), "kind", None) == "loss":
        # Each run is asked for its own next tokens.
        lines = [
            "runs = (clean_logits, clean_ids), (corrupted_logits, corrupted_ids), (patched, base_ids)",
            "table = [float(metric(logits, ids)) for logits, ids in runs]",
        ]
    return [
        Chunk("The clean run, the corrupted run, and the patched one.", [*lines, "print(table)"]),
        printed("table[2]"),
    ]


def printed(answer: str, comment: str = "") -> Chunk:
    """Return the end of a program."""
    return Chunk(comment, [f"answer = {answer}", "print(answer)"])


def every_layer(say: Dialect) -> str:
    """Return the expression for all layers."""
    return f"range({say.layout.n_layers})"


def top_tokens(scores: str, k: int, say: Dialect, value: str = "score") -> Sequence[str]:
    """Return a loop that prints the highest of `scores` with their tokens."""
    return [
        f"for {value}, token in zip(*{scores}.topk({k})):",
        f'    print(f"{{float({value}):.4f}}", repr({say.tokenizer}.decode([int(token)])))',
    ]


def outcome(before: str, after: str) -> list[Chunk]:
    """Return the comparison of two runs by `token`'s probability, and the end of the program."""
    return [
        Chunk(
            "The token's probability before and after, and how far the whole prediction moved (KL, in nats).",
            [
                f"before, after = {before}[-1].log_softmax(-1), {after}[-1].log_softmax(-1)",
                "kl = float((before.exp() * (before - after)).sum())",
                "table = [float(before[token].exp()), float(after[token].exp()), kl]",
                "print(table)",
            ],
        ),
        printed("table[1] - table[0]", "What the token's probability gained or lost."),
    ]
