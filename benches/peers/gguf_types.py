"""Every GGUF type in llama.cpp and in tallow: perplexity on the same tokens, greedy text, the adapter by llama.cpp's own loader.

llama.cpp rounds activations to 8 bits where weights are quantised; so each file is also turned into f32 by tallow
(`export --model x.gguf --type f32`: the same weights) and run in llama.cpp again: that comparison has no such noise.

  python gguf_types.py --tallow target/release/tallow --model DIR --rows held.jsonl     # a line a type; rows: {"text": ...}
  python families.py --tokenizer models/base --out FAMILIES
  python gguf_types.py --tallow target/release/tallow --models FAMILIES --rows held.jsonl [--some 6]   # a line a family
needs: pip install llama-cpp-python numpy

Of a family: how many types load, the largest difference of perplexity and how many greedy texts are the same, by llama.cpp's
own kernels and on the same weights in f32; the types whose text differs by its own kernels; and the largest difference of a
logit between base + GGUF adapter in llama.cpp and the merged model there.
"""

import argparse, json, math, subprocess, tempfile
from pathlib import Path

import numpy as np
from llama_cpp import Llama

TYPES = "f32 f16 bf16 q8_0 q6_k q5_k_m q5_k_s q5_1 q5_0 q4_k_m q4_k_s q4_1 q4_0 q3_k_l q3_k_m q3_k_s q2_k".split()
PROMPTS = ["Once upon a time there was a small boat", "<|im_start|>user\nWhat is the opposite of hot?<|im_end|>\n<|im_start|>assistant\n", "Words:"]
NEW_TOKENS = 64


def load(path, **more):
    return Llama(str(path), n_ctx=512, logits_all=True, verbose=False, use_mmap=False, type_k=0, type_v=0, flash_attn=False, **more)


def logits(llama, ids):
    llama.reset()
    llama.eval(ids)
    return np.array(llama.scores[: len(ids)], dtype=np.float64)


def perplexity(llama, rows):
    total = count = 0
    for row in rows:
        ids = (llama.tokenize(row.encode(), add_bos=False, special=True) + [llama.token_eos()])[:500]
        log_p = logits(llama, ids)
        log_p -= log_p.max(-1, keepdims=True)
        log_p -= np.log(np.exp(log_p).sum(-1, keepdims=True))
        total -= sum(log_p[i, ids[i + 1]] for i in range(len(ids) - 1))
        count += len(ids) - 1
    return math.exp(total / count), count


def greedy(llama, prompt):
    ends = {int(llama.metadata[key]) for key in (f"tokenizer.ggml.{n}_token_id" for n in ("eos", "eot")) if key in llama.metadata}
    llama.reset()
    llama.eval(llama.tokenize(prompt.encode(), add_bos=False, special=True))
    out = []
    while len(out) < NEW_TOKENS:
        token = int(np.argmax(llama.scores[llama.n_tokens - 1]))
        if token in ends:
            break
        out.append(token)
        llama.eval([token])
    return llama.detokenize(out, special=False).decode("utf8", "replace").rstrip(), len(out)


