"""Tokenizers of the toys: one token a word, or one a character; both load as Hugging Face's fast tokenizers.

Refuses: learning a vocabulary. It is given as a list, in the order of the ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["END", "PADDING", "UNKNOWN", "character_tokenizer", "word_tokenizer"]

UNKNOWN = "<unk>"
PADDING = "<pad>"
END = "</s>"


def word_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer that cuts a text at its spaces; `<unk>`, for every other word, has the last id.

    Invariants:
        Decoding what was encoded gives the known words back, with one space between two.

    """
    vocabulary = {word: index for index, word in enumerate([*words, UNKNOWN])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=UNKNOWN)


def character_tokenizer(characters: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token a character that ends every text with `</s>`.

    `<pad>`, `</s>` and `<unk>` have the first three ids.

    Invariants:
        Decoding what was encoded, without the special tokens, gives the text back.

    """
    special = [PADDING, END, UNKNOWN]
    vocabulary = {piece: index for index, piece in enumerate([*special, *characters])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in special])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, vocabulary[END])]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PADDING, eos_token=END, unk_token=UNKNOWN)
