"""Training steps of Unsloth, or of plain PEFT with SDPA, on one GPU: the same shape, rank, lengths and packing as
`tallow bench train --device cuda:0`; one JSON line each.

    python benches/peers/unsloth.py --engine unsloth --shape 8b --batch 2 --seq 2048 --accumulation 4
    python benches/peers/unsloth.py --engine peft    --shape 8b --batch 2 --seq 2048 --accumulation 4
    python benches/peers/unsloth.py --engine unsloth --shape 8b --lengths benches/peers/lengths.txt --rows 109
    python benches/peers/unsloth.py --engine unsloth --shape 8b --lengths benches/peers/lengths.txt --rows 109 --padded
    python benches/peers/unsloth.py --engine peft    --shape 8b --lengths benches/peers/lengths.txt --rows 109

Short rows: a step has the first --rows lengths of the file, as Tallow's `--lengths FILE --batch ROWS`. Unsloth packs them end to end
into sequences of --batch x --seq tokens at most, with its own packing (boundaries in `packed_seq_lengths`, attention does not
cross them); PEFT, and Unsloth with --padded, take them sorted by length, --micro rows at a time, padded to the longest. Tokens a
second count no padding.

Needs a CUDA build of torch, transformers, peft, bitsandbytes, accelerate and, for its engine, unsloth and trl. Weights are
random and made on the GPU, so nothing is downloaded: the model is written once to --cache (16 GB for 8b, in /dev/shm unless
told otherwise) and used again by later runs; --dtype nf4 quantises it as it is loaded. PEFT computes under autocast in bf16,
as trainers do: its norms and the embedding are f32. Run it right before or after Tallow on the same machine, and compare medians.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

# This file has the name of a package that it imports, and Python looks into a script's own folder first.
sys.path = [p for p in sys.path if Path(p).resolve() != Path(__file__).resolve().parent]

parser = argparse.ArgumentParser()
parser.add_argument("--engine", choices=["unsloth", "peft"], required=True)
parser.add_argument("--shape", choices=["tiny", "1b", "3b", "8b", "qwen3-0.6b", "qwen3-4b", "qwen3-8b"], default="8b")
parser.add_argument("--dtype", choices=["nf4", "bf16"], default="nf4")
parser.add_argument("--cache", default="/dev/shm/tallow-peers", help="where the random models stay")
parser.add_argument("--device", default="cuda", help="cpu rehearses --engine peft --dtype bf16")
parser.add_argument("--batch", type=int, default=2)
parser.add_argument("--seq", type=int, default=2048)
parser.add_argument("--accumulation", type=int, default=4)
parser.add_argument("--lengths", help="a file of row lengths, one a line")
parser.add_argument("--rows", type=int, default=109, help="with --lengths: rows a step")
parser.add_argument("--padded", action="store_true", help="with --lengths: pad, do not pack")
parser.add_argument("--micro", type=int, default=8, help="padded rows at a time")
parser.add_argument("--rank", type=int, default=32)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--checkpointing", choices=["unsloth", "on", "off"], default="unsloth")
args = parser.parse_args()

if args.engine == "unsloth":
    import unsloth  # noqa: F401  (before transformers: it replaces parts of it)
else:
    args.padded = True
import torch
import transformers
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, PreTrainedTokenizerFast, Qwen3Config

SHAPES = {  # hidden, layers, heads, kv heads, intermediate, tied
    "tiny": (64, 2, 4, 2, 172, True),
    "1b": (2048, 16, 32, 8, 8192, True),
    "3b": (3072, 28, 24, 8, 8192, True),
    "8b": (4096, 32, 32, 8, 14336, False),
    "qwen3-0.6b": (1024, 28, 16, 8, 3072, True),
    "qwen3-4b": (2560, 36, 32, 8, 9728, True),
    "qwen3-8b": (4096, 36, 32, 8, 12288, False),
}
QWEN3 = args.shape.startswith("qwen3")
VOCABULARY = 151936 if QWEN3 else 512 if args.shape == "tiny" else 128256
CUDA = args.device.startswith("cuda")
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def tokenizer():
    """One that an engine can load beside the model; the rows are numbers already."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"<unk>": 0, "<pad>": 1, "</s>": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>", eos_token="</s>")


def rope():
    """The base of the rotations, by the name that this version of transformers has for it."""
    if int(transformers.__version__.split(".")[0]) >= 5:
        return {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}
    return {"rope_theta": 500000.0}


