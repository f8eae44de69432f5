"""Two stages on a real model, with everything that can go wrong in between, beside the same run left alone.

    python3 -m venv peers && peers/bin/pip install mlflow tensorboard wandb
    peers/bin/python benches/peers/two_stages.py --model MODEL --first gsm8k/train.jsonl --second tools.jsonl --out FOLDER

Stage 1 learns question and answer rows (GSM8K), stage 2 rows with tool calls. Three runs:

- `alone`: no tracker, nothing disturbs it;
- `disturbed`: TensorBoard, MLflow (a real `mlflow server`), Weights & Biases and energy all on. It is killed (SIGKILL) at a
  drawn step of each stage and goes on; the MLflow server is killed in mid-run, stays away for a minute, and comes back. Its
  adapter must have the same bytes; what MLflow's client, TensorBoard's reader, wandb's record definitions and pandas read must
  equal `metrics.jsonl`.
- `no-replay`: stage 2 without stage 1's rows: what is forgotten.
"""

import argparse
import glob
import hashlib
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import time
import zlib

CONFIG = """
base_model: {{local_path: {model}}}
training:
  num_stages: 2
  dtype: bf16
  max_seq_length: {length}
  save_steps: {save}
  eval_steps: {save}
  stage1: {{iterations: {steps}, batch_size: 2, learning_rate: 3.0e-4, warmup_steps: 5}}
  stage2: {{iterations: {steps}, batch_size: 2, learning_rate: 3.0e-4, warmup_steps: 5, replay_ratio: {replay}}}
lora: {{rank: 16, alpha: 32, target_modules: all-linear}}
dataset: {{path: {first}, stage2_path: {second}, train_split: 0.9, validation_split: 0.05, test_split: 0.05}}
"""


def head(source: str, target: str, rows: int, convert) -> None:
    with open(source) as lines, open(target, "w") as out:
        for line, _ in zip(lines, range(rows)):
            out.write(json.dumps(convert(json.loads(line))) + "\n")


def digest(path: str) -> str:
    return hashlib.sha256(open(path, "rb").read()).hexdigest()


def rows(run: str) -> list[dict]:
    path = os.path.join(run, "metrics.jsonl")
    lines = open(path).read().split("\n")[:-1] if os.path.exists(path) else []
    return [json.loads(line) for line in lines]


def at(run: str) -> tuple[int, int]:
    steps = [(r["stage"], r["step"]) for r in rows(run) if "loss" in r]
    return steps[-1] if steps else (0, 0)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class MLflow:
    def __init__(self, folder: str):
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--artifacts-destination", f"{self.folder}/artifacts"]
        program = os.path.join(os.path.dirname(sys.executable), "mlflow")
        log = open(f"{self.folder}/mlflow.log", "a")
        command = [program, "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1", *store]
        self.child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        until = time.time() + 180
        while time.time() < until:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.5)
        raise SystemExit("mlflow server did not start")

    def kill(self):
        os.killpg(self.child.pid, 9)
        self.child.wait()


def train(a, project: str, name: str, sets: list[str], disturb=None) -> str:
    """Trains to the end; the run's folder."""
    settings = [s for pair in (("--set", s) for s in sets) for s in pair]
    command = [a.tallow, "train", project, "--name", name, *settings]
    while True:
        log = open(os.path.join(a.out, f"{name}.log"), "a")
        child = subprocess.Popen(command, stdout=log, stderr=log)
        found = None
        while child.poll() is None:
            time.sleep(0.05)
            found = next(iter(glob.glob(f"{project}/runs/{name}-*")), None)
            if found and disturb:
                disturb(found, child)
        found = next(iter(glob.glob(f"{project}/runs/{name}-*")), None)
        if child.returncode == 0:
            return found
        if child.returncode != -9 or found is None:
            raise SystemExit(f"{name} ended with {child.returncode}: see {log.name}")
        command = [a.tallow, "train", project, "--resume", os.path.basename(found)]


def figures(run: str) -> dict:
    """(stage, name) -> [(step, value)] of metrics.jsonl."""
    out = {}
    for row in rows(run):
        for name, value in row.items():
            if name not in ("stage", "step", "time") and isinstance(value, (int, float)) and not isinstance(value, bool):
                out.setdefault((row["stage"], name), []).append((row["step"], float(value)))
    return out


