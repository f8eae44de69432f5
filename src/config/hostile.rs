//! Settings that nobody sane would write: drawn values of every kind, deep and long files, numbers without an end.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::resolve::{Resolved, Sources, resolve};
use super::schema::{Effect, KEYS};
use super::{ConfigError, Origin};

const BASE: &str = "base_model: {local_path: ./m}\ndataset:\n  path: d.jsonl\n";

fn of_file(text: &str) -> Result<Resolved, ConfigError> {
    let file = Some((PathBuf::from("c.yaml"), text.to_owned()));
    resolve(&Sources { file, root: "/root".into(), working_dir: "/work".into(), ..Sources::default() })
}

fn with_set(set: &[String]) -> Result<Resolved, ConfigError> {
    let file = Some((PathBuf::from("c.yaml"), BASE.to_owned()));
    resolve(&Sources { file, root: "/root".into(), set: set.to_vec(), ..Sources::default() })
}

/// A generator with a seed of its own in each run of the tests; failures print it.
fn drawn() -> (u64, impl FnMut() -> u64) {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
    let mut state = seed;
    let draw = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (seed, draw)
}

#[test]
fn every_key_acts_or_warns() {
    let (seed, mut draw) = drawn();
    let mut without = 0;
    for key in KEYS {
        for value in key.kind.examples(&key.default_value(), &mut draw) {
            let place = format!("{}={value}, seed {seed}", key.path);
            let result = with_set(&[format!("{}={value}", key.path)]);
            let warnings = match &result {
                Ok(resolved) => resolved.warnings.clone(),
                // Alone it may be impossible beside the other settings; it is never unknown or of the wrong kind.
                Err(e) => {
                    let kinds = e.problems.iter().filter(|p| p.message.contains("expected") || p.message.contains("unknown"));
                    assert_eq!(kinds.count(), 0, "{place}: {e}");
                    continue;
                }
            };
            let told = warnings.iter().any(|w| w.contains(&format!("`{}`", key.path)) && w.contains("has no effect"));
            let asks = !matches!(value, Value::Bool(false));
            assert_eq!(told, matches!(key.effect, Effect::None(_)) && asks, "{place}: {warnings:?}");
            without += usize::from(told);
        }
    }
    assert!(without > 0, "no key without effect was tried");
}

#[test]
fn values_out_of_range_name_their_key() {
    let (seed, mut draw) = drawn();
    for key in KEYS {
        for value in key.kind.refused(&mut draw) {
            let error = with_set(&[format!("{}={value}", key.path)]).expect_err(&format!("{}={value}, seed {seed}", key.path));
            assert!(error.problems.iter().any(|p| p.key == key.path && p.origin == Origin::Set), "{value}, seed {seed}: {error}");
            assert!(error.to_string().len() < 2000, "{value}, seed {seed}: {error}");
        }
    }
}

