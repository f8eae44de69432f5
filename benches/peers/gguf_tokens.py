"""Token ids of llama.cpp, from the GGUF that tallow wrote, beside those of the tokenizer that went in: every kind of splitting
that tallow writes, on texts that are unpleasant.

  python families.py --tokenizer models/base --out FAMILIES
  python gguf_tokens.py --tallow target/release/tallow --model FAMILIES/llama --corpus TEXT [--real TOKENIZER.json ...]
needs: pip install llama-cpp-python tokenizers sentencepiece

Trains small tokenizers on the corpus (any UTF-8 text), with the splitting of each model family; the SentencePiece ones by
sentencepiece itself, made into a tokenizer.json as transformers does it, and compared with sentencepiece as well.
"""

import argparse, io, json, random, re, shutil, subprocess, tempfile, unicodedata
from pathlib import Path

import sentencepiece
from llama_cpp import Llama
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SIZE = 1000  # the families have 1024 rows
RUST = Path(__file__).parents[2] / "src/export/gguf/tokenizer.rs"
NASTY = [
    "", " ", "  ", "   a", "a   ", "a  b   c    d", "\n", "\n\n\n", "a\n\n  b\n", "\r\n\r\nx", "\t\tif x:\n\t\t\treturn 1\n", " \n \n ", "\u00a0x\u3000y\u2009z",
    "1", "12", "123", "1234", "12345 67890", "3.14159e-10", "2024-05-17T18:30:00Z", "1,000,000.00 $", "٣٤٥ ४५६ ①②③ ½ Ⅷ x² H₂O",
    "It's don't WE'LL I'M they'Ve 's 't ''s", "HELLO World hELLO camelCaseHTTPServer snake_case_2", "e\u0301te\u0301 a\u0308\u0323 n\u0303", "été naïve Ångström",
    "Straße ǅ ﬁ Ĳ ŉ", "你好,世界!今天天气怎么样?", "日本語のテキストとカタカナ", "안녕하세요 세계", "สวัสดีชาวโลก", "नमस्ते दुनिया क्षत्रिय", "שָׁלוֹם עולם", "السَّلَامُ عَلَيْكُمْ", "Привет, мир! ЁЖ",
    "😀", "👩‍👩‍👧‍👦 family 🇩🇪🇫🇷 👍🏽", "a😀b 😀 c", "\u200b\u200dzero\ufeffwidth", "\ufffd\U0010ffff", "𝕳𝖊𝖑𝖑𝖔 𐍈 𓀀",
    "fn main() { let x: Vec<u8> = vec![0; 10]; println!(\"{:?}\", x); }", "for(int i=0;i<10;++i){a[i]+=*p++;}//x\n/* y */", "https://example.org/a/b?c=d&e=%20f#g", "<|im_start|>user\n<s></s><unk>",
    "...---!!!???###$$$%%%", "a/b\\c|d~e^f`g", "(x)[y]{z}<w>", " leading and trailing ", "word\n", "  \n\tx  \n\n\ny\t \t", "x=1;y=2\n\n\n\nz", "a.b,c;d:e", "'\"“”‘’«»—–…",
    "▁already▁marked ▁", "Ġbyte Ċ level", "<0x0A> <0xE2>", "\x00\x01\x7f", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "🙂" * 7, "  " * 33 + "x",
]  # fmt: skip


def patterns():
    text = RUST.read_text()
    return {name: re.search(rf'const {name}: &str\s*=\s*r"(.*?)";', text, re.S).group(1) for name in ("THREES", "ONES", "TEKKEN", "OMNI")}


def byte_level(corpus, splitting, whole=False, nfc=False):
    t = Tokenizer(models.BPE(ignore_merges=whole))
    t.normalizer = normalizers.NFC() if nfc else None
    t.pre_tokenizer = splitting
    t.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=SIZE, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return t, None


def by_pattern(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "isolated", False)
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def sentencepieces(corpus, prefix, metaspace):
    """As transformers converts Llama's: every way to join two pieces into one is a merge, in the order of the pieces' scores."""
    made = io.BytesIO()
    lines = [line for text in corpus for line in text.splitlines() if line.strip()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=made, vocab_size=SIZE, model_type="bpe", byte_fallback=True, split_digits=True, minloglevel=2,
        add_dummy_prefix=prefix, remove_extra_whitespaces=False, normalization_rule_name="identity", allow_whitespace_only_pieces=True,
    )  # fmt: skip
    sp = sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())
    vocab = {sp.id_to_piece(i): i for i in range(sp.get_piece_size())}
    merges = []
    for piece, i in vocab.items():
        ways = [(piece[:k], piece[k:]) for k in range(1, len(piece)) if piece[:k] in vocab and piece[k:] in vocab]
        merges += [(sp.get_score(i), way) for way in sorted(ways, key=lambda w: (vocab[w[0]], vocab[w[1]])) if not sp.is_byte(i) and not sp.is_control(i)]
    merges = [way for _, way in sorted(merges, key=lambda m: -m[0])]
    t = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if metaspace:
        t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if prefix else "never", split=False)
    else:
        steps = ([normalizers.Prepend("▁")] if prefix else []) + [normalizers.Replace(" ", "▁")]
        t.normalizer = normalizers.Sequence(steps)
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()] + ([decoders.Strip(" ", 1, 0)] if prefix else []))
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return t, sp


