"""Greedy generation with a KV cache by transformers; one JSON line like `tallow bench generate --json`.

    python torch_generate.py --model DIR [--prompt 32] [--new 128] [--rounds 3] [--dtype f32|bf16|nf4]

The time of the prompt is that of generating one token; the rate is that of the tokens after it.
"""

import argparse
import json
import os
import resource
import statistics
import time

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--prompt", type=int, default=32)
parser.add_argument("--new", type=int, default=128)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--dtype", choices=["f32", "bf16", "nf4"], default="bf16")
args = parser.parse_args()
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

more = {}
if args.dtype == "nf4":
    more["device_map"] = "cpu"
    more["quantization_config"] = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16
    )
dtype = torch.float32 if args.dtype == "f32" else torch.bfloat16
model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype, **more).eval()
model.generation_config.eos_token_id = None
torch.manual_seed(0)
prompt = torch.randint(0, model.config.vocab_size, (1, args.prompt))


def seconds(new):
    start = time.perf_counter()
    with torch.inference_mode():
        out = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=new, min_new_tokens=new, do_sample=False
        )
    assert out.shape[1] == args.prompt + new
    return time.perf_counter() - start


seconds(8)
prompts = [seconds(1) for _ in range(args.rounds)]
first = statistics.median(prompts)
rates = [(args.new - 1) / (seconds(args.new) - first) for _ in range(args.rounds)]
print(json.dumps({
    "engine": f"torch {torch.__version__}", "threads": torch.get_num_threads(), "dtype": args.dtype,
    "decode_tokens_per_second": statistics.median(rates), "decode_rounds": rates, "prompt_seconds": first,
    "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
}))
