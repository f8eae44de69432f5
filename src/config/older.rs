//! Settings that an earlier version of the program wrote down: keys that it did not know yet take
//! their defaults.

use serde_json::{Map, Value};

use super::schema::KEYS;

/// The same settings with every key of the schema in them.
pub fn with_defaults(mut settings: Value) -> Value {
    // A version that did not act on these wrote its defaults down; it did not know the other key.
    if settings["evaluation"].is_object() && settings["huggingface"].get("save_checkpoints").is_none() {
        for key in ["stage1_threshold", "stage2_threshold", "sequential_threshold"] {
            settings["evaluation"][key] = Value::Null;
        }
    }
    for key in KEYS {
        let mut at = &mut settings;
        for part in key.path.split('.') {
            if at.is_null() {
                *at = Value::Object(Map::new());
            }
            let Value::Object(map) = at else { break };
            at = map.entry(part).or_insert(Value::Null);
        }
        if at.is_null() {
            *at = key.default_value();
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{RunConfig, Sources, resolve};
    use super::*;

    #[test]
    fn thresholds_that_did_nothing_yet_do_nothing_now() {
        let scores = json!({"stage1_threshold": 0.7, "stage2_threshold": 0.7, "sequential_threshold": 0.6});
        let old = with_defaults(json!({"evaluation": scores, "huggingface": {"enabled": false}}));
        assert!(old["evaluation"]["stage1_threshold"].is_null() && old["evaluation"]["sequential_threshold"].is_null(), "{old}");
        let new = with_defaults(json!({"evaluation": scores, "huggingface": {"enabled": false, "save_checkpoints": false}}));
        assert_eq!(new["evaluation"]["stage1_threshold"], 0.7);
    }

    #[test]
    fn a_record_without_any_of_its_default_keys_reads_the_same() {
        let text = "base_model: {local_path: ./m}\ndataset: {path: d.jsonl}\ntraining: {seed: 7}\n".to_owned();
        let sources = Sources { file: Some(("c.yaml".into(), text)), root: "/r".into(), working_dir: "/w".into(), ..Sources::default() };
        let config = resolve(&sources).unwrap().config;
        let whole = serde_json::to_value(&config).unwrap();
        let read = |value: Value| serde_json::from_value::<RunConfig>(with_defaults(value)).unwrap();
        assert_eq!(read(whole.clone()), config);
        let mut removed = 0;
        for key in KEYS {
            let (section, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
            let pointer = if section.is_empty() { String::new() } else { format!("/{}", section.replace('.', "/")) };
            let mut less = whole.clone();
            let value = less.pointer_mut(&pointer).and_then(|s| s.as_object_mut()).and_then(|s| s.remove(name));
            if value.is_some_and(|v| v == key.default_value()) {
                removed += 1;
                assert_eq!(read(less), config, "without {}", key.path);
            }
        }
        assert!(removed > 20, "{removed}");
        // A whole section that was not there yet.
        let mut less = whole;
        less.as_object_mut().unwrap().remove("evaluation");
        assert_eq!(read(less), config);
    }
}
