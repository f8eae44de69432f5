#!/usr/bin/env bash
# Builds what a machine with a GPU needs to test and measure Tallow without Rust, network or this repository,
# and puts it into one folder: `tallow`, the test programs `launched` and `it` (in one archive), their data, and
# the scripts first-light.sh and compare.sh with their peers.
#
#   benches/gpu/pack.sh [FOLDER]          default: target/gpu
#
# Needs nvcc (docs/cuda.md). TALLOW_CUDA_ARCHS limits the architectures (for example 90a); CUDA_COMPUTE_CAP is
# 80 unless set. Takes about half an hour on two cores. The programs must stay below 40 MB, the folder below 60.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-target/gpu}
# What is carried needs no debug information; cargo keeps these builds apart from others by the same settings.
export CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=symbols CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80}

mkdir -p "$out"
rm -rf "${out:?}"/*

# Cargo says in JSON which program a test became.
executable() { # a package's test
    cargo test --release --locked --features cuda --no-run --message-format=json "$@" |
        sed -n 's/.*"kind":\["test"\].*"executable":"\([^"]*\)".*/\1/p' | tail -n 1
}

cargo build --release --locked --features cuda
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "${CARGO_TARGET_DIR:-target}/release/tallow" "$work/tallow"
cp "$(executable -p tallow-kernels --test launched)" "$work/launched"
cp "$(executable -p tallow --test it)" "$work/it"
# The three share most of their code: in one archive with a large dictionary that is stored once.
tar -cf - -C "$work" tallow launched it | xz --x86 --lzma2=preset=6,dict=192MiB > "$out/programs.tar.xz"
tar -cJf "$out/golden.tar.xz" tests/golden
cp benches/gpu/{first-light,compare,common}.sh benches/peers/{unsloth.py,torch_kernels.py,lengths.txt} "$out/"
git describe --always --dirty > "$out/commit"

programs=$(stat -c %s "$out/programs.tar.xz")
all=$(cat "$out"/* | wc -c)
echo "programs $programs bytes, folder $all bytes: $out"
[ "$programs" -lt 40000000 ] || { echo "the programs take more than 40 MB" >&2; exit 1; }
[ "$all" -lt 60000000 ] || { echo "the folder takes more than 60 MB" >&2; exit 1; }
