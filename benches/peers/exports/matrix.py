"""Models x forms x the programs that own the forms: every export opened where it is meant to be used.

    python benches/peers/exports/matrix.py --tallow TALLOW --out OUT.json [--forms gguf,mlx] [--types f16,q8_0] NAME=MODEL[+ADAPTER] ...
    needs: pip install xllamacpp transformers peft bitsandbytes compressed-tensors torch gguf; for mlx: pip install 'mlx[cpu]' mlx-lm;
           for gptq and awq: pip install --no-deps gptqmodel logbar tokenicer device-smi defuser pypcre threadpoolctl optimum pillow

The reference of a model is its merged f32 safetensors in transformers. For every other form the owner's next-token
distributions on twelve prompts (rendered chats, code, prose) are compared with it: mean KL divergence, and how often the
likeliest token is the same; for forms of few bits also with the numbers that Tallow reads from the file
(`kl_beside_tallow`); the owner's greedy text is compared with Tallow's own on the same file. GGUF files are also
compared in token ids: 200 strings and twelve rendered chats, beside tokenizer.json; and their metadata is listed. Folders of
GPTQ and AWQ are opened by gptqmodel in transformers. With `--base-too` what a GGUF file makes in Hugging Face's layout again
is opened in transformers.
"""

import argparse
import importlib.util
import json
import random
import subprocess
import tempfile
import urllib.request
from pathlib import Path

import numpy as np

GGUF = "f32 f16 bf16 q8_0 q6_k q5_k_m q5_0 q4_k_m q4_k_s q4_1 q4_0 iq4_nl iq4_xs q3_k_m iq3_s iq3_xxs q2_k iq2_s iq2_xs iq2_xxs".split()
MLX = "plain q8 q6 q5 q4 q3 q2 q4-g32 mxfp4".split()
NEW_TOKENS = 24
WORDS = "the small river Ünder café 日本語 don't 3.14 {x} <tag> [INST] 1234567 \t \n naïve  two   three it’s 😀 foo_bar a/b".split(" ")


def run(tallow, *args):
    done = subprocess.run([tallow, *map(str, args), "--json"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[0][:200])
    return json.loads(done.stdout)


def chats(tokenizer):
    """Twelve prompts: rendered chats where there is a template, else plain texts."""
    talks = [["How far is the moon?"], ["Name a colour.", "Blue.", "Another?"], ["1", "2", "3", "4", "5"], ["Write\n\ntwo lines of {code}."],
             ["Größe?"], ["日本の首都は?"]]
    plain = ["The capital of France is", "def f(x):\n    return", "Once upon a time there was", "Question: 2 + 2?\nAnswer:", "{\"name\": \"", "Es war einmal"]
    texts = list(plain)
    for system in (None, "Be brief."):
        for talk in talks[:3]:
            messages = [{"role": "system", "content": system}] if system else []
            messages += [{"role": ["user", "assistant"][i % 2], "content": t} for i, t in enumerate(talk)]
            try:
                texts.append(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
            except Exception:  # the template refuses the conversation, or there is none
                texts.append(talk[0] + " " + talk[-1])
    return texts


def strings():
    rng = random.Random(7)
    return ["".join(rng.choice(WORDS) + rng.choice(["", " ", "  ", "\n"]) for _ in range(rng.randint(1, 8))) for _ in range(200)]


def log_softmax(x):
    x = np.asarray(x, dtype=np.float64)
    x = x - x.max()
    return x - np.log(np.exp(x).sum())


def compare(want, got):
    kl = [float((np.exp(w) * (w - g)).sum()) for w, g in zip(want, got)]
    top = [int(w.argmax()) == int(g.argmax()) for w, g in zip(want, got)]
    return {"kl": float(np.mean(kl)), "same_top": float(np.mean(top))}


class Transformers:
    """A folder in transformers, with an adapter by PEFT where one is given."""

    def __init__(self, folder, adapter=None, dtype="float32", **more):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(2)
        self.torch = torch
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), **more)
        if adapter:
            from peft import PeftModel

            self.model = PeftModel.from_pretrained(self.model, adapter)
        self.model.eval()

    def last(self, ids):
        with self.torch.no_grad():
            return log_softmax(self.model(self.torch.tensor([ids])).logits[0, -1].float().numpy())

    def greedy(self, ids, count=NEW_TOKENS):
        out = self.model.generate(self.torch.tensor([ids]), max_new_tokens=count, do_sample=False, use_cache=True)
        return self.tokenizer.decode(out[0][len(ids):], skip_special_tokens=True)


