"""Small random models of every family, with an adapter each, for the other scripts here.

  python families.py --tokenizer models/base --out DIR
needs: pip install torch transformers peft

Makes DIR/NAME and DIR/NAME-adapter. Hidden size 256, so that rows divide into llama.cpp's blocks; weights wide enough that
greedy text has some life, adapters on all seven linears. With --plain the weights are transformers' own first ones, to be trained.
"""

import argparse, shutil
from pathlib import Path

import torch
import transformers as t
from peft import LoraConfig, get_peft_model

COMMON = dict(
    vocab_size=1024, hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=512, bos_token_id=0, eos_token_id=2, pad_token_id=3, tie_word_embeddings=False,
)  # fmt: skip
LLAMA3 = dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32, rope_theta=100.0)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64, rope_theta=1000.0)
LONGROPE = dict(
    rope_type="longrope", rope_theta=100.0, partial_rotary_factor=0.5, short_factor=[1 + i / 10 for i in range(16)],
    long_factor=[1 + i for i in range(16)],
)  # fmt: skip
FAMILIES = {
    "llama": (t.LlamaConfig, {}),
    "llama_tied": (t.LlamaConfig, dict(tie_word_embeddings=True)),
    "llama_bias_linear": (t.LlamaConfig, dict(attention_bias=True, mlp_bias=True, rope_parameters=dict(rope_type="linear", factor=2.5, rope_theta=500.0))),
    "llama3": (t.LlamaConfig, dict(rope_parameters=LLAMA3)),
    "llama_yarn": (t.LlamaConfig, dict(rope_parameters=YARN)),
    "llama_yarn_odd": (t.LlamaConfig, dict(rope_parameters={**YARN, "beta_fast": 8.0, "rope_theta": 20.0})),
    "mistral": (t.MistralConfig, dict(sliding_window=256)),
    "qwen2": (t.Qwen2Config, dict(tie_word_embeddings=True)),
    "qwen2_yarn": (t.Qwen2Config, dict(rope_parameters={**YARN, "factor": 2.0, "rope_theta": 10000.0})),
    "qwen3": (t.Qwen3Config, dict(head_dim=96)),
    "olmo": (t.OlmoConfig, dict(clip_qkv=2.0)),
    "olmo2": (t.Olmo2Config, {}),
    "gemma3": (t.Gemma3TextConfig, dict(num_hidden_layers=7, head_dim=64, query_pre_attn_scalar=64, sliding_window=128, tie_word_embeddings=True)),
    "olmo3": (t.Olmo3Config, dict(num_hidden_layers=5, sliding_window=16, rope_parameters=dict(
        full_attention=YARN, sliding_attention=dict(rope_type="default", rope_theta=1000.0)))),
    "phi3": (t.Phi3Config, dict(sliding_window=256)),
    "phi4": (t.Phi3Config, dict(tie_word_embeddings=True, original_max_position_embeddings=256, rope_parameters=LONGROPE)),
    "smollm3": (t.SmolLM3Config, dict(num_hidden_layers=5, tie_word_embeddings=True)),
    "granite": (t.GraniteConfig, dict(tie_word_embeddings=True, embedding_multiplier=3.0, logits_scaling=2.0, residual_multiplier=0.4, attention_multiplier=0.02)),
}
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tokenizer", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--plain", action="store_true")
    a = p.parse_args()
    for name, (config, more) in FAMILIES.items():
        torch.manual_seed(7)
        folder = Path(a.out) / name
        model = t.AutoModelForCausalLM.from_config(config(**{**COMMON, **more}))
        with torch.no_grad():
            for key, w in [] if a.plain else model.named_parameters():
                mean, std = (0 if name == "gemma3" else 1, 0.2) if "norm" in key and w.dim() == 1 else (0, 0.5 if "embed" in key else 0.09)
                w.normal_(mean, std)
        model.save_pretrained(folder)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(Path(a.tokenizer) / file, folder)
        rank = dict(r=4, lora_alpha=12, use_rslora=name == "qwen3", target_modules=FUSED if name.startswith("phi") else LINEARS, task_type="CAUSAL_LM")
        model = get_peft_model(model, LoraConfig(**rank))
        with torch.no_grad():
            for key, w in model.named_parameters():
                if "lora_B" in key:
                    w.normal_(0, 0.05)
        model.save_pretrained(f"{folder}-adapter")
        print(name, flush=True)


main()
