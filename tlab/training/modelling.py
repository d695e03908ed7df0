"""The architecture of the project's toy decoders: a few attention layers, with or without MLPs and norms.

Written in Hugging Face's manner, so that whatever reads their models reads these. Refuses: caches for generation, and
any registration with the Auto classes; a folder of weights is loaded with the class by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.generic import can_return_tuple
from transformers.utils.output_capturing import capture_outputs

from tlab.errors import UnknownOption, shown

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

__all__ = ["ToyConfig", "ToyForCausalLM", "ToyModel", "eager_attention_forward"]


class ToyConfig(PreTrainedConfig):
    """What a toy decoder is made of, under Hugging Face's names.

    Our `intermediate_size=None` means a model without MLPs ("attention-only"); `norm_type` is `"none"` or
    `"layernorm"`. Positions are learned and added to the embedding; the unembedding is a matrix of its own.
    """

    model_type = "tlab-toy"

    vocab_size: int = 64
    hidden_size: int = 64
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    head_dim: int = 16
    intermediate_size: int | None = None
    hidden_act: str = "relu"
    norm_type: str = "none"
    layer_norm_eps: float = 1e-5
    max_position_embeddings: int = 64
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False
    use_cache: bool = False
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401
        """Refuse a norm that no layer knows."""
        if self.norm_type not in {"none", "layernorm"}:
            raise UnknownOption(
                f"norm_type refused: expected 'none' or 'layernorm', got {shown(self.norm_type)} at ToyConfig; "
                f"use 'none' for a residual stream that is read as it is"
            )
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]


def eager_attention_forward(
    module: nn.Module,  # noqa: ARG001  part of the interface
    query: Float[Tensor, "batch head pos d_head"],
    key: Float[Tensor, "batch head pos d_head"],
    value: Float[Tensor, "batch head pos d_head"],
    attention_mask: Tensor | None,
    *,
    scaling: float,
    **_: Any,  # noqa: ANN401  the interface passes whatever its caller was given
) -> tuple[Tensor, Tensor]:
    """Attend with plain matrix products: what runs when no faster or observed way is asked for by name."""
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    pattern = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    return (pattern @ value).transpose(1, 2).contiguous(), pattern


class _Attention(nn.Module):
    def __init__(self, config: ToyConfig, layer_idx: int) -> None:
        super().__init__()
        width = config.num_attention_heads * config.head_dim
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.head_dim
        self.num_key_value_groups = 1
        self.scaling = config.head_dim**-0.5
        self.is_causal = True
        self.q_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=False)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> tuple[Tensor, Tensor | None]:
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        query = self.q_proj(hidden_states).view(shape).transpose(1, 2)
        key = self.k_proj(hidden_states).view(shape).transpose(1, 2)
        value = self.v_proj(hidden_states).view(shape).transpose(1, 2)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)  # noqa: SLF001
        mixed, pattern = attend(self, query, key, value, attention_mask, dropout=0.0, scaling=self.scaling, **kwargs)
        return self.o_proj(mixed.reshape(*hidden_states.shape[:-1], -1).contiguous()), pattern


class _Mlp(nn.Module):
    def __init__(self, config: ToyConfig, width: int) -> None:
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, width)
        self.act_fn = ACT2FN[config.hidden_act]
        self.down_proj = nn.Linear(width, config.hidden_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        written: Tensor = self.down_proj(self.act_fn(self.up_proj(hidden_states)))
        return written


class _Layer(nn.Module):
    def __init__(self, config: ToyConfig, layer_idx: int) -> None:
        super().__init__()
        self.ln1 = _norm(config)
        self.self_attn = _Attention(config, layer_idx)
        self.mlp: _Mlp | None = None
        if config.intermediate_size is not None:
            self.ln2 = _norm(config)
            self.mlp = _Mlp(config, config.intermediate_size)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Tensor:
        written, _ = self.self_attn(
            self.ln1(hidden_states), attention_mask=attention_mask, position_ids=position_ids, **kwargs
        )
        hidden_states = hidden_states + written
        if self.mlp is not None:
            hidden_states = hidden_states + self.mlp(self.ln2(hidden_states))
        return hidden_states


def _norm(config: ToyConfig) -> nn.Module:
    if config.norm_type == "none":
        return nn.Identity()
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


class _ToyPreTrainedModel(PreTrainedModel):
    config_class = ToyConfig
    base_model_prefix = "model"
    _no_split_modules = ["_Layer"]  # noqa: RUF012  Hugging Face reads a list
    _supports_sdpa = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": _Layer, "attentions": _Attention}  # noqa: RUF012  Hugging Face reads a dict


class ToyModel(_ToyPreTrainedModel):
    """The decoder without its unembedding: token and position embeddings, layers, final norm."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.embed_positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList([_Layer(config, index) for index in range(config.num_hidden_layers)])
        self.norm = _norm(config)
        self.post_init()  # type: ignore[no-untyped-call]

    @capture_outputs  # type: ignore[untyped-decorator]  # transformers ships no types
    def forward(
        self,
        input_ids: Int[Tensor, "batch pos"],
        attention_mask: Tensor | None = None,
        position_ids: Int[Tensor, "batch pos"] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> BaseModelOutput:
        """Return the residual stream after the final norm."""
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        hidden_states = self.embed_tokens(input_ids) + self.embed_positions(position_ids)
        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=hidden_states,
            attention_mask=attention_mask,
            past_key_values=None,
            position_ids=position_ids,
        )
        for layer in self.layers:
            hidden_states = layer(hidden_states, attention_mask=mask, position_ids=position_ids, **kwargs)
        return BaseModelOutput(last_hidden_state=self.norm(hidden_states))


class ToyForCausalLM(_ToyPreTrainedModel):
    """A toy decoder that predicts the next token.

    Shapes:
        input_ids: `batch pos`; logits: `batch pos d_vocab`.

    Example:
        >>> ToyForCausalLM(ToyConfig())(torch.tensor([[1, 2, 3]])).logits.shape
        torch.Size([1, 3, 64])

    """

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        self.model = ToyModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()  # type: ignore[no-untyped-call]

    @can_return_tuple  # type: ignore[untyped-decorator]  # transformers ships no types
    def forward(
        self,
        input_ids: Int[Tensor, "batch pos"],
        attention_mask: Tensor | None = None,
        position_ids: Int[Tensor, "batch pos"] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> CausalLMOutput:
        """Return the scores for the next token at every position."""
        outputs = self.model(input_ids, attention_mask=attention_mask, position_ids=position_ids, **kwargs)
        return CausalLMOutput(
            logits=self.lm_head(outputs.last_hidden_state),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
