"""What each type of export loses on trained models: the figures behind src/export/proof/bounds.rs.

    python benches/peers/proof_bounds.py TALLOW OUT.json NAME=MODEL[+ADAPTER] ...

Exports every model in every type of gguf, mlx, bnb-4bit and safetensors, and writes mean KL divergence, agreement of the
likeliest token, and the agreement where the model's choice is clear. `usual` in bounds.rs is to lie above the worst of
these over models that are trained; what is refused is an absolute limit that none of them comes near. An export that is
refused stands in the file with its message.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

FORMS = {
    "gguf": "f16 bf16 q8_0 q6_k q5_k_m q5_k_s q5_1 q5_0 q4_k_m q4_k_s q4_1 q4_0 iq4_nl iq4_xs mxfp4 q3_k_l q3_k_m q3_k_s iq3_m iq3_s iq3_xs iq3_xxs q2_k iq2_m iq2_s iq2_xs iq2_xxs",
    "mlx": "q8 q6 q5 q4 q3 q2 mxfp4",
    "bnb-4bit": "nf4",
    "safetensors": "bf16 f16",
}


def figures(tallow, model, adapter, form, kind, folder):
    out = pathlib.Path(folder) / "export"
    args = [tallow, "export", "--model", model, "--format", form, "--type", kind, "--out", str(out), "--json"]
    if adapter:
        args += ["--adapter", adapter]
    done = subprocess.run(args, capture_output=True, text=True)
    subprocess.run(["rm", "-rf", str(out)], check=True)
    if done.returncode:
        return {"refused": (done.stderr.strip().splitlines() or [done.stdout])[0][:300]}
    proof = json.loads(done.stdout)["proof"]
    keep = ("mean_kl", "max_kl", "same_top", "same_clear_top", "clear", "tokens", "max_abs_relative", "warnings")
    return {k: proof[k] for k in keep}


def main():
    tallow, target, *models = sys.argv[1:]
    results = {}
    for named in models:
        name, where = named.split("=", 1)
        model, _, adapter = where.partition("+")
        for form, kinds in FORMS.items():
            for kind in kinds.split():
                with tempfile.TemporaryDirectory() as folder:
                    row = figures(tallow, model, adapter, form, kind, folder)
                results.setdefault(f"{form} {kind}", {})[name] = row
                said = row.get("refused") or f"KL {row['mean_kl']:.2e}  clear {row['same_clear_top']:.3f} of {row['clear']}"
                print(f"{name:14} {form:12} {kind:8} {said}", flush=True)
        pathlib.Path(target).write_text(json.dumps(results, indent=1) + "\n")
    print("\nworst of all models:")
    for form, rows in results.items():
        kept = [r for r in rows.values() if "mean_kl" in r]
        if kept:
            print(f"{form:20} KL {max(r['mean_kl'] for r in kept):.2e}  clear {min(r['same_clear_top'] for r in kept):.3f}")


if __name__ == "__main__":
    main()
