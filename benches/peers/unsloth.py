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
random and made on the GPU, so nothing is downloaded: a config is written to a temporary folder and the model is quantised
as it is loaded. Run it right before or after Tallow on the same machine, and compare medians.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

# This file has the name of a package that it imports, and Python looks into a script's own folder first.
sys.path = [p for p in sys.path if Path(p).resolve() != Path(__file__).resolve().parent]

parser = argparse.ArgumentParser()
parser.add_argument("--engine", choices=["unsloth", "peft"], required=True)
parser.add_argument("--shape", choices=["1b", "3b", "8b"], default="8b")
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
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, PreTrainedTokenizerFast

SHAPES = {  # hidden, layers, heads, kv heads, intermediate, tied
    "1b": (2048, 16, 32, 8, 8192, True),
    "3b": (3072, 28, 24, 8, 8192, True),
    "8b": (4096, 32, 32, 8, 14336, False),
}
VOCABULARY = 128256
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


def write_model(folder):
    """A model folder with random bf16 weights, made on the GPU."""
    hidden, layers, heads, kv, intermediate, tied = SHAPES[args.shape]
    config = LlamaConfig(
        hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv, intermediate_size=intermediate,
        vocab_size=VOCABULARY, tie_word_embeddings=tied, max_position_embeddings=131072, **rope(),
    )
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    del model
    torch.cuda.empty_cache()


def load(folder):
    if args.engine == "unsloth":
        from unsloth import FastLanguageModel

        model, _ = FastLanguageModel.from_pretrained(folder, max_seq_length=args.batch * args.seq, load_in_4bit=True, dtype=torch.bfloat16)
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
            ids = torch.randint(0, VOCABULARY, (args.batch, args.seq), device="cuda")
            yield {"input_ids": ids, "labels": ids}, ids.numel()
        return
    lengths = [int(line) for line in open(args.lengths)][: args.rows]
    assert len(lengths) == args.rows, "the file has fewer lengths"
    if args.padded:
        lengths.sort()
        for i in range(0, len(lengths), args.micro):
            some = torch.tensor(lengths[i : i + args.micro], device="cuda")
            mask = torch.arange(int(some.max()), device="cuda")[None] < some[:, None]
            ids = torch.randint(0, VOCABULARY, mask.shape, device="cuda")
            yield {"input_ids": ids, "labels": ids.masked_fill(~mask, -100), "attention_mask": mask.long()}, int(some.sum())
        return
    for pack in packs(lengths, args.batch * args.seq):
        ids = torch.randint(0, VOCABULARY, (1, sum(pack)), device="cuda")
        labels, positions = ids.clone(), torch.cat([torch.arange(n, device="cuda") for n in pack])[None]
        # The first token of a row is nobody's target.
        labels[positions == 0] = -100
        ends = torch.tensor(pack, dtype=torch.int32, device="cuda")
        yield {"input_ids": ids, "labels": labels, "position_ids": positions, "packed_seq_lengths": ends}, sum(pack)


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
        tokens = sum(count for _, count in data)
        torch.cuda.synchronize()
        start = time.perf_counter()
        total = 0.0
        for inputs, count in data:
            # By tokens, as a mean over the whole step.
            loss = model(**inputs).loss * (count / tokens)
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
    "batch": args.batch, "seq": args.seq, "accumulation": args.accumulation, "tokens": tokens, "lengths": args.lengths,
    "rows": args.rows if args.lengths else args.batch * args.accumulation, "padded": args.padded, "checkpointing": args.checkpointing,
    "tokens_per_second": tokens / statistics.median(seconds), "step_seconds": seconds, "losses": losses,
    "peak_allocated_bytes": torch.cuda.max_memory_allocated(), "peak_reserved_bytes": torch.cuda.max_memory_reserved(),
}))
