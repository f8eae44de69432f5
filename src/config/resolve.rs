//! Folding the layers into one configuration.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use super::kind::{Kind, short};
use super::layer::{self, Layer};
use super::problem::{ConfigError, Origin, Problem};
use super::run_config::RunConfig;
use super::schema::{self, Effect, KEYS};
use super::words::DeviceChoice;
use super::{combinations, yaml};

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The configuration file and its text.
    pub file: Option<(PathBuf, String)>,
    /// The folder that relative paths of the file start from.
    pub root: PathBuf,
    /// The folder that relative paths of all other layers start from.
    pub working_dir: PathBuf,
    /// `key=value` pairs of `--set`.
    pub set: Vec<String>,
    /// Environment variables, all of them.
    pub env: Vec<(String, String)>,
    /// Flags that stand for keys: (flag, key, value).
    pub flags: Vec<(String, String, Value)>,
}

/// Where each key was said.
#[derive(Debug, Clone, Default)]
pub struct Said(BTreeMap<String, Origin>);

impl Said {
    /// Where a key was said.
    pub fn origin(&self, key: &str) -> Origin {
        self.0.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Whether a key was said at all.
    pub fn is_said(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }
}

/// A configuration and where its values were said.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The settings.
    pub config: RunConfig,
    /// Where they were said.
    pub said: Said,
    /// What was said and has no effect, or was brought into its range; each with its place.
    pub warnings: Vec<String>,
}

/// Folds all layers.
///
/// # Errors
/// Everything that is wrong, in one error.
pub fn resolve(sources: &Sources) -> Result<Resolved, ConfigError> {
    let mut problems = Vec::new();
    let file = match &sources.file {
        Some((path, text)) => yaml::read(path, text, schema::is_section, &mut problems),
        None => Layer::new(),
    };
    let set = layer::from_set(&sources.set, &mut problems);
    let flags = |(flag, key, value): &(String, String, Value)| {
        (key.clone(), layer::Said { value: value.clone(), origin: Origin::Flag { flag: flag.clone() } })
    };
    let layers = [file, set, layer::from_env(&sources.env), sources.flags.iter().map(flags).collect()];

    let mut values: BTreeMap<&str, Value> = KEYS.iter().map(|k| (k.path, k.default_value())).collect();
    let mut said = Said::default();
    let mut suggestions = SUGGESTIONS;
    for layer in layers {
        for (path, entry) in layer {
            match accept(&path, &entry, sources, &mut suggestions) {
                Ok((key, value)) => {
                    values.insert(key, value);
                    said.0.insert(key.to_owned(), entry.origin);
                }
                Err(problem) => problems.push(*problem),
            }
        }
    }
    let mut warnings = without_effect(&values, &said);
    problems.extend(steps_or_epochs(&mut values, &mut said));
    let mut config: RunConfig = match serde_json::from_value(tree(values)) {
        Ok(config) => config,
        Err(e) => {
            // Cannot happen while schema and RunConfig agree, which a test holds.
            problems.push(Problem { origin: Origin::Default, key: String::new(), message: e.to_string(), hint: None });
            return Err(ConfigError { problems });
        }
    };
    problems.extend(combinations::check(&config, &said));
    if !problems.is_empty() {
        problems.sort_by_key(|p| match &p.origin {
            Origin::File { line, .. } => (0, *line),
            Origin::Set => (1, 0),
            Origin::Env { .. } => (2, 0),
            Origin::Flag { .. } => (3, 0),
            Origin::Default => (4, 0),
        });
        return Err(ConfigError { problems });
    }
    if config.mlx.enabled {
        config.device = DeviceChoice::Metal;
    }
    warnings.extend(clamp_warmup(&mut config, &said));
    Ok(Resolved { config, said, warnings })
}

/// What was said and has no effect in this version; keys of one reason stand together. A key set to `false` asks for
/// nothing.
fn without_effect(values: &BTreeMap<&str, Value>, said: &Said) -> Vec<String> {
    let mut found: Vec<(&str, Origin, Vec<&str>)> = Vec::new();
    for key in KEYS {
        let Effect::None(why) = key.effect else { continue };
        let asks = values.get(key.path).is_some_and(|v| !matches!(v, Value::Null | Value::Bool(false)));
        if !said.is_said(key.path) || !asks {
            continue;
        }
        match found.iter_mut().find(|(known, ..)| *known == why) {
            Some((_, _, keys)) => keys.push(key.path),
            None => found.push((why, said.origin(key.path), vec![key.path])),
        }
    }
    let text = |(why, origin, keys): (&str, Origin, Vec<&str>)| {
        let keys: Vec<String> = keys.iter().map(|k| format!("`{k}`")).collect();
        format!("{origin}: {} has no effect: {why}", keys.join(", "))
    };
    found.into_iter().map(text).collect()
}

