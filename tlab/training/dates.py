"""`toy-dates`: an encoder and a decoder that turn written dates into ISO dates.

Owns the ways in which dates are written, the split, the configuration, the training and the exact-match measure.
Refuses: dates that countries read differently (numbers with points are day first everywhere, numbers with slashes are
written year first), and years of two digits.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import torch
from transformers import T5Config, T5ForConditionalGeneration

from tlab.training.fitting import Plan, fit, seeded
from tlab.training.recording import Trained
from tlab.training.vocabulary import character_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

__all__ = ["CHARACTERS", "FORMATS", "PLAN", "Example", "draw", "encoded", "exact_matches", "split", "train", "written"]

FORMATS = (
    "{day} {month} {year}",
    "{day} {mon} {year}",
    "{day2} {mon} {year}",
    "{day}-{mon}-{year}",
    "{ordinal} {month} {year}",
    "{ordinal} of {month} {year}",
    "the {ordinal} of {month}, {year}",
    "{month} {day}, {year}",
    "{month} {ordinal}, {year}",
    "{mon} {day}, {year}",
    "{weekday} {day} {month} {year}",
    "{weekday}, {month} {day}, {year}",
    "{wday}, {day} {mon} {year}",
    "{wday}, {ordinal} of {month} {year}",
    "{day}.{number}.{year}",
    "{day2}.{number2}.{year}",
    "{year}/{number2}/{day2}",
)
CHARACTERS = tuple(" '+,-./0123456789:ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

PLAN = Plan(
    steps=1500,
    learning_rate=3e-3,
    weight_decay=0.01,
    warmup_steps=100,
    final_fraction=0.5,
    measured_every=25,
)

_BATCH = 64
_MEASURED = 256
# Written out: Python's own names of months follow the reader's locale.
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_FIRST, _LAST = dt.date(1900, 1, 1), dt.date(2099, 12, 31)
_HELD_OUT = 0.1
_LOWER_CASE = 0.1


class Example(NamedTuple):
    """A date as it is written, and as it should come out."""

    text: str
    iso: str


def written(date: dt.date, template: str) -> str:
    """Return a date in one of the `FORMATS`."""
    day, month = date.day, _MONTHS[date.month - 1]
    weekday = _WEEKDAYS[date.weekday()]
    ending = "th" if day in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return template.format(
        day=day,
        day2=f"{day:02}",
        ordinal=f"{day}{ending}",
        month=month,
        mon=month[:3],
        number=date.month,
        number2=f"{date.month:02}",
        weekday=weekday,
        wday=weekday[:3],
        year=date.year,
    )


def split(generator: torch.Generator) -> tuple[list[dt.date], list[dt.date]]:
    """Return the days that training may show, and the tenth of all days that it never does, in any format."""
    days = [_FIRST + dt.timedelta(days=count) for count in range((_LAST - _FIRST).days + 1)]
    order = torch.randperm(len(days), generator=generator).tolist()
    n_hidden = int(_HELD_OUT * len(days))
    return [days[index] for index in order[n_hidden:]], [days[index] for index in order[:n_hidden]]


def draw(n: int, days: Sequence[dt.date], generator: torch.Generator) -> list[Example]:
    """Draw `n` examples: any of the days in any format, one in ten in lower case."""
    which = torch.randint(len(days), (n,), generator=generator).tolist()
    how = torch.randint(len(FORMATS), (n,), generator=generator).tolist()
    lower = (torch.rand(n, generator=generator) < _LOWER_CASE).tolist()
    examples = []
    for day, template, is_lower in zip(which, how, lower, strict=True):
        text = written(days[day], FORMATS[template])
        examples.append(Example(text.lower() if is_lower else text, days[day].isoformat()))
    return examples


def encoded(tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example]) -> dict[str, Tensor]:
    """Return a batch as the model takes it: padded ids of the texts, their mask, and the labels."""
    texts = tokenizer([example.text for example in examples], padding=True, return_tensors="pt")
    labels = tokenizer([example.iso for example in examples], return_tensors="pt")
    return {
        "input_ids": texts["input_ids"],
        "attention_mask": texts["attention_mask"],
        "labels": labels["input_ids"],
    }


def exact_matches(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example]
) -> list[bool]:
    """Return for each example whether the likeliest characters, one after the other, spell the right date."""
    batch = encoded(tokenizer, examples)
    ids = model.generate(  # type: ignore[operator]  # to the checker, what a module's class lacks is a tensor
        batch["input_ids"],
        attention_mask=batch["attention_mask"],
        max_new_tokens=batch["labels"].shape[1],
        do_sample=False,
    )
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return [text == example.iso for text, example in zip(texts, examples, strict=True)]


def train(*, steps: int | None = None, seed: int = 0, report: Callable[[int, float], None] | None = None) -> Trained:
    """Train on dates in seventeen ways of writing; a tenth of all days from 1900 to 2099 is never shown.

    Cost: 0.1 s a step on one core, measuring included; 1,500 steps take 3 minutes.

    Source:
        Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text transformer" (2019),
        arXiv:1910.10683, for the architecture: ours is T5 with two layers a side.

    """
    tokenizer = character_tokenizer(CHARACTERS)
    with seeded(seed) as generator:
        shown, hidden = split(generator)
        held_out = draw(_MEASURED, hidden, generator)
        model: PreTrainedModel = T5ForConditionalGeneration(_configuration(len(tokenizer)))

        def loss() -> Tensor:
            value: Tensor = model(**encoded(tokenizer, draw(_BATCH, shown, generator))).loss
            return value

        fitted = fit(model, loss, PLAN, steps=steps, report=report)
    rows = []
    for step, weights in fitted.history.items():
        model.load_state_dict(weights, strict=False)
        matches = exact_matches(model, tokenizer, held_out)
        rows.append({"step": step, **_teacher_forced(model, encoded(tokenizer, held_out)), "exact": _mean(matches)})
    return Trained(
        name="toy-dates",
        parts=(model, tokenizer),
        plan=PLAN,
        seed=seed,
        settings={
            "batch": _BATCH,
            "first_day": _FIRST.isoformat(),
            "last_day": _LAST.isoformat(),
            "held_out_days": len(hidden),
            "measured_on": _MEASURED,
            "formats": list(FORMATS),
        },
        watched="exact",
        frame=pd.DataFrame(rows),
        fitted=fitted,
    )


def _teacher_forced(model: PreTrainedModel, batch: dict[str, Tensor]) -> dict[str, float]:
    """Return the loss in nats and the share of right characters, each predicted after the right ones before it."""
    outputs = model(**batch)
    right = outputs.logits.detach().argmax(dim=-1) == batch["labels"]
    return {"loss": float(outputs.loss.detach()), "characters": float(right.double().mean())}


def _mean(matches: Sequence[bool]) -> float:
    return sum(matches) / len(matches)


def _configuration(d_vocab: int) -> T5Config:
    return T5Config(  # type: ignore[call-arg]  # it takes more than the fields that it declares
        vocab_size=d_vocab,
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        relative_attention_num_buckets=32,
        relative_attention_max_distance=64,
        dropout_rate=0.0,
        feed_forward_proj="relu",
        pad_token_id=0,
        decoder_start_token_id=0,
        eos_token_id=1,
    )
