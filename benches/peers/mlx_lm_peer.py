"""Adapter and merged models of every family in mlx-lm: logits beside those of transformers.

  python peft_transformers.py --models DIR --save WANT                    # transformers' logits
  python mlx_lm_peer.py --tallow target/release/tallow --models DIR --want WANT
needs: pip install mlx mlx-cpu mlx-lm numpy

Columns: largest difference of a logit with the adapter beside the base (its own MLX export: mlx-lm does not read the
`rope_parameters` that transformers 5 writes), with the merged model as dense as the base, and with the merged model
in groups of 8, 4 and 2 bits, where that is the rounding of the weights. In brackets the difference to mlx-lm's own dense model
with the matrices that `mlx.core.dequantize` makes of the same file.
"""

import argparse, json, subprocess, tempfile
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm import load

IDS = mx.array([[5, 99, 300, 7, 812, 44, 600, 33, 21, 400, 1000, 17, 230, 512, 3, 9]])


def logits(model):
    return np.array(model(IDS).astype(mx.float32))


def spread_out(path, dense):
    """mlx-lm's dense model with the decoded matrices of a grouped one."""
    model, places = load(str(dense))[0], {}
    places = dict(model.named_modules())
    for name, layer in load(str(path))[0].named_modules():
        if isinstance(layer, (nn.QuantizedLinear, nn.QuantizedEmbedding)):
            places[name].weight = mx.dequantize(layer.weight, layer.scales, layer.biases, layer.group_size, layer.bits)
    return model


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tallow", default="target/release/tallow")
    p.add_argument("--models", required=True)
    p.add_argument("--want", required=True)
    a = p.parse_args()
    print("| model | logits' std | adapter | merged | q8 | q4 | q2 |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for folder in sorted(Path(a.models).glob("*-adapter")):
            name = folder.name.removesuffix("-adapter")
            model, want = Path(a.models) / name, np.load(Path(a.want) / f"{name}.npy")

            def export(form, *more, beside=("--adapter", folder)):
                made = Path(scratch) / f"{name}-{form}{''.join(more[1:])}{len(beside)}"
                arguments = [a.tallow, "export", "--model", model, *beside, "--format", form, "--out", made, "--json", *more]
                done = json.loads(subprocess.run([str(x) for x in arguments], capture_output=True, text=True).stdout)
                return (made, None) if "error" not in done else (None, done["error"]["message"])

            def cell(form, *more):
                made, refused = export(form, *more)
                if refused:
                    return f"refused: {refused}"
                try:
                    if form == "mlx-adapter":
                        base, why = export("mlx", beside=())
                        assert base, why
                        return f"{np.abs(logits(load(str(base), adapter_path=str(made))[0]) - want).max():.1e}"
                    got = logits(load(str(made))[0])
                    beside = f" ({np.abs(got - logits(spread_out(made, dense[0]))).max():.0e})" if dense else ""
                    dense.append(made)
                    return f"{np.abs(got - want).max():.1e}{beside}"
                except (Exception, SystemExit) as e:  # what mlx-lm itself cannot load; for OLMo it ends the program
                    return f"mlx-lm: {type(e).__name__}: {str(e)[:60]}"

            dense, forms = [], (("mlx-adapter",), ("mlx",), *(("mlx", "--type", q) for q in ("q8", "q4", "q2")))
            print(f"| {name} | {want.std():.2f} | {' | '.join(cell(*f) for f in forms)} |", flush=True)


main()
