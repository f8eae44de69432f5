//! Twenty grade-school problems in the field names of a well-known set, from file to batches.

use tallow::data::{DataOptions, Dataset, Fields, Sampler, SamplerOptions, split};

use super::{masked, records_of, tokenizer};

/// (what, first number, second number): the problems are made from these.
const PROBLEMS: [(&str, u32, u32); 20] = [
    ("apples", 3, 4),
    ("pens", 12, 5),
    ("eggs", 6, 6),
    ("coins", 20, 15),
    ("books", 7, 2),
    ("stamps", 31, 9),
    ("shells", 14, 14),
    ("cards", 52, 8),
    ("balls", 1, 10),
    ("cakes", 2, 2),
    ("letters", 26, 4),
    ("marbles", 45, 55),
    ("plums", 9, 3),
    ("chairs", 16, 4),
    ("tickets", 100, 20),
    ("bottles", 24, 12),
    ("hats", 5, 1),
    ("keys", 8, 3),
    ("boats", 4, 7),
    ("trees", 11, 30),
];

fn rows() -> String {
    let row = |(what, a, b): (&str, u32, u32)| {
        serde_json::json!({
            "question": format!("Mia has {a} {what} and finds {b} more. How many {what} has she now?"),
            "answer": format!("She has {a}+{b} = <<{a}+{b}={s}>>{s} {what}.\n#### {s}", s = a + b),
        })
        .to_string()
    };
    PROBLEMS.map(row).join("\n")
}

#[test]
fn questions_and_answers_go_all_the_way() {
    let fields = Fields { instruction: "question".into(), output: "answer".into(), ..Fields::default() };
    let options = DataOptions { fields, max_seq_length: 256, ..DataOptions::default() };
    let tokenizer = tokenizer(Some("chatml"));
    let parts = split(records_of("rows.jsonl", &rows(), &options), [0.8, 0.1, 0.1], 42).unwrap();
    let sets = [parts.train, parts.validation, parts.test].map(|part| Dataset::encode(&part, &tokenizer, &options).unwrap());
    assert_eq!(sets.each_ref().map(Dataset::len), [16, 2, 2]);
    for shown in masked(&sets[0], &tokenizer) {
        let (prompt, answer) = shown.split_once('⟦').unwrap();
        assert!(prompt.starts_with("<|im_start|>user\nMia has ") && prompt.ends_with("<|im_end|>\n<|im_start|>assistant\n"), "{shown}");
        assert!(answer.starts_with("She has ") && answer.contains("\n#### ") && answer.ends_with("<|im_end|>⟧\n"), "{shown}");
    }
    let mut sampler = Sampler::new(&sets[0], SamplerOptions { batch_size: 2, pack_to: Some(256), ..SamplerOptions::default() }).unwrap();
    let mut targets = 0;
    while sampler.cursor().epoch == 0 && sampler.cursor().position < sampler.rows_in_epoch() {
        targets += sampler.next_batch(&sets[0]).target_tokens();
    }
    assert_eq!(targets, sets[0].counts.trained_tokens, "an epoch trains every token once");
}
