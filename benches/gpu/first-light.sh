#!/usr/bin/env bash
# The first run on a GPU: whether it is right, then each kernel's speed. 290 seconds at most; nothing stops the
# rest. Runs from the folder that pack.sh makes, without Rust or network.
#
#   OUT=results ./first-light.sh          DEVICE=cuda:0 unless set
#
# 1. the card, the driver, `tallow doctor`, and one small training step (pool, cuRAND, candle's PTX, machine code, cuBLAS)
# 2. every operation against the CPU's kernels
# 3. whole models of every family: gradients against the CPU's, the same under every policy, and the memory plan
# 4. a run that is stopped and resumed ends with the same adapter, to the bit
# 5. every kernel beside the device's own copy and product: 16,384 tokens in sequences of 2048
# 6. the same work in plain PyTorch, kernel for kernel
#
# Without a GPU it says so and ends with 0.
budget=${BUDGET:-285}
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
require_gpu
unpack
"$tallow" doctor > "$OUT/doctor.log" 2>&1 || true
cat "$OUT/doctor.log"
[ -n "$gpu" ] || exit 0

nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,power.limit --format=csv | tee "$OUT/card.log"
ldd "$tallow" > "$OUT/ldd.log" 2>&1

small=(bench train --device "$device" --model random:1b --dtype nf4 --batch 1 --seq 256 --steps 1 --json)
step smoke 40 "$tallow" "${small[@]}"
if ! grep -q tokens_per_second "$OUT/smoke.log"; then
    # The message of an error that came up late names another kernel: once more, waiting for each.
    step smoke-blocking 40 env CUDA_LAUNCH_BLOCKING=1 "$tallow" "${small[@]}"
    tail -n 5 "$OUT/smoke-blocking.log"
fi
keep smoke

export TALLOW_TEST_DEVICE=$device
step launched 60 "$bin/launched" --test-threads=4
step models 60 "$bin/it" cuda:: --test-threads=1
unset TALLOW_TEST_DEVICE

resume() {
    local work=$bin/work
    rm -rf "$work" && mkdir "$work" && cd "$work" || return 1
    "$tallow" init project --dir "$work" > /dev/null || return 1
    for a in $(seq 1 40); do for b in 3 7 11 19 23; do
        printf '{"instruction": "add %d and %d", "output": "%d"}\n' "$a" "$b" $((a + b))
    done; done > rows.jsonl
    local settings=(--set "device=$device" --set "dataset.path=$work/rows.jsonl" --set training.stage1.iterations=40 --set training.save_steps=10)
    "$tallow" train project "${settings[@]}" --name whole --quiet || return 1
    "$tallow" train project "${settings[@]}" --name halves --stop-after 17 --quiet || return 1
    "$tallow" train project --resume "$(basename project/runs/halves-*)" --quiet || return 1
    cmp project/runs/{whole,halves}-*/final-model/adapter_model.safetensors && echo "the same adapter, to the bit"
}
export -f resume
export bin tallow device
step resume 60 bash -c resume

step kernels 75 "$tallow" bench gpu --device "$device" --tokens 16384 --seq 2048 --repeats 3 --json
keep kernels
step torch 60 python3 "$here/torch_kernels.py" --tokens 16384 --seq 2048
grep -a '^{' "$OUT/torch.log" >> "$OUT/results.jsonl" 2> /dev/null

echo
echo "== tests"
grep -ahE '^test result|^test .*FAILED|panicked at' "$OUT"/{launched,models}.log | sort | uniq -c | sort -rn | head -n 20
tail -n 1 "$OUT/resume.log"
echo "== kernels (microseconds, rate, share of the ceiling)"
awk -F'"' '/"name"/ { name = $4 } /"microseconds"/ { split($3, a, /[:,]/); us = a[2] } /"unit"/ { unit = $4 }
    /"rate"/ { split($3, a, /[:,]/); rate = a[2] } /"of_ceiling"/ { split($3, a, /[:,]/); printf "%-40s %10.1f %9.1f %-8s %5.2f\n", name, us, rate, unit, a[2] }' "$OUT/kernels.log"
echo "== PyTorch"
grep -a '^{' "$OUT/torch.log" | awk -F'"' '{ split($0, a, /"microseconds": /); split(a[2], b, /[,}]/); printf "%-40s %10.1f\n", $4, b[1] }'
echo "== steps"
cat "$OUT/steps.jsonl"
exit 0
