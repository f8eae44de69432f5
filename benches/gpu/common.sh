# What first-light.sh and compare.sh share. Sourced: a step has a name, a time limit and a log of its own,
# and whatever it does, the next one runs.
#
# Reads $budget (seconds for everything). Writes into $OUT (default ./out beside the script):
# NAME.log for each step, steps.jsonl with one line a step, results.jsonl with what the programs measured.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
OUT=${OUT:-$here/out}
device=${DEVICE:-cuda:0}
started=$SECONDS
mkdir -p "$OUT"
: > "$OUT/steps.jsonl"
: > "$OUT/results.jsonl"

# No GPU: that is said, and is no failure.
require_gpu() {
    if ! command -v nvidia-smi > /dev/null || ! nvidia-smi -L 2> /dev/null | grep -q GPU; then
        echo "no NVIDIA GPU on this machine: nothing was measured"
        gpu=
    else
        gpu=1
    fi
}

# The programs and their data, unpacked beside each other in $bin.
unpack() {
    bin=$(mktemp -d)
    trap 'rm -rf "$bin"' EXIT
    tar -xJf "$here/programs.tar.xz" -C "$bin"
    [ -f "$here/golden.tar.xz" ] && tar -xJf "$here/golden.tar.xz" -C "$bin"
    tallow=$bin/tallow
    # A program built elsewhere that does not start here makes all else pointless: say why at once.
    "$tallow" --version > "$OUT/version.log" 2>&1 || { echo "tallow does not start here:"; cat "$OUT/version.log"; ldd "$tallow"; }
}

left() { echo $((budget - (SECONDS - started))); }

# step NAME LIMIT COMMAND...: runs it for LIMIT seconds at most, less where less is left of the budget.
step() {
    local name=$1 limit=$2 rest code begun
    shift 2
    rest=$(left)
    if [ "$rest" -lt 5 ]; then
        echo "-- $name: left out, no time"
        echo "{\"step\":\"$name\",\"code\":null,\"seconds\":0}" >> "$OUT/steps.jsonl"
        return 0
    fi
    [ "$limit" -le "$rest" ] || limit=$rest
    begun=$(date +%s.%N)
    timeout -k 5 "$limit" "$@" > "$OUT/$name.log" 2>&1
    code=$?
    local took
    took=$(awk -v a="$begun" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')
    echo "{\"step\":\"$name\",\"code\":$code,\"seconds\":$took}" >> "$OUT/steps.jsonl"
    case $code in
        0) echo "-- $name: done in $took s" ;;
        124 | 137) echo "-- $name: stopped after $limit s" ;;
        *) echo "-- $name: failed ($code) after $took s: $(grep -aE 'error|panicked|Error' "$OUT/$name.log" | head -n 1 | cut -c1-160)" ;;
    esac
    return 0
}

# The JSON object in a step's log, on one line, into results.jsonl with the step's name.
keep() {
    local object
    object=$(awk '/^\{/ { found = 1 } found' "$OUT/$1.log" 2> /dev/null | tr -d '\n' | sed 's/  */ /g')
    case $object in
        "{"*"}") echo "{\"step\":\"$1\",\"result\":$object}" >> "$OUT/results.jsonl" ;;
    esac
}

# The share of the last $1 seconds in which the card ran kernels, by nvidia-smi's samples (ten a second).
busy_start() { nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits -lms 100 > "$OUT/busy.tmp" 2> /dev/null & sampler=$!; }
busy_stop() { # NAME SECONDS
    kill "$sampler" 2> /dev/null
    wait "$sampler" 2> /dev/null
    tail -n "$(awk -v s="$2" 'BEGIN { n = int(s * 10); print (n < 1 ? 1 : n) }')" "$OUT/busy.tmp" |
        awk -v name="$1" '{ sum += $1 } END { if (NR) printf "{\"step\":\"%s\",\"gpu_busy\":%.3f}\n", name, sum / NR / 100 }' >> "$OUT/results.jsonl"
    rm -f "$OUT/busy.tmp"
}

# A number of a step's JSON by its key.
number() { grep -aoE "\"$2\": *[-0-9.e+]+" "$OUT/$1.log" 2> /dev/null | head -n 1 | sed 's/.*: *//'; }
