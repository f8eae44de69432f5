"""Tallow beside PyTorch + PEFT on the same model folder and machine, turn by turn, so that a noisy neighbour hits both.

    cargo build --release
    target/release/tallow bench random-model 135m --out /tmp/m135
    python benches/peers/compare.py --model /tmp/m135 --dtypes f32,bf16,nf4 --rounds 3
    python benches/peers/compare.py --model /tmp/m135 --work generate --dtypes bf16,nf4

Python needs torch, transformers, peft and, for nf4, bitsandbytes. Medians over all timed steps; memory is the largest
resident size of the process.

`--preload` names libraries, separated by colons, and adds PyTorch at its best: with them (tcmalloc, and mkl_avx512.so from
the C file here), torch.compile, and in bf16 with bf16 adapters. `--isa` lowers Tallow's instruction set.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--tallow", default=str(HERE.parent.parent / "target/release/tallow"))
parser.add_argument("--work", choices=["train", "generate"], default="train")
parser.add_argument("--dtypes", default="f32,bf16,nf4")
parser.add_argument("--batch", default="4")
parser.add_argument("--seq", default="512")
parser.add_argument("--steps", default="3")
parser.add_argument("--rounds", type=int, default=2)
parser.add_argument("--preload", help="add PyTorch at its best, with these libraries preloaded")
parser.add_argument("--skip-installed", action="store_true", help="leave out PyTorch as installed")
parser.add_argument("--isa", choices=["portable", "avx2", "avx512"], help="Tallow with a lesser instruction set")
parser.add_argument("--out", help="append every measurement to this JSONL file")
args = parser.parse_args()


def run(command, **more):
    # Settings of the shell that slow a peer down must not count for it.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "MKL_", "LD_PRELOAD"))} | more
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout[done.stdout.index("{"):])


def shape(dtype):
    if args.work == "generate":
        return ["--model", args.model, "--dtype", dtype]
    return ["--model", args.model, "--dtype", dtype, "--batch", args.batch, "--seq", args.seq, "--steps", args.steps]


def tallow(dtype):
    isa = {"TALLOW_ISA": args.isa} if args.isa else {}
    return run([args.tallow, "bench", args.work, "--json", *shape(dtype)], **isa)


def installed(dtype):
    return run([sys.executable, str(HERE / f"torch_{args.work}.py"), *shape(dtype)])


def best(dtype):
    more = ["--compile", "--adapters", "f32" if dtype == "f32" else "bf16"] if args.work == "train" else []
    # env, so that the libraries reach only the measured program.
    return run(["env", f"LD_PRELOAD={args.preload}", sys.executable, str(HERE / f"torch_{args.work}.py"), *shape(dtype), *more])


def speed(rows):
    if args.work == "generate":
        return statistics.median(r for row in rows for r in row["decode_rounds"])
    return int(args.batch) * int(args.seq) / statistics.median(s for row in rows for s in row["step_seconds"])


engines = {"tallow": tallow}
if not args.skip_installed:
    engines["torch as installed"] = installed
if args.preload:
    engines["torch at its best"] = best
print("| dtype | engine | tokens/s | tallow is faster by | peak MiB | tallow's share |")
print("|---|---|---|---|---|---|")
for dtype in args.dtypes.split(","):
    rows = {name: [] for name in engines}
    for _ in range(args.rounds):
        for name, engine in engines.items():
            rows[name].append(engine(dtype))
    if args.out:
        with open(args.out, "a") as file:
            for name in engines:
                file.writelines(json.dumps({"by": name, "work": args.work, **row}) + "\n" for row in rows[name])
    peak = {name: max(r["peak_rss_bytes"] for r in rows[name]) / 2**20 for name in engines}
    for name in engines:
        faster = f"{speed(rows['tallow']) / speed(rows[name]):.2f}" if name != "tallow" else ""
        share = f"{peak['tallow'] / peak[name]:.2f}" if name != "tallow" else ""
        print(f"| {dtype} | {name} | {speed(rows[name]):.0f} | {faster} | {peak[name]:.0f} | {share} |", flush=True)
    if args.work == "train":
        used = statistics.median(r["model_flops_utilisation"] for r in rows["tallow"])
        print(f"| {dtype} | of the measured peak | {used:.0%} | | | |", flush=True)
