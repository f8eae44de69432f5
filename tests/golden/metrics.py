"""Makes tests/golden/metrics.json with sacrebleu, rouge-score and PyTorch.

    python tests/golden/metrics.py

Drawn pairs of answer and wanted text, of many kinds and lengths, in sets. For each set: BLEU and
chrF2 of sacrebleu over all its pairs, ROUGE of rouge-score for each pair, and the words of
sacrebleu's 13a tokeniser. `losses`: logits and targets with PyTorch's perplexity and accuracy.

Made with sacrebleu 2.6, rouge-score 0.1, torch 2.15.
"""

import json
import random
from pathlib import Path

import torch
from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

WORDS = (
    "the a small lake is deep and cold 3.5 1,000 U.S. don't e-mail x=y (see) [1] {a} café naïve 日本 語 "
    "über ÄÖ <skipped> &quot;said&quot; &amp; &lt;b&gt; end. end, 5-3 well- -known $5.00 50% a/b \u2019s … — 12,5 .5 5. "
    "\u00a0 İstanbul ß ﬁ I II `code` ~ ^ | \\ # @home A.B.C. 1.2.3 ,, .. !? tab\there new\nline cut-\nword 😀 e\u0301"
).split(" ")


def text(r, most):
    return " ".join(r.choice(WORDS) for _ in range(r.randint(0, most)))


def near(r, words):
    out = []
    for w in words.split(" "):
        k = r.random()
        if k < 0.12:
            continue
        out.append(r.choice(WORDS) if k < 0.25 else w)
    return r.choice(["", " "]) + r.choice([" ", " ", "  "]).join(out) + r.choice(["", "\n", "."])


def main():
    r = random.Random(20)
    rouge = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    bleu, chrf, words = BLEU(), CHRF(), Tokenizer13a()
    sets = []
    for n in range(60):
        most = r.choice([2, 5, 12, 40])
        pairs = []
        for _ in range(r.choice([1, 2, 8])):
            wanted = text(r, most)
            pairs.append((near(r, wanted) if r.random() < 0.8 else text(r, most), wanted))
        answers, wanted = [p[0] for p in pairs], [p[1] for p in pairs]
        sets.append(
            {
                "pairs": pairs,
                "words": [words(p[0].rstrip()) for p in pairs],
                "bleu": bleu.corpus_score(answers, [wanted]).score,
                "chrf": chrf.corpus_score(answers, [wanted]).score,
                "rouge": [[s.fmeasure for s in rouge.score(w, a).values()] for a, w in pairs],
            }
        )
    torch.manual_seed(20)
    losses = []
    for _ in range(5):
        logits, targets = torch.randn(7, 11) * 3, torch.randint(0, 11, (7,))
        loss = torch.nn.functional.cross_entropy(logits, targets)
        accuracy = (logits.argmax(-1) == targets).double().mean()
        losses.append({"logits": logits.tolist(), "targets": targets.tolist(), "perplexity": loss.exp().item(), "accuracy": accuracy.item()})
    out = Path(__file__).with_name("metrics.json")
    out.write_text(json.dumps({"sets": sets, "losses": losses}, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


main()
