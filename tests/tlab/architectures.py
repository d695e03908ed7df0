"""What the zoo keeps: a tiny config of each architecture and its traits; no model is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["ARCHITECTURES", "REFUSED", "Architecture", "Family"]

# What tlab refuses: blocks that share one set of weights, or attention that no table of names describes.
REFUSED = ("openai-gpt", "albert", "mpnet", "deberta-v2")

Family = Literal["decoder", "encoder", "encoder-decoder"]


@dataclass(frozen=True)
class Architecture:
    """The name of a model class in transformers, the options of its config, and what is peculiar about it."""

    family: Family
    kind: str
    traits: frozenset[str]
    options: dict[str, Any]


def _decoder(kind: str, traits: str = "", /, **options: Any) -> Architecture:  # noqa: ANN401  a config's options
    return Architecture("decoder", kind, frozenset(traits.split()), options)


def _encoder(kind: str, traits: str = "", /, **options: Any) -> Architecture:  # noqa: ANN401  a config's options
    return Architecture("encoder", kind, frozenset(traits.split()), options)


def _both(kind: str, traits: str = "", /, **options: Any) -> Architecture:  # noqa: ANN401  a config's options
    return Architecture("encoder-decoder", kind, frozenset(traits.split()), options)


_WIDTH = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 96}
_LLAMA = {**_WIDTH, "intermediate_size": 48}
_GROUPED = {**_LLAMA, "num_key_value_heads": 2}
_GPT = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 96}
_GPT2 = {**_GPT, "n_inner": 48}
_GPTJ = {**_GPT2, "rotary_dim": 4}
_BERT = _LLAMA
_T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 16,
}
_BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 96,
}
_MARIAN = {**_BART, "scale_embedding": True, "activation_function": "swish"}
_FALCON = {**_WIDTH, "ffn_hidden_size": 48}
_MOE = {"num_experts": 4, "num_experts_per_tok": 2}
_LOCAL_MOE = {"num_local_experts": 4, "num_experts_per_tok": 2}
_GRANITE = {
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.6,
    "attention_multiplier": 0.5,
    "logits_scaling": 2.0,
}
# Where a config has no default angles, or those of a longer context.
_ROTARY = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
_SLIDING, _FULL = "sliding_attention", "full_attention"
# Shorter than any prompt in the tests, so that a mask without the window is found out.
_WINDOW = {"sliding_window": 5}
_LOCAL_GLOBAL = {**_WINDOW, "num_hidden_layers": 4, "layer_types": [_SLIDING, _FULL, _SLIDING, _FULL]}

ARCHITECTURES: dict[str, Architecture] = {
    # Decoders with learned, additive or no positions.
    "gpt2": _decoder("GPT2LMHeadModel", "fused-qkv", **_GPT2),
    "gpt2-scaled-by-layer": _decoder(
        "GPT2LMHeadModel", "fused-qkv scaled-attention", **_GPT2, scale_attn_by_inverse_layer_idx=True
    ),
    "openai-gpt": _decoder("OpenAIGPTLMHeadModel", "fused-qkv post-norm", **_GPT),
    "gpt-neo": _decoder(
        "GPTNeoForCausalLM",
        "sliding unscaled-attention",
        hidden_size=32,
        num_layers=4,
        num_heads=4,
        intermediate_size=48,
        max_position_embeddings=96,
        window_size=5,
        attention_types=[[["global", "local"], 2]],
    ),
    "gpt-bigcode": _decoder("GPTBigCodeForCausalLM", "multi-query fused-qkv", **_GPT2),
    "gpt-bigcode-every-head": _decoder("GPTBigCodeForCausalLM", "fused-qkv", **_GPT2, multi_query=False),
    "opt": _decoder("OPTForCausalLM", "", **_WIDTH, ffn_dim=48),
    "opt-post-norm": _decoder(
        "OPTForCausalLM",
        "post-norm projected-embedding",
        **_WIDTH,
        ffn_dim=48,
        do_layer_norm_before=False,
        word_embed_proj_dim=16,
    ),
    "xglm": _decoder(
        "XGLMForCausalLM",
        "sinusoidal scaled-embedding",
        d_model=32,
        num_layers=3,
        attention_heads=4,
        ffn_dim=48,
        max_position_embeddings=96,
        pad_token_id=1,
    ),
    "biogpt": _decoder("BioGptForCausalLM", "scaled-embedding", **_LLAMA),
    "bloom": _decoder("BloomForCausalLM", "alibi fused-qkv", hidden_size=32, n_layer=3, n_head=4),
    "bloom-residual-after-norm": _decoder(
        "BloomForCausalLM",
        "alibi fused-qkv residual-after-norm",
        hidden_size=32,
        n_layer=3,
        n_head=4,
        apply_residual_connection_post_layernorm=True,
    ),
    "mpt": _decoder("MptForCausalLM", "alibi fused-qkv", d_model=32, n_heads=4, n_layers=3, max_seq_len=96),
    # Decoders with rotary positions: two parts that read the residual stream at once.
    "gpt-j": _decoder("GPTJForCausalLM", "rotary partial-rotary parallel", **_GPTJ),
    "codegen": _decoder("CodeGenForCausalLM", "rotary partial-rotary parallel fused-qkv", **_GPTJ),
    "gpt-neox": _decoder(
        "GPTNeoXForCausalLM", "rotary partial-rotary parallel fused-qkv", **_LLAMA, use_parallel_residual=True
    ),
    "gpt-neox-sequential": _decoder(
        "GPTNeoXForCausalLM", "rotary partial-rotary fused-qkv", **_LLAMA, use_parallel_residual=False
    ),
    "phi": _decoder("PhiForCausalLM", "rotary partial-rotary parallel", **_LLAMA),
    "phi-qk-norm": _decoder(
        "PhiForCausalLM", "rotary partial-rotary parallel qk-norm grouped", **_GROUPED, qk_layernorm=True
    ),
    "falcon": _decoder(
        "FalconForCausalLM", "rotary parallel multi-query fused-qkv", **_FALCON, multi_query=True, parallel_attn=True
    ),
    "falcon-new": _decoder(
        "FalconForCausalLM",
        "rotary parallel grouped fused-qkv two-norms",
        **_FALCON,
        new_decoder_architecture=True,
        num_kv_heads=2,
    ),
    "falcon-2": _decoder(
        "FalconForCausalLM",
        "rotary parallel grouped fused-qkv",
        **_FALCON,
        new_decoder_architecture=True,
        num_kv_heads=2,
        num_ln_in_parallel_attn=1,
    ),
    "falcon-alibi": _decoder(
        "FalconForCausalLM",
        "alibi fused-qkv",
        **_FALCON,
        alibi=True,
        multi_query=False,
        parallel_attn=False,
        bias=True,
    ),
    "stablelm": _decoder("StableLmForCausalLM", "rotary partial-rotary grouped", **_GROUPED, use_qkv_bias=True),
    "stablelm-parallel": _decoder(
        "StableLmForCausalLM",
        "rotary partial-rotary parallel qk-norm grouped",
        **_GROUPED,
        use_parallel_residual=True,
        qk_layernorm=True,
    ),
    "cohere": _decoder("CohereForCausalLM", "rotary parallel grouped scaled-logits", **_GROUPED, logit_scale=0.5),
    "cohere-qk-norm": _decoder(
        "CohereForCausalLM",
        "rotary parallel grouped qk-norm scaled-logits",
        **_GROUPED,
        use_qk_norm=True,
        logit_scale=0.5,
    ),
    "cohere2": _decoder(
        "Cohere2ForCausalLM",
        "rotary parallel grouped sliding no-rope scaled-logits",
        **{**_GROUPED, **_LOCAL_GLOBAL},
        logit_scale=0.5,
    ),
    "persimmon": _decoder("PersimmonForCausalLM", "rotary partial-rotary fused-qkv qk-norm", **_LLAMA),
    # Decoders of Llama's shape.
    "llama": _decoder("LlamaForCausalLM", "rotary", **_LLAMA),
    "llama-grouped": _decoder("LlamaForCausalLM", "rotary grouped", **_GROUPED),
    "llama-one-key": _decoder(
        "LlamaForCausalLM",
        "rotary multi-query wide-heads",
        **_LLAMA,
        num_key_value_heads=1,
        head_dim=16,
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=True,
    ),
    "llama-long": _decoder(
        "LlamaForCausalLM",
        "rotary grouped scaled-rotary",
        **_GROUPED,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ),
    "mistral": _decoder("MistralForCausalLM", "rotary grouped sliding", **_GROUPED, **_WINDOW),
    "ministral": _decoder(
        "MinistralForCausalLM", "rotary grouped sliding", **{**_GROUPED, **_LOCAL_GLOBAL}, **_ROTARY, head_dim=8
    ),
    "qwen2": _decoder("Qwen2ForCausalLM", "rotary grouped", **_GROUPED),
    "qwen2-sliding": _decoder(
        "Qwen2ForCausalLM", "rotary grouped sliding", **{**_GROUPED, **_LOCAL_GLOBAL}, use_sliding_window=True
    ),
    "qwen3": _decoder("Qwen3ForCausalLM", "rotary grouped qk-norm wide-heads", **_GROUPED, head_dim=16),
    "phi-3": _decoder("Phi3ForCausalLM", "rotary grouped fused-qkv fused-mlp sliding", **_GROUPED, **_WINDOW),
    "olmo": _decoder("OlmoForCausalLM", "rotary grouped clipped-qkv", **_GROUPED, clip_qkv=0.8),
    "olmo-2": _decoder("Olmo2ForCausalLM", "rotary grouped qk-norm norm-after", **_GROUPED),
    "olmo-3": _decoder(
        "Olmo3ForCausalLM", "rotary grouped qk-norm norm-after sliding", **{**_GROUPED, **_LOCAL_GLOBAL}
    ),
    "granite": _decoder("GraniteForCausalLM", "rotary grouped scaled-residual scaled-logits", **_GROUPED, **_GRANITE),
    "smollm3": _decoder(
        "SmolLM3ForCausalLM", "rotary grouped no-rope", **{**_GROUPED, "num_hidden_layers": 4}, no_rope_layer_interval=2
    ),
    "starcoder2": _decoder("Starcoder2ForCausalLM", "rotary grouped sliding", **_GROUPED, **_WINDOW),
    "nemotron": _decoder("NemotronForCausalLM", "rotary partial-rotary grouped norm-plus-one", **_GROUPED),
    "glm": _decoder("GlmForCausalLM", "rotary partial-rotary grouped fused-mlp", **_GROUPED, head_dim=8),
    "glm-4": _decoder("Glm4ForCausalLM", "rotary partial-rotary grouped fused-mlp sandwich", **_GROUPED, head_dim=8),
    "helium": _decoder("HeliumForCausalLM", "rotary grouped", **_GROUPED, head_dim=8),
    "ernie-4.5": _decoder("Ernie4_5ForCausalLM", "rotary grouped", **_GROUPED, head_dim=8, use_bias=True),
    "exaone-4": _decoder(
        "Exaone4ForCausalLM", "rotary grouped qk-norm norm-after sliding no-rope", **{**_GROUPED, **_LOCAL_GLOBAL}
    ),
    "arcee": _decoder("ArceeForCausalLM", "rotary grouped", **_GROUPED),
    "seed-oss": _decoder("SeedOssForCausalLM", "rotary grouped wide-heads", **_GROUPED, head_dim=16),
    "hunyuan": _decoder("HunYuanDenseV1ForCausalLM", "rotary grouped qk-norm", **_GROUPED, head_dim=8),
    "apertus": _decoder("ApertusForCausalLM", "rotary grouped qk-norm", **_GROUPED, **_ROTARY),
    "gemma": _decoder(
        "GemmaForCausalLM",
        "rotary multi-query scaled-embedding norm-plus-one wide-heads",
        **_LLAMA,
        num_key_value_heads=1,
        head_dim=16,
    ),
    "gemma-2": _decoder(
        "Gemma2ForCausalLM",
        "rotary grouped sandwich soft-cap sliding scaled-embedding norm-plus-one",
        **{**_GROUPED, **_LOCAL_GLOBAL},
        head_dim=8,
        query_pre_attn_scalar=12,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
    ),
    "gemma-3": _decoder(
        "Gemma3ForCausalLM",
        "rotary grouped sandwich qk-norm sliding scaled-embedding norm-plus-one",
        **{**_GROUPED, **_LOCAL_GLOBAL},
        head_dim=8,
        query_pre_attn_scalar=12,
    ),
    "vaultgemma": _decoder(
        "VaultGemmaForCausalLM",
        "rotary grouped soft-cap sliding scaled-embedding norm-plus-one",
        **{**_GROUPED, **_LOCAL_GLOBAL},
        head_dim=8,
        query_pre_attn_scalar=12,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
    ),
    # Decoders whose MLP chooses among experts.
    "mixtral": _decoder("MixtralForCausalLM", "rotary grouped moe", **_GROUPED, **_LOCAL_MOE),
    "qwen2-moe": _decoder(
        "Qwen2MoeForCausalLM",
        "rotary grouped moe shared-expert",
        **_GROUPED,
        **_MOE,
        moe_intermediate_size=24,
        shared_expert_intermediate_size=32,
        mlp_only_layers=[1],
    ),
    "qwen3-moe": _decoder(
        "Qwen3MoeForCausalLM",
        "rotary grouped moe qk-norm",
        **_GROUPED,
        **_MOE,
        head_dim=8,
        moe_intermediate_size=24,
        norm_topk_prob=True,
    ),
    "olmoe": _decoder("OlmoeForCausalLM", "rotary grouped moe qk-norm", **_GROUPED, **_MOE),
    "granite-moe": _decoder(
        "GraniteMoeForCausalLM",
        "rotary grouped moe scaled-residual scaled-logits",
        **_GROUPED,
        **_LOCAL_MOE,
        **_GRANITE,
    ),
    "phi-moe": _decoder(
        "PhimoeForCausalLM",
        "rotary grouped moe hard-routing",
        **_GROUPED,
        **_LOCAL_MOE,
        attention_bias=True,
        lm_head_bias=True,
    ),
    "gpt-oss": _decoder(
        "GptOssForCausalLM",
        "rotary grouped moe sinks sliding",
        **{**_GROUPED, **_LOCAL_GLOBAL},
        **_LOCAL_MOE,
        head_dim=8,
        **_ROTARY,
    ),
    "deepseek-v3": _decoder(
        "DeepseekV3ForCausalLM",
        "rotary moe latent-attention shared-expert",
        **_LLAMA,
        num_key_value_heads=4,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=2,
        topk_group=1,
        moe_intermediate_size=24,
        first_k_dense_replace=1,
        kv_lora_rank=12,
        q_lora_rank=16,
        qk_rope_head_dim=4,
        qk_nope_head_dim=6,
        v_head_dim=8,
    ),
    # Encoders.
    "bert": _encoder("BertForMaskedLM", "post-norm", **_BERT),
    "roberta": _encoder("RobertaForMaskedLM", "post-norm offset-positions", **_BERT),
    "xlm-roberta": _encoder("XLMRobertaForMaskedLM", "post-norm offset-positions", **_BERT),
    "camembert": _encoder("CamembertForMaskedLM", "post-norm offset-positions", **_BERT),
    "roberta-prelayernorm": _encoder("RobertaPreLayerNormForMaskedLM", "offset-positions", **_BERT),
    "electra": _encoder("ElectraForMaskedLM", "post-norm projected-embedding", **_BERT, embedding_size=16),
    "albert": _encoder("AlbertForMaskedLM", "post-norm shared-layers projected-embedding", **_BERT, embedding_size=16),
    "distilbert": _encoder(
        "DistilBertForMaskedLM", "post-norm", dim=32, n_layers=3, n_heads=4, hidden_dim=48, max_position_embeddings=96
    ),
    "mpnet": _encoder("MPNetForMaskedLM", "post-norm relative-bias offset-positions", **_BERT),
    "deberta-v2": _encoder(
        "DebertaV2ForMaskedLM",
        "post-norm disentangled",
        **_BERT,
        relative_attention=True,
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
    ),
    "modernbert": _encoder(
        "ModernBertForMaskedLM",
        "rotary fused-qkv fused-mlp sliding",
        **{**_BERT, "num_hidden_layers": 4},
        layer_types=[_FULL, _SLIDING, _FULL, _SLIDING],
        local_attention=6,
    ),
    # Encoder-decoders.
    "t5": _both("T5ForConditionalGeneration", "relative-bias unscaled-attention", **_T5, feed_forward_proj="relu"),
    "t5-gated": _both(
        "T5ForConditionalGeneration",
        "relative-bias unscaled-attention",
        **_T5,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    ),
    "mt5": _both("MT5ForConditionalGeneration", "relative-bias unscaled-attention", **_T5),
    "umt5": _both("UMT5ForConditionalGeneration", "relative-bias unscaled-attention", **_T5),
    "bart": _both("BartForConditionalGeneration", "post-norm", **_BART),
    "mbart": _both("MBartForConditionalGeneration", "", **_BART),
    "pegasus": _both("PegasusForConditionalGeneration", "sinusoidal", **_BART),
    "marian": _both("MarianMTModel", "post-norm sinusoidal scaled-embedding", **_MARIAN),
    "m2m-100": _both("M2M100ForConditionalGeneration", "sinusoidal scaled-embedding", **_BART),
    "blenderbot": _both("BlenderbotForConditionalGeneration", "", **_BART),
}
