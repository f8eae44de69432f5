"""Makes the golden folders beside this file with PyTorch, transformers, PEFT and bitsandbytes.

    python tests/golden/make.py            all of them
    python tests/golden/make.py llama3     only those named

Each family folder holds a tiny random model, a LoRA adapter with a non-zero B, and what the reference computes from
them in f32 with eager attention (expected.safetensors):

    input_ids, labels   i64 [2, seq]            labels hold some -100, and are shifted by the model
    logits              f32 [2, seq, vocab]
    loss                f32 []                  mean over the targets
    base_model....      f32                     gradient of that mean, one for each adapter tensor
    losses              f32 [20]                AdamW steps, step k on row k % 2 alone, loss before the update
    full.<name>         f32                     where asked for: gradients of the plain model without its adapter

rope.json holds ways to write the rotation in a config.json and the loss of the golden model `llama3` with each.

Made with torch 2.15, transformers 5.24, peft 0.21, bitsandbytes 0.50.
"""

import json
import math
import shutil
import sys
import tempfile
from pathlib import Path

import bitsandbytes.functional as bnb
import torch
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers import Gemma3TextConfig, GraniteConfig, LlamaConfig, MistralConfig, Olmo2Config, Olmo3Config, OlmoConfig
from transformers import Phi3Config, Qwen2Config, Qwen3Config, SmolLM3Config

HERE = Path(__file__).resolve().parent
VOCAB, SEQ, STEPS = 48, 18, 20
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
KINDS = ["sliding_attention", "full_attention"]
SMALL = dict(
    vocab_size=VOCAB, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=64, bos_token_id=0, eos_token_id=1, pad_token_id=None,
    tie_word_embeddings=False,
)


def llama3(original):
    return dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=original, rope_theta=100.0)  # one wavelength in each of the three bands


# name -> (config, options): `rslora`; `full` as above; `old_rope` writes rope_theta and rope_scaling as transformers 4 did;
# `linears` names the linear layers.
# Weights are stored in bf16, which holds their values exactly.
FAMILIES = {
    "llama3": (LlamaConfig(**SMALL, rope_parameters=llama3(32)), dict(old_rope=True)),
    "llama_linear": (
        LlamaConfig(**{**SMALL, "attention_bias": True, "mlp_bias": True},
                    rope_parameters=dict(rope_type="linear", factor=2.5, rope_theta=500.0)), dict(full=True)),
    "llama_yarn": (
        LlamaConfig(**{**SMALL, "max_position_embeddings": 256},
                    rope_parameters=dict(rope_type="yarn", factor=4.0, rope_theta=20.0, beta_fast=8.0,
                                         original_max_position_embeddings=64)), {}),  # the ramp covers all dimensions
    "mistral": (MistralConfig(**SMALL, sliding_window=5, rope_parameters=dict(rope_type="default", rope_theta=1000.0)),
                dict(rslora=True)),
    "qwen2": (
        Qwen2Config(**{**SMALL, "tie_word_embeddings": True}, use_sliding_window=True, sliding_window=6,
                    max_window_layers=1, rope_parameters=dict(rope_type="default", rope_theta=1e6)), dict(full=True)),
    "qwen3": (Qwen3Config(**{**SMALL, "num_attention_heads": 2, "num_key_value_heads": 1}, head_dim=20,
                          rope_parameters=dict(rope_type="default", rope_theta=1e6)), dict(full=True)),
    "olmo": (OlmoConfig(**SMALL, clip_qkv=0.6, rope_parameters=dict(rope_type="default", rope_theta=10000.0)), dict(full=True)),
    "olmo2": (Olmo2Config(**SMALL, rope_parameters=dict(rope_type="default", rope_theta=500000.0)), dict(full=True)),
    "olmo3": (
        Olmo3Config(**{**SMALL, "max_position_embeddings": 128}, sliding_window=5, layer_types=KINDS, rope_parameters=dict(
            full_attention=dict(rope_type="yarn", factor=4.0, rope_theta=100.0, original_max_position_embeddings=32),
            sliding_attention=dict(rope_type="default", rope_theta=100.0))), {}),
    "gemma3": (
        Gemma3TextConfig(**{**SMALL, "tie_word_embeddings": True}, head_dim=16, query_pre_attn_scalar=20, sliding_window=5,
                         layer_types=KINDS, rope_parameters=dict(
                             full_attention=dict(rope_type="linear", factor=2.0, rope_theta=1000.0),
                             sliding_attention=dict(rope_type="default", rope_theta=50.0))), dict(full=True)),
    "phi3": (Phi3Config(**SMALL, sliding_window=7, rope_parameters=dict(rope_type="default", rope_theta=1000.0)),
             dict(full=True, linears=FUSED)),
    "phi4": (
        Phi3Config(**{**SMALL, "tie_word_embeddings": True, "max_position_embeddings": 128}, original_max_position_embeddings=64,
                   rope_parameters=dict(rope_type="longrope", rope_theta=100.0, short_factor=[1.0, 1.5], long_factor=[2.0, 4.0],
                                        partial_rotary_factor=0.5)), dict(linears=FUSED)),
    "smollm3": (
        SmolLM3Config(**{**SMALL, "tie_word_embeddings": True}, no_rope_layers=[1, 0],
                      rope_parameters=dict(rope_type="default", rope_theta=1000.0)), {}),
    "granite": (
        GraniteConfig(**{**SMALL, "tie_word_embeddings": True}, embedding_multiplier=3.0, logits_scaling=2.0,
                      residual_multiplier=0.4, attention_multiplier=0.2,
                      rope_parameters=dict(rope_type="default", rope_theta=1000.0)), dict(full=True)),
}


