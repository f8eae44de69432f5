//! What has harmed a reader once, as seeds: each is tried as it stands, and mutated.

use std::path::Path;

use serde_json::{Value, json};

use crate::program::Desk;

/// Templates that overflowed a stack, filled memory, never ended, or were cut between the signs of a tag.
fn templates() -> Vec<String> {
    vec![
        format!("{{{{ {}true }}}}", "not ".repeat(2000)),
        format!("{{{{ {}1{} }}}}", "(".repeat(2000), ")".repeat(2000)),
        "{% set n = namespace() %}{% set n.a = n %}{{ n }}{{ n | tojson }}".into(),
        "{{ '{:>1000000000000}'.format(1) }}".into(),
        "{{ 'x' | indent(100000000000) }}".into(),
        "{{ [1] | batch(10000000000, 0) | list }}".into(),
        "{% for a in range(999) %}{% for b in range(999) %}{% for c in range(999) %}{% endfor %}{% endfor %}{% endfor %}".into(),
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".into(),
        "{% set s = 'ab' %}{% set s = s ~ s %}{% set s = s ~ s %}{{ s }}".into(),
        "{%} ".into(),
        "{%}{% generation %}%}{% endgeneration %}".into(),
    ]
}

/// Changes of a tokenizer.json that made the library panic, grow or count without an end.
fn tokenizers(sound: &Value) -> Vec<Value> {
    let tenfold = json!({"type": "Replace", "pattern": {"String": "e"}, "content": "eeeeeeeeee"});
    let with = |key: &str, value: Value| {
        let mut changed = sound.clone();
        changed[key] = value;
        changed
    };
    let mut far = sound.clone();
    far["model"]["vocab"]["a-token-far-away"] = json!(1u64 << 31);
    vec![
        with("normalizer", json!({"type": "Sequence", "normalizers": vec![tenfold; 3]})),
        with("normalizer", json!({"type": "Prepend", "prepend": "x".repeat(1000)})),
        with("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="})),
        with("normalizer", json!({"type": "Replace", "pattern": {"Regex": ""}, "content": "xxxx"})),
        with("pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
        with("decoder", json!({"type": "Strip", "content": "a", "start": 1u64 << 40, "stop": 1u64 << 40})),
        with("truncation", json!({"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 5})),
        far,
    ]
}

/// Fields of a config.json that stood for sizes beyond any machine, or for no arithmetic.
fn configs(sound: &Value) -> Vec<Value> {
    let fields = [
        ("num_hidden_layers", json!(1u64 << 40)),
        ("vocab_size", json!(1u64 << 60)),
        ("head_dim", json!(0)),
        ("rms_norm_eps", json!(-1e-5)),
        ("rope_theta", json!(0)),
    ];
    let with = |(key, value): (&str, Value)| {
        let mut changed = sound.clone();
        changed[key] = value;
        changed
    };
    fields.into_iter().map(with).collect()
}

fn yaml() -> Vec<String> {
    let aliases: String = (1..30).map(|i| format!("k{i}: &a{i} [*a{0}, *a{0}]\n", i - 1)).collect();
    vec![
        "- ".repeat(5000),
        format!("k0: &a0 1\n{aliases}"),
        "training: {max_grad_norm: .inf, stage1: {learning_rate: .nan, batch_size: 4611686018427387904}}\n".into(),
        (0..500).map(|i| format!("key{i}: 1\n")).collect(),
    ]
}

/// Writes them beside the sound seeds.
pub fn write(desk: &Desk, corpus: &Path) {
    let read = |name: &str| serde_json::from_slice::<Value>(&std::fs::read(corpus.join("model").join(name)).unwrap()).unwrap();
    let add = |target: &str, all: Vec<String>| {
        for (i, text) in all.iter().enumerate() {
            desk.write(&format!("corpus/more/{target}/found-{i}"), text);
        }
    };
    let texts = |all: Vec<Value>| all.iter().map(Value::to_string).collect();
    add("template", templates());
    add("tokenizer", texts(tokenizers(&read("tokenizer.json"))));
    add("model-config", texts(configs(&read("config.json"))));
    add("yaml", yaml());
    add("jsonl", vec![format!("{{\"messages\":{}\n", "[".repeat(10_000)), "{\"text\":\"\\ud83d\"}\n".into()]);
    add("csv", vec![(0..2000).map(|i| format!("c{i},")).collect(), "prompt,completion\n\"".to_owned() + &"a\n".repeat(5000)]);
}