class LlamaCpp:
    """A GGUF file in llama.cpp's server."""

    def __init__(self, path, vocab, lora=None, context=512):
        import xllamacpp

        p = xllamacpp.CommonParams()
        p.model.path = str(path)
        p.n_ctx, p.n_parallel, p.cpuparams.n_threads, p.warmup, p.use_jinja = context, 1, 2, False, True
        if lora:
            p.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(lora), 1.0)]
        p.verbosity, p.no_extra_bufts = 1, True
        p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.server, self.vocab = xllamacpp.Server(p), vocab
        # A token that is sampled for certain: one that ends the text would be answered without its distribution,
        # which is taken before the bias.
        self.safe = self.ids("a")[0]

    def post(self, path, body):
        request = urllib.request.Request(self.server.listening_address + path, json.dumps(body).encode(), {"content-type": "application/json"})
        return json.loads(urllib.request.urlopen(request).read())

    def complete(self, ids, n, **more):
        return self.post("/completion", {"prompt": ids, "n_predict": n, "temperature": 0, "cache_prompt": False} | more)

    def last(self, ids):
        out = np.full(self.vocab, -60.0)
        answer = self.complete(ids, 1, n_probs=self.vocab, logit_bias=[[self.safe, 1e6]])
        for p in answer["completion_probabilities"][0]["top_logprobs"]:
            out[p["id"]] = p["logprob"]
        return log_softmax(out)

    def greedy(self, ids):
        return self.complete(ids, NEW_TOKENS)["content"]

    def ids(self, text):
        return self.post("/tokenize", {"content": text, "add_special": False, "parse_special": True})["tokens"]


class MlxLm:
    """A folder in mlx-lm."""

    def __init__(self, folder, adapter=None):
        import mlx.core as mx
        from mlx_lm import load

        self.mx = mx
        self.model, self.tokenizer = load(str(folder), adapter_path=str(adapter) if adapter else None)

    def last(self, ids):
        return log_softmax(np.array(self.model(self.mx.array([ids]))[0, -1].astype(self.mx.float32)))

    def greedy(self, ids, count=NEW_TOKENS):
        from mlx_lm import generate

        return generate(self.model, self.tokenizer, ids, max_tokens=count)


def packed(folder):
    """A folder of GPTQ or AWQ in transformers, on the kernels of gptqmodel that need no GPU."""
    from transformers import AwqConfig, GPTQConfig

    said = json.loads((folder / "config.json").read_text())["quantization_config"]
    kind = GPTQConfig(bits=4, backend="torch") if said["quant_method"] == "gptq" else AwqConfig(backend="torch_awq")
    return Transformers(folder, quantization_config=kind)


def row(owner, want, prompts, tallow=None, file=None, texts=()):
    out = compare(want, [owner.last(p) for p in prompts])
    if tallow:
        same = 0
        for text in texts[:3]:
            mine = run(tallow, "generate", "--model", file, "--raw", "--prompt", text, "--temperature", 0, "--max-new-tokens", NEW_TOKENS)["text"]
            ids = owner.ids(text) if hasattr(owner, "ids") else owner.tokenizer(text)["input_ids"]
            same += owner.greedy(ids).rstrip() == mine.rstrip()
        out["greedy_same"] = f"{same} of 3"
    return out


def ids_row(owner, raw, texts):
    count = lambda all_: sum(owner.ids(t) != raw.encode(t, add_special_tokens=False).ids for t in all_)
    return {"strings": f"{200 - count(strings())} of 200", "chats": f"{12 - count(texts)} of 12"}


def metadata(path):
    from gguf import GGUFReader

    fields = GGUFReader(str(path)).fields
    shown = {}
    for key, f in fields.items():
        if key.startswith(("GGUF.", "tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.scores", "tokenizer.ggml.token_type")):
            continue
        shown[key] = str(f.contents())[:80]
    return shown


