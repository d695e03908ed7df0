"""Small random models of every architecture, each beside plain Hugging Face, and the pretrained one among them."""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING

import pytest
import torch
import transformers
import zoo
from architectures import REFUSED
from programs import Numbers, trace_small
from transformers import AutoModelForCausalLM, PreTrainedModel

import tlab
from tlab import weights
from tlab.catalogue import CATALOGUE
from tlab.engine import Inputs
from tlab.loading import dissect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor

    from tlab import Model

_TINY = ("llama-grouped", "llama", "llama-one-key", "gpt2")
_PRETRAINED = "smollm2-135m"
_KEPT = tuple(name for name in zoo.SPECIMENS if name not in REFUSED)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute in one thread: beside other work, threads that wait for each other take ten times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def _quiet_transformers() -> Iterator[None]:
    """Draw no bars of progress while small models are written and read."""
    transformers.utils.logging.disable_progress_bar()
    yield
    transformers.utils.logging.enable_progress_bar()


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write one random model of each small architecture, with a tokenizer that has one token a byte."""
    return {name: zoo.write(name, tmp_path_factory.mktemp(name)) for name in _TINY}


@pytest.fixture(scope="session")
def llama(tiny_folders: dict[str, Path]) -> Model:
    """Load the small model with grouped-query attention."""
    return tlab.load(str(tiny_folders["llama-grouped"]))


@pytest.fixture(scope="session", params=_TINY)
def tiny(request: pytest.FixtureRequest, tiny_folders: dict[str, Path]) -> Model:
    """Load each small model in turn."""
    return tlab.load(str(tiny_folders[request.param]))


@pytest.fixture(scope="session", params=[*_TINY, pytest.param(_PRETRAINED, marks=pytest.mark.slow)])
def architecture(request: pytest.FixtureRequest) -> str:
    """Name each model in turn, the pretrained one last."""
    return str(request.param)


@pytest.fixture(scope="session")
def subject(architecture: str, request: pytest.FixtureRequest) -> Model:
    """Load the model under test through tlab."""
    if architecture == _PRETRAINED:
        loaded: Model = request.getfixturevalue("model")
        return loaded
    return tlab.load(str(request.getfixturevalue("tiny_folders")[architecture]))


@pytest.fixture(scope="session")
def plain(architecture: str, subject: Model, request: pytest.FixtureRequest) -> PreTrainedModel:
    """Load the same weights with Hugging Face alone: the oracle. `subject` comes first, since it fills the cache."""
    assert subject.n_layers > 0
    if architecture == _PRETRAINED:
        folder = weights.cache_folder(CATALOGUE[_PRETRAINED])
    else:
        folder = request.getfixturevalue("tiny_folders")[architecture]
    with weights.quiet_transformers():
        oracle: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, attn_implementation="eager", dtype=torch.float32
        )
    return oracle.eval()


@pytest.fixture(scope="session")
def dissected() -> Callable[..., Model]:
    """Return a function from a specimen's name (and dtype) to the model that tlab makes of it, built once."""

    @functools.cache
    def of(name: str, dtype: torch.dtype = torch.float32) -> Model:
        return dissect(name, _built(name, dtype), zoo.byte_tokenizer(zoo.SPECIMENS[name].family))

    return of


@pytest.fixture(scope="session")
def untouched() -> Callable[..., PreTrainedModel]:
    """Return a function from a specimen's name (and dtype) to Hugging Face's model, which tlab never sees."""
    return functools.cache(_built)


def _built(name: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    # A copy with a config of its own: the zoo's models of one name share theirs, in which tlab names its attention.
    return copy.deepcopy(zoo.build(name, dtype=dtype))


@pytest.fixture(params=_KEPT)
def specimen(request: pytest.FixtureRequest) -> str:
    """Name each architecture of the zoo that tlab takes."""
    return str(request.param)


@pytest.fixture(params=REFUSED)
def refused(request: pytest.FixtureRequest) -> str:
    """Name each architecture of the zoo that tlab does not take."""
    return str(request.param)


@pytest.fixture(scope="session")
def prompted() -> Callable[..., Inputs]:
    """Return a function from a specimen's name to random inputs for it."""

    def of(name: str, *, n_rows: int = 2, n_pos: int = 12, seed: int = 0) -> Inputs:
        dice = torch.Generator().manual_seed(seed)

        def ids(length: int) -> Tensor:
            # No special tokens: RoBERTa counts its positions from the padding.
            return torch.randint(4, 256, (n_rows, length), generator=dice)

        if zoo.SPECIMENS[name].family == "encoder-decoder":
            source = ids(n_pos)
            return Inputs(ids(n_pos - 3), source=source)
        return Inputs(ids(n_pos))

    return of


@pytest.fixture(scope="session")
def small(tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    """Return a function from a specimen's name to the model that tlab loads from its folder, loaded once."""

    @functools.cache
    def of(name: str) -> Model:
        folder = tiny_folders.get(name)
        return tlab.load(str(folder or zoo.write(name, tmp_path_factory.mktemp(name))))

    return of


@pytest.fixture(scope="module")
def traced(
    request: pytest.FixtureRequest, small: Callable[[str], Model], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Numbers]:
    """Run all of nnsight's programs for the small models in a file of parity tests, in one process."""
    return trace_small(request.module.CASES, small, tmp_path_factory.mktemp("programs"))
