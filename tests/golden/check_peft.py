"""Loads adapters that Tallow saved in PEFT and compares logits, loss and gradients.

    TALLOW_PEFT_OUT=/tmp/peft cargo test --test it -- --ignored write_adapters_for_peft
    python tests/golden/check_peft.py /tmp/peft

Each folder of the argument is named after a golden family and holds `adapter/` and `logits.safetensors`, what Tallow
computed from the family's model, its input_ids and this adapter. Or, for one model by hand:

    python tests/golden/check_peft.py MODEL ADAPTER INPUT.safetensors OUTPUT.safetensors
"""

import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-4


def apart(got, want):
    scaled = (got - want).abs().max() / want.abs().max()
    return max(scaled.item(), ((got - want).norm() / want.norm()).item())


def check(name, model, adapter, given, output):
    given, tallow = load_file(given), load_file(output)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        plain = base.eval()(given["input_ids"]).logits
    peft = PeftModel.from_pretrained(base, adapter, is_trainable=True).eval()
    out = peft(input_ids=given["input_ids"], labels=given["labels"], use_cache=False)
    out.loss.backward()
    grads = {n.replace(".default.", "."): p.grad for n, p in peft.named_parameters() if p.requires_grad}
    assert set(grads) == {n for n in tallow if ".lora_" in n}, "the two name different adapter tensors"
    worst = max(apart(tallow[n], g) for n, g in grads.items())
    logits, loss = apart(tallow["logits"], out.logits.detach()), apart(tallow["loss"], out.loss.detach())
    effect = apart(plain, out.logits.detach())
    fine = max(logits, loss, worst) < TOLERANCE and effect > 100 * TOLERANCE
    print(f"{name:14} logits {logits:.2e}  loss {loss:.2e}  gradients {worst:.2e}  (the adapter moves logits by {effect:.2e})"
          f"{'' if fine else '  FAILED'}")
    return fine


if __name__ == "__main__":
    if len(sys.argv) == 5:
        results = [check(Path(sys.argv[1]).name, *sys.argv[1:])]
    elif len(sys.argv) == 2:
        folders = sorted(d for d in Path(sys.argv[1]).iterdir() if (d / "adapter").is_dir())
        results = [check(d.name, HERE / d.name / "model", d / "adapter", HERE / d.name / "expected.safetensors",
                         d / "logits.safetensors") for d in folders]
    else:
        sys.exit(__doc__)
    sys.exit(0 if results and all(results) else 1)