def check_tensorboard(run: str, want: dict) -> int:
    from tensorboard.backend.event_processing import event_accumulator

    single = lambda v: struct.unpack("f", struct.pack("f", v))[0]
    got = {}
    for stage in (1, 2):
        folder = f"{run}/tensorboard/{os.path.basename(run)}/stage{stage}"
        events = event_accumulator.EventAccumulator(folder, size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            group, name = tag.split("/")
            key = (stage, f"eval_{name}" if group == "eval" else name)
            got[key] = [(e.step, e.value) for e in events.Scalars(tag)]
    rounded = {k: [(step, single(v)) for step, v in all] for k, all in want.items()}
    assert got == rounded, [k for k in rounded if got.get(k) != rounded[k]]
    return sum(map(len, got.values()))


def wandb_records(path: str):
    """The records of an offline run: blocks of 32 KiB with chunks of (checksum, length, kind), as LevelDB's log has them."""
    from wandb.proto import wandb_internal_pb2

    data = open(path, "rb").read()
    assert data[:4] == b":W&B", data[:7]
    at, whole = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        checksum, length, kind = struct.unpack("<IHB", data[at : at + 7])
        piece = data[at + 7 : at + 7 + length]
        assert len(piece) == length and zlib.crc32(bytes([kind]) + piece) == checksum, at
        at, whole = at + 7 + length, whole + piece
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""


def check_wandb(run: str, want: dict) -> int:
    (path,) = glob.glob(f"{run}/wandb/offline-run-*/run-*.wandb")
    got = {}
    for record in wandb_records(path):
        if record.WhichOneof("record_type") != "history":
            continue
        items = {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}
        axis = next(k for k in items if k.endswith("/step"))
        for key, value in items.items():
            if key.startswith("stage") and key != axis and isinstance(value, (int, float)):
                got.setdefault((int(axis[5]), key.split("/")[1]), []).append((items[axis], float(value)))
    assert got == want, [k for k in want if got.get(k) != want[k]]
    return sum(map(len, got.values()))


def check_mlflow(url: str, run: str, want: dict) -> str:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(url)
    experiments = [e.experiment_id for e in client.search_experiments()]
    all = [r for r in client.search_runs(experiments, max_results=1000) if os.path.basename(run) in r.info.run_name]
    parents = [r for r in all if "mlflow.parentRunId" not in r.data.tags]
    assert len(parents) == 1 and len(all) == 3, [r.info.run_name for r in all]
    got = {}
    for r in all:
        if r is parents[0]:
            continue
        assert r.data.tags["mlflow.parentRunId"] == parents[0].info.run_id
        stage = int(r.info.run_name.split()[-1])
        for name in r.data.metrics:
            if not name.startswith("result."):
                got[(stage, name)] = sorted((m.step, m.value) for m in client.get_metric_history(r.info.run_id, name))
    assert set(got) == set(want), set(got) ^ set(want)
    # A step that was made again after a kill keeps the speed and the time of its first making.
    timed = {"tokens_per_second", "elapsed_seconds", "peak_rss_bytes"}
    for key, values in want.items():
        assert [s for s, _ in got[key]] == sorted(s for s, _ in values), key
        assert key[1] in timed or got[key] == sorted(values), key
    artifacts = sorted(x.path for x in client.list_artifacts(parents[0].info.run_id))
    return f"{sum(map(len, got.values()))} figures, {len(parents[0].data.params)} parameters, {parents[0].info.status}, {artifacts}"


def check_pandas(run: str, want: dict) -> int:
    import pandas

    frame = pandas.read_json(f"{run}/metrics.jsonl", lines=True, precise_float=True)
    for (stage, name), values in want.items():
        own = frame[(frame.stage == stage) & frame[name].notna()]
        assert list(zip(own.step, own[name].astype(float))) == values, (stage, name)
    emissions = pandas.read_csv(f"{run}/emissions.csv")
    assert len(emissions) and (emissions.emissions >= 0).all() and emissions.emissions.max() > 0 and "energy_consumed" in emissions
    return len(frame)


def forgotten(run: str) -> str:
    table = json.load(open(f"{run}/stage2/evaluation/test.json"))
    kept, own = table["stage1_rows"], table["tuned"]
    line = lambda e: f"loss {e['loss']:.4f}, accuracy {e['accuracy']:.4f}"
    return (
        f"stage 1's rows: base {line(kept['base'])}; after stage 1 {line(kept['after_stage1'])}; after stage 2 {line(kept['tuned'])}."
        f" Stage 2's rows: {line(own)}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tallow", default="target/release/tallow")
    parser.add_argument("--model", required=True)
    parser.add_argument("--first", required=True)
    parser.add_argument("--second", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--away", type=float, default=60.0, help="seconds that the MLflow server is away")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    a = parser.parse_args()
    rng = random.Random(a.seed)
    print(f"seed {a.seed}", flush=True)
    shutil.rmtree(a.out, ignore_errors=True)
    os.makedirs(f"{a.out}/server")
    a.out = os.path.abspath(a.out)
    head(a.first, f"{a.out}/first.jsonl", a.rows, lambda r: {"instruction": r["question"], "output": r["answer"]} if "question" in r else r)
    head(a.second, f"{a.out}/second.jsonl", a.rows, lambda r: r)
    save = 5
    for name, replay in (("project", 0.15), ("bare", 0.0)):
        os.makedirs(f"{a.out}/{name}/config")
        text = CONFIG.format(
            model=os.path.abspath(a.model), first=f"{a.out}/first.jsonl", second=f"{a.out}/second.jsonl", length=a.length,
            save=save, steps=a.steps, replay=replay,
        )
        open(f"{a.out}/{name}/config/fine_tuning_config.yaml", "w").write(text)
    off = ["carbon_tracking.enabled=false"]
    alone = train(a, f"{a.out}/project", "alone", off)
    print("alone:", forgotten(alone), flush=True)
    mlflow = MLflow(f"{a.out}/server")
    on = ["tensorboard.enabled=true", "wandb.enabled=true", "mlflow.enabled=true", f"mlflow.tracking_uri={mlflow.url}"]
    kills = [(1, rng.randrange(2, a.steps)), (2, rng.randrange(2, a.steps))]
    outage = {"from": (rng.choice([1, 2]), rng.randrange(2, a.steps)), "since": None, "done": False}
    print(f"kills after {kills}, the server goes away after {outage['from']}", flush=True)

    def disturb(run, child):
        now = at(run)
        if not outage["done"] and outage["since"] is None and now >= outage["from"]:
            mlflow.kill()
            outage["since"] = time.time()
        if outage["since"] and not outage["done"] and time.time() - outage["since"] >= a.away:
            mlflow.start()
            outage["done"] = True
        if kills and now >= kills[0]:
            kills.pop(0)
            child.kill()

    disturbed = train(a, f"{a.out}/project", "disturbed", on, disturb)
    if outage["since"] and not outage["done"]:
        time.sleep(max(0, a.away - (time.time() - outage["since"])))
        mlflow.start()
    assert not kills and outage["since"], "the run ended before it was disturbed: more --steps"
    subprocess.run([a.tallow, "track", "sync", disturbed], check=True, stdout=subprocess.DEVNULL)
    adapters = [digest(f"{run}/{part}/adapter_model.safetensors") for run in (alone, disturbed) for part in ("stage1/adapters", "final-model")]
    assert adapters[:2] == adapters[2:], adapters
    print("disturbed: both stages' adapters have the bytes of the run left alone", flush=True)
    want = figures(disturbed)
    same = lambda f: {k: v for k, v in f.items() if k[1] not in ("tokens_per_second", "elapsed_seconds", "peak_rss_bytes")}
    assert same(want) == same(figures(alone))
    print("tensorboard:", check_tensorboard(disturbed, want), "figures equal (as 32-bit floats)", flush=True)
    print("wandb:", check_wandb(disturbed, want), "figures equal", flush=True)
    print("pandas:", check_pandas(disturbed, want), "rows equal", flush=True)
    print("mlflow:", check_mlflow(mlflow.url, disturbed, want), flush=True)
    mlflow.kill()
    print("no replay:", forgotten(train(a, f"{a.out}/bare", "alone", off)), flush=True)


if __name__ == "__main__":
    main()
