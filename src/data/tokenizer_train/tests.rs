//! Training against the library's trainer and against plain counting, and what must not change a result.

use std::collections::BTreeMap;

use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, Tokenizer};

use super::vocabulary::pair;
use super::*;

/// A drawn text: phrases that recur, so that there is something to merge, and now and then anything.
fn text(seed: u64, lines: usize) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut draw = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % n
    };
    let words = [
        "the",
        "of the",
        "in the",
        "by the way",
        "naïve",
        "isn't",
        "Ответ",
        "了解",
        "for example:",
        "key: value",
        "2024",
        "1,234",
        "x = y;",
        "...",
        "end",
        "a",
        "lot",
        "of",
        "words",
        "one after another",
        "  ",
        "\t",
        "HTTPServer",
        "re-do",
        "😀",
    ];
    let mut out = String::new();
    for _ in 0..lines {
        for _ in 0..draw(30) {
            out.push_str(words[draw(words.len()).min(draw(words.len()))]);
            out.push_str(if draw(9) == 0 { ", " } else { " " });
        }
        out.push('\n');
    }
    out
}

fn seed() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
}

fn settings(path: &std::path::Path, kind: Kind, vocab_size: usize, inherit_merges: Option<usize>) -> Settings {
    Settings {
        corpus: vec![path.to_path_buf()],
        kind,
        vocab_size,
        inherit_merges,
        min_frequency: 2,
        special: vec!["<|endoftext|>".into(), "<|pad|>".into()],
        memory_bytes: 1 << 28,
        scratch: std::env::temp_dir(),
    }
}

fn merges(trained: &Trained) -> Vec<(String, String)> {
    let json = trained.tokenizer_json();
    serde_json::from_value(json["model"]["merges"].clone()).unwrap()
}

#[test]
fn plain_bpe_is_what_the_library_trains() {
    for round in 0..3 {
        let seed = seed();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("corpus.txt");
        let corpus = text(seed, 400);
        std::fs::write(&path, &corpus).unwrap();
        let ours = train(&settings(&path, Kind::Bpe, 520, None)).unwrap();

        let mut library = Tokenizer::new(BPE::default());
        let split = Split::new(SplitPattern::Regex(pattern::WORDS.into()), SplitDelimiterBehavior::Isolated, false).unwrap();
        let bytes = ByteLevel::new(false, true, false);
        library.with_pre_tokenizer(Some(Sequence::new(vec![PreTokenizerWrapper::Split(split), PreTokenizerWrapper::ByteLevel(bytes)])));
        let trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(520)
            .min_frequency(2)
            .special_tokens(["<|endoftext|>", "<|pad|>"].map(|t| AddedToken::from(t, true)).into())
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        library.train(&mut TrainerWrapper::from(trainer), corpus.split_inclusive('\n')).unwrap();
        let theirs: serde_json::Value = serde_json::from_str(&library.to_string(false).unwrap()).unwrap();
        let json = ours.tokenizer_json();
        assert_eq!(json["model"]["merges"], theirs["model"]["merges"], "seed {seed}, round {round}");
        let sorted = |v: &serde_json::Value| serde_json::from_value::<BTreeMap<String, u32>>(v["model"]["vocab"].clone()).unwrap();
        assert_eq!(sorted(&json), sorted(&theirs), "seed {seed}, round {round}");
    }
}

/// Stage two by counting everything anew for each merge.
fn plainly(corpus: &str, vocabulary: &mut Vocabulary, target: usize) {
    let mut pieces: Vec<Vec<u32>> = Vec::new();
    for line in corpus.split_inclusive('\n') {
        pattern::phrases(line, |piece| {
            let mut ids = Vec::new();
            vocabulary.encode(piece.as_bytes(), &mut ids);
            pieces.push(ids);
        });
    }
    while vocabulary.len() < target {
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        pieces.iter().flat_map(|p| p.windows(2)).for_each(|w| *counts.entry(pair(w[0], w[1])).or_default() += 1);
        counts.retain(|of, count| *count >= 2 && allowed(&vocabulary.joined(*of)));
        let Some((of, _)) = counts.into_iter().max_by_key(|(of, count)| (*count, std::cmp::Reverse(*of))) else { return };
        let id = vocabulary.merge(of);
        for piece in &mut pieces {
            let mut i = 0;
            while i + 1 < piece.len() {
                if pair(piece[i], piece[i + 1]) == of {
                    piece[i] = id;
                    piece.remove(i + 1);
                }
                i += 1;
            }
        }
    }
}

