"""The work of `tallow bench gpu`, kernel for kernel, in plain PyTorch: one JSON line a kernel.

    python benches/peers/torch_kernels.py --tokens 16384 --seq 2048
    python benches/peers/torch_kernels.py --device cpu --tokens 256 --seq 64 --hidden 256      (a rehearsal)

Products by cuBLAS, attention by flash and by cuDNN, norms and SwiGLU compiled, NF4 decoded by a Triton kernel,
a copy. Needs torch with CUDA (and Triton, which comes with it). A kernel that cannot run here is reported as an
error in its line, and the others follow.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--device", default="cuda")
parser.add_argument("--tokens", type=int, default=16384)
parser.add_argument("--seq", type=int, default=2048)
parser.add_argument("--hidden", type=int, default=4096)
parser.add_argument("--rank", type=int, default=32)
parser.add_argument("--repeats", type=int, default=5)
args = parser.parse_args()
cuda = args.device.startswith("cuda")
T, S, D = args.tokens, args.seq, args.hidden
INTER, VOCABULARY, DIM = D * 7 // 2, D * 32, 128 if D >= 512 else 32
HEADS, KV = D // DIM, max(D // DIM // 4, 1)


def synchronize():
    if cuda:
        torch.cuda.synchronize()


def seconds(f):
    """The median of a few samples, each of eight calls."""
    inner = 8 if cuda else 1
    for _ in range(3):
        f()
    synchronize()
    times = []
    for _ in range(args.repeats):
        start = time.perf_counter()
        for _ in range(inner):
            f()
        synchronize()
        times.append((time.perf_counter() - start) / inner)
    return statistics.median(times)


def measure(name, unit, amount, make):
    """One line: microseconds, and the rate of `amount` bytes or operations."""
    try:
        taken = seconds(make())
        rate = amount / taken / (1e9 if unit == "GB/s" else 1e12)
        print(json.dumps({"torch": name, "microseconds": round(taken * 1e6, 1), "unit": unit, "rate": round(rate, 2)}), flush=True)
    except Exception as e:  # whatever one kernel lacks, the rest is measured
        print(json.dumps({"torch": name, "error": f"{type(e).__name__}: {e}"[:300]}), flush=True)
    if cuda:
        torch.cuda.empty_cache()


def random(*shape):
    return torch.randn(*shape, device=args.device, dtype=torch.bfloat16)


def copy():
    a = random(1 << 29 if cuda else 1 << 20)
    b = torch.empty_like(a)
    return lambda: b.copy_(a)


def product(m, n, k, transposed):
    def make():
        x, w = random(m, k), random(n, k) if transposed else random(k, n)
        return (lambda: x @ w.T) if transposed else (lambda: x @ w)

    return make


def lora():
    x, y, a, b = random(T, D), random(T, INTER), random(args.rank, D), random(INTER, args.rank)
    return lambda: torch.addmm(y, x @ a.T, b.T)


def compiled(f):
    return torch.compile(f) if cuda else f


def norm(backward):
    def make():
        x, w, dy = random(T, D), random(D), random(T, D)
        rms = compiled(lambda x, w: F.rms_norm(x, (D,), w, 1e-5))
        if not backward:
            return lambda: rms(x, w)
        x.requires_grad_()
        y = rms(x, w)
        return lambda: torch.autograd.grad(y, x, dy, retain_graph=True)

    return make


def swiglu(backward):
    def make():
        gate, up, dy = random(T, INTER), random(T, INTER), random(T, INTER)
        act = compiled(lambda g, u: F.silu(g) * u)
        if not backward:
            return lambda: act(gate, up)
        gate.requires_grad_(), up.requires_grad_()
        y = act(gate, up)
        return lambda: torch.autograd.grad(y, (gate, up), dy, retain_graph=True)

    return make


def attention(length, backend, backward):
    def make():
        from torch.nn.attention import SDPBackend, sdpa_kernel

        which = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION, "math": SDPBackend.MATH}[backend]
        rows = T // length
        q, dout = random(rows, HEADS, length, DIM), random(rows, HEADS, length, DIM)
        k, v = random(rows, KV, length, DIM), random(rows, KV, length, DIM)

        def forward():
            with sdpa_kernel(which):
                return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

        if not backward:
            return forward
        for t in (q, k, v):
            t.requires_grad_()
        o = forward()
        return lambda: torch.autograd.grad(o, (q, k, v), dout, retain_graph=True)

    return make


def head():
    """Logits, loss and the gradient of x, over chunks of 1024 tokens, as a plain trainer would."""
    x, w, targets = random(T, D), random(VOCABULARY, D), torch.randint(0, VOCABULARY, (T,), device=args.device)
    dx = torch.empty_like(x)

    def step():
        for i in range(0, T, 1024):
            part = x[i : i + 1024].detach().requires_grad_()
            F.cross_entropy((part @ w.T).float(), targets[i : i + 1024], reduction="sum").backward()
            dx[i : i + 1024] = part.grad

    return step


def nf4():
    import triton
    import triton.language as tl

    global decode  # Triton compiles a function by its source, at the module's level

    @triton.jit
    def decode(codes, absmax, table, out, n, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        code = tl.load(codes + at // 2, at < n)
        nibble = tl.where(at % 2 == 0, code >> 4, code & 15).to(tl.int32)
        value = tl.load(table + nibble) * tl.load(absmax + at // 64, at < n)
        tl.store(out + at, value.to(tl.bfloat16), at < n)

    n = INTER * D
    codes = torch.randint(0, 256, (n // 2,), device=args.device, dtype=torch.uint8)
    absmax, table = torch.rand(n // 64, device=args.device), torch.rand(16, device=args.device)
    out = torch.empty(n, device=args.device, dtype=torch.bfloat16)
    return lambda: decode[(n // 4096,)](codes, absmax, table, out, n, BLOCK=4096)


wide, narrow = 2 * T * INTER, 2 * T * D
pairs = lambda length: (T // length) * length * length / 2  # noqa: E731
square = 8192 if cuda else 256
measure("copy", "GB/s", 2 * 2 * (1 << 29 if cuda else 1 << 20), copy)
measure(f"product of {square} cubed", "TFLOP/s", 2 * square**3, product(square, square, square, True))
measure("swiglu", "GB/s", 3 * wide, swiglu(False))
measure("swiglu backward", "GB/s", 5 * wide, swiglu(True))
measure("rms_norm", "GB/s", 2 * narrow, norm(False))
measure("rms_norm backward", "GB/s", 3 * narrow, norm(True))
measure("nf4 to bf16", "GB/s", INTER * D * (0.5 + 4 / 64 + 2), nf4)
measure("product with a dense weight", "TFLOP/s", 2 * T * D * INTER, product(T, INTER, D, True))
measure("product backward, dense", "TFLOP/s", 2 * T * D * INTER, product(T, D, INTER, False))
measure(f"lora forward, rank {args.rank}", "TFLOP/s", 2 * T * args.rank * (D + INTER), lora)
measure("head and cross-entropy with gradient", "TFLOP/s", 4 * T * VOCABULARY * D, head)
for length in (T, S, 128):
    if length > T:
        continue
    what = "one sequence" if length == T else f"sequences of {length}"
    for backend in ("flash", "cudnn") if cuda else ("math",):
        flops = 4 * pairs(length) * HEADS * DIM
        measure(f"attention, {what}, {backend}", "TFLOP/s", flops, attention(length, backend, False))
        measure(f"attention backward, {what}, {backend}", "TFLOP/s", 2.5 * flops, attention(length, backend, True))
