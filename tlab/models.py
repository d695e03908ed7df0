"""What an experiment may know of a model: its sizes, its sites, its tokens.

Refuses: loading a model (`tlab.loading`) and running it (the engine).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from tlab.errors import UnusablePrompt, UnusableToken, shown
from tlab.plain import whole
from tlab.sites import site_names

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float
    from torch import Tensor

    from tlab.anatomy.parts import Anatomy

__all__ = ["Model"]

_NO_LIMIT = 2048  # of models whose configuration names no longest prompt: a length that a laptop can hold


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model with its tokenizer; experiments take it as their first argument and never change it.

    Args:
        name: what `load` was asked for.
        hf: Hugging Face's model. It can be run by itself and gives what it always gave.
        tokenizer: Hugging Face's tokenizer.
        anatomy: where the model's parts are.
        folder: where the weights lie, if they lie in a folder.
        step: of a toy model, after how many steps of training it is; `None` for the last one.

    """

    name: str
    hf: Any
    tokenizer: Any
    anatomy: Anatomy
    folder: Path | None = field(default=None)
    step: int | None = field(default=None)

    @property
    def family(self) -> str:
        """`decoder`, `encoder` or `encoder-decoder`."""
        return self.anatomy.family

    @property
    def n_layers(self) -> int:
        """Number of blocks; in an encoder-decoder those of the decoder."""
        return len(self.anatomy.decoder.blocks)

    @property
    def n_heads(self) -> int:
        """Number of query heads in each block."""
        return self.anatomy.decoder.blocks[0].attn.n_heads

    @property
    def n_kv_heads(self) -> int:
        """Number of key/value heads in each block; several query heads share one (grouped-query attention)."""
        config = self.hf.config
        if getattr(config, "multi_query", False) and not getattr(config, "new_decoder_architecture", False):
            return 1
        found = getattr(config, "num_key_value_heads", None) or getattr(config, "num_kv_heads", None)
        return int(found or self.n_heads)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.anatomy.decoder.blocks[0].attn.W_O.shape[-1])

    @property
    def d_head(self) -> int:
        """Width of one head."""
        return self.anatomy.decoder.blocks[0].attn.d_head

    @property
    def d_mlp(self) -> int:
        """Number of neurons in each MLP; 0 where there are none, or where they cannot be told apart."""
        mlp = self.anatomy.decoder.blocks[0].mlp
        return 0 if mlp is None or mlp.W_out is None else int(mlp.W_out.shape[0])

    @property
    def d_vocab(self) -> int:
        """Number of tokens that the model can read."""
        return int(self.W_E.shape[0])

    @property
    def n_ctx(self) -> int:
        """The longest prompt, in tokens."""
        config = self.hf.config
        names = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
        found = next((getattr(config, name) for name in names if getattr(config, name, None)), None)
        if found is None:
            return _NO_LIMIT
        # RoBERTa counts its positions from behind the padding token.
        return int(found) - (config.pad_token_id + 1 if config.model_type in {"roberta", "xlm-roberta"} else 0)

    @property
    def n_params(self) -> int:
        """Number of parameters, each shared one counted once."""
        return sum(parameter.numel() for parameter in self.hf.parameters())

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return self.anatomy.embed.weight.device  # type: ignore[return-value]

    @property
    def dtype(self) -> torch.dtype:
        """The parameters' kind of number."""
        return self.anatomy.embed.weight.dtype  # type: ignore[return-value]

    @cached_property
    def sites(self) -> tuple[str, ...]:
        """Every place where an experiment can read or write, in the order in which a prompt passes them."""
        return site_names(self.anatomy)

    @property
    def W_E(self) -> Float[Tensor, "d_vocab d_model"]:  # noqa: N802  the papers' name
        """The token embedding."""
        return self.anatomy.embed.weight  # type: ignore[return-value]

    @property
    def W_U(self) -> Float[Tensor, "d_model d_vocab"]:  # noqa: N802
        """The unembedding.

        Raises:
            UnusablePrompt: the model predicts no tokens.

        """
        self.check_predicts()
        return self.anatomy.unembed.linear.weight.T  # type: ignore[union-attr,return-value]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all weights, their names and shapes: the same on every machine.

        Cost: about half a second for 500 MB.
        """
        digest = hashlib.sha256()
        for name, tensor in sorted(self.hf.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
        return digest.hexdigest()

    def check_predicts(self) -> None:
        """Return quietly if the model predicts tokens.

        Raises:
            UnusablePrompt: it is an encoder without such a head.

        """
        if self.anatomy.unembed is None:
            raise UnusablePrompt(
                f"nothing to predict: expected a model that predicts tokens, got the encoder {shown(self.name)}; "
                f"read its stream with capture, or take a model such as 'smollm2-135m'"
            )

    def to_ids(self, prompt: str, *, cut: bool = False) -> Tensor:
        """Return the prompt's token ids.

        For a decoder nothing is put in front of the text; an encoder gets the marks that it was trained with.

        Args:
            prompt: the text.
            cut: whether a prompt that exceeds the context is cut down to it instead of refused.

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
        marks = self.family != "decoder"
        ids = self.tokenizer(prompt, return_tensors="pt", add_special_tokens=marks)["input_ids"][0]
        if cut:
            ids = ids[: self.n_ctx]
        if len(ids) > self.n_ctx:
            raise UnusablePrompt(
                f"prompt too long: expected at most {self.n_ctx} tokens, got {len(ids)}; shorten the text"
            )
        if len(ids) == 0:
            raise UnusablePrompt(
                f"prompt unusable: expected a text of at least one token, got {shown(prompt)}, "
                f"of which the tokenizer keeps nothing; write a word"
            )
        return ids.to(self.device)  # type: ignore[no-any-return]

    def answer_position(self, ids: Tensor) -> int:
        """Return the position at which the model answers, counted from 0: the last one, in an encoder its first mask.

        Shapes:
            ids: `pos`

        Raises:
            UnusablePrompt: the model is an encoder, and no token is its mask.

        """
        if self.family != "encoder":
            return len(ids) - 1
        masks = (ids == self.tokenizer.mask_token_id).nonzero()
        if len(masks) == 0:
            raise UnusablePrompt(
                f"prompt unusable: expected a text with {self.tokenizer.mask_token}, whose place the encoder fills, "
                f"got none; write it where a word is to be guessed"
            )
        return int(masks[0])

    def to_tokens(self, prompt: str) -> list[str]:
        """Return the prompt cut into tokens, each as the text that it stands for."""
        return [self.to_text(int(token_id)) for token_id in self.to_ids(prompt)]

    def to_text(self, token_id: int) -> str:
        """Return the text of one token."""
        return str(self.tokenizer.decode([token_id]))

    def to_id(self, token: str | int) -> int:
        """Return the id of a token that is given as text or as id.

        Raises:
            UnusableToken: the text is not exactly one token, or the id lies outside the vocabulary.

        """
        number = whole(token)
        if number is not None:
            if 0 <= number < self.d_vocab:
                return number
            raise UnusableToken(
                f"token unusable: expected an id from 0 to {self.d_vocab - 1}, got {shown(token)}; "
                f"see model.to_ids for a text's ids"
            )
        if not isinstance(token, str) or not token:
            raise UnusableToken(f"token unusable: expected a text or an id, got {shown(token)}; write ' Paris'")
        ids = self.tokenizer(token, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            first = f"; its first is {self.to_text(ids[0])!r} (a leading space counts)" if ids else "; write another"
            raise UnusableToken(f"token unusable: expected exactly one token, got {len(ids)} in {shown(token)}{first}")
        return int(ids[0])

    def __repr__(self) -> str:
        return (
            f"Model({self.name!r}: {self.n_layers} layers, {self.n_heads} heads, d_model {self.d_model}, "
            f"{self.n_params:,} parameters)"
        )
