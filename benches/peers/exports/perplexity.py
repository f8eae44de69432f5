"""Perplexity of held-out conversations in the programs that own the forms, beside Tallow's on the same file.

    python benches/peers/exports/perplexity.py --tallow TALLOW --model MODEL --adapter ADAPTER --talks TALKS.json [--types q8_0,q4_k_m]
    needs: as matrix.py

TALKS.json as for answers.py. Each conversation is rendered by the model's own template; the tokens of the answer that was
held back count. `in f32` is the same file turned into f32 by Tallow and read by transformers: the numbers of the file without the
owner's way to compute.
"""

import argparse
import json
import math
import tempfile
from pathlib import Path

import numpy as np

from matrix import LlamaCpp, MlxLm, Transformers, log_softmax, run


def rendered(tokenizer, talks):
    """Ids of each conversation, and where its answer begins."""
    def text(messages, tools, open_end):
        return tokenizer.apply_chat_template(messages, tools=tools or None, tokenize=False, add_generation_prompt=open_end)

    rows = []
    for t in talks:
        prompt, whole = text(t["messages"][:-1], t.get("tools"), True), text(t["messages"], t.get("tools"), False)
        assert whole.startswith(prompt), (prompt, whole)
        ids = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in (prompt, whole[len(prompt):])]
        rows.append((ids[0] + ids[1], len(ids[0])))
    return rows


def perplexity(losses):
    return math.exp(float(np.mean(np.concatenate(losses))))


def of_transformers(owner, rows):
    torch = owner.torch
    out = []
    for ids, start in rows:
        with torch.no_grad():
            logp = torch.log_softmax(owner.model(torch.tensor([ids])).logits[0].double(), -1)
        out.append(-logp[torch.arange(start - 1, len(ids) - 1), torch.tensor(ids[start:])].numpy())
    return perplexity(out)


def of_mlx(owner, rows):
    out = []
    for ids, start in rows:
        logits = np.array(owner.model(owner.mx.array([ids]))[0].astype(owner.mx.float32))
        out.append(np.array([-log_softmax(logits[i - 1])[ids[i]] for i in range(start, len(ids))]))
    return perplexity(out)


def of_llama(owner, rows):
    """A token at a time: the next one is made certain, and its probability is told as it was before."""
    out = []
    for ids, start in rows:
        row = []
        for i in range(start, len(ids)):
            token = ids[i]
            body = {"n_probs": 1, "logit_bias": [[token, 1e6]], "cache_prompt": True}
            said = owner.complete(ids[:i], 1, **body)["completion_probabilities"][0]
            assert said["id"] == token, (said, token)
            row.append(-said["logprob"])
        out.append(np.array(row))
    return perplexity(out)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tallow", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--adapter", required=True)
    p.add_argument("--talks", required=True, type=Path)
    p.add_argument("--types", default="f16,q8_0,q4_k_m,iq4_xs")
    p.add_argument("--forms", default="gguf,gguf-adapter,peft,mlx")
    a = p.parse_args()
    talks, forms = json.loads(a.talks.read_text()), a.forms.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = ["--model", a.model, "--adapter", a.adapter]
        export = lambda form, kind, out, args=base: run(a.tallow, "export", *args, "--format", form, *(["--type", kind] if kind else []), "--out", out)
        export("safetensors", "f32", folder / "merged")
        export("safetensors", "f32", folder / "base", ["--model", a.model])
        reference = Transformers(folder / "merged")
        rows = rendered(reference.tokenizer, talks)
        live = of_transformers(reference, rows)
        tokens = sum(len(ids) - start for ids, start in rows)

        def show(form, owner, value, **more):
            rest = "  ".join(f"{k.replace('_', ' ')} {v}" for k, v in more.items())
            print(f"{form:22} {owner:12} {value:9.4f}  {100 * (value / live - 1):+.3f} %  {rest}", flush=True)

        print(f"{len(rows)} conversations, {tokens} tokens of answers", flush=True)
        show("base, untrained", "transformers", of_transformers(Transformers(folder / "base"), rows))
        show("merged f32", "transformers", live)
        if "gguf" in forms:
            for kind in a.types.split(","):
                path, plain = folder / f"{kind}.gguf", folder / f"{kind}-plain"
                proof = export("gguf", kind, path)["proof"]
                export("safetensors", "f32", plain, ["--model", path])
                same = of_transformers(Transformers(plain), rows)
                show(f"gguf {kind}", "llama.cpp", of_llama(LlamaCpp(path, 0, context=1024), rows), in_f32=f"{same:.4f}", proof_kl=f"{proof['mean_kl']:.2e}",
                     usual_kl=proof["bounds"]["usual_kl"], warnings=len(proof["warnings"]))
                path.unlink()
        if "gguf-adapter" in forms:
            for kind in ("f32", "q8_0"):
                export("gguf-adapter", kind, folder / f"a-{kind}.gguf")
            export("gguf", "f16", folder / "plain.gguf", ["--model", a.model])
            for kind in ("f32", "q8_0"):
                owner = LlamaCpp(folder / "plain.gguf", 0, folder / f"a-{kind}.gguf", context=1024)
                show(f"gguf-adapter {kind} on f16", "llama.cpp", of_llama(owner, rows))
        if "peft" in forms:
            export("peft", None, folder / "peft")
            show("peft", "PEFT", of_transformers(Transformers(folder / "base", adapter=str(folder / "peft")), rows))
        if "mlx" in forms:
            for kind in ("plain", "q8", "q4"):
                export("mlx", None if kind == "plain" else kind, folder / f"mlx-{kind}")
                show(f"mlx {kind}", "mlx-lm", of_mlx(MlxLm(folder / f"mlx-{kind}"), rows))


if __name__ == "__main__":
    main()
