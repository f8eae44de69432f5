"""A tuned model answers in the programs that own the forms as it does in Tallow, on conversations it has not seen.

    python benches/peers/exports/answers.py --tallow TALLOW --model MODEL --adapter ADAPTER --talks TALKS.json [--types q8_0,q4_k_m]
    needs: as matrix.py

TALKS.json: [{"messages": [...], "tools": [...]}, ...]; an assistant's message at the end is the answer that was held back.
For each form: on how many conversations the owner renders the same prompt as transformers does with the merged model's own
template; on how many it gives the greedy text that `tallow generate` gives on the same file; on how many that text is the
answer; and how many answers llama.cpp's chat endpoint parses into the held-back call, name and arguments.
"""

import argparse
import json
import tempfile
from pathlib import Path

from matrix import LlamaCpp, MlxLm, Transformers, run

NEW_TOKENS = 96


def prompt(talk):
    kept = talk["messages"][:-1] if talk["messages"][-1]["role"] == "assistant" else talk["messages"]
    return {"messages": kept, "tools": talk.get("tools") or []}


def expected(talk):
    calls = talk["messages"][-1].get("tool_calls") or []
    return [(c["function"]["name"], c["function"]["arguments"]) for c in calls]


def tallow_text(tallow, folder, model, adapter, talk):
    path = folder / "talk.json"
    path.write_text(json.dumps(prompt(talk)))
    more = ["--adapter", adapter] if adapter else []
    out = run(tallow, "generate", "--model", model, *more, "--messages", path, "--temperature", 0, "--max-new-tokens", NEW_TOKENS)
    return out["text"]


def parsed(text):
    """Calls in the Hermes form."""
    calls = []
    for part in text.split("<tool_call>")[1:]:
        try:
            call = json.loads(part.split("</tool_call>")[0])
            calls.append((call["name"], call["arguments"]))
        except (ValueError, KeyError):
            return []
    return calls


def llama_calls(owner, talk):
    body = prompt(talk) | {"temperature": 0, "max_tokens": NEW_TOKENS, "cache_prompt": False}
    message = owner.post("/v1/chat/completions", body)["choices"][0]["message"]
    return [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in message.get("tool_calls") or []]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tallow", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--adapter", required=True)
    p.add_argument("--talks", required=True, type=Path)
    p.add_argument("--types", default="q8_0,q4_k_m,iq4_xs")
    p.add_argument("--forms", default="before,live,gguf,gguf-f32,gguf-adapter,peft,mlx")
    a = p.parse_args()
    talks, forms = json.loads(a.talks.read_text()), a.forms.split(",")
    count = f"of {len(talks)}"

    def show(form, owner, **figures):
        print(f"{form:22} {owner:12} " + "  ".join(f"{k.replace('_', ' ')} {v} {count}" for k, v in figures.items()), flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = ["--model", a.model, "--adapter", a.adapter]
        export = lambda form, kind, out, args=base: run(a.tallow, "export", *args, "--format", form, *(["--type", kind] if kind else []), "--out", out)
        merged = folder / "merged"
        export("safetensors", "f32", merged)
        reference = Transformers(merged)
        render = lambda t: reference.tokenizer.apply_chat_template(prompt(t)["messages"], tools=prompt(t)["tools"] or None, tokenize=False, add_generation_prompt=True)
        prompts = [render(t) for t in talks]
        ids = lambda text: reference.tokenizer(text, add_special_tokens=False)["input_ids"]
        right = lambda texts: sum(parsed(x) == expected(t) for x, t in zip(texts, talks))
        mine = lambda model, adapter=None: [tallow_text(a.tallow, folder, model, adapter, t) for t in talks]
        same = lambda xs, ys: sum(x.strip() == y.strip() for x, y in zip(xs, ys))
        if "before" in forms:
            show("base, untrained", "tallow", right_calls=right(mine(a.model)))
        live = mine(a.model, a.adapter)
        print("live:", json.dumps(live[0]), flush=True)
        show("base + adapter", "tallow", right_calls=right(live))
        if "live" in forms:
            texts = [reference.greedy(ids(t), NEW_TOKENS) for t in prompts]
            show("safetensors f32", "transformers", same_as_tallow=same(texts, live), right_calls=right(texts))

        def llama(label, path, lora, ours):
            owner = LlamaCpp(path, 0, lora, context=2048)
            rendered = sum(owner.post("/apply-template", prompt(t))["prompt"] == p for t, p in zip(talks, prompts))
            texts = [owner.complete(owner.ids(p), NEW_TOKENS)["content"] for p in prompts]
            calls = sum(llama_calls(owner, t) == expected(t) for t in talks)
            show(label, "llama.cpp", same_prompt=rendered, same_as_tallow=same(texts, ours), right_calls=right(texts), parsed_calls=calls)

        if "gguf" in forms or "gguf-f32" in forms:
            for kind in a.types.split(","):
                path, wide = folder / f"{kind}.gguf", folder / "wide.gguf"
                export("gguf", kind, path)
                ours = mine(path)
                if "gguf" in forms:
                    llama(f"gguf {kind}", path, None, ours)
                # The same weights without blocks: llama.cpp then leaves the activations in f32 too.
                if "gguf-f32" in forms:
                    export("gguf", "f32", wide, ["--model", path])
                    llama(f"gguf {kind} as f32", wide, None, ours)
                    wide.unlink()
                path.unlink()
        if "gguf-adapter" in forms:
            plain, adapter = folder / "base.gguf", folder / "adapter.gguf"
            export("gguf", "f16", plain, ["--model", a.model])
            export("gguf-adapter", None, adapter)
            llama("gguf-adapter on f16", plain, adapter, live)
        if "mlx" in forms:
            export("mlx", None, folder / "mlx")
            owner = MlxLm(folder / "mlx")
            texts = [owner.greedy(ids(t), NEW_TOKENS) for t in prompts]
            show("mlx", "mlx-lm", same_as_tallow=same(texts, live), right_calls=right(texts))
        if "peft" in forms:
            export("peft", None, folder / "peft")
            export("safetensors", None, folder / "base", ["--model", a.model])
            owner = Transformers(folder / "base", adapter=str(folder / "peft"))
            texts = [owner.greedy(ids(t), NEW_TOKENS) for t in prompts]
            show("peft", "PEFT", same_as_tallow=same(texts, live), right_calls=right(texts))


if __name__ == "__main__":
    main()
