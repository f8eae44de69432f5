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

fmt:
    cargo fmt --all

# Whole-step training speed on random weights of a given shape.
bench-train model:
    cargo run --release -- bench train --model {{model}} --batch 4 --seq 512 --steps 5 --dtype f32
