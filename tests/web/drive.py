"""Drives the page of `tallow web` in headless Chromium: starts a run, watches it, pauses, resumes,
compares, and looks at data and memory, by day, by night and on a narrow screen.

    python3 -m venv venv && venv/bin/pip install playwright    # and Debian's `chromium`
    cargo build
    venv/bin/python tests/web/drive.py [--tallow target/debug/tallow] [--shots FOLDER]

It makes a project of its own in a temporary folder, on a small random model, with markup in its
rows and names: none of it may become markup. Any error in the browser's console fails it.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

HOSTILE = "<img src=x onerror=window.hostile=1>"
PATIENCE = 120_000


def project(tallow, folder):
    """A project of 3000 steps with hostile rows."""
    subprocess.run([tallow, "bench", "random-model", "tiny", "--out", "model", "--tokenizer",
                    "embedded", "-q"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    data, config = folder / "project/data", folder / "project/config"
    data.mkdir(parents=True)
    config.mkdir()
    row = lambda i: json.dumps({"instruction": f"{HOSTILE} add {i} and {i % 7}", "output": str(i + i % 7)})
    (data / "train.jsonl").write_text("\n".join(map(row, range(48))) + "\n{broken\n")
    (data / "held.jsonl").write_text("\n".join(map(row, range(48, 56))) + "\n")
    (config / "fine_tuning_config.yaml").write_text(
        "base_model: {local_path: ../model}\n"
        "training:\n"
        "  stage1: {iterations: 3000, learning_rate: 1.0e-2, batch_size: 2, warmup_steps: 1}\n"
        "  max_seq_length: 256\n  save_steps: 50\n  eval_steps: 50\n"
        "lora: {rank: 4, alpha: 8, dropout: 0.1, target_modules: all-linear}\n"
        "dataset: {train_path: data/train.jsonl, validation_path: data/held.jsonl,\n"
        "  test_path: data/held.jsonl, on_bad_row: skip}\n")


def serve(tallow, folder):
    env = {k: v for k, v in os.environ.items() if k != "TALLOW_WEB_TOKEN"}
    command = [tallow, "web", ".", "--http", "127.0.0.1:0"]
    server = subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)
    return server, server.stderr.readline().split()[-1]


def make(page, name, settings=""):
    """Makes a run in the dialog; its name."""
    page.keyboard.press("1")
    page.get_by_role("button", name="New run").click()
    page.get_by_label("Name; the time is added").fill(name)
    page.get_by_label("Settings that differ").fill(settings)
    page.get_by_role("button", name="Make run").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(name, timeout=PATIENCE)
    return page.get_by_role("heading", level=1).inner_text()


def state(page, wanted):
    expect(page.locator(".head .state")).to_have_text(wanted, timeout=PATIENCE)


def steps(page):
    """Steps made, as the page shows them."""
    words = page.locator(".whole .words span").first.inner_text()
    return int(words.split("step ")[1].split(" of")[0].replace(",", ""))


def grows(page, least):
    """Waits until more steps than this are made."""
    for _ in range(PATIENCE // 100):
        if steps(page) > least:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"no more than {steps(page)} steps are made")


def painted(page, chart):
    """Pixels of a chart that are not empty."""
    return page.locator(f"section.chart:has(h2:text-is('{chart}')) canvas").evaluate(
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) =>"
        " i % 4 === 3 && v > 0).length")


def one_run(page, shot):
    first = make(page, "first")
    state(page, "running")
    grows(page, 60)
    expect(page.locator(".live")).to_have_text("live")
    expect(page.locator(".log div").first).to_be_visible()
    page.wait_for_timeout(800)
    assert painted(page, "Loss") > 2000, "no curve"
    page.keyboard.press("p")
    state(page, "paused")
    done = steps(page)
    expect(page.get_by_text("stage1/checkpoints/step-").first).to_be_visible(timeout=PATIENCE)
    page.wait_for_timeout(1500)
    assert steps(page) == done, "it goes on while it is paused"
    page.get_by_role("button", name="Resume").click()
    state(page, "running")
    grows(page, done + 20)
    shot("running")
    zoom(page)
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel run").click()
    state(page, "cancelled")
    return first


def zoom(page):
    """A drag makes the range smaller, a double click makes it whole; the cursor tells values."""
    canvas = page.locator("section.chart canvas").first
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] * 0.4, box["y"] + 60
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 200, y, steps=4)
    page.mouse.up()
    whole = page.get_by_role("button", name="Whole run")
    expect(whole).to_be_enabled()
    page.mouse.move(x + 60, y)
    expect(page.locator(".tip").first).to_be_visible()
    canvas.dblclick(position={"x": 300, "y": 60})
    expect(whole).to_be_disabled()
    page.get_by_role("button", name="log").first.click()


def compare(page, names, shot):
    page.keyboard.press("1")
    for name in names:
        page.get_by_label(f"Pick {name}").check()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Compare 2").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare 2 runs")
    for key in ("lora.rank", "training.seed"):
        expect(page.get_by_role("cell", name=key, exact=True)).to_be_visible(timeout=PATIENCE)
    page.wait_for_timeout(800)
    assert painted(page, "Training loss") > 2000
    shot("compare")


def data_and_memory(page, shot):
    page.keyboard.press("2")
    expect(page.locator(".example").first).to_contain_text(HOSTILE, timeout=PATIENCE)
    assert "add" not in page.locator(".example .tokens .t").first.inner_text()
    expect(page.locator(".note.bad")).to_contain_text("train.jsonl:49")
    page.keyboard.press("l")
    expect(page.get_by_text("rows 11 to 20 of 48")).to_be_visible(timeout=PATIENCE)
    page.keyboard.press("b")
    shot("data")
    page.keyboard.press("3")
    expect(page.locator(".mem .track")).to_be_visible(timeout=PATIENCE)
    shot("memory")


def drive(page, base, folder):
    def shot(name):
        if folder:
            page.screenshot(path=folder / f"{name}.png")

    page.goto(base)
    expect(page.get_by_text("No runs yet")).to_be_visible(timeout=PATIENCE)
    first = one_run(page, shot)
    second = make(page, "second", "lora.rank=2\ntraining.seed=7\ntraining.stage1.iterations=200")
    state(page, "completed")
    compare(page, [first, second], shot)
    data_and_memory(page, shot)
    page.keyboard.press("1")
    expect(page.locator(".runs tbody tr")).to_have_count(2, timeout=PATIENCE)
    shot("runs")
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    shot("runs-dark")
    page.set_viewport_size({"width": 390, "height": 844})
    for key in "123":
        page.keyboard.press(key)
        page.wait_for_timeout(1500)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390, f"view {key} is {wide} wide on a screen of 390"
        shot(f"narrow-{key}")
    assert page.evaluate("window.hostile") is None, "markup of a row was run"


def main():
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--tallow", default="target/debug/tallow")
    asked.add_argument("--chromium", default="/usr/bin/chromium")
    asked.add_argument("--shots", type=Path)
    args = asked.parse_args()
    tallow = str(Path(args.tallow).resolve())
    if args.shots:
        args.shots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as p:
        project(tallow, Path(name))
        server, base = serve(tallow, Path(name))
        browser = p.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme="light")
            errors = []
            page.on("pageerror", lambda e: errors.append(str(e)))
            page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
            drive(page, base, args.shots)
            assert not errors, errors
        finally:
            browser.close()
            server.kill()
            server.wait()
    print("ok: started, watched, paused, resumed, cancelled, compared; data, memory, dark, narrow")


if __name__ == "__main__":
    main()