def written_model():
    """A model folder with random bf16 weights, made on the GPU; the one of an earlier run where there is one."""
    folder = Path(args.cache) / args.shape
    if (folder / "complete").exists():
        return str(folder)
    hidden, layers, heads, kv, intermediate, tied = SHAPES[args.shape]
    wide = {"head_dim": 128} if QWEN3 else {}
    config = (Qwen3Config if QWEN3 else LlamaConfig)(
        hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv, intermediate_size=intermediate,
        vocab_size=VOCABULARY, tie_word_embeddings=tied, max_position_embeddings=131072, **wide, **rope(),
    )
    with torch.device(args.device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    (folder / "complete").write_text("")
    del model
    if CUDA:
        torch.cuda.empty_cache()
    return str(folder)


def load(folder):
    if args.engine == "unsloth":
        from unsloth import FastLanguageModel

        model, _ = FastLanguageModel.from_pretrained(
            folder, max_seq_length=args.batch * args.seq, load_in_4bit=args.dtype == "nf4", dtype=torch.bfloat16
        )
        checkpointing = {"unsloth": "unsloth", "on": True, "off": False}[args.checkpointing]
        return FastLanguageModel.get_peft_model(
            model, r=args.rank, lora_alpha=2 * args.rank, lora_dropout=0, bias="none", target_modules=LINEARS,
            use_gradient_checkpointing=checkpointing,
        )
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    how = {"dtype": torch.bfloat16, "attn_implementation": "sdpa", "device_map": {"": args.device}}
    if args.dtype == "nf4":
        how["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16
        )
    model = AutoModelForCausalLM.from_pretrained(folder, **how)
    if args.dtype == "nf4":
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=args.checkpointing != "off")
    elif args.checkpointing != "off":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    return get_peft_model(model, LoraConfig(r=args.rank, lora_alpha=2 * args.rank, target_modules=LINEARS, task_type="CAUSAL_LM"))


def packs(lengths, most):
    """The lengths in order, as many together as `most` tokens hold."""
    pack = []
    for n in lengths:
        if pack and sum(pack) + n > most:
            yield pack
            pack = []
        pack.append(n)
    yield pack


def batches():
    """The batches of one step, as arguments of the model, each with its tokens that are no padding."""
    if not args.lengths:
        for _ in range(args.accumulation):
            ids = torch.randint(0, VOCABULARY, (args.batch, args.seq), device=args.device)
            yield {"input_ids": ids, "labels": ids}, ids.numel()
        return
    lengths = [int(line) for line in open(args.lengths)][: args.rows]
    assert len(lengths) == args.rows, "the file has fewer lengths"
    if args.padded:
        lengths.sort()
        for i in range(0, len(lengths), args.micro):
            some = torch.tensor(lengths[i : i + args.micro], device=args.device)
            mask = torch.arange(int(some.max()), device=args.device)[None] < some[:, None]
            ids = torch.randint(0, VOCABULARY, mask.shape, device=args.device)
            yield {"input_ids": ids, "labels": ids.masked_fill(~mask, -100), "attention_mask": mask.long()}, int(some.sum())
        return
    for pack in packs(lengths, args.batch * args.seq):
        ids = torch.randint(0, VOCABULARY, (1, sum(pack)), device=args.device)
        labels, positions = ids.clone(), torch.cat([torch.arange(n, device=args.device) for n in pack])[None]
        # The first token of a row is nobody's target.
        labels[positions == 0] = -100
        ends = torch.tensor(pack, dtype=torch.int32, device=args.device)
        yield {"input_ids": ids, "labels": labels, "position_ids": positions, "packed_seq_lengths": ends}, sum(pack)


def synchronize():
    if CUDA:
        torch.cuda.synchronize()


model = load(written_model()).train()
model.config.use_cache = False
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=CUDA)
if CUDA:
    torch.cuda.reset_peak_memory_stats()
# Unsloth casts by itself.
autocast = torch.autocast(args.device, torch.bfloat16, enabled=args.engine == "peft")
seconds, losses, tokens = [], [], 0
for step in range(args.steps + 2):
    data = list(batches())
    tokens = sum(count for _, count in data)
    synchronize()
    start = time.perf_counter()
    total = 0.0
    for inputs, count in data:
        # By tokens, as a mean over the whole step.
        with autocast:
            loss = model(**inputs).loss * (count / tokens)
        loss.backward()
        total = total + loss.detach()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    value = total.item()
    synchronize()
    if step >= 2:
        seconds.append(time.perf_counter() - start)
        losses.append(value)

print(json.dumps({
    "engine": args.engine, "gpu": torch.cuda.get_device_name() if CUDA else args.device, "torch": torch.__version__, "shape": args.shape, "dtype": args.dtype, "rank": args.rank,
    "batch": args.batch, "seq": args.seq, "accumulation": args.accumulation, "tokens": tokens, "lengths": args.lengths,
    "rows": args.rows if args.lengths else args.batch * args.accumulation, "padded": args.padded, "checkpointing": args.checkpointing,
    "tokens_per_second": tokens / statistics.median(seconds), "step_seconds": seconds, "losses": losses,
    "peak_allocated_bytes": torch.cuda.max_memory_allocated() if CUDA else 0, "peak_reserved_bytes": torch.cuda.max_memory_reserved() if CUDA else 0,
}))