#[test]
fn no_step_overflows() {
    let (seed, mut draw) = drawn();
    let mut refused = 0;
    for _ in 0..300 {
        let mut power = |most: u64| 1u64 << (draw() % most);
        let (batch, windows, length) = (power(17), power(17), power(24).max(2));
        let set = [
            format!("training.stage1.batch_size={batch}"),
            format!("training.gradient_accumulation={windows}"),
            format!("training.max_seq_length={length}"),
        ];
        match with_set(&set) {
            Ok(_) => assert!(batch * windows * length <= 1 << 32, "{set:?}, seed {seed}"),
            Err(e) => {
                assert!(batch * windows * length > 1 << 32 && e.to_string().contains("2^32"), "{set:?}, seed {seed}: {e}");
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "seed {seed}");
}

#[test]
fn infinity_is_no_clipping_and_nothing_else() {
    let norm = |text: &str| of_file(&format!("{BASE}training: {{max_grad_norm: {text}}}\n")).map(|r| r.config.training.max_grad_norm);
    assert_eq!(norm(".inf").unwrap(), 0.0);
    assert_eq!(norm("0.5").unwrap(), 0.5);
    for refused in [".nan", "-.inf", ".NaN", "1e400 # x", "-1"] {
        let result = norm(refused);
        // A number beyond all others is infinite.
        assert!(result.is_err() || refused.starts_with("1e400"), "{refused}: {result:?}");
    }
    for key in ["training.stage1.learning_rate", "training.weight_decay", "lora.alpha", "lora.dropout", "dataset.train_split"] {
        for word in [".inf", "-.inf", ".nan"] {
            assert!(with_set(&[format!("{key}={word}")]).is_err(), "{key}={word}");
        }
    }
}

#[test]
fn deep_and_large_files_are_refused_with_their_line() {
    let (seed, mut draw) = drawn();
    let depth = 65 + (draw() % 200_000) as usize;
    let aliases: String = (1..200).map(|i| format!("k{i}: &a{i} [*a{}]\n", i - 1)).collect();
    let doubling: String = (1..40).map(|i| format!("k{i}: &a{i} [*a{0}, *a{0}]\n", i - 1)).collect();
    let cases = [
        ("- ".repeat(depth), "levels deep"),
        ("[".repeat(depth), ""),
        ("{a: ".repeat(depth), ""),
        (format!("a:\n{}", (0..depth.min(3000)).map(|i| " ".repeat(i + 1) + "a:\n").collect::<String>()), "levels deep"),
        (format!("k0: &a0 1\n{aliases}"), "levels deep"),
        (format!("k0: &a0 1\n{doubling}"), "values"),
        (format!("a: \"{}\"", "x".repeat(17 << 20)), "bytes"),
    ];
    for (text, word) in cases {
        let head: String = text.chars().take(30).collect();
        let begun = Instant::now();
        let error = of_file(&text).expect_err(&head).to_string();
        assert!(error.contains(word) && error.contains("c.yaml:"), "{head}, seed {seed}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{head}, seed {seed}: {:?}", begun.elapsed());
        // The same behind one key of the command line is text, or refused.
        let _ = with_set(&[format!("project.name={text}")]);
    }
}

#[test]
fn time_grows_with_unknown_keys_and_no_faster() {
    let of = |n: usize| {
        let text: String = (0..n).map(|i| format!("training_key_{i}: 1\n")).collect();
        let begun = Instant::now();
        let error = of_file(&format!("{BASE}{text}")).unwrap_err();
        assert_eq!(error.problems.len(), n);
        assert!(error.to_string().contains(&format!("and {} more", n - 30)) && error.to_string().len() < 10_000);
        begun.elapsed()
    };
    let (small, large) = (of(20_000), of(300_000));
    assert!(large < small * 45 + Duration::from_secs(1), "{small:?} for 20,000 and {large:?} for 300,000");
    let long = "x".repeat(1 << 20);
    let error = of_file(&format!("{BASE}{long}: 1\n")).unwrap_err();
    assert!(error.to_string().len() < 1000);
}

#[test]
fn warmup_never_takes_the_run() {
    let (seed, mut draw) = drawn();
    for _ in 0..200 {
        let (steps, warmup) = (1 + draw() % 300, draw() % 300);
        let said = [format!("training.stage1.iterations={steps}"), format!("training.stage1.warmup_steps={warmup}")];
        let resolved = with_set(&said).unwrap();
        let stage = &resolved.config.training.stage1;
        assert!(stage.warmup_steps < steps, "{said:?}, seed {seed}");
        let told = resolved.warnings.iter().any(|w| w.contains("warmup_steps"));
        assert_eq!(told, warmup > 0 && warmup >= steps, "{said:?}, seed {seed}");
        // Its default is brought down without a word.
        let resolved = with_set(&said[..1]).unwrap();
        assert!(resolved.warnings.is_empty() && resolved.config.training.stage1.warmup_steps < steps, "{said:?}, seed {seed}");
    }
}
