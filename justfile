# The commands of a working day. `just` alone lists them.

default:
    @just --list

# Build and fine-tune the embedded model.
demo:
    cargo run --release -- demo

# What CI runs.
ci:
    bash .ci/run

test:
    cargo test

# Mutated files of every kind, so many seconds each.
fuzz seconds="300":
    TALLOW_FUZZ_SECONDS={{seconds}} cargo test --release --test it -- fuzz --nocapture

# Advisories, licences and sources of the dependencies.
deny:
    cargo deny check

fmt:
    cargo fmt --all

# Whole-step training speed on random weights of a given shape.
bench-train model:
    cargo run --release -- bench train --model {{model}} --batch 4 --seq 512 --steps 5 --dtype f32
