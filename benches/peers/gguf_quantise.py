"""Tallow's quantiser beside ggml's own on the same matrices: what is lost, and how fast.

  cargo bench --bench quantise --no-run
  python gguf_quantise.py --bench target/release/deps/quantise-* --model DIR [--imatrix COLUMNS.npz] [--threads 1] [--most MiB]
needs: pip install llama-cpp-python numpy

Takes the matrices of DIR's safetensors whose rows divide into blocks of 256. Lost is the root of the squared error over that
of the squared values; with --imatrix (one array a matrix, by its name without ".weight": the mean square of each input) each
square counts by its column. Seconds are of quantising alone: the fastest of three passes for both; ggml's rows
are shared among as many threads as Tallow has.
"""

import argparse, ctypes, json, os, struct, subprocess, tempfile, threading, time
from pathlib import Path

import llama_cpp
import numpy as np

IDS = dict(q8_0=8, q6_k=14, q5_k=13, q5_1=7, q5_0=6, q4_k=12, q4_1=3, q4_0=2, q3_k=11, q2_k=10)


class Traits(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("block", ctypes.c_int64), ("interleave", ctypes.c_int64), ("bytes", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool), ("to_float", ctypes.c_void_p), ("from_float_ref", ctypes.c_void_p),
    ]  # fmt: skip


ggml = ctypes.CDLL(str(next((Path(llama_cpp.__file__).parent / "lib").glob("libggml-base.*"))))
pointer, i64 = ctypes.c_void_p, ctypes.c_int64
ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, i64, i64, i64, pointer]
ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
ggml.ggml_get_type_traits.argtypes = [ctypes.c_int]
ggml.ggml_get_type_traits.restype = ctypes.POINTER(Traits)


def traits(kind):
    return ggml.ggml_get_type_traits(IDS[kind]).contents


def quantize(kind, x, weights=None, threads=1):
    """ggml's blocks of x [rows, width]."""
    t, (rows, width) = traits(kind), x.shape
    out = np.zeros(x.size // t.block * t.bytes, np.uint8)
    w = None if weights is None else weights.ctypes.data
    cuts = [rows * i // threads for i in range(threads + 1)]
    part = lambda a, b: ggml.ggml_quantize_chunk(IDS[kind], x.ctypes.data, out.ctypes.data, a * width, b - a, width, w)
    parts = [threading.Thread(target=part, args=ab) for ab in zip(cuts, cuts[1:])]
    [p.start() for p in parts], [p.join() for p in parts]
    return out


def dequantize(kind, raw, shape):
    out, raw = np.zeros(shape, np.float32), np.ascontiguousarray(raw)
    ctypes.CFUNCTYPE(None, pointer, pointer, i64)(traits(kind).to_float)(raw.ctypes.data, out.ctypes.data, out.size)
    return out


def matrices(folder):
    """Names and values [rows, width] of a safetensors model's matrices."""
    for path in sorted(Path(folder).glob("*.safetensors")):
        with open(path, "rb") as f:
            size = struct.unpack("<Q", f.read(8))[0]
            header = json.loads(f.read(size))
            for name, t in header.items():
                if len(t.get("shape", [])) != 2 or t["shape"][1] % 256:
                    continue
                begin, end = t["data_offsets"]
                f.seek(8 + size + begin)
                raw = f.read(end - begin)
                if t["dtype"] == "BF16":
                    values = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
                else:
                    values = np.frombuffer(raw, {"F32": np.float32, "F16": np.float16}[t["dtype"]]).astype(np.float32)
                yield name.removesuffix(".weight"), np.ascontiguousarray(values.reshape(t["shape"]))


def fastest(run):
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        result = run()
        best = min(best, time.perf_counter() - start)
    return result, best


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bench", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--imatrix")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--most", type=float, default=1e9, help="MiB of matrices to take")
    p.add_argument("--types", nargs="*", default=list(IDS))
    a = p.parse_args()
    columns = dict(np.load(a.imatrix)) if a.imatrix else {}
    taken, left = [], a.most * 2**20
    for name, x in matrices(a.model):
        if left > 0 and (not a.imatrix or name in columns):
            taken.append((x, columns.get(name)))
            left -= x.nbytes
    size = sum(x.nbytes for x, _ in taken) / 1e6
    print(f"{len(taken)} matrices, {size:.1f} MB as f32, {a.threads} thread(s){', weighed' if columns else ''}\n")
    print("| type | tallow lost | ggml lost | ratio | worst matrix | tallow MB/s | ggml MB/s | ratio |\n|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        source, made, weighing = (str(Path(scratch) / n) for n in ("values", "blocks", "columns"))
        for kind in a.types:
            lost, seconds, total, worst = np.zeros(2), np.zeros(2), 0.0, 0.0
            for x, w in taken:
                x.tofile(source)
                arguments = [a.bench, source, str(x.shape[1]), kind, made]
                if w is not None:
                    w = np.ascontiguousarray(w, np.float32)
                    w.tofile(weighing)
                    arguments.append(weighing)
                environment = {**os.environ, "RAYON_NUM_THREADS": str(a.threads)}
                seconds[0] += float(subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment).stdout)
                theirs, spent = fastest(lambda: quantize(kind, x, w, a.threads))
                seconds[1] += spent
                off = lambda raw: float((((dequantize(kind, raw, x.shape) - x).astype(np.float64) ** 2) * (1 if w is None else w)).sum())
                pair = np.array([off(np.fromfile(made, np.uint8)), off(theirs)])
                lost, total = lost + pair, total + float((x.astype(np.float64) ** 2 * (1 if w is None else w)).sum())
                worst = max(worst, np.sqrt(pair[0] / pair[1]))
            (ours, ggmls), (fast, slow) = np.sqrt(lost / total), size / seconds
            print(f"| {kind} | {ours:.5f} | {ggmls:.5f} | {ours / ggmls:.3f} | {worst:.3f} | {fast:.0f} | {slow:.0f} | {fast / slow:.2f} |", flush=True)


if __name__ == "__main__":
    main()
