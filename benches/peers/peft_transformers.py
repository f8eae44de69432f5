"""Adapter and merged model of every family in transformers and PEFT: logits beside those of the model that was exported.

  python families.py --tokenizer models/base --out DIR
  python peft_transformers.py --tallow target/release/tallow --models DIR [--save WANT]
needs: pip install torch transformers peft

--save keeps the live model's logits (WANT/NAME.npy), which mlx_lm_peer.py compares with.
"""

import argparse, json, subprocess, tempfile
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

IDS = torch.tensor([[5, 99, 300, 7, 812, 44, 600, 33, 21, 400, 1000, 17, 230, 512, 3, 9]])
BOUND = 1e-4


def load(path, dtype=torch.float32):
    return AutoModelForCausalLM.from_pretrained(str(path), dtype=dtype).eval()


def logits(model):
    with torch.no_grad():
        return model(IDS).logits.double()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tallow", default="target/release/tallow")
    p.add_argument("--models", required=True)
    p.add_argument("--save")
    a = p.parse_args()
    print("| model | logits' std | adapter by PEFT | merged f32 | live f32 - live f64 | within 1e-4 of a logit, or of f64 |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for folder in sorted(Path(a.models).glob("*-adapter")):
            name = folder.name.removesuffix("-adapter")
            model, out = Path(a.models) / name, Path(scratch) / name

            def export(form, *more):
                made = f"{out}-{form}"
                arguments = [a.tallow, "export", "--model", model, "--adapter", folder, "--format", form, "--out", made, "--json", *more]
                done = json.loads(subprocess.run([str(x) for x in arguments], capture_output=True, text=True).stdout)
                assert "error" not in done, done
                return made

            live = PeftModel.from_pretrained(load(model), folder)
            want = logits(live)
            exact = logits(live.double())
            adapter = logits(PeftModel.from_pretrained(load(model), export("peft")))
            merged = logits(load(export("safetensors", "--type", "f32")))
            off = lambda x, y: (x - y).abs().max().item()
            fine = all(min(off(x, want), off(x, exact)) < BOUND for x in (adapter, merged))
            row = [f"{want.std():.2f}", *(f"{v:.1e}" for v in (off(adapter, want), off(merged, want), off(want, exact)))]
            print(f"| {name} | {' | '.join(row)} | {'yes' if fine else 'NO'} |", flush=True)
            if a.save:
                Path(a.save).mkdir(parents=True, exist_ok=True)
                np.save(Path(a.save) / f"{name}.npy", want.float().numpy())


main()