#[test]
fn both_stages_are_what_plain_counting_gives() {
    for round in 0..3 {
        let seed = seed();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("corpus.txt");
        let corpus = text(seed, 300);
        std::fs::write(&path, &corpus).unwrap();
        let trained = train(&settings(&path, Kind::SuperBpe, 430, Some(110))).unwrap();
        let mut vocabulary = Vocabulary::new(2);
        trained.vocabulary.merges()[..110].iter().for_each(|(of, _)| {
            vocabulary.merge(*of);
        });
        plainly(&corpus, &mut vocabulary, 430);
        assert_eq!(trained.vocabulary.merges(), vocabulary.merges(), "seed {seed}, round {round}");
        assert!(trained.figures.superwords > 10, "{:?}", trained.figures);
        assert!(merges(&trained).iter().all(|(a, b)| !format!("{a}{b}").contains(":Ġ")));
    }
}

#[test]
fn neither_memory_nor_threads_change_a_merge() {
    let seed = seed();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("corpus.txt");
    std::fs::write(&path, text(seed, 6_000)).unwrap();
    let mut given = settings(&path, Kind::SuperBpe, 900, Some(300));
    let roomy = train(&given).unwrap();
    for (threads, memory_bytes) in [(1, 1 << 28), (3, 1 << 20), (5, 3 << 20)] {
        given.memory_bytes = memory_bytes;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let other = pool.install(|| train(&given)).unwrap();
        assert_eq!(merges(&roomy), merges(&other), "seed {seed}, {threads} threads, {memory_bytes} bytes");
        if memory_bytes == 1 << 20 {
            assert!(other.figures.spilled_bytes > 0 && other.figures.phases > roomy.figures.phases, "{:?}", other.figures);
        }
    }
}

#[test]
fn the_library_encodes_as_training_did() {
    let seed = seed();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("corpus.txt");
    std::fs::write(&path, text(seed, 500)).unwrap();
    for (kind, inherit) in [(Kind::Bpe, None), (Kind::SuperBpe, Some(150))] {
        let trained = train(&settings(&path, kind, 500, inherit)).unwrap();
        let library = Tokenizer::from_bytes(trained.tokenizer_json().to_string()).unwrap();
        assert_eq!(library.token_to_id("<|pad|>"), Some(1));
        for line in text(seed ^ 77, 300).lines() {
            let encoded = library.encode(line, false).unwrap();
            let mut ids = Vec::new();
            let mut piece = |p: &str| trained.vocabulary.encode(p.as_bytes(), &mut ids);
            if kind == Kind::Bpe {
                pattern::words(line, &mut piece)
            } else {
                pattern::phrases(line, &mut piece)
            }
            assert_eq!(encoded.get_ids(), ids, "seed {seed}, {line:?}");
            assert_eq!(library.decode(&ids, false).unwrap(), line, "seed {seed}");
        }
    }
}

#[test]
fn sizes_that_leave_a_stage_without_merges_are_refused() {
    let check = |kind, vocab_size, inherit| {
        let given = settings(std::path::Path::new("none"), kind, vocab_size, inherit);
        given.word_merges().map_err(|e| e.code)
    };
    assert_eq!(check(Kind::Bpe, 258, None), Err("bad_vocab_size"));
    assert_eq!(check(Kind::Bpe, 300, None), Ok(42));
    assert_eq!(check(Kind::Bpe, 300, Some(5)), Err("bad_inherit_merges"));
    assert_eq!(check(Kind::SuperBpe, 20_000, None), Ok(16_000));
    // Four fifths of a small vocabulary leave nothing once bytes are counted.
    assert_eq!(check(Kind::SuperBpe, 1_000, None), Err("bad_inherit_merges"));
    assert_eq!(check(Kind::SuperBpe, 1_000, Some(742)), Err("bad_inherit_merges"));
    assert_eq!(check(Kind::SuperBpe, 1_000, Some(741)), Ok(741));
}
