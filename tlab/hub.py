"""Asking Hugging Face whether a model id exists, with one quick request, before a loader retries for half a minute.

The only module that talks to the hub by itself. Refuses: downloading.
"""

from __future__ import annotations

import difflib
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from httpx2 import HTTPError
from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled, RepositoryNotFoundError

from tlab.errors import UnknownModel, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["check_id", "n_parameters"]

_TIMEOUT_S = 10
_NEARLY_THE_SAME = 0.8
_FLOAT32_BYTES = 4


def check_id(name: str, *, known: Sequence[str]) -> None:
    """Return quietly if `name` is an id that is cached or that Hugging Face knows.

    Raises:
        UnknownModel: it is not, or the hub cannot be reached.

    """
    # With an owner in front it is an id, however much its second half resembles a short name.
    near = difflib.get_close_matches(name, known, n=1, cutoff=_NEARLY_THE_SAME) if "/" not in name else []
    if near:
        raise _unknown(name, known, f"did you mean {near[0]!r}?")
    try:
        if isinstance(try_to_load_from_cache(name, "config.json"), str):
            return
        HfApi().model_info(name, timeout=_TIMEOUT_S)
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise _unknown(name, known, "no model has this id; check the spelling") from error
    except OfflineModeIsEnabled as error:
        raise _unknown(name, known, "Hugging Face's offline mode is on and this id is not cached") from error
    except (HTTPError, OSError) as error:
        raise _unknown(name, known, "Hugging Face cannot be reached to look up an id; use one of the former") from error
    except ValueError as error:  # an answer that is no JSON: something between here and the hub
        raise _unknown(
            name, known, "Hugging Face did not answer, but something in its place; use one of the former"
        ) from error


def n_parameters(name: str) -> int | None:
    """Return the number of parameters that the hub announces for an id; `None` if it does not, or is out of reach.

    Where it announces none, the size of pickled weights says it nearly, or less if they are in a narrow dtype.
    """
    try:
        found = HfApi().model_info(name, timeout=_TIMEOUT_S, files_metadata=True)
    except (HFValidationError, RepositoryNotFoundError, OfflineModeIsEnabled, HTTPError, OSError, ValueError):
        return None
    if found.safetensors is not None:
        return int(found.safetensors.total)
    pickled = [one.size or 0 for one in found.siblings or () if fnmatch(one.rfilename, "pytorch_model*.bin")]
    return sum(pickled) // _FLOAT32_BYTES or None


def _unknown(name: str, known: Sequence[str], repair: str) -> UnknownModel:
    names = " or ".join(repr(one) for one in known)
    return UnknownModel(f"model unknown: expected {names}, a folder, or a Hugging Face id, got {shown(name)}; {repair}")
