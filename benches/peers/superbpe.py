"""Tokenizers that `tallow tokenizer train` makes, beside Hugging Face's trainer and a plain second stage.

    cargo build --release
    python benches/peers/superbpe.py target/release/tallow CORPUS.txt [--vocab-size 20000]

Needs `tokenizers` and `regex`. Plain BPE and SuperBPE's merges inside words are compared with the trainer of
`tokenizers` (same pattern, same smallest frequency); the merges across spaces with a program that is written
from the paper (arXiv 2503.13423) and counts in plain Python. Prints whether merges are equal, tokens of the
corpus by both, and whether every line comes back.
"""

import argparse
import functools
import heapq
import json
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

import regex
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

SPECIAL = "<|endoftext|>"
BYTES = 256


def trained(tallow, corpus, kind, size, folder):
    """tokenizer.json of one of ours."""
    out = folder / kind
    subprocess.run([tallow, "tokenizer", "train", corpus, "--kind", kind, "--vocab-size", str(size),
                    "--special-token", SPECIAL, "--out", out, "-q"], check=True)
    return out / "tokenizer.json"


def merges(described):
    return [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in described["model"]["merges"]]


def pattern(described):
    return described["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]


def by_huggingface(corpus, words, size):
    """The merges of its trainer."""
    t = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words), "isolated"), byte_level])
    t.train([str(corpus)], trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, special_tokens=[SPECIAL], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return merges(json.loads(t.to_str()))


def byte_names():
    """GPT-2's printable letter for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + n) for n, b in enumerate(other)}


def encoder(first):
    """A word's tokens by the first stage's merges."""
    rank = {m: i for i, m in enumerate(first)}

    @functools.lru_cache(None)
    def encode(word):
        tokens = list(word)
        while len(tokens) > 1:
            best = min(zip(tokens, tokens[1:]), key=lambda p: rank.get(p, len(rank)))
            if best not in rank:
                break
            tokens = joined(tokens, best, best[0] + best[1])
        return tuple(tokens)

    return encode


def joined(tokens, pair, new):
    out, i = [], 0
    while i < len(tokens):
        if i + 1 < len(tokens) and (tokens[i], tokens[i + 1]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(tokens[i])
            i += 1
    return out


def pieces(corpus, phrases):
    """The parts of each line over which merges may reach."""
    split = regex.compile(phrases)
    with open(corpus, encoding="utf8", newline="\n") as lines:
        for line in lines:
            last = 0
            for m in split.finditer(line):
                yield from filter(None, (line[last:m.start()], m.group()))
                last = m.end()
            if last < len(line):
                yield line[last:]


def second_stage(corpus, phrases, first, alphabet, size):
    """Merges across spaces: the most frequent pair, of equals the one with the smaller ids."""
    names, encode = byte_names(), encoder(first)
    ids = dict(alphabet)
    texts = {i: t for t, i in ids.items()}
    sequences = []
    for piece in pieces(corpus, phrases):
        words = filter(None, regex.split(r"(?<=\S)(?= )", piece))
        sequences.append([ids[t] for w in words for t in encode("".join(names[b] for b in w.encode()))])
    count, where = defaultdict(int), defaultdict(set)
    for n, sequence in enumerate(sequences):
        for pair in zip(sequence, sequence[1:]):
            count[pair] += 1
            where[pair].add(n)
    heap, out, following = [(-c, p) for p, c in count.items()], [], len(ids)
    heapq.heapify(heap)
    while following < size and heap:
        c, pair = heapq.heappop(heap)
        now = count.get(pair, 0)
        if now != -c:
            if now >= 2:
                heapq.heappush(heap, (-now, pair))
            continue
        if now < 2:
            break
        text = texts[pair[0]] + texts[pair[1]]
        if ":Ġ" in text or len([w for w in text.split("Ġ") if w]) > 4:
            count.pop(pair)
            continue
        if text not in ids:
            ids[text], texts[following] = following, text
            following += 1
        new, touched = ids[text], set()
        out.append((texts[pair[0]], texts[pair[1]]))
        for n in where.pop(pair):
            old = sequences[n]
            sequences[n] = joined(old, pair, new)
            for p in zip(old, old[1:]):
                count[p] -= 1
            for p in zip(sequences[n], sequences[n][1:]):
                count[p] += 1
                if new in p:
                    where[p].add(n)
                    touched.add(p)
        count.pop(pair, None)
        for p in touched:
            heapq.heappush(heap, (-count[p], p))
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tallow")
    parser.add_argument("corpus")
    parser.add_argument("--vocab-size", type=int, default=20000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = {k: trained(args.tallow, args.corpus, k, args.vocab_size, Path(folder)) for k in ("bpe", "superbpe")}
        bpe, superbpe = (json.loads(f.read_text()) for f in files.values())
        readers = {k: Tokenizer.from_file(str(f)) for k, f in files.items()}
    own, both = merges(bpe), merges(superbpe)
    theirs = by_huggingface(args.corpus, pattern(bpe), args.vocab_size)
    print(f"bpe: {len(own)} merges, equal to tokenizers': {own == theirs}")
    inherited = args.vocab_size * 4 // 5
    theirs = by_huggingface(args.corpus, pattern(bpe), 1 + BYTES + inherited)
    print(f"superbpe inside words: {inherited} merges, equal: {both[:inherited] == theirs[:inherited]}")
    alphabet = {t: i for t, i in superbpe["model"]["vocab"].items() if i < 1 + BYTES + inherited}
    across = second_stage(args.corpus, pattern(superbpe), both[:inherited], alphabet, args.vocab_size)
    print(f"superbpe across spaces: {len(across)} merges, equal: {both[inherited:] == across}")
    lines = Path(args.corpus).read_text(encoding="utf8").split("\n")
    tokens = {k: [t.encode(line).ids for line in lines] for k, t in readers.items()}
    few, many = (sum(map(len, tokens[k])) for k in ("superbpe", "bpe"))
    back = all(readers["superbpe"].decode(x) == line for x, line in zip(tokens["superbpe"], lines))
    print(f"tokens: superbpe {few}, bpe {many} ({100 * (1 - few / many):.1f} % fewer); every line comes back: {back}")


if __name__ == "__main__":
    main()
