"""Compares tiny random models of every family and option with transformers and PEFT: loss, logits, adapter gradients.

    python tests/golden/sweep.py target/debug/tallow            all
    python tests/golden/sweep.py target/debug/tallow mistral    families whose name begins so
    SEED=7 python tests/golden/sweep.py ...                     other weights and inputs

Nothing is kept: what the golden folders of make.py pin down is tried here with more options. A line is an option, the
relative difference of the loss, and the worst relative difference of logits and gradients. The limit is 1e-5 for the
loss and 2e-4 for the others.
"""

import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

import make

BASE = dict(make.SMALL)


def options():
    """(name, config) of everything that is compared."""
    c = transformers
    default = dict(rope_type="default", rope_theta=1000.0)

    def of(cls, **more):
        fields = {**BASE, "rope_parameters": default, **more}
        return lambda: cls(**fields)

    kinds = ["full_attention", "sliding_attention"]
    yield from [
        ("llama", of(c.LlamaConfig)),
        ("llama tied", of(c.LlamaConfig, tie_word_embeddings=True)),
        ("llama biases", of(c.LlamaConfig, attention_bias=True, mlp_bias=True)),
        ("llama one kv head", of(c.LlamaConfig, num_key_value_heads=1)),
        ("llama as many kv heads", of(c.LlamaConfig, num_key_value_heads=4)),
        ("llama wide heads", of(c.LlamaConfig, head_dim=20)),
        ("llama eps", of(c.LlamaConfig, rms_norm_eps=1e-2)),
        ("llama linear", of(c.LlamaConfig, rope_parameters=dict(rope_type="linear", factor=3.0, rope_theta=100.0))),
        ("llama yarn", of(c.LlamaConfig, rope_parameters=dict(rope_type="yarn", factor=4.0, rope_theta=100.0,
                                                              original_max_position_embeddings=16))),
        ("llama llama3", of(c.LlamaConfig, rope_parameters=make.llama3(16))),
        ("mistral", of(c.MistralConfig, sliding_window=None)),
        ("mistral window", of(c.MistralConfig, sliding_window=4)),
        ("mistral head_dim", of(c.MistralConfig, head_dim=12, sliding_window=None)),
        ("qwen2", of(c.Qwen2Config)),
        ("qwen2 tied", of(c.Qwen2Config, tie_word_embeddings=True)),
        ("qwen2 windows", of(c.Qwen2Config, use_sliding_window=True, sliding_window=4, max_window_layers=1)),
        ("qwen2 layer_types", of(c.Qwen2Config, use_sliding_window=True, sliding_window=4, layer_types=kinds)),
        ("qwen3", of(c.Qwen3Config, head_dim=16)),
        ("qwen3 bias", of(c.Qwen3Config, head_dim=8, attention_bias=True)),
        ("olmo", of(c.OlmoConfig)),
        ("olmo clip", of(c.OlmoConfig, clip_qkv=0.5)),
        ("olmo bias", of(c.OlmoConfig, attention_bias=True)),
        ("olmo2", of(c.Olmo2Config)),
        ("olmo2 one kv head", of(c.Olmo2Config, num_key_value_heads=1)),
        ("olmo2 bias", of(c.Olmo2Config, attention_bias=True)),
        ("olmo3", of(c.Olmo3Config, sliding_window=4, layer_types=kinds, rope_parameters=by_kind(100.0, 100.0))),
        ("olmo3 by count", of(c.Olmo3Config, sliding_window=4, num_hidden_layers=4, rope_parameters=by_kind(100.0, 100.0))),
        ("gemma3", of(c.Gemma3TextConfig, head_dim=16, sliding_window=4, layer_types=kinds, rope_parameters=by_kind(1e6, 1e4))),
        ("gemma3 by count", of(c.Gemma3TextConfig, head_dim=8, sliding_window=4, num_hidden_layers=6,
                               rope_parameters=by_kind(1e3, 10.0))),
        ("gemma3 untied", of(c.Gemma3TextConfig, head_dim=16, tie_word_embeddings=False, query_pre_attn_scalar=7,
                             layer_types=kinds[::-1], sliding_window=3, rope_parameters=by_kind(1e3, 10.0))),
        ("phi3", of(c.Phi3Config)),
        ("phi3 window", of(c.Phi3Config, sliding_window=4)),
        ("phi3 part", of(c.Phi3Config, rope_parameters={**default, "partial_rotary_factor": 0.5})),
        ("phi3 longrope", of(c.Phi3Config, max_position_embeddings=256, original_max_position_embeddings=64, rope_parameters=dict(
            rope_type="longrope", rope_theta=100.0, short_factor=[1.0, 1.2, 1.5, 2.0], long_factor=[2.0] * 4))),
        ("smollm3", of(c.SmolLM3Config, no_rope_layers=[0, 1])),
        ("smollm3 by count", of(c.SmolLM3Config, num_hidden_layers=4)),
        ("smollm3 window", of(c.SmolLM3Config, no_rope_layers=[1, 0], use_sliding_window=True, sliding_window=4)),
        ("granite", of(c.GraniteConfig)),
        ("granite multipliers", of(c.GraniteConfig, embedding_multiplier=12.0, logits_scaling=8.0, residual_multiplier=0.22,
                                   attention_multiplier=0.125, attention_bias=True, mlp_bias=True)),
        ("llama gelu", of(c.LlamaConfig, hidden_act="gelu_pytorch_tanh")),
    ]


def by_kind(full, sliding):
    one = lambda theta: dict(rope_type="default", rope_theta=theta)
    return dict(full_attention=one(full), sliding_attention=one(sliding))


def error(got, want):
    got, want = got.double(), want.double()
    apart = (got - want).abs().max() / want.abs().max().clamp_min(1e-30)
    return max(apart.item(), ((got - want).norm() / want.norm().clamp_min(1e-30)).item())


def compare(binary, folder, config):
    make.make_model(folder / "model", config(), torch.float32)
    base = make.load(folder / "model")
    linears = make.FUSED if config().model_type == "phi3" else make.LINEARS
    make.make_adapter(folder / "adapter", base, rslora=False, linears=linears)
    model = make.PeftModel.from_pretrained(make.load(folder / "model"), folder / "adapter", is_trainable=True)
    ids, labels = make.batch()
    out = model(input_ids=ids, labels=labels, use_cache=False)
    out.loss.backward()
    save_file(dict(input_ids=ids, labels=labels), folder / "in.safetensors")
    command = [binary, "debug", "gradients", "--model", folder / "model", "--adapter", folder / "adapter",
               "--input", folder / "in.safetensors", "--output", folder / "out.safetensors"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return None, done.stderr.strip().splitlines()[-1]
    got = load_file(folder / "out.safetensors")
    worst = max(error(got[n], p.grad) for n, p in make.trainable(model).items())
    return abs(got["loss"].item() / out.loss.item() - 1), max(worst, error(got["logits"], out.logits.detach()))


def main():
    binary, wanted = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    failed = 0
    for name, config in options():
        if wanted and not any(name.startswith(w) for w in wanted):
            continue
        torch.manual_seed(sum(map(ord, name)) + int(os.environ.get("SEED", "0")))
        with tempfile.TemporaryDirectory() as tmp:
            try:
                loss, others = compare(binary, Path(tmp), config)
            except Exception:
                loss, others = None, traceback.format_exc().strip().splitlines()[-1]
        good = loss is not None and loss < 1e-5 and others < 2e-4
        failed += not good
        figures = others if loss is None else f"{loss:.1e}  {others:.1e}"
        print(f"{'    ' if good else 'BAD '}{name:28} {figures}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