class Bench:
    def __init__(self, a, scratch):
        self.a, self.scratch, rows = a, Path(scratch), [json.loads(line)["text"] for line in open(a.rows)]
        self.rows, self.prompts = (rows[: a.some], PROMPTS[:1]) if a.models else (rows, PROMPTS)
        self.data = self.scratch / "rows.jsonl"
        self.data.write_text("".join(json.dumps({"text": r}) + "\n" for r in self.rows))

    def tallow(self, *args):
        done = subprocess.run([self.a.tallow, *map(str, args), "--json"], capture_output=True, text=True)
        assert done.returncode == 0, (args, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def compare(self, model, kind):
        """Perplexities (ours, theirs, theirs in f32), greedy texts that are the same (own kernels, f32), tokens of them."""
        file, plain = self.scratch / "typed.gguf", self.scratch / "plain.gguf"
        file.unlink(missing_ok=True), plain.unlink(missing_ok=True)
        self.tallow("export", "--model", model, "--format", "gguf", "--type", kind, "--out", file)
        self.tallow("export", "--model", file, "--format", "gguf", "--type", "f32", "--out", plain)
        ours = self.tallow("eval", "--model", file, "--data", self.data, "--layout", "text", "--max-seq-length", 500)["result"]
        theirs, same = load(file), load(plain)
        (q, n), (f, _) = perplexity(theirs, self.rows), perplexity(same, self.rows)
        assert n == ours["tokens"], (n, ours["tokens"])
        hits, tokens = [0, 0], 0
        for prompt in self.prompts:
            text = self.tallow("generate", "--model", file, "--raw", "--prompt", prompt, "--temperature", 0, "--max-new-tokens", NEW_TOKENS)["text"]
            for i, llama in enumerate((theirs, same)):
                got, count = greedy(llama, prompt)
                hits[i] += got == text.rstrip()
            tokens += count
        return ours["perplexity"], q, f, hits, tokens

    def types(self):
        print("| type | tallow | llama.cpp | difference | same weights in f32 | greedy, quantised | greedy, f32 | tokens |\n|---|---|---|---|---|---|---|---|")
        for kind in TYPES:
            ours, q, f, hits, tokens = self.compare(self.a.model, kind)
            off = lambda other: f"{100 * (ours / other - 1):+.4f} %"
            of = len(self.prompts)
            print(f"| {kind} | {ours:.5f} | {q:.5f} | {off(q)} | {off(f)} | {hits[0]}/{of} | {hits[1]}/{of} | {tokens} |", flush=True)

    def adapter(self, model, folder):
        """The largest difference of a logit between base + adapter and merged, both in llama.cpp; and how much the adapter does."""
        base, merged, lora = (self.scratch / f"{n}.gguf" for n in ("base", "merged", "lora"))
        [p.unlink(missing_ok=True) for p in (base, merged, lora)]
        self.tallow("export", "--model", model, "--format", "gguf", "--type", "f32", "--out", base)
        self.tallow("export", "--model", model, "--adapter", folder, "--format", "gguf", "--type", "f32", "--out", merged)
        self.tallow("export", "--model", model, "--adapter", folder, "--format", "gguf-adapter", "--out", lora)
        ids = [5, 99, 300, 7, 812, 44, 600, 33, 21, 400, 1000, 17, 230, 512, 3, 9]
        file = next(lora.glob("*.gguf")) if lora.is_dir() else lora
        want = logits(load(merged), ids)
        return np.abs(logits(load(base, lora_path=str(file)), ids) - want).max(), np.abs(logits(load(base), ids) - want).max()

    def families(self):
        print("| model | types | perplexity | in f32 | greedy, own kernels | greedy, f32 | tokens | differ by own kernels | adapter - merged | base - merged |")
        print("|---|---|---|---|---|---|---|---|---|---|")
        for folder in sorted(Path(self.a.models).glob("*-adapter")):
            model = folder.with_name(folder.name.removesuffix("-adapter"))
            done, other = [], []
            for kind in TYPES:
                try:
                    done.append(self.compare(model, kind))
                except AssertionError as e:
                    print(f"| {model.name} | {kind}: {str(e)[-300:]} |", flush=True)
                    break
                if done[-1][3][0] < len(self.prompts):
                    other.append(kind)
            if len(done) < len(TYPES):
                continue
            worst = lambda i: max(abs(100 * (d[0] / d[i] - 1)) for d in done)
            hits = [sum(d[3][i] for d in done) for i in (0, 1)]
            lora, without = self.adapter(model, folder)
            cells = [len(done), f"{worst(1):.4f} %", f"{worst(2):.4f} %", *(f"{h}/{len(done)}" for h in hits), sum(d[4] for d in done)]
            print(f"| {model.name} | {' | '.join(map(str, cells))} | {' '.join(other)} | {lora:.1e} | {without:.1e} |", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tallow", default="target/release/tallow")
    p.add_argument("--model")
    p.add_argument("--models")
    p.add_argument("--rows", required=True)
    p.add_argument("--some", type=int, default=6, help="rows a family")
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(a, scratch)
        bench.families() if a.models else bench.types()


if __name__ == "__main__":
    main()
