"""What trackers cost a run: pairs of runs with every tracker on and with none, in turn, beside a real MLflow server.

    python3 -m venv peers && peers/bin/pip install mlflow
    peers/bin/python benches/peers/track_pairs.py [--tallow target/release/tallow] [--pairs 6] [--steps 200]

The embedded model takes steps of a few hundredths of a second: on a larger one a tracker costs a smaller share. Printed are the
seconds of training, as the manifest has them, and the processor seconds of the whole process.
"""

import argparse
import glob
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from two_stages import MLflow  # noqa: E402

CONFIG = """
base_model: {{model_id: embedded}}
training: {{max_seq_length: 128, save_steps: 0, eval_steps: 50, stage1: {{iterations: {steps}, batch_size: 8, warmup_steps: 5}}}}
dataset: {{path: rows.jsonl, train_split: 0.9, validation_split: 0.1, test_split: 0.0}}
evaluation: {{enabled: false}}
"""


def used() -> float:
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.ru_utime + r.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tallow", default="target/release/tallow")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=200)
    a = parser.parse_args()
    a.tallow = os.path.abspath(a.tallow)
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(f"{folder}/config")
        os.makedirs(f"{folder}/server")
        open(f"{folder}/config/fine_tuning_config.yaml", "w").write(CONFIG.format(steps=a.steps))
        rng = random.Random(1)
        words = "river stone morning clock letter garden winter train music paper".split()
        with open(f"{folder}/rows.jsonl", "w") as rows:
            for _ in range(600):
                text = " ".join(rng.choices(words, k=24))
                rows.write(json.dumps({"instruction": f"say {text}", "output": text}) + "\n")
        server = MLflow(f"{folder}/server")
        on = ["tensorboard.enabled=true", "wandb.enabled=true", "mlflow.enabled=true", f"mlflow.tracking_uri={server.url}"]
        kinds = {"none": ["carbon_tracking.enabled=false"], "all": on}
        seconds, cpu = {k: [] for k in kinds}, {k: [] for k in kinds}
        for number in range(a.pairs + 1):
            for kind in random.sample(list(kinds), 2):
                sets = [s for pair in (("--set", s) for s in kinds[kind]) for s in pair]
                name, before = f"{kind}{number}", used()
                subprocess.run([a.tallow, "train", folder, "-q", "--name", name, *sets], check=True, stdout=subprocess.DEVNULL)
                (manifest,) = glob.glob(f"{folder}/runs/{name}-*/run-manifest.json")
                took = json.load(open(manifest))["stages"][0]["wall_seconds"]
                # The first pair warms the caches.
                if number:
                    seconds[kind].append(took)
                    cpu[kind].append(used() - before)
        server.kill()
        for what, of in (("seconds of training", seconds), ("processor seconds", cpu)):
            ratios = [x / y for x, y in zip(of["all"], of["none"])]
            middle = {k: statistics.median(v) for k, v in of.items()}
            print(
                f"{what}: {middle['none']:.2f} with none, {middle['all']:.2f} with all;"
                f" pairs {100 * (statistics.median(ratios) - 1):+.2f} % ({100 * (min(ratios) - 1):+.2f} to {100 * (max(ratios) - 1):+.2f})"
            )


if __name__ == "__main__":
    main()
