"""A run on a rented GPU by the MCP client of PyPI, against the tests' own service and a real SSH server: choose a GPU by plan and
price, estimate, agree to the price when asked, train there, stream, kill the client in the middle, come back, fetch, see the pod
terminated and the bill; then serve the result behind an endpoint, read its answer, and remove it.

    cargo build && cargo test --no-run --test it
    pip install mcp jsonschema
    python benches/peers/cloud_flow.py target/debug/tallow            # needs /usr/sbin/sshd (Debian: openssh-server)

Nothing leaves this machine. It ends with 1 where anything is not as it must be.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import jsonschema
from mcp import Client, StdioServerParameters
from mcp.types import ElicitResult

STEPS = 400


def must(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


class Stand:
    """The service and its pods: an ignored test that serves until it is told to stop."""

    def __init__(self, folder, command):
        self.folder = folder
        self.process = subprocess.Popen(command, env=dict(os.environ, TALLOW_STAND=str(folder)), stdout=subprocess.DEVNULL)
        begun = time.time()
        while not (folder / "ready.json").exists():
            must(self.process.poll() is None and time.time() - begun < 600, "the service did not start")
            time.sleep(0.1)
        told = json.loads((folder / "ready.json").read_text())
        self.address, self.environment = told["address"], told["environment"]

    def ask(self, path="books"):
        with urllib.request.urlopen(f"{self.address}/fake/{path}") as answer:
            return json.load(answer)

    def stop(self):
        (self.folder / "stop").touch()
        return self.process.wait(timeout=30)


class Assistant:
    """A session of the server; `agrees` answers its questions."""

    def __init__(self, binary, root, environment, agrees):
        self.questions = []
        server = StdioServerParameters(
            command=binary, args=["mcp", "--root", str(root), "--toolsets", "core,cloud"], cwd=str(root), env=environment
        )

        async def asked(context, params):
            self.questions.append(params.message)
            return ElicitResult(action="accept" if agrees else "decline", content={"agree": True} if agrees else None)

        self.client = Client(server, mode="legacy", elicitation_callback=asked if agrees is not None else None)

    async def __aenter__(self):
        await self.client.__aenter__()
        self.tools = {tool.name: tool for tool in (await self.client.list_tools()).tools}
        return self

    async def __aexit__(self, *why):
        await self.client.__aexit__(*why)

    async def try_call(self, tool, /, **arguments):
        jsonschema.validate(arguments, self.tools[tool].input_schema)
        result = await self.client.call_tool(tool, arguments)
        if result.is_error:
            return None, result.content[0].text
        jsonschema.validate(result.structured_content, self.tools[tool].output_schema)
        return result.structured_content, None

    async def call(self, tool, /, **arguments):
        answer, fault = await self.try_call(tool, **arguments)
        must(fault is None, f"{tool}: {fault}")
        return answer


def project(binary, root, environment):
    subprocess.run([binary, "bench", "random-model", "tiny", "--out", "model", "--tokenizer", "embedded"], cwd=root, env=environment,
                   check=True, stdout=subprocess.DEVNULL)
    for name in ("data", "config"):
        (root / "p" / name).mkdir(parents=True)
    rows = [json.dumps({"instruction": f"add {n} and {n % 7}", "output": str(n + n % 7)}) for n in range(56)]
    (root / "p/data/train.jsonl").write_text("\n".join(rows[:48]) + "\n")
    (root / "p/data/held.jsonl").write_text("\n".join(rows[48:]) + "\n")
    (root / "p/config/fine_tuning_config.yaml").write_text(
        "base_model: {local_path: ../model}\n"
        f"training: {{stage1: {{iterations: {STEPS}, learning_rate: 1.0e-2, batch_size: 2}}, max_seq_length: 64, save_steps: 50}}\n"
        "lora: {rank: 4, alpha: 8, target_modules: all-linear}\n"
        "dataset: {train_path: data/train.jsonl, validation_path: data/held.jsonl, test_path: data/held.jsonl}\n"
    )
    # The program is large; a script that starts it is sent to the pod in its place.
    script = root / "tallow.sh"
    script.write_text(f'#!/bin/sh\nexec {binary} "$@"\n')
    script.chmod(0o755)


async def walk(binary, root, stand):
    environment = dict(os.environ, TALLOW_CACHE=str(root / "cache"), TALLOW_CLOUD_STATE=str(root / "books"), **stand.environment)
    project(binary, root, environment)
    at = {"project_path": "p"}
    start = {**at, "program_path": "tallow.sh", "max_hours": 3.0, "max_cost": 2.0}
    async with Assistant(binary, root, environment, None) as nobody:
        cloud = [tool for tool in nobody.tools.values() if tool.name.startswith("runpod_")]
        for tool in cloud:
            jsonschema.Draft202012Validator.check_schema(tool.input_schema)
            jsonschema.Draft202012Validator.check_schema(tool.output_schema)
        flagged = [tool.name for tool in cloud if (tool.meta or {}).get("anthropic/requiresUserInteraction")]
        print(f"{len(cloud)} tools of the cloud; a person sees the calls of {', '.join(sorted(flagged))}")
        fits = await nobody.call("runpod_list_gpu_types", **at)
        print(f"the run fits on {len(fits['gpus'])} types; the cheapest: {fits['gpus'][0]['id']} at {fits['gpus'][0]['price_hour']} $/h")
        cost = (await nobody.call("runpod_estimate_cost", **at))
        print(f"estimate: {cost['costs'][0]['total']:.3f} $ ({cost['said']})")
        _, fault = await nobody.try_call("runpod_start_training", **start)
        must(fault and "confirmation_needed" in fault and "0.25 US dollars an hour" in fault, f"no price was told: {fault}")
    async with Assistant(binary, root, environment, False) as refusing:
        _, fault = await refusing.try_call("runpod_start_training", **start)
        must(fault and "declined" in fault and len(refusing.questions) == 1, f"a no was not taken: {fault}")
    must(not stand.ask()["pods"], "something was rented without an agreement")
    async with Assistant(binary, root, environment, True) as agreeing:
        begun = await agreeing.call("runpod_start_training", **start)
        print(f"asked: {agreeing.questions[0]}")
        job = begun["job"]["job"]
        seen = 0
        while seen < STEPS // 8:
            told = await agreeing.call("runpod_get_training_logs", **at)
            run_id = told["job"].get("run_id")
            if run_id and told.get("training_log"):
                state = await agreeing.call("monitor_training_progress", **at, run_id=run_id)
                seen = state["current_iteration"]
            await asyncio.sleep(0.05)
        print(f"streamed to step {seen} of {STEPS}")
    # The session is gone, and so is who follows the job for it.
    follower = subprocess.run(["pgrep", "-f", f"cloud attach {job}"], capture_output=True, text=True).stdout.split()
    for pid in follower:
        os.kill(int(pid), 9)
    print(f"killed: the session and {len(follower)} follower")
    async with Assistant(binary, root, environment, True) as back:
        told = await back.call("runpod_get_training_logs", **at)
        if told["job"]["stage"] != "fetched" and not told["job"]["is_followed"]:
            await back.call("runpod_start_training", **at, job=job)
        while told["job"]["stage"] != "fetched" or told["job"]["is_followed"]:
            await asyncio.sleep(0.1)
            told = await back.call("runpod_get_training_logs", **at)
        run_id = told["job"].get("run_id")
        state = await back.call("monitor_training_progress", **at, run_id=run_id)
        must(state["status"] == "completed", f"the run ended {state['status']}")
        must((root / "p/runs" / run_id / "final-model/adapter_model.safetensors").is_file(), "the result is not here")
        must(all(p["status"] == "TERMINATED" for p in stand.ask()["pods"].values()), "a pod is left")
        account = await back.call("runpod_get_account")
        books = stand.ask()["total"]
        must(books > 0 and round(account["total"], 2) == round(books, 2), f"the bill is {account['total']}, the books hold {books}")
        print(f"{run_id} is here, the pod is terminated; billed {account['total']:.4f} $, the books hold {books:.4f} $")
        serving = await back.call("runpod_serve_run", **at, run_id=run_id, name="tuned", prompt="add 2 and 2", max_hours=2.0)
        print(f"asked: {back.questions[-1]}")
        tag = serving["serving"]["serving"]
        while True:
            now = (await back.call("runpod_list_served", serving=tag))["served"][0]
            must(now["stage"] != "ended", f"it ended: {now.get('end')}")
            if now["stage"] == "answered" and not now["is_followed"]:
                break
            await asyncio.sleep(0.2)
        print(f"endpoint {now['endpoint_id']}: {json.dumps(now['answer'])[:100]}")
        await back.call("runpod_end_serving", serving=tag, confirmed=True)
    books = stand.ask()
    must(not books["endpoints"] and not books["volumes"] and not books["broken"], f"the books are not clean: {books}")
    print("the books are clean")


def main():
    binary = os.path.abspath(sys.argv[1])
    root = Path(tempfile.mkdtemp(prefix="tallow-cloud-")).resolve()
    test = sys.argv[2:] or ["cargo", "test", "-q", "--test", "it", "--"]
    stand = Stand(root / "stand", [*test, "--ignored", "--exact", "cloud::stand::serves_until_told_to_stop"])
    try:
        asyncio.run(walk(binary, root, stand))
    finally:
        code = stand.stop()
        shutil.rmtree(root, ignore_errors=True)
    must(code == 0, "requests broke the service's document")


main()
