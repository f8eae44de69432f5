"""The whole way from a project to a tuned answer, by the MCP client of PyPI over stdio: every argument and every result is
checked against the schemas that the server lists, in the era that is asked for.

    cargo build --release
    pip install mcp jsonschema
    python benches/peers/mcp_client.py target/release/tallow            # both eras
"""

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import jsonschema
from mcp import Client, StdioServerParameters


def rows(path, numbers):
    with open(path, "w") as file:
        for n in numbers:
            turns = [{"role": "user", "content": f"add {n} and {n}"}, {"role": "assistant", "content": str(2 * n)}]
            file.write(json.dumps({"messages": turns}) + "\n")


async def walk(binary, root, era):
    env = dict(os.environ, TALLOW_CACHE=str(root / "cache"))
    server = StdioServerParameters(command=binary, args=["mcp", "--root", str(root), "--toolsets", "all"], cwd=str(root), env=env)
    async with Client(server, mode=era) as client:
        print(f"connected: {client.server_info.name}, protocol {client.protocol_version}")
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        for tool in tools.values():
            jsonschema.Draft202012Validator.check_schema(tool.input_schema)
            jsonschema.Draft202012Validator.check_schema(tool.output_schema)
        called = set()

        async def call(name, **arguments):
            jsonschema.validate(arguments, tools[name].input_schema)
            ticks = []

            async def progress(done, total, message):
                ticks.append(message)

            began = time.time()
            result = await client.call_tool(name, arguments, progress_callback=progress)
            if result.is_error:
                sys.exit(f"{name}: {result.content[0].text}")
            jsonschema.validate(result.structured_content, tools[name].output_schema)
            called.add(name)
            last = f", {len(ticks)} notices, the last: {ticks[-1]}" if ticks else ""
            print(f"  {name}: {time.time() - began:.2f} s{last}")
            return result.structured_content

        await call("check_installation")
        await call("list_supported_models")
        await call("get_model_info", model_name="embedded")
        project = root / "project"
        await call(
            "generate_fine_tuning_project",
            project_name="project",
            output_dir=str(root),
            base_model={"type": "custom", "model_id": "embedded"},
            training={"stage1_iterations": 40, "learning_rate": 0.01, "batch_size": 4},
        )
        train, held = str(project / "data/raw/train.jsonl"), str(project / "data/raw/held.jsonl")
        rows(train, range(1, 41))
        rows(held, range(41, 46))
        await call("list_projects")
        await call("list_datasets", search_query="train")
        await call("preview_dataset", path=train, rows=2)
        await call("validate_dataset", dataset=train, model="embedded", show=1)
        await call("dataset_stats", dataset=train, model="embedded")
        at = {"project_path": str(project)}
        await call("describe_config", key="training.stage1", **at)
        await call("set_config", **at, values={"training.save_steps": 10})
        await call("plan_training", **at)
        data = {"train_dataset": train, "test_dataset": held}
        run = {**at, "run_id": (await call("configure_training_run", **at, run_name="one", training_data=data))["run_id"]}
        await call("start_training", **run)
        while not (await call("wait", **run, seconds=30))["ended"]:
            pass
        state = await call("monitor_training_progress", **run)
        if state["status"] != "completed":
            sys.exit(f"the run ended {state['status']}: {state}")
        other = {**at, "run_id": (await call("configure_training_run", **at, run_name="two", training_data=data))["run_id"]}
        await call("start_training", **other, async_mode=False)
        third = {**at, "run_id": (await call("configure_training_run", **at, run_name="three", training_data=data))["run_id"]}
        await call("stop_training", **third, mode="cancel")
        await call("delete_run", **third)
        steps = [c["step"] for c in (await call("get_run", **run, points=20))["checkpoints"]]
        await call("generate_text", **run, checkpoint_step=steps[0], prompt="add 7 and 7", max_new_tokens=8)
        await call("evaluate_model", **run, test_dataset=held)
        await call("compare_models", **at, first={"run_id": run["run_id"], "base": True}, second={"run_id": run["run_id"]}, test_dataset=held, samples=1)
        await call("export_model", **run, export_format="gguf", quantization="q8_0", export_path=str(root / "out.gguf"))
        await call("export_model", **run, export_format="safetensors", export_path=str(root / "out"))
        answer = await call("generate_text", model=str(root / "out"), messages=[{"role": "user", "content": "add 7 and 7"}], max_new_tokens=8)
        await call("list_runs", **at)
        versions = (await call("list_model_versions", **at))["versions"]
        await call("promote_model", **at, version=versions[0]["id"])
        print("answer of the exported model:", json.dumps(answer["text"] if "text" in answer else answer)[:200])
        for uri in [f"tallow://runs/{run['run_id']}/plot"]:
            print((await client.read_resource(uri)).contents[0].text)
        prompt = await client.get_prompt("debug_training", {"run_id": run["run_id"]})
        print(f"prompt debug_training: {len(prompt.messages[0].content.text)} characters")
        outside = await client.call_tool("list_runs", {"project_path": "/etc"})
        if not outside.is_error:
            sys.exit("a folder outside the root was read")
        left = sorted(set(tools) - called)
        print(f"{len(called)} of {len(tools)} tools called" + (f"; not {', '.join(left)}" if left else ""))


binary = os.path.abspath(sys.argv[1])
for era in sys.argv[2:] or ["legacy", "auto"]:
    root = Path(tempfile.mkdtemp(prefix="tallow-mcp-")).resolve()
    try:
        asyncio.run(walk(binary, root, era))
    finally:
        shutil.rmtree(root, ignore_errors=True)
