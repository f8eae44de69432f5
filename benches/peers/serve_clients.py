"""Many clients of OpenAI's API at once: `tallow serve` beside llama.cpp's server, on one GGUF file.

    python3 -m venv peers && peers/bin/pip install openai xllamacpp
    peers/bin/python benches/peers/serve_clients.py model.gguf [--tallow target/release/tallow] [--clients 32] [--rounds 3]

xllamacpp holds llama.cpp's own server (slots, continuous batching) as a library, built for AVX2; it runs in a process of its
own here. `--llama-server` names a program that was built for this machine instead (GGML_NATIVE=ON). Both have the same threads, room for all clients at once, and greedy answers of so many tokens. Rounds alternate; the figures are
tokens of answers a second over all clients, and how long the first token of an answer took.
"""

import argparse
import asyncio
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

WORDS = "river stone morning clock letter garden winter train music paper island window bridge candle market".split()


def serve_llama(path: str, clients: int, threads: int, context: int) -> None:
    """Serves until standard input closes; prints the address first."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_parallel = clients
    params.n_ctx = context * clients
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.cont_batching = True
    params.use_jinja = True
    params.port = 0
    for name in ("no_extra_bufts",):
        if hasattr(params, name):
            setattr(params, name, os.environ.get("NO_EXTRA_BUFTS") == "1")
    server = xllamacpp.Server(params)
    print(f"\naddress: {server.listening_address}/v1", flush=True)
    sys.stdin.read()
    os._exit(0)


class Server:
    """A server process; its address is what the pattern finds in what it prints."""

    def __init__(self, command: list[str], pattern: str):
        self.said = tempfile.NamedTemporaryFile(mode="w+", errors="replace")
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=self.said, stderr=subprocess.STDOUT)
        while not (found := re.search(pattern, open(self.said.name, errors="replace").read())):
            if self.child.poll() is not None:
                raise SystemExit(f"{command[0]} ended:\n{open(self.said.name, errors='replace').read()}")
            time.sleep(0.1)
        self.address = found[found.re.groups]

    def close(self):
        self.child.stdin.close()
        self.child.terminate()
        self.child.wait()


def tallow(program: str, path: str, more: list[str]) -> Server:
    return Server([program, "serve", "--model", path, "--http", "127.0.0.1:0", *more], r" on (http://\S+)\s")


def native(command: list[str], path: str, clients: int, threads: int, context: int) -> Server:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    sizes = ["-np", clients, "-c", context * clients, "-t", threads, "-tb", threads, "--port", port]
    server = Server([*command, "-m", path, "--jinja", "--no-ui", *map(str, sizes)], "server is listening|listening on|all slots are idle")
    server.address = f"http://127.0.0.1:{port}/v1"
    return server


def llama(path: str, clients: int, threads: int, context: int) -> Server:
    arguments = ["--serve-llama", str(clients), str(threads), str(context)]
    return Server([sys.executable, __file__, path, *arguments], r"address: (http://\S+)\s")


async def one(client, model: str, prompt: str, tokens: int) -> tuple[int, float, str]:
    begun, first, count, text = time.perf_counter(), None, 0, ""
    stream = await client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": prompt}],
        max_tokens=tokens,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            first = first or time.perf_counter() - begun
            text += chunk.choices[0].delta.content
        if chunk.usage:
            count = chunk.usage.completion_tokens
    return count, first or 0.0, text


async def round_of(address: str, clients: int, requests: int, tokens: int, seed: int):
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=address, api_key="none", max_retries=0, timeout=600)
    model = (await client.models.list()).data[0].id
    rng = random.Random(seed)
    prompts = [
        [f"Write a long story about a {' and a '.join(rng.sample(WORDS, 3))}." for _ in range(requests)] for _ in range(clients)
    ]

    async def person(own):
        return [await one(client, model, prompt, tokens) for prompt in own]

    begun = time.perf_counter()
    answers = [a for own in await asyncio.gather(*map(person, prompts)) for a in own]
    seconds = time.perf_counter() - begun
    await client.close()
    return {
        "tokens": sum(a[0] for a in answers),
        "rate": sum(a[0] for a in answers) / seconds,
        "first": statistics.median(a[1] for a in answers),
        "text": answers[0][2],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--tallow", default="target/release/tallow")
    parser.add_argument("--arguments", default="", help="further ones of tallow serve, such as '--quantization q8'")
    parser.add_argument("--llama-server", help="a native build of llama.cpp's server, with arguments: --no-repack where its AMX kernels end with SIGILL")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=1, help="of each client, one after another")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--serve-llama", nargs=3, type=int, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.serve_llama:
        return serve_llama(a.model, *a.serve_llama)
    sizes = (a.model, a.clients, a.threads, 512)
    names = {
        "tallow": lambda: tallow(a.tallow, a.model, a.arguments.split()),
        "llama.cpp": lambda: native(a.llama_server.split(), *sizes) if a.llama_server else llama(*sizes),
    }
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    print(f"{cpu}, {a.threads} threads, {a.clients} clients, {a.tokens} tokens each, seed {a.seed}, tallow serve {a.arguments}")
    rates = {name: [] for name in names}
    for number in range(a.rounds):
        for name, start in names.items():
            # The other one is not in memory meanwhile.
            server = start()
            asyncio.run(round_of(server.address, min(4, a.clients), 1, 8, 0))
            out = asyncio.run(round_of(server.address, a.clients, a.requests, a.tokens, a.seed + number))
            server.close()
            rates[name].append(out["rate"])
            print(f"round {number} {name:>9}: {out['rate']:7.1f} tokens/s, first token after {out['first']:.2f} s, {out['tokens']} tokens: {out['text'][:60]!r}")
    ratios = [x / y for x, y in zip(rates["tallow"], rates["llama.cpp"])]
    print(f"tallow / llama.cpp: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
