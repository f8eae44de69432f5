"""Training steps of PyTorch + transformers + PEFT on a model folder; one JSON line like `tallow bench train --json`.

    python torch_train.py --model DIR [--batch 4] [--seq 512] [--steps 5] [--dtype f32|bf16|nf4] [--rank 16] [--recompute on|off]
        [--compile] [--adapters bf16|f32]
"""

import argparse
import json
import os
import resource
import time

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--seq", type=int, default=512)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--dtype", choices=["f32", "bf16", "nf4"], default="f32")
parser.add_argument("--rank", type=int, default=16)
parser.add_argument("--recompute", choices=["on", "off"], default="off")
parser.add_argument("--compile", action="store_true", help="torch.compile; the first steps, which compile, are not timed")
parser.add_argument("--adapters", choices=["f32", "bf16"], default="f32", help="dtype of the adapters under a bf16 model")
args = parser.parse_args()
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

torch.manual_seed(0)
dtype = torch.float32 if args.dtype == "f32" else torch.bfloat16
if args.dtype == "nf4":
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16
    )
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype, quantization_config=quantization, device_map="cpu")
    model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=args.recompute == "on")
else:
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype)
    if args.recompute == "on":
        model.gradient_checkpointing_enable({"use_reentrant": False})
model.config.use_cache = False
linears = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
lora = LoraConfig(r=args.rank, lora_alpha=2 * args.rank, lora_dropout=0.0, target_modules=linears, task_type="CAUSAL_LM")
model = get_peft_model(model, lora, autocast_adapter_dtype=args.adapters == "f32").train()
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-4)
forward = torch.compile(model) if args.compile else model
ids = torch.randint(0, model.config.vocab_size, (args.batch, args.seq))

seconds, losses = [], []
warm = 3 if args.compile else 1
for step in range(args.steps + warm):
    start = time.perf_counter()
    loss = forward(input_ids=ids, labels=ids).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    value = loss.item()
    if step >= warm:
        seconds.append(time.perf_counter() - start)
        losses.append(value)
median = sorted(seconds)[len(seconds) // 2]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({
    "engine": f"torch {torch.__version__}", "threads": torch.get_num_threads(), "dtype": args.dtype, "step_seconds": seconds,
    "losses": losses, "tokens_per_second": args.batch * args.seq / median, "peak_rss_bytes": peak,
}))