/// Steps and epochs both say how long a stage is: the stronger layer counts, and within one layer they contradict.
fn steps_or_epochs(values: &mut BTreeMap<&str, Value>, said: &mut Said) -> Vec<Problem> {
    let mut problems = Vec::new();
    let pairs =
        [("training.stage1.iterations", "training.stage1.num_epochs"), ("training.stage2.iterations", "training.stage2.num_epochs")];
    for (steps, epochs) in pairs {
        let strength = |key: &str| match said.origin(key) {
            Origin::Default => 0,
            Origin::File { .. } => 1,
            Origin::Set => 2,
            Origin::Env { .. } => 3,
            Origin::Flag { .. } => 4,
        };
        match (strength(steps), strength(epochs)) {
            (0, _) | (_, 0) => {}
            (a, b) if a == b => problems.push(Problem {
                origin: said.origin(epochs),
                key: epochs.to_owned(),
                message: "stands beside iterations: only one of them can say how long the stage is".into(),
                hint: Some("remove one of the two".into()),
            }),
            (a, b) => {
                let weaker = if a < b { steps } else { epochs };
                if let Some(key) = schema::find(weaker) {
                    values.insert(key.path, key.default_value());
                    said.0.remove(weaker);
                }
            }
        }
    }
    problems
}

/// Warm-up takes at most a tenth of a run that is too short for it. Only a warm-up that was asked for is worth a word.
fn clamp_warmup(config: &mut RunConfig, said: &Said) -> Vec<String> {
    let t = &mut config.training;
    let two = t.num_stages == 2;
    let stages = [("training.stage1.warmup_steps", &mut t.stage1, true), ("training.stage2.warmup_steps", &mut t.stage2, two)];
    let mut warnings = Vec::new();
    for (key, stage, runs) in stages {
        if stage.warmup_steps == 0 || stage.warmup_steps < stage.iterations || stage.num_epochs.is_some() {
            continue;
        }
        let (asked, steps) = (stage.warmup_steps, stage.iterations);
        stage.warmup_steps = steps / 10;
        if runs && said.is_said(key) {
            let now = stage.warmup_steps;
            warnings.push(format!("{}: `{key}`: {asked} steps of warm-up in a run of {steps} steps: {now} are taken", said.origin(key)));
        }
    }
    warnings
}

/// Unknown keys that a suggestion is looked for; a file of nothing else must not take a minute.
const SUGGESTIONS: usize = 50;

/// One entry of a layer as the key's value.
fn accept(path: &str, entry: &layer::Said, sources: &Sources, suggestions: &mut usize) -> Result<(&'static str, Value), Box<Problem>> {
    let refuse =
        |message: String, hint: Option<String>| Box::new(Problem { origin: entry.origin.clone(), key: short(path), message, hint });
    let Some(key) = schema::find(path) else {
        if schema::is_section(path) {
            return Err(refuse("is a section: it needs keys below it".into(), None));
        }
        let looked = *suggestions > 0;
        *suggestions = suggestions.saturating_sub(1);
        let hint = Some(path).filter(|_| looked).and_then(schema::suggest).map(|s| format!("did you mean `{s}`?"));
        return Err(refuse("unknown key".into(), hint));
    };
    // Nothing behind a key means its default.
    if entry.value.is_null() && !matches!(key.kind, Kind::OneOf(words, _) if words.contains(&"none")) {
        return Ok((key.path, key.default_value()));
    }
    let raw = match (&entry.value, key.kind) {
        (Value::Null, _) => Value::String("none".into()),
        (Value::String(s), Kind::Template) if !is_path(s) => Value::String(s.clone()),
        (Value::String(s), Kind::Path | Kind::Template) => Value::String(expand(s, &entry.origin, sources).map_err(|m| refuse(m, None))?),
        (other, _) => other.clone(),
    };
    key.kind.accept(&raw).map(|value| (key.path, value)).map_err(|message| refuse(message, None))
}

/// Whether a chat template is named by a path: it has a separator or an ending, and is no template itself.
fn is_path(text: &str) -> bool {
    !text.contains("{%") && !text.contains("{{") && text.contains(['/', '\\', '.'])
}

/// `~`, `$VAR`, `${VAR}`, and relative paths.
fn expand(text: &str, origin: &Origin, sources: &Sources) -> Result<String, String> {
    let variable = |name: &str| sources.env.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let mut out = String::new();
    let mut rest = text;
    if let Some(below) = text.strip_prefix('~').filter(|r| r.is_empty() || r.starts_with('/')) {
        out.push_str(variable("HOME").ok_or("`~` is used, but HOME is not set")?);
        rest = below;
    }
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, behind) = match after.strip_prefix('{').and_then(|a| a.split_once('}')) {
            Some(pair) => pair,
            None => after.split_at(after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len())),
        };
        out.push_str(variable(name).ok_or_else(|| format!("the environment variable `{name}` is not set"))?);
        rest = behind;
    }
    out.push_str(rest);
    let root = if matches!(origin, Origin::File { .. }) { &sources.root } else { &sources.working_dir };
    Ok(tidy(&root.join(out)).display().to_string())
}

/// Without `.` parts.
fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|c| !matches!(c, Component::CurDir)).collect()
}

