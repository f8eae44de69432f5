"""Every GGUF type of one model in llama.cpp and in tallow: perplexity on the same tokens, greedy text.

llama.cpp rounds activations to 8 bits where weights are quantised; so each file is also turned into f32 by tallow
(`export --model x.gguf --type f32`: the same weights) and run in llama.cpp again: that comparison has no such noise.

  python gguf_types.py --tallow target/release/tallow --model DIR --rows held.jsonl     # rows: {"text": ...}
needs: pip install llama-cpp-python numpy
"""

import argparse, json, math, subprocess, tempfile
from pathlib import Path

import numpy as np
from llama_cpp import Llama

TYPES = "f32 f16 bf16 q8_0 q6_k q5_k_m q5_k_s q5_1 q5_0 q4_k_m q4_k_s q4_1 q4_0 q3_k_l q3_k_m q3_k_s q2_k".split()
PROMPTS = ["Once upon a time there was a small boat", "<|im_start|>user\nWhat is the opposite of hot?<|im_end|>\n<|im_start|>assistant\n", "Words:"]
NEW_TOKENS = 64


def load(path):
    return Llama(str(path), n_ctx=512, logits_all=True, verbose=False, use_mmap=False, type_k=0, type_v=0, flash_attn=False)


def perplexity(llama, rows):
    total = count = 0
    for row in rows:
        ids = (llama.tokenize(row.encode(), add_bos=False, special=True) + [llama.token_eos()])[:500]
        llama.reset()
        llama.eval(ids)
        logits = np.array(llama.scores[: len(ids)], dtype=np.float64)
        logits -= logits.max(-1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        total -= sum(log_p[i, ids[i + 1]] for i in range(len(ids) - 1))
        count += len(ids) - 1
    return math.exp(total / count), count


def greedy(llama, prompt, ends):
    llama.reset()
    llama.eval(llama.tokenize(prompt.encode(), add_bos=False, special=True))
    out = []
    while len(out) < NEW_TOKENS:
        token = int(np.argmax(llama.scores[llama.n_tokens - 1]))
        if token in ends:
            break
        out.append(token)
        llama.eval([token])
    return llama.detokenize(out, special=True).decode("utf8", "replace").rstrip()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tallow", default="target/release/tallow")
    p.add_argument("--model", required=True)
    p.add_argument("--rows", required=True)
    p.add_argument("--ends", type=int, nargs="*", default=[0, 2])
    a = p.parse_args()
    rows = [json.loads(line)["text"] for line in open(a.rows)]

    def tallow(*args):
        done = subprocess.run([a.tallow, *map(str, args), "--json"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    print("| type | tallow | llama.cpp | difference | same weights in f32 | greedy, quantised | greedy, f32 |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for kind in TYPES:
            file, plain = Path(scratch) / f"{kind}.gguf", Path(scratch) / f"{kind}-f32.gguf"
            tallow("export", "--model", a.model, "--format", "gguf", "--type", kind, "--out", file)
            tallow("export", "--model", file, "--format", "gguf", "--type", "f32", "--out", plain)
            ours = tallow("eval", "--model", file, "--data", a.rows, "--layout", "text", "--max-seq-length", 500)["result"]
            theirs, same = load(file), load(plain)
            (q, n), (f, _) = perplexity(theirs, rows), perplexity(same, rows)
            assert n == ours["tokens"], (n, ours["tokens"])
            ask = lambda t: tallow("generate", "--model", file, "--raw", "--prompt", t, "--temperature", 0, "--max-new-tokens", NEW_TOKENS)
            texts = [ask(t)["text"].rstrip() for t in PROMPTS]
            hits = [sum(greedy(m, t, a.ends) == text for t, text in zip(PROMPTS, texts)) for m in (theirs, same)]
            off = lambda other: f"{100 * (ours['perplexity'] / other - 1):+.4f} %"
            print(f"| {kind} | {ours['perplexity']:.5f} | {q:.5f} | {off(q)} | {off(f)} | {hits[0]}/3 | {hits[1]}/3 |", flush=True)


main()
