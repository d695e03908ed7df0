"""The prompts that the Lab offers, each with its corrupted partner and two texts to steer between.

They were chosen by what SmolLM2-135M does with them: in each pair, both prompts have as many tokens, and the answer is
another. Refuses: running anything.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROMPTS", "LabPrompt"]


@dataclass(frozen=True)
class LabPrompt:
    """One prompt of the Lab.

    Args:
        name: of its frozen file.
        subject: what it is about, in words.
        prompt: the clean prompt.
        corrupted: its partner, which differs in what matters for the answer.
        toward: what steering leads to.
        away: and where from.
        layer: the block after which steering does something that can be read in the text.
        scale: of the push: directions of the unembedding are far shorter than the stream.

    """

    name: str
    subject: str
    prompt: str
    corrupted: str
    toward: str
    away: str
    layer: int
    scale: int = 1


PROMPTS = (
    LabPrompt(
        name="capital",
        subject="recalling a fact",
        prompt="The capital of France is",
        corrupted="The capital of Italy is",
        toward=" Rome",
        away=" Paris",
        layer=22,
        scale=20,
    ),
    LabPrompt(
        name="names",
        subject="finding who is meant",
        prompt="When Mary and John met, John waved to",
        corrupted="When Mary and John met, Mary waved to",
        toward=" John",
        away=" Mary",
        layer=22,
        scale=20,
    ),
    LabPrompt(
        name="repetition",
        subject="repeating what was said before",
        prompt="The cat sat on the mat. The cat sat on the",
        corrupted="The cat sat on the bed. The cat sat on the",
        toward=" bed",
        away=" mat",
        layer=22,
        scale=20,
    ),
    LabPrompt(
        name="agreement",
        subject="agreeing in number over other words",
        prompt="The keys to the cabinet",
        corrupted="The key to the cabinet",
        toward="The key to the cabinet",
        away="The keys to the cabinet",
        layer=22,
    ),
    LabPrompt(
        name="counting",
        subject="going on with a sequence",
        prompt="one, two, three,",
        corrupted="five, six, seven,",
        toward="five, six, seven,",
        away="one, two, three,",
        layer=22,
    ),
    LabPrompt(
        name="opinion",
        subject="an opinion, and steering it",
        prompt="The food was wonderful and the service was",
        corrupted="The food was terrible and the service was",
        toward="I hate this",
        away="I love this",
        layer=16,
    ),
)
