//! Metrics against the packages whose definitions they follow; `tests/golden/metrics.py` makes the
//! figures.

use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::Value;
use tallow::eval::metric::{Case, Metric, Table};
use tallow::eval::text::bleu::tokenize_13a;

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/metrics.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn texts(pair: &Value) -> [&str; 2] {
    [pair[0].as_str().unwrap(), pair[1].as_str().unwrap()]
}

fn table(name: &str, pairs: &[Value]) -> Table {
    let metric = Metric::parse(name, Path::new(".")).unwrap();
    let case = |p| {
        let [answer, wanted] = texts(p);
        Case { prompt: "", answer, wanted, row: &Value::Null, tools: None }
    };
    Table::of(&metric, &pairs.iter().map(case).collect::<Vec<_>>()).unwrap()
}

#[test]
fn words_bleu_and_chrf_are_those_of_sacrebleu() {
    let golden = golden();
    for (n, set) in golden["sets"].as_array().unwrap().iter().enumerate() {
        let pairs = set["pairs"].as_array().unwrap();
        for (pair, words) in pairs.iter().zip(set["words"].as_array().unwrap()) {
            assert_eq!(tokenize_13a(texts(pair)[0]).join(" "), words.as_str().unwrap(), "set {n}: {pair}");
        }
        for name in ["bleu", "chrf"] {
            let (got, wanted) = (table(name, pairs).value(), set[name].as_f64().unwrap());
            assert!((got - wanted).abs() < 1e-4, "set {n}: {name} is {got}, sacrebleu says {wanted}: {pairs:?}");
        }
    }
}

#[test]
fn rouge_is_that_of_rouge_score() {
    let golden = golden();
    for (n, set) in golden["sets"].as_array().unwrap().iter().enumerate() {
        let pairs = set["pairs"].as_array().unwrap();
        for (k, name) in ["rouge_1", "rouge_2", "rouge_l"].into_iter().enumerate() {
            for (pair, (got, wanted)) in pairs.iter().zip(table(name, pairs).rows.iter().zip(set["rouge"].as_array().unwrap())) {
                let wanted = wanted[k].as_f64().unwrap();
                assert!((got[0] - wanted).abs() < 1e-4, "set {n}: {name} is {}, rouge-score says {wanted}: {pair}", got[0]);
            }
        }
    }
}

#[test]
fn perplexity_and_accuracy_are_those_of_torch() {
    use tallow_kernels::cross_entropy::{CeOptions, linear_cross_entropy};
    use tallow_kernels::weight::Weight;
    let golden = golden();
    for (n, case) in golden["losses"].as_array().unwrap().iter().enumerate() {
        let logits: Vec<Vec<f32>> = serde_json::from_value(case["logits"].clone()).unwrap();
        let targets: Vec<i64> = serde_json::from_value(case["targets"].clone()).unwrap();
        let vocab = logits[0].len();
        let unit: Vec<f32> = (0..vocab * vocab).map(|i| f32::from(u8::from(i % (vocab + 1) == 0))).collect();
        let head = Weight::Dense(Tensor::from_vec(unit, (vocab, vocab), &Device::Cpu).unwrap());
        let options = CeOptions { grad_scale: None, token_weights: None, dw: None, want_token_losses: false, chunk_tokens: 0 };
        let one = |(row, target): (&Vec<f32>, &i64)| {
            let x = Tensor::from_vec(row.clone(), (1, vocab), &Device::Cpu).unwrap();
            let out = linear_cross_entropy(&x, &head, &[*target], &options).unwrap();
            (out.loss_sum, out.correct as f64)
        };
        let rows: Vec<(f64, f64)> = logits.iter().zip(&targets).map(one).collect();
        let perplexity = Table { metric: Metric::Perplexity, rows: rows.iter().map(|r| vec![r.0, 1.0]).collect() };
        let accuracy = Table { metric: Metric::TokenAccuracy, rows: rows.iter().map(|r| vec![r.1, 1.0]).collect() };
        for (table, name) in [(perplexity, "perplexity"), (accuracy, "accuracy")] {
            let (got, wanted) = (table.value(), case[name].as_f64().unwrap());
            assert!((got - wanted).abs() <= 1e-4 * wanted.abs().max(1.0), "case {n}: {name} is {got}, torch says {wanted}");
        }
    }
}

#[test]
fn names_go_there_and_back() {
    let plain = Metric::names().into_iter().filter(|n| !n.contains(':'));
    for name in plain {
        assert_eq!(Metric::parse(&name, Path::new(".")).unwrap().name(), name);
    }
    for bad in ["blue", "regex", "regex:(", "json_schema:/nowhere.json", "command:", ""] {
        assert!(Metric::parse(bad, Path::new(".")).is_err(), "{bad}");
    }
}
