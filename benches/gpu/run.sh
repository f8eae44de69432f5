#!/usr/bin/env bash
# Everything there is to know about this program on this machine's GPU, in one go: correct first, then fast.
#
#   benches/gpu/run.sh [--quick] [--long] [--device cuda:0]
#
# 1. every operation on the GPU against the CPU's kernels (two-times rule, odd shapes, inputs in the middle of their storage)
# 2. whole models: gradients as the CPU makes them, the same under every policy; a run that is stopped and resumed
# 3. kernels beside the device's own copy and product
# 4. training steps at the shapes of Llama 3.2 1B, 3B and 3.1 8B, with random weights made on the device: full rows, short rows,
#    activations in host memory, the longest row that 24 GiB have room for (with --long: 80 GiB too)
# 5. on compute capability 9.0: attention by warpgroups, tested and measured the same way (results in a file of their own)
#
# Needs Rust, a driver and nvcc (see docs/cuda.md). Results: benches/results/gpu-NAME-DATE.jsonl, one JSON line a measurement.
# Without a GPU it says so and ends with 0.
set -euo pipefail
cd "$(dirname "$0")/../.."

device=cuda:0 quick='' long=''
while [ $# -gt 0 ]; do
    case $1 in
        --quick) quick=1 ;;
        --long) long=1 ;;
        --device) device=$2; shift ;;
        *) sed -n '2,17s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done

if ! command -v nvidia-smi > /dev/null || ! nvidia-smi -L 2> /dev/null | grep -q GPU; then
    echo "no NVIDIA GPU on this machine: nothing was run"
    exit 0
fi
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,power.limit --format=csv

# The libraries below look for nvcc on the PATH alone; the program finds the toolkit's libraries as it starts.
cuda=${CUDA_HOME:-/usr/local/cuda}
export PATH="$cuda/bin:$PATH" LD_LIBRARY_PATH="$cuda/lib64:${LD_LIBRARY_PATH:-}"

echo "== build"
cargo build --release --locked --features cuda
tallow=target/release/tallow
"$tallow" doctor || true

name=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1 | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9-')
results=benches/results/gpu-$name-$(date +%F).jsonl
mkdir -p benches/results

echo "== operations against the CPU's"
TALLOW_TEST_DEVICE=$device cargo test --release --locked -p tallow-kernels --features cuda --test launched

echo "== whole models against the CPU's"
TALLOW_TEST_DEVICE=$device cargo test --release --locked --features cuda --test it cuda::

echo "== a run on the GPU, stopped and resumed"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$tallow" init project --dir "$work" > /dev/null
for a in $(seq 1 40); do for b in 3 7 11 19 23; do
    printf '{"instruction": "add %d and %d", "output": "%d"}\n' "$a" "$b" $((a + b))
done; done > "$work/rows.jsonl"
settings=(--set "device=$device" --set "dataset.path=$work/rows.jsonl" --set training.stage1.iterations=60 --set training.save_steps=10)
"$tallow" train "$work/project" "${settings[@]}" --name whole --quiet
"$tallow" train "$work/project" "${settings[@]}" --name halves --stop-after 27 --quiet
"$tallow" train "$work/project" --resume "$(basename "$work"/project/runs/halves-*)" --quiet
cmp "$work"/project/runs/{whole,halves}-*/final-model/adapter_model.safetensors
echo "the resumed run ended with the same adapter, to the bit"

echo "== kernels"
"$tallow" bench gpu --device "$device"
"$tallow" bench gpu --device "$device" --json | tr -d '\n' >> "$results"
echo >> "$results"

echo "== training steps"
steps() { # a shape, a dtype, and what differs from five steps with adapters of rank 32
    echo "-- $*"
    "$tallow" bench train --device "$device" --model "random:$1" --dtype "$2" --rank 32 --json "${@:3}" > "$work/step.json" || { echo "   (did not run)"; return 0; }
    grep -E '"(seq|tokens_per_second|model_flops_utilisation|peak_allocated_bytes|host_bytes)"' "$work/step.json"
    tr -d '\n' < "$work/step.json" >> "$results"
    echo >> "$results"
}
short=(--lengths benches/peers/lengths.txt --batch 109)
steps 1b bf16 --batch 8 --seq 2048 --recompute none
if [ -z "$quick" ]; then
    steps 3b nf4 --batch 8 --seq 2048
    # Batch 2 x 2048 with four steps of accumulation, which are one pass here.
    steps 8b nf4 --batch 8 --seq 2048 --recompute none
    steps 8b nf4 --batch 8 --seq 2048
    steps 8b nf4 --batch 8 --seq 2048 --recompute on
    # The same with what half of the layers keep in host memory, then with all layers' inputs there.
    steps 8b nf4 --batch 8 --seq 2048 --offload 16
    steps 8b nf4 --batch 8 --seq 2048 --recompute on --offload 32
    # Short rows, packed: about as many tokens.
    steps 8b nf4 "${short[@]}" --recompute none
    steps 8b nf4 --fit 24GiB --steps 1
    if [ -n "$long" ]; then steps 8b nf4 --fit 80GiB --steps 1; fi
fi

if [ "$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1)" = 9.0 ]; then
    echo "== attention by warpgroups"
    export TALLOW_HOPPER_ATTENTION=1
    results=${results%.jsonl}-warpgroups.jsonl
    # What it computes wrong is reported, and does not hide what was measured before.
    if TALLOW_TEST_DEVICE=$device cargo test --release --locked -p tallow-kernels --features cuda --test launched attention; then
        "$tallow" bench gpu --device "$device" --json | tr -d '\n' >> "$results"
        echo >> "$results"
        "$tallow" bench gpu --device "$device" | grep attention
        if [ -z "$quick" ]; then
            steps 8b nf4 --batch 8 --seq 2048 --recompute none
            steps 8b nf4 "${short[@]}" --recompute none
        fi
    else
        echo "attention by warpgroups does not agree with the CPU's: leave TALLOW_HOPPER_ATTENTION unset"
    fi
fi
echo "results are in benches/results/"
