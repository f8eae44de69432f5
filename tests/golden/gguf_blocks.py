"""Makes gguf_blocks.safetensors: random blocks of every quantised GGUF type, and the numbers that gguf-py reads in them.

    python tests/golden/gguf_blocks.py

Of each type `q`: `q.bytes` u8 [8 blocks * bytes of a block], every bit random but the scales, which are halves of moderate
size (of mxfp4: exponents); `q.values` f32 [8 blocks * block]. Made with gguf 0.19.0.
"""

from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from safetensors.numpy import save_file

# Where in a block its scales in f16 are.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2],
    "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0],
    "IQ3_S": [0], "TQ1_0": [52], "TQ2_0": [64], "MXFP4": [],
}  # fmt: skip
BLOCKS = 8


def main():
    random = np.random.default_rng(11)
    out = {}
    for name, scales in SCALES.items():
        kind = GGMLQuantizationType[name]
        _, size = GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
        for at in scales:
            blocks[:, at : at + 2] = random.normal(0, 0.1, (BLOCKS, 1)).astype(np.float16).view(np.uint8)
        if name == "MXFP4":
            blocks[:, 0] = random.integers(110, 140, BLOCKS)
        out[f"{name.lower()}.bytes"] = blocks.reshape(-1)
        out[f"{name.lower()}.values"] = dequantize(blocks, kind).astype(np.float32).reshape(-1)
    save_file(out, Path(__file__).with_name("gguf_blocks.safetensors"))


main()