def jitter(model):
    """Weights that make every part of the model matter; all are exact in bf16."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("norm.weight"):
                # Gemma's norms multiply by one plus the weight.
                p.copy_((0 if model.config.model_type.startswith("gemma") else 1) + 0.3 * torch.randn_like(p))
            elif name.endswith(".bias"):
                p.copy_(0.3 * torch.randn_like(p))
            elif "embed_tokens" in name:
                p.copy_(0.7 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * 1.2 / math.sqrt(p.shape[1]))
            p.copy_(p.bfloat16().float())


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def make_model(folder, config, store, old_rope=False):
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    jitter(model)
    model.to(store).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if old_rope:
        path = folder / "config.json"
        fields = json.loads(path.read_text())
        rope = fields.pop("rope_parameters")
        fields["rope_theta"] = rope.pop("rope_theta")
        fields["rope_scaling"] = rope
        path.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
    return load(folder)


def make_adapter(folder, model, rslora, linears=LINEARS):
    config = LoraConfig(r=4, lora_alpha=6 if rslora else 8, target_modules=linears, use_rslora=rslora,
                        lora_dropout=0.0, task_type="CAUSAL_LM")
    peft = get_peft_model(model, config)
    with torch.no_grad():
        for name, p in peft.named_parameters():
            if "lora_" in name:
                p.copy_(torch.randn_like(p) * (0.15 if "lora_A" in name else 0.1))
    peft.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    fields = json.loads(path.read_text())
    fields.update(base_model_name_or_path="../model", target_modules=sorted(fields["target_modules"]))
    path.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")


def trainable(model):
    return {n.replace(".default.", "."): p for n, p in model.named_parameters() if p.requires_grad}


def batch():
    ids = torch.randint(0, VOCAB, (2, SEQ))
    labels = ids.clone()
    labels[0, :4] = -100
    labels[1, 5:8] = -100
    labels[1, -1] = -100
    return ids, labels


def make_family(name, config, store=torch.bfloat16, rslora=False, full=False, old_rope=False, linears=LINEARS):
    torch.manual_seed(sum(map(ord, name)))
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    base = make_model(folder / "model", config, store, old_rope)
    ids, labels = batch()
    expected = dict(input_ids=ids, labels=labels)
    if full:
        out = base(input_ids=ids, labels=labels, use_cache=False)
        out.loss.backward()
        expected["full.loss"] = out.loss.detach()
        # Only the tensors that adapters never touch, and one matrix: the file stays small.
        for n, p in base.named_parameters():
            kept = ("model.embed_tokens.weight", "lm_head.weight", "model.layers.0.self_attn.k_proj.weight",
                    "model.layers.0.self_attn.qkv_proj.weight")
            if p.dim() == 1 or n in kept:
                expected[f"full.{n}"] = p.grad.clone()
    make_adapter(folder / "adapter", load(folder / "model"), rslora, linears)
    model = PeftModel.from_pretrained(load(folder / "model"), folder / "adapter", is_trainable=True)
    out = model(input_ids=ids, labels=labels, use_cache=False)
    out.loss.backward()
    params = trainable(model)
    assert len(params) == 4 * len(linears) and all(p.grad.norm() > 0 for p in params.values())
    expected |= dict(logits=out.logits.detach(), loss=out.loss.detach())
    expected |= {n: p.grad.clone() for n, p in params.items()}
    expected["losses"] = train(model, list(params.values()), ids, labels)
    save_file({k: v.contiguous() for k, v in expected.items()}, folder / "expected.safetensors")
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    print(f"{name:13} {size / 1024:6.1f} KiB  loss {out.loss.item():.4f}, after {STEPS} steps {expected['losses'][-1]:.4f}")


def train(model, params, ids, labels):
    optimizer = torch.optim.AdamW(params, lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    losses = []
    for step in range(STEPS):
        row = slice(step % 2, step % 2 + 1)
        optimizer.zero_grad()
        loss = model(input_ids=ids[row], labels=labels[row], use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def quantize(w, double=True):
    return bnb.quantize_4bit(w, blocksize=64, compress_statistics=double, quant_type="nf4")


def dequantize(codes, state):
    """bitsandbytes' portable form. The AVX-512 one of 0.50 takes wrong scales where a row is shorter than a block
    or ends within one (it is off by 1.25 on a random [32, 32]); on whole blocks the two must agree."""
    absmax = bnb.dequantize_blockwise(state.absmax, state.state2) + state.offset if state.nested else state.absmax
    out = _dequantize_4bit_compute(codes.reshape(-1), absmax, state.code, 64, state.shape, torch.float32)
    assert state.shape[-1] % 64 or torch.equal(out, bnb.dequantize_4bit(codes, state))
    return out


def make_nf4_tensors():
    """nf4.safetensors: `<case>.input`, `.codes`, and the parts of its doubly quantised scales; both dynamic maps."""
    assert torch.backends.cpu.get_cpu_capability() != "DEFAULT", "torch.linspace differs without fused multiply-add"
    torch.manual_seed(64)
    wide = torch.randn(150, 128) * torch.linspace(0.001, 3.0, 150)[:, None]  # 300 blocks: two nested ones
    zeros = torch.randn(6, 64)
    zeros[2] = 0
    cases = dict(wide=wide.bfloat16().float(), zeros=zeros, tail=torch.randn(3, 66), all_zero=torch.zeros(2, 64))
    out = {}
    for name, w in cases.items():
        codes, state = quantize(w)
        out[f"{name}.input"] = w.bfloat16() if name == "wide" else w
        out[f"{name}.codes"] = codes.flatten()
        out[f"{name}.absmax"] = state.absmax
        out[f"{name}.nested_absmax"] = state.state2.absmax
        out[f"{name}.offset"] = state.offset.reshape(())
        out[f"{name}.dequantized"] = dequantize(codes, state) if name != "wide" else torch.zeros(0)
    out["map"] = state.state2.code
    out["map_unsigned"] = bnb.create_dynamic_map(signed=False)
    out["plain.absmax"] = quantize(cases["wide"], double=False)[1].absmax
    save_file(out, HERE / "nf4.safetensors")
    print("nf4.safetensors", (HERE / "nf4.safetensors").stat().st_size / 1024, "KiB")


def make_nf4_model():
    """nf4_model: a checkpoint as bitsandbytes writes it, and the logits of the weights that it stands for."""
    torch.manual_seed(4)
    folder = HERE / "nf4_model"
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as tmp:
        make_model(Path(tmp), FAMILIES["llama_yarn"][0], torch.float32)
        config = json.loads((Path(tmp) / "config.json").read_text())
        tensors = load_file(Path(tmp) / "model.safetensors")
        plain, stored = {}, {}
        for i, (name, w) in enumerate(tensors.items()):
            if not any(f"{k}.weight" in name for k in LINEARS):
                plain[name] = stored[name] = w
                continue
            codes, state = quantize(w, double="down_proj" not in name)  # one kind of layer with plain scales
            stored[name] = codes
            stored |= {f"{name}.{part}": t for part, t in state.as_dict(packed=True).items()}
            plain[name] = dequantize(codes, state)
        save_file(plain, Path(tmp) / "model.safetensors", metadata={"format": "pt"})
        ids, labels = batch()
        with torch.no_grad():
            out = load(tmp)(input_ids=ids, labels=labels)
    config["quantization_config"] = dict(
        quant_method="bitsandbytes", load_in_4bit=True, load_in_8bit=False, bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype="float32", bnb_4bit_quant_storage="uint8")
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    save_file({k: v.contiguous() for k, v in stored.items()}, folder / "model" / "model.safetensors", metadata={"format": "pt"})
    dequantized = {f"weight.{k}": v for k, v in plain.items() if "layers.0.self_attn.q_proj" in k or "layers.1.mlp.down" in k}
    save_file(dict(input_ids=ids, labels=labels, logits=out.logits, loss=out.loss, **dequantized), folder / "expected.safetensors")
    print("nf4_model", sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1024, "KiB")


# What replaces the rotation's fields in the config of `llama3`. transformers must not be asked to refuse any of them.
ROPES = {
    "none": dict(rope_theta=100.0),
    "legacy linear": dict(rope_theta=100.0, rope_scaling=dict(type="linear", factor=4.0)),
    "legacy yarn": dict(rope_theta=100.0, rope_scaling=dict(type="yarn", factor=4.0, original_max_position_embeddings=16)),
    "yarn with its context beside it": dict(
        rope_theta=100.0, rope_scaling=dict(rope_type="yarn", factor=4.0), original_max_position_embeddings=16),
    "yarn with two contexts": dict(
        rope_theta=100.0, original_max_position_embeddings=16,
        rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32)),
    "yarn with mscale": dict(
        rope_theta=100.0, rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, mscale=1.0,
                                            mscale_all_dim=0.5)),
    "llama3 with its context beside it": dict(
        rope_theta=100.0, original_max_position_embeddings=32,
        rope_scaling=dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0)),
    "for kinds of layers": dict(rope_parameters=dict(
        full_attention=dict(rope_type="default", rope_theta=100.0), sliding_attention=dict(rope_type="default", rope_theta=50.0))),
}


def make_ropes():
    """rope.json: the loss of the golden model `llama3` with each way to write the rotation."""
    folder = HERE / "llama3"
    given = load_file(folder / "expected.safetensors")
    out = []
    for name, fields in ROPES.items():
        config = json.loads((folder / "model" / "config.json").read_text())
        del config["rope_theta"], config["rope_scaling"]
        config.update(fields)
        with tempfile.TemporaryDirectory() as tmp:
            shutil.copy(folder / "model" / "model.safetensors", tmp)
            (Path(tmp) / "config.json").write_text(json.dumps(config))
            with torch.no_grad():
                loss = load(tmp)(input_ids=given["input_ids"], labels=given["labels"]).loss.item()
        out.append(dict(name=name, fields=fields, loss=loss))
        print(f"{name:36} {loss:.6f}")
    (HERE / "rope.json").write_text(json.dumps(out, indent=2) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    wanted = sys.argv[1:]
    for name, (config, options) in FAMILIES.items():
        if not wanted or name in wanted:
            make_family(name, config, **options)
    if not wanted or "rope" in wanted:
        make_ropes()
    if not wanted or "nf4" in wanted:
        make_nf4_tensors()
        make_nf4_model()