def trained(corpus):
    """Looks like sentencepiece's, but not every way to join two pieces is a merge."""
    t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    t.train_from_iterator([c[:500] for c in corpus], trainers.BpeTrainer(vocab_size=SIZE, special_tokens=special, show_progress=False))
    return t, None


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tallow", default="target/release/tallow")
    p.add_argument("--model", required=True)
    p.add_argument("--corpus", required=True)
    p.add_argument("--real", nargs="*", default=[])
    a = p.parse_args()
    corpus = Path(a.corpus).read_text(errors="replace")
    corpus = [corpus[i : i + 4000] for i in range(0, len(corpus), 4000)] + NASTY * 5
    r, level, way = patterns(), pre_tokenizers.ByteLevel, pre_tokenizers.Sequence
    kinds = {
        "gpt-2": lambda: byte_level(corpus, level(add_prefix_space=False)),
        "smollm": lambda: byte_level(corpus, way([pre_tokenizers.Digits(individual_digits=True), level(add_prefix_space=False)])),
        "llama-bpe": lambda: byte_level(corpus, by_pattern(r["THREES"]), whole=True),
        "dbrx": lambda: byte_level(corpus, by_pattern(r["THREES"])),
        "qwen2": lambda: byte_level(corpus, by_pattern(r["ONES"]), nfc=True),
        "tekken": lambda: byte_level(corpus, by_pattern(r["TEKKEN"]), whole=True),
        "gpt-4o": lambda: byte_level(corpus, by_pattern(r["OMNI"])),
        "sentencepiece, Llama 2": lambda: sentencepieces(corpus, True, False),
        "sentencepiece, Mistral": lambda: sentencepieces(corpus, True, True),
        "sentencepiece, no space in front": lambda: sentencepieces(corpus, False, False),
        "bytes, but not sentencepiece's": lambda: trained(corpus),
    }
    rng = random.Random(1)
    mixed = ["".join(rng.choice(NASTY) + rng.choice(["", " ", "\n", "  "]) for _ in range(6)) for _ in range(200)]
    alphabet = [c for text in NASTY for c in text]
    mixed += ["".join(rng.choice(alphabet) for _ in range(40)) for _ in range(200)]
    print("| splitting | `pre` in the file | texts | tokens | llama.cpp differs | of these expected | sentencepiece differs |\n|---|---|---|---|---|---|---|")
    for name, make in kinds.items():
        tokenizer, sp = make()
        with tempfile.TemporaryDirectory() as scratch:
            folder, file = Path(scratch) / "model", Path(scratch) / "model.gguf"
            shutil.copytree(a.model, folder)
            tokenizer.save(str(folder / "tokenizer.json"))
            (folder / "tokenizer_config.json").write_text("{}")
            done = subprocess.run([a.tallow, "export", "--model", folder, "--format", "gguf", "--type", "q8_0", "--out", file, "--json"], capture_output=True, text=True)
            if done.returncode:
                print(f"| {name} | refused: {json.loads(done.stdout)['error']['message'][-200:]} |")
                continue
            llama = Llama(str(file), vocab_only=True, verbose=False)
            count, wrong, other = 0, [], 0
            for text in NASTY + mixed:
                ids = tokenizer.encode(text, add_special_tokens=False).ids
                count += len(ids)
                # llama.cpp reads C strings' worth of what it is given: all of these but NUL.
                got = llama.tokenize(text.encode(), add_bos=False, special=True)
                wrong += [(text, ids, got)] if got != ids else []
                if sp and not re.search("<s>|</s>|<unk>", text):
                    other += sp.encode(text) != ids
            pre = llama.metadata.get("tokenizer.ggml.pre")
            nfc, spaces = name == "qwen2", name == "sentencepiece, Mistral"
            odd = lambda t: (nfc and unicodedata.normalize("NFC", t) != t) or (spaces and re.match(" |▁|.*(<s>|</s>|<unk>)", t, re.S))
            expected = [w for w in wrong if odd(w[0])]
            wrong = [w for w in wrong if not odd(w[0])]
            print(f"| {name} | {llama.metadata.get('tokenizer.ggml.model')}, {pre} | {len(NASTY + mixed)} | {count} | {len(wrong) + len(expected)} | {len(expected)} | {other if sp else '-'} |", flush=True)
            for text, ids, got in wrong[:3]:
                print(f"  {text!r}\n    ours  {[tokenizer.id_to_token(i) for i in ids]}\n    their {[tokenizer.id_to_token(i) for i in got]}")


main()
