"""Plain sentences over which mean and resample ablation take their replacement values.

They are varied on purpose: a mean over one kind of text would keep what that text has in common.
"""

from __future__ import annotations

__all__ = ["REFERENCE_PROMPTS"]

REFERENCE_PROMPTS: tuple[str, ...] = (
    "The train left the station a few minutes after nine, and nobody waved.",
    "Water boils at a lower temperature on a mountain because the air is thinner there.",
    "She opened the letter, read it twice, and put it back into the drawer.",
    "Our survey covers three hundred households in the north of the country.",
    "To make the sauce, melt the butter slowly and stir in the flour.",
    "The committee will meet again on Thursday to vote on the new budget.",
    "A triangle with three equal sides also has three equal angles.",
    "He said that the old bridge had been closed since the flood in March.",
)
