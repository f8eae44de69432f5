#!/usr/bin/env bash
# Training steps beside Unsloth and PEFT on the same card in the same run: 400 seconds at most, the most telling
# first, nothing stops the rest. Runs from the folder that pack.sh makes.
#
#   OUT=results ./compare.sh            PYTHON=python3 with unsloth, trl, peft and bitsandbytes for the peers
#
# Tallow packs the window of four batches of 2 x 2048 tokens into one pass; the peers take them one by one. The
# first step is measured once more at the end: what differs is the card's drift. Beside the tokens a second stands
# the share of the steps in which the card ran kernels.
#
# Without a GPU it says so and ends with 0.
budget=${BUDGET:-395}
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
python=${PYTHON:-python3}
require_gpu
unpack
"$tallow" doctor > "$OUT/doctor.log" 2>&1 || true
[ -n "$gpu" ] || { cat "$OUT/doctor.log"; exit 0; }
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,power.limit --format=csv | tee "$OUT/card.log"

# Seconds of all timed steps of a log.
timed() { tr -d '\n' < "$OUT/$1.log" | grep -aoE '"step_seconds": *\[[^]]*\]' | grep -oE '[0-9]+\.[0-9]+(e-[0-9]+)?' | awk '{ s += $1 } END { print s + 0 }'; }

measured() { # NAME LIMIT COMMAND...
    busy_start
    step "$@"
    busy_stop "$1" "$(timed "$1")"
    keep "$1"
}

ours() { # NAME SHAPE DTYPE RANK [more...]
    measured "$1" 45 "$tallow" bench train --device "$device" --model "random:$2" --dtype "$3" --rank "$4" --batch 8 --seq 2048 --steps 4 --json "${@:5}"
}

theirs() { # NAME ENGINE SHAPE DTYPE RANK [more...]
    measured "$1" 75 "$python" "$here/unsloth.py" --engine "$2" --shape "$3" --dtype "$4" --rank "$5" --batch 2 --seq 2048 --accumulation 4 --steps 4 "${@:6}"
}

ours tallow-8b-nf4-r32 8b nf4 32 --recompute none
theirs unsloth-8b-nf4-r32 unsloth 8b nf4 32
theirs unsloth-8b-nf4-r32-keep unsloth 8b nf4 32 --checkpointing off
ours tallow-8b-nf4-r16 8b nf4 16 --recompute none
ours tallow-qwen3-8b-nf4-r16 qwen3-8b nf4 16 --recompute none
ours tallow-qwen3-8b-bf16-r16 qwen3-8b bf16 16
ours tallow-qwen3-0.6b-bf16-r16 qwen3-0.6b bf16 16 --recompute none
theirs unsloth-qwen3-0.6b-bf16-r16 unsloth qwen3-0.6b bf16 16
ours tallow-qwen3-0.6b-nf4-r16 qwen3-0.6b nf4 16 --recompute none
ours tallow-qwen3-4b-bf16-r16 qwen3-4b bf16 16 --recompute none
ours tallow-qwen3-4b-nf4-r16 qwen3-4b nf4 16 --recompute none
short=(--lengths "$here/lengths.txt")
measured tallow-8b-nf4-short 45 "$tallow" bench train --device "$device" --model random:8b --dtype nf4 --rank 32 "${short[@]}" --batch 109 --steps 4 --recompute none --json
theirs unsloth-8b-nf4-short unsloth 8b nf4 32 "${short[@]}" --rows 109
theirs peft-8b-nf4-r32 peft 8b nf4 32 --checkpointing on
ours tallow-8b-nf4-r32-again 8b nf4 32 --recompute none

echo
printf '%-32s %12s %10s %10s\n' step tokens/s "peak GiB" busy
while read -r name; do
    speed=$(number "$name" tokens_per_second)
    [ -n "$speed" ] || continue
    busy=$(sed -n "s/.*\"step\":\"$name\",\"gpu_busy\":\([0-9.]*\).*/\1/p" "$OUT/results.jsonl" | head -n 1)
    awk -v n="$name" -v s="$speed" -v p="$(number "$name" peak_allocated_bytes)" -v b="$busy" \
        'BEGIN { printf "%-32s %12.0f %10.1f %10s\n", n, s, p / 2^30, b }'
done < <(sed -n 's/.*"step":"\([^"]*\)".*/\1/p' "$OUT/steps.jsonl")
cat "$OUT/steps.jsonl"
exit 0