/// Dotted keys as a tree.
fn tree(values: BTreeMap<&str, Value>) -> Value {
    let mut root = Map::new();
    for (path, value) in values {
        let mut at = &mut root;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                at.insert(part.to_owned(), value);
                break;
            }
            let child = at.entry(part).or_insert_with(|| Value::Object(Map::new()));
            match child {
                Value::Object(map) => at = map,
                _ => break,
            }
        }
    }
    Value::Object(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Quantization;

    const BASE: &str = "base_model: {local_path: ./m}\ndataset:\n  path: d.jsonl\n";

    fn sources(text: &str) -> Sources {
        let file = Some((PathBuf::from("c.yaml"), format!("{BASE}{text}")));
        Sources { file, root: "/root".into(), working_dir: "/work".into(), ..Sources::default() }
    }

    fn problems(s: &Sources) -> Vec<String> {
        resolve(s).unwrap_err().problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn defaults_fit_the_structs() {
        let config = resolve(&sources("")).unwrap().config;
        assert_eq!(config.lora.rank, 16);
        assert_eq!(config.training.gradient_checkpointing, super::super::AutoBool::Auto(super::super::Auto::Auto));
        // And back: what is written into a manifest reads as the same settings.
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<RunConfig>(&text).unwrap(), config);
        let keys = |v: &Value| v.as_object().map(|o| o.len());
        let dataset = KEYS.iter().filter(|k| k.path.starts_with("dataset.")).count();
        assert_eq!(keys(&serde_json::to_value(&config.dataset).unwrap()), Some(dataset), "every dataset key has a field");
    }

    #[test]
    fn later_layers_win() {
        let mut s = sources("training: {seed: 1, stage1: {iterations: 10, warmup_steps: 1}}\n");
        assert_eq!(resolve(&s).unwrap().config.training.seed, 1);
        s.set = vec!["training.seed=2".into()];
        assert_eq!(resolve(&s).unwrap().config.training.seed, 2);
        s.env = vec![("OLMO_TRAINING__SEED".into(), "3".into())];
        assert_eq!(resolve(&s).unwrap().config.training.seed, 3);
        s.env.insert(0, ("TALLOW_TRAINING__SEED".into(), "4".into()));
        assert_eq!(resolve(&s).unwrap().config.training.seed, 4);
        s.flags = vec![("--seed".into(), "training.seed".into(), Value::from(5))];
        assert_eq!(resolve(&s).unwrap().config.training.seed, 5);
    }

    #[test]
    fn all_problems_at_once_with_their_lines() {
        let text = "training:\n  seed: x\n  stage1:\n    learning_rat: 1\nlora:\n  rank: 0\nzebra: 1\ntraining2:\n  a: 1\n";
        assert_eq!(
            problems(&sources(text)),
            [
                "c.yaml:5: `training.seed`: expected a whole number 0 to 9223372036854775807, got `x`",
                "c.yaml:7: `training.stage1.learning_rat`: unknown key (did you mean `training.stage1.learning_rate`?)",
                "c.yaml:9: `lora.rank`: expected a whole number 1 to 4096, got `0`",
                "c.yaml:10: `zebra`: unknown key",
                "c.yaml:11: `training2`: unknown key (did you mean `training`?)",
            ]
        );
    }

    #[test]
    fn impossible_combinations() {
        let text = "training: {method: full}\n";
        let mut s = sources(text);
        s.set = vec!["base_model.quantization=nf4".into(), "dataset.train_split=0.5".into()];
        let found = problems(&s);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("c.yaml:4: `training.method`: a quantised base cannot be fully fine-tuned"));
        assert!(found[1].starts_with("--set: `dataset.train_split`"));
    }

    #[test]
    fn broken_yaml_names_its_line() {
        let found = problems(&sources("training: [1, 2\nlora: 3\n"));
        assert!(found[0].starts_with("c.yaml:") && found[0].contains("not valid YAML"), "{found:?}");
    }

    #[test]
    fn paths_expand() {
        let mut s = sources("");
        s.env = vec![("HOME".into(), "/home/u".into()), ("DATA".into(), "/d".into())];
        let config = resolve(&s).unwrap().config;
        assert_eq!(config.base_model.local_path.unwrap(), PathBuf::from("/root/m"));
        s.set = vec!["dataset.path=~/x.jsonl".into(), "base_model.local_path=${DATA}/m".into()];
        let config = resolve(&s).unwrap().config;
        assert_eq!(config.dataset.path.unwrap(), PathBuf::from("/home/u/x.jsonl"));
        assert_eq!(config.base_model.local_path.unwrap(), PathBuf::from("/d/m"));
        s.set = vec!["dataset.path=$NOWHERE/x".into()];
        assert!(problems(&s)[0].contains("`NOWHERE` is not set"));
    }

    #[test]
    fn nothing_after_a_key_is_its_default_and_none_is_a_word() {
        let config = resolve(&sources("lora: {rank: }\ntraining:\n")).unwrap().config;
        assert_eq!(config.lora.rank, 16);
        let mut s = sources("");
        s.set = vec!["base_model.quantization=none".into()];
        assert_eq!(resolve(&s).unwrap().config.base_model.quantization, Quantization::None);
        s.set = vec!["base_model.quantization=q4".into()];
        assert_eq!(resolve(&s).unwrap().config.base_model.quantization, Quantization::Nf4);
    }
}
