"""Texts to train on without the internet: English prose that every Python brings along.

Refuses: running a model.
"""

from __future__ import annotations

__all__ = ["sample_texts"]

_PASSAGE_CHARACTERS = 1200


def sample_texts() -> tuple[str, ...]:
    """Return English prose that every Python brings along: the help topics of its language reference.

    They are technical texts about one programming language, and a small corpus: on Python 3.11 some 350 passages with
    113,000 of SmolLM2's tokens in all. Features that are learnt from them are features of such texts. What they say
    differs a little from one version of Python to the next. Bring texts of your own where you have them.

    Returns:
        passages of about 1,200 characters, in the order of the topics' names.

    Source:
        `pydoc_data.topics` of the standard library, under the Python Software Foundation's licence.

    """
    from pydoc_data.topics import topics  # noqa: PLC0415  half a megabyte that few readers need

    passages: list[str] = []
    for name in sorted(topics):
        passage = ""
        for paragraph in topics[name].split("\n\n"):
            passage = f"{passage}\n\n{paragraph}" if passage else paragraph
            if len(passage) > _PASSAGE_CHARACTERS:
                passages.append(passage)
                passage = ""
        if passage.strip():
            passages.append(passage)
    return tuple(passages)
