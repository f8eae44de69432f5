"""Tallow beside PyTorch + PEFT on the same model folder and machine, turn by turn, so that a noisy neighbour hits both.

    cargo build --release
    target/release/tallow bench random-model 135m --out /tmp/m135
    python benches/peers/compare.py --model /tmp/m135 --dtypes f32,bf16,nf4 --rounds 3

Python needs torch, transformers, peft and, for nf4, bitsandbytes. Medians over all timed steps; memory is the largest
resident size of the process.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--tallow", default=str(HERE.parent.parent / "target/release/tallow"))
parser.add_argument("--dtypes", default="f32,bf16,nf4")
parser.add_argument("--batch", default="4")
parser.add_argument("--seq", default="512")
parser.add_argument("--steps", default="3")
parser.add_argument("--rounds", type=int, default=2)
parser.add_argument("--out", help="append every measurement to this JSONL file")
args = parser.parse_args()


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout[done.stdout.index("{"):])


print("| dtype | tallow tok/s | torch tok/s | ratio | tallow peak MiB | torch peak MiB | ratio | tallow utilisation |")
print("|---|---|---|---|---|---|---|---|")
for dtype in args.dtypes.split(","):
    shape = ["--model", args.model, "--batch", args.batch, "--seq", args.seq, "--steps", args.steps, "--dtype", dtype]
    ours, theirs = [], []
    for _ in range(args.rounds):
        ours.append(run([args.tallow, "bench", "train", "--json", *shape]))
        theirs.append(run([sys.executable, str(HERE / "torch_train.py"), *shape]))
    if args.out:
        with open(args.out, "a") as file:
            for engine, rows in (("tallow", ours), ("torch", theirs)):
                file.writelines(json.dumps({"by": engine, **row}) + "\n" for row in rows)
    tokens = int(args.batch) * int(args.seq)
    speed = lambda rows: tokens / statistics.median(s for r in rows for s in r["step_seconds"])
    peak = lambda rows: max(r["peak_rss_bytes"] for r in rows) / 2**20
    used = statistics.median(r["model_flops_utilisation"] for r in ours)
    a, b, c, d = speed(ours), speed(theirs), peak(ours), peak(theirs)
    print(f"| {dtype} | {a:.0f} | {b:.0f} | {a / b:.2f} | {c:.0f} | {d:.0f} | {c / d:.2f} | {used:.0%} |", flush=True)
