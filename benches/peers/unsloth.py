"""Training steps of Unsloth, or of plain PEFT with SDPA, on one GPU: the same shape, rank, lengths and packing as
`tallow bench train --device cuda:0`; one JSON line each.

    python benches/peers/unsloth.py --engine unsloth --shape 8b --batch 2 --seq 2048 --accumulation 4
    python benches/peers/unsloth.py --engine peft    --shape 8b --batch 2 --seq 2048 --accumulation 4
    python benches/peers/unsloth.py --engine unsloth --shape 8b --rows 218 --mean-length 150     # short rows, packed

Needs a CUDA build of torch, transformers, peft, bitsandbytes, accelerate and, for its engine, unsloth and trl. Weights are
random and made on the GPU, so nothing is downloaded: a config is written to a temporary folder and the model is quantised
as it is loaded. Run it right before or after Tallow on the same machine, and compare medians.
"""

import argparse
import json
import statistics
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("--engine", choices=["unsloth", "peft"], required=True)
parser.add_argument("--shape", choices=["1b", "3b", "8b"], default="8b")
parser.add_argument("--batch", type=int, default=2)
parser.add_argument("--seq", type=int, default=2048)
parser.add_argument("--accumulation", type=int, default=4)
parser.add_argument("--rows", type=int, default=0, help="short rows a step, packed into sequences of --seq where the engine can")
parser.add_argument("--mean-length", type=int, default=150)
parser.add_argument("--rank", type=int, default=32)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--checkpointing", choices=["unsloth", "on", "off"], default="unsloth")
args = parser.parse_args()

if args.engine == "unsloth":
    import unsloth  # noqa: F401  (before transformers: it replaces parts of it)
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig

SHAPES = {  # hidden, layers, heads, kv heads, intermediate, tied
    "1b": (2048, 16, 32, 8, 8192, True),
    "3b": (3072, 28, 24, 8, 8192, True),
    "8b": (4096, 32, 32, 8, 14336, False),
}
VOCABULARY = 128256
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def write_model(folder):
    """A model folder with random bf16 weights, made on the GPU."""
    hidden, layers, heads, kv, intermediate, tied = SHAPES[args.shape]
    config = LlamaConfig(
        hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv, intermediate_size=intermediate,
        vocab_size=VOCABULARY, tie_word_embeddings=tied, max_position_embeddings=131072, rope_theta=500000.0,
    )
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    del model
    torch.cuda.empty_cache()


def load(folder):
    if args.engine == "unsloth":
        from unsloth import FastLanguageModel

        model, _ = FastLanguageModel.from_pretrained(folder, max_seq_length=args.seq, load_in_4bit=True, dtype=torch.bfloat16)
        checkpointing = {"unsloth": "unsloth", "on": True, "off": False}[args.checkpointing]
        return FastLanguageModel.get_peft_model(
            model, r=args.rank, lora_alpha=2 * args.rank, lora_dropout=0, bias="none", target_modules=LINEARS,
            use_gradient_checkpointing=checkpointing,
        )
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16
    )
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, quantization_config=quantization, attn_implementation="sdpa", device_map={"": 0}
    )
    model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=args.checkpointing != "off")
    return get_peft_model(model, LoraConfig(r=args.rank, lora_alpha=2 * args.rank, target_modules=LINEARS, task_type="CAUSAL_LM"))


def batches():
    """The batches of one step: (input_ids, labels, attention_mask or None)."""
    if not args.rows:
        for _ in range(args.accumulation):
            ids = torch.randint(0, VOCABULARY, (args.batch, args.seq), device="cuda")
            yield ids, ids, None
        return
    # Rows of one length, padded to it: what an engine without packing does with sorted rows at best.
    per = -(-args.rows // args.accumulation)
    for _ in range(args.accumulation):
        ids = torch.randint(0, VOCABULARY, (per, args.mean_length), device="cuda")
        yield ids, ids, torch.ones_like(ids)


with tempfile.TemporaryDirectory() as folder:
    write_model(folder)
    model = load(folder).train()
    model.config.use_cache = False
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    torch.cuda.reset_peak_memory_stats()
    seconds, losses, tokens = [], [], 0
    for step in range(args.steps + 2):
        data = list(batches())
        tokens = sum(ids.numel() for ids, _, _ in data)
        torch.cuda.synchronize()
        start = time.perf_counter()
        total = 0.0
        for ids, labels, mask in data:
            loss = model(input_ids=ids, labels=labels, attention_mask=mask).loss / len(data)
            loss.backward()
            total = total + loss.detach()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        value = total.item()
        torch.cuda.synchronize()
        if step >= 2:
            seconds.append(time.perf_counter() - start)
            losses.append(value)

print(json.dumps({
    "engine": args.engine, "gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "shape": args.shape, "rank": args.rank,
    "batch": args.batch, "seq": args.seq, "accumulation": args.accumulation, "rows": args.rows, "mean_length": args.mean_length,
    "checkpointing": args.checkpointing, "tokens_per_second": tokens / statistics.median(seconds), "step_seconds": seconds, "losses": losses,
    "peak_allocated_bytes": torch.cuda.max_memory_allocated(), "peak_reserved_bytes": torch.cuda.max_memory_reserved(),
}))
