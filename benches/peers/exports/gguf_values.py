"""Every quantised GGUF type: what ggml's own Python reader makes of Tallow's files, beside what Tallow makes of them.

    python benches/peers/exports/gguf_values.py TALLOW MODEL [TYPE ...]
    needs: pip install gguf numpy; MODEL with rows of whole blocks of 256, such as `llama` of ../families.py --plain

Each file is turned into f32 by Tallow (`export --model x.gguf --type f32`), and every tensor is compared with
`gguf.quants.dequantize` of the quantised file. The largest difference is 0 where both read the same numbers.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

TYPES = "q8_0 q6_k q5_k_m q5_1 q5_0 q4_k_m q4_1 q4_0 iq4_nl iq4_xs mxfp4 q3_k_l iq3_s iq3_xxs q2_k iq2_m iq2_s iq2_xs iq2_xxs tq2_0 tq1_0".split()


def export(tallow, model, kind, out):
    args = [tallow, "export", "--model", str(model), "--format", "gguf", "--type", kind, "--out", str(out), "--quiet"]
    done = subprocess.run(args, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{kind}: {done.stderr.strip()[:300]}")


def main():
    tallow, model, *kinds = sys.argv[1:]
    for kind in kinds or TYPES:
        with tempfile.TemporaryDirectory() as folder:
            packed, plain = Path(folder) / "packed.gguf", Path(folder) / "plain.gguf"
            export(tallow, model, kind, packed)
            export(tallow, packed, "f32", plain)
            mine = {t.name: t.data for t in GGUFReader(str(plain)).tensors}
            worst, held = 0.0, Counter()
            for t in GGUFReader(str(packed)).tensors:
                theirs = dequantize(t.data, t.tensor_type).reshape(mine[t.name].shape)
                worst = max(worst, float(np.abs(theirs - mine[t.name]).max()))
                held[t.tensor_type.name] += 1
            print(f"{kind:8} largest difference {worst:.1e}   {dict(held)}", flush=True)


if __name__ == "__main__":
    main()
