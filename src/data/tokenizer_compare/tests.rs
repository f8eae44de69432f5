//! Comparisons whose figures are known.

use std::io::Write;

use serde_json::json;
use tokenizers::Tokenizer;

use super::*;
use crate::data::Rng;

/// A tokenizer of bytes with these merges, each of two characters of the byte-level alphabet or more.
fn byte_level(merges: &[(&str, &str)]) -> TextTokenizer {
    let mut vocab: Vec<String> = crate::data::tokenizer_train::byte_characters().iter().map(char::to_string).collect();
    vocab.extend(merges.iter().map(|(a, b)| format!("{a}{b}")));
    let ids: serde_json::Map<String, serde_json::Value> = vocab.iter().enumerate().map(|(i, t)| (t.clone(), json!(i))).collect();
    let merges: Vec<_> = merges.iter().map(|(a, b)| json!([a, b])).collect();
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let whole = json!({"version": "1.0", "truncation": null, "padding": null, "normalizer": null, "added_tokens": [],
        "pre_tokenizer": bytes, "post_processor": bytes, "decoder": bytes,
        "model": {"type": "BPE", "unk_token": null, "byte_fallback": false, "vocab": ids, "merges": merges}});
    TextTokenizer::from_parts(Tokenizer::from_bytes(whole.to_string().as_bytes()).unwrap(), Vec::new()).unwrap()
}