def model_rows(tallow, model, adapter, forms, types, mlx_types, folder, put, base_too):
    from tokenizers import Tokenizer

    base = ["--model", model] + (["--adapter", adapter] if adapter else [])
    export = lambda form, kind, out, args=base: run(tallow, "export", *args, "--format", form, *(["--type", kind] if kind else []), "--out", out)
    merged = folder / "merged"
    export("safetensors", "f32", merged)
    reference = Transformers(merged)
    raw, texts = Tokenizer.from_file(str(merged / "tokenizer.json")), chats(reference.tokenizer)
    prompts = [raw.encode(t, add_special_tokens=False).ids for t in texts]
    want = [reference.last(p) for p in prompts]
    vocab = len(want[0])
    # No longer than needed: where a model has two rotations, llama.cpp chooses by the length of its context.
    context = 256 if max(map(len, prompts)) + NEW_TOKENS <= 256 else 1024

    def attempt(form, kind, owner, make):
        try:
            put(form, kind, owner, make())
        except (Exception, SystemExit) as e:  # one form that fails is a row that says so
            put(form, kind, owner, {"failed": f"{type(e).__name__}: {e}"[:240]})

    def gguf(kind):
        path = folder / f"{kind}.gguf"
        report = export("gguf", kind, path)
        owner = LlamaCpp(path, vocab, context=context)
        out = row(owner, want, prompts, tallow, path, texts) | {"proof_kl": report["proof"]["mean_kl"], "notes": report["notes"]}
        if kind == "f32" and base_too:
            again = folder / "again"
            export("safetensors", "f32", again, ["--model", path])
            out |= {"kl_of_safetensors_made_of_it": row(Transformers(again), want, prompts)["kl"]}
        if kind == "f32":
            out |= {"ids": ids_row(owner, raw, texts), "metadata": metadata(path)}
        else:
            path.unlink()
        return out

    def transformers(form, kind, dtype):
        out = folder / f"{form}-{kind}"
        report = export(form, kind, out)
        owner = Transformers(out, dtype=dtype)
        return row(owner, want, prompts) | {"proof_kl": report["proof"]["mean_kl"], "kl_beside_tallow": beside(owner, out)}

    def beside(owner, out):
        """The owner's reading of a folder, beside the numbers that Tallow reads from it."""
        plain = out.with_name(out.name + "-plain")
        export("safetensors", "f32", plain, ["--model", out])
        tallows = Transformers(plain)
        return compare([tallows.last(p) for p in prompts], [owner.last(p) for p in prompts])["kl"]

    def with_gptqmodel(form):
        report = export(form, "int4", folder / form)
        owner = packed(folder / form)
        return row(owner, want, prompts) | {"proof_kl": report["proof"]["mean_kl"], "kl_beside_tallow": beside(owner, folder / form)}

    def mlx(kind):
        out = folder / f"mlx-{kind}"
        export("mlx", None if kind == "plain" else kind, out)
        return row(MlxLm(out), want, prompts)

    def adapters(form):
        out = folder / form
        export(form, None, out)
        if form == "peft":
            return row(Transformers(model, adapter=str(out)), want, prompts)
        if form == "mlx-adapter":
            return row(MlxLm(model, out), want, prompts)
        plain = folder / "base.gguf"
        export("gguf", "f32", plain, ["--model", model])
        return row(LlamaCpp(plain, vocab, out, context), want, prompts)

    if "gguf" in forms:
        for kind in types:
            attempt("gguf", kind, "llama.cpp", lambda: gguf(kind))
    if "safetensors" in forms:
        for kind, dtype in (("bf16", "bfloat16"), ("f16", "float32")):
            attempt("safetensors", kind, "transformers", lambda: transformers("safetensors", kind, dtype))
        attempt("bnb-4bit", "nf4", "bitsandbytes", lambda: transformers("bnb-4bit", "nf4", "float32"))
        attempt("bnb-8bit", "int8", "bitsandbytes", lambda: transformers("bnb-8bit", "int8", "float32"))
    if "vllm" in forms:
        for kind in ("fp8", "w4a16"):
            attempt("vllm", kind, "compressed-t.", lambda: transformers("vllm", kind, "float32"))
        for form in ("gptq", "awq"):
            attempt(form, "int4", "gptqmodel", lambda: with_gptqmodel(form))
    if "mlx" in forms and importlib.util.find_spec("mlx_lm"):
        for kind in mlx_types:
            attempt("mlx", kind, "mlx-lm", lambda: mlx(kind))
    if adapter and "adapters" in forms:
        attempt("gguf-adapter", "f32", "llama.cpp", lambda: adapters("gguf-adapter"))
        if Path(model).is_dir():
            attempt("peft", "f32", "PEFT", lambda: adapters("peft"))
            if importlib.util.find_spec("mlx_lm"):
                attempt("mlx-adapter", "f32", "mlx-lm", lambda: adapters("mlx-adapter"))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tallow", required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--forms", default="gguf,safetensors,vllm,mlx,adapters")
    p.add_argument("--mlx-types", default=",".join(MLX), help="types of folders for mlx-lm")
    p.add_argument("--base-too", action="store_true")
    p.add_argument("--types", default=",".join(GGUF), help="types of GGUF files")
    p.add_argument("models", nargs="+", help="NAME=MODEL or NAME=MODEL+ADAPTER")
    a = p.parse_args()
    rows = []
    for named in a.models:
        name, where = named.split("=", 1)
        model, _, adapter = where.partition("+")

        def put(form, kind, owner, figures):
            rows.append({"model": name, "form": form, "type": kind, "owner": owner} | figures)
            shown = {k: v for k, v in figures.items() if k not in ("metadata", "notes")}
            print(f"{name:16} {form:12} {kind:8} {owner:12} {shown}", flush=True)
            a.out.write_text(json.dumps(rows, indent=1) + "\n")

        with tempfile.TemporaryDirectory() as folder:
            model_rows(a.tallow, model, adapter or None, a.forms.split(","), a.types.split(","), a.mlx_types.split(","), Path(folder), put, a.base_too)


if __name__ == "__main__":
    main()
