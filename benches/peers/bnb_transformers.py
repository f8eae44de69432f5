"""The 4-bit export of every family that transformers loads so, in transformers and bitsandbytes on the CPU.

  python families.py --tokenizer models/base --out DIR
  python bnb_transformers.py --tallow target/release/tallow --models DIR
needs: pip install torch transformers bitsandbytes accelerate

Columns: the largest difference of a decoded weight (bitsandbytes' decoding - tallow's); then the largest difference of a logit
to the dense model with tallow's decoded weights: as transformers loads the folder; with bitsandbytes' packed kernel switched off
(on processors with AVX-512-BF16 `Linear4bit` repacks its weights and multiplies in bf16, whatever the compute dtype is); with
bf16 inputs in that dense model (what bf16 alone costs).
"""

import argparse, json, subprocess, tempfile
from pathlib import Path

import bitsandbytes as bnb
import torch
from transformers import AutoModelForCausalLM

IDS = torch.tensor([[5, 99, 300, 7, 812, 44, 600, 33, 21, 400, 1000, 17, 230, 512, 3, 9]])


def load(path):
    return AutoModelForCausalLM.from_pretrained(str(path), dtype=torch.float32, device_map="cpu").eval()


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def quantised(model):
    return [(n, m) for n, m in model.named_modules() if isinstance(m, bnb.nn.Linear4bit)]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tallow", default="target/release/tallow")
    p.add_argument("--models", required=True)
    a = p.parse_args()
    print("| model | 4-bit matrices | weights | logits' std | as loaded | packed kernel off | dense, products in bf16 |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for folder in sorted(Path(a.models).glob("*-adapter")):
            name = folder.name.removesuffix("-adapter")
            four, dense = Path(scratch) / f"{name}-nf4", Path(scratch) / f"{name}-f32"
            calls = [["--model", folder.with_name(name), "--adapter", folder, "--format", "bnb-4bit", "--out", four], ["--model", four, "--format", "safetensors", "--type", "f32", "--out", dense]]
            for call in calls:
                done = json.loads(subprocess.run([a.tallow, "export", *map(str, call), "--json"], capture_output=True, text=True).stdout)
                assert "error" not in done, done
            model, plain = load(four), load(dense)
            want, weights = logits(plain), dict(plain.named_parameters())
            decoded = lambda m: bnb.functional.dequantize_4bit(m.weight.data, m.weight.quant_state).float()
            apart = max((decoded(m) - weights[f"{n}.weight"]).abs().max().item() for n, m in quantised(model))
            off = lambda x: f"{(x.float() - want).abs().max().item():.1e}"
            loaded = off(logits(model))
            model = load(four)  # the packed weights stay packed
            for _, m in quantised(model):
                m.support_avx512bf16_for_cpu = False
                m.compute_dtype, m.compute_type_is_set = torch.float32, True
            switched = off(logits(model))
            for _, m in plain.named_modules():
                if isinstance(m, torch.nn.Linear) and m is not plain.lm_head:
                    m.weight.data = m.weight.data.bfloat16()
                    m.bias = None if m.bias is None else torch.nn.Parameter(m.bias.data.bfloat16())
                    m.register_forward_pre_hook(lambda m, x: (x[0].bfloat16(),))
                    m.register_forward_hook(lambda m, x, y: y.float())
            print(f"| {name} | {len(quantised(model))} | {apart:.1e} | {want.std():.2f} | {loaded} | {switched} | {off(logits(plain))} |", flush=True)


main()