/// A tokenizer that knows two words and lowers its text.
fn words_only() -> TextTokenizer {
    let whole = json!({"version": "1.0", "truncation": null, "padding": null, "normalizer": {"type": "Lowercase"},
        "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"red": 0, "blue": 1, "?": 2}, "unk_token": "?"}});
    TextTokenizer::from_parts(Tokenizer::from_bytes(whole.to_string().as_bytes()).unwrap(), Vec::new()).unwrap()
}

#[test]
fn counts_and_savings_are_exact() {
    let (a, b) = (byte_level(&[("a", "b")]), byte_level(&[("a", "b"), ("ab", "Ġ"), ("abĠ", "ab")]));
    let texts = [Text::given(1, "ab ab"), Text { language: Some("xx".into()), ..Text::given(2, "ab é") }];
    let c = compare(("a", &a), ("b", &b), &texts);
    // a: ab, space, ab and ab, space, two bytes; b: `ab ab` and `ab `, two bytes.
    assert_eq!((c.all.a.tokens, c.all.b.tokens, c.all.bytes, c.all.words), (7, 4, 10, 4));
    assert_eq!((c.languages.len(), c.languages[0].a.tokens, c.languages[0].b.tokens), (1, 4, 3));
    assert_eq!((c.all.b.bytes_per_token, c.all.b.tokens_per_word, c.all.change), (2.5, 1.0, 4.0 / 7.0 - 1.0));
    let saved: Vec<(&str, i64)> = c.b.saving.iter().map(|p| (p.text.as_str(), p.saved)).collect();
    assert_eq!(saved, [("ab ab", 2), ("ab ", 1)]);
    assert!(c.a.saving.is_empty());
    assert_eq!(c.b.longest[0].text, "ab ab");
    assert_eq!((c.vocabulary.both, c.vocabulary.only_a, c.vocabulary.only_b), (257, 0, 2));
    assert_eq!((c.a.round_trip_failures, c.b.round_trip_failures), (0, 0));
    assert_eq!((c.b.lengths[5], c.b.lengths[3], c.b.lengths[1]), (1, 1, 2));
}

/// Over drawn texts: savings add up to the difference in tokens, and swapping the sides mirrors it.
#[test]
fn savings_add_up_to_the_difference() {
    let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let mut random = Rng::for_parts(&[seed]);
    let mut merges = vec![("a", "b"), ("Ġ", "a"), ("b", "a"), ("Ġa", "b"), ("ab", "Ġ"), ("ba", "b")];
    for round in 0..40 {
        random.shuffle(&mut merges);
        let known = |list: &[(&'static str, &'static str)]| -> Vec<(&'static str, &'static str)> {
            let made: Vec<String> = list.iter().map(|(x, y)| format!("{x}{y}")).collect();
            let there = |t: &str| t.chars().count() == 1 || made.iter().any(|m| m == t);
            list.iter().copied().filter(|(x, y)| there(x) && there(y)).collect()
        };
        let (a, b) = (byte_level(&known(&merges[..2])), byte_level(&known(&merges[2..])));
        let texts: Vec<Text> = (0..50)
            .map(|i: usize| {
                let length = random.below(30) + 1;
                let text: String = (0..length).map(|_| ["a", "b", " ", "é", "日"][random.below(5) as usize]).collect();
                Text::given(i, &text)
            })
            .collect();
        let mut total = Tally::default();
        texts.chunks(7).for_each(|some| total.add(tally((&a, pieces::Form::of(&a)), (&b, pieces::Form::of(&b)), some)));
        let saved = |i: usize| total.used[i].values().map(|u| u.saved).sum::<i64>();
        let difference = total.all.tokens[0] as i64 - total.all.tokens[1] as i64;
        assert_eq!((saved(1), saved(0)), (difference, -difference), "seed {seed}, round {round}");
        let (c, d) = (compare(("a", &a), ("b", &b), &texts), compare(("b", &b), ("a", &a), &texts));
        assert_eq!((c.all.a, c.a.longest, c.a.lengths), (d.all.b, d.b.longest, d.b.lengths), "seed {seed}, round {round}");
        assert_eq!(c.a.round_trip_failures + c.b.round_trip_failures, 0, "seed {seed}, round {round}");
    }
}

#[test]
fn what_does_not_come_back_is_shown() {
    let c = compare(("a", &words_only()), ("b", &byte_level(&[])), &[Text::given(1, "Red blue"), Text::given(2, "red")]);
    assert_eq!((c.a.round_trip_failures, c.b.round_trip_failures), (1, 0));
    assert_eq!((c.a.failures[0].place.as_str(), c.a.failures[0].back.as_str()), ("text 1", "red blue"));
    let long = format!("{}X{}", "red ".repeat(50), "é".repeat(100));
    let c = compare(("a", &words_only()), ("b", &byte_level(&[])), &[Text::given(1, &long)]);
    let shown = &c.a.failures[0];
    assert!(shown.text.contains('X') && shown.text.chars().count() == 60 && shown.back.contains('?'), "{shown:?}");
}

#[test]
fn kinds_are_told_by_form() {
    for (text, kind) in [
        ("The lake froze in winter; nobody crossed it.", TextKind::Prose),
        ("He wrote a list (as always): bread, milk, and tea,\nand went out.", TextKind::Prose),
        ("12,345.67 89 1000 3.14159", TextKind::Numbers),
        ("2024-01-05 18:30:00", TextKind::Numbers),
        ("{\"name\": \"f\", \"arguments\": {\"a\": 1}}", TextKind::ToolJson),
        ("<tool_call>{\"name\": \"f\"}</tool_call>", TextKind::ToolJson),
        ("fn main() {\n    let x = 1;\n    total += x;\n}", TextKind::Code),
        ("def f(x):\n    return x[0] + 1\n\nprint(f([1]))", TextKind::Code),
        ("", TextKind::Prose),
    ] {
        assert_eq!(TextKind::of(text), kind, "{text}");
    }
}

#[test]
fn words_of_several_scripts() {
    for (text, count) in [("It's a fine day", 4), ("日本語", 3), ("हिन्दी में", 2), ("naïve — co-op", 3), ("", 0), ("42 x1", 2)]
    {
        assert_eq!(measure::words(text), count, "{text}");
    }
}

#[test]
fn files_are_read_by_their_form_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::File::create(dir.path().join(name)).unwrap().write_all(text.as_bytes()).unwrap();
    write("a.txt", "one two\nthree\n\nfour\n");
    write("b.py", "x = 1\n\ny = 2\n");
    let rows = "{\"text\": \"eins\", \"language\": \"de\"}\n{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}, \
        {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": \"{}\"}}]}]}\n\
        {\"question\": \"q\", \"answer\": \"a\", \"id\": \"7\", \"kind\": \"code\"}\n";
    write("c.jsonl", rows);
    let all = |most: u64| read_texts(&[dir.path().to_path_buf()], most).unwrap();
    let (texts, is_cut) = all(MOST_BYTES);
    assert!(!is_cut);
    let seen: Vec<(&str, &str)> = texts.iter().map(|t| (t.text.as_str(), t.kind.name())).collect();
    let call = "{\"name\":\"f\",\"arguments\":\"{}\"}";
    let wanted = [("one two\nthree\n\n", "prose"), ("four\n", "prose"), ("x = 1\n\ny = 2\n", "code"), ("eins", "prose"), ("hi", "prose")];
    assert_eq!(seen, [&wanted[..], &[(call, "tool_json"), ("q", "code"), ("a", "code")]].concat());
    assert_eq!(texts[3].language.as_deref(), Some("de"));
    assert!(texts[1].place.ends_with("a.txt:4") && texts[3].place.ends_with("c.jsonl:1"), "{texts:?}");
    let (few, is_cut) = all(30);
    assert!(is_cut && few.len() < texts.len() && few.iter().any(|t| t.place.contains("c.jsonl")), "{few:?}");
    assert_eq!(texts::share_of(&[5, 100, 1], 30), 24);
    write("d.jsonl", "{\"id\": \"7\"}\n");
    assert_eq!(read_texts(&[dir.path().join("d.jsonl")], 10).unwrap_err().code, "data_no_text");
}
