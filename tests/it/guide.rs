//! Answers held to a form: whatever is chosen among the tokens that may follow, a validator accepts what comes out.

use serde_json::{Map, Value, json};
use tallow::data::TextTokenizer;
use tallow::data::calls::{CallForm, parse};
use tallow::data::guide::{Guide, Vocabulary};

use crate::golden::Outcome;
use crate::program::drawn_seed;

/// Most tokens of an answer that is drawn.
const MOST: usize = 4000;

fn tokenizer() -> anyhow::Result<TextTokenizer> {
    let folder = tallow::app::models::resolve("embedded", None).map_err(|f| anyhow::anyhow!("{f:?}"))?;
    Ok(TextTokenizer::load(&folder)?)
}

/// A schema. Numbers have bounds: without them an exponent may be beyond what a reader of JSON holds.
fn schema(draw: &mut fastrand::Rng, depth: usize) -> Value {
    match draw.u8(..if depth > 3 { 7 } else { 12 }) {
        0 => json!({"type": "boolean"}),
        1 => json!({"type": "integer", "minimum": draw.i32(-50..0), "maximum": draw.i32(0..900)}),
        2 => json!({"type": "string", "minLength": draw.u8(..3), "maxLength": draw.u8(3..12)}),
        3 => json!({"enum": ["a", "b \"c\"\n", 3, null, "Österreich"]}),
        4 => json!({"type": "number", "minimum": 0, "maximum": draw.u16(1..)}),
        5 => json!({"type": ["null", "string"], "maxLength": 4}),
        6 => json!({"const": "x\\y\u{1F600}"}),
        7 => json!({"type": "array", "items": schema(draw, depth + 1), "minItems": draw.u8(..2), "maxItems": draw.u8(2..4)}),
        8 => json!({"anyOf": [schema(draw, depth + 1), schema(draw, depth + 1)]}),
        9 => json!({"type": "string", "pattern": "^[a-c]{1,3}-[0-9]{2}$"}),
        _ => object(draw, depth),
    }
}

fn object(draw: &mut fastrand::Rng, depth: usize) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for i in 0..draw.usize(1..5) {
        let name = format!("key {i}");
        if draw.bool() {
            required.push(json!(name));
        }
        properties.insert(name, schema(draw, depth + 1));
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// Draws an answer among the tokens that may follow, and ends it where it may end; `None` when it became too long.
fn answer(guide: &mut Guide, tokenizer: &TextTokenizer, ends: &[u32], draw: &mut fastrand::Rng) -> Option<String> {
    let mut ids = Vec::new();
    while ids.len() < MOST {
        let mask = guide.mask().unwrap();
        let may: Vec<u32> = (0..mask.len() as u32 * 32).filter(|i| mask[*i as usize / 32] >> (i % 32) & 1 == 1).collect();
        let is_end = |id: &u32| ends.contains(id);
        let count = may.iter().filter(|id| is_end(id)).count();
        assert!(count == 0 || count == ends.len(), "all ends or none: {count} of {}", ends.len());
        if may.iter().any(is_end) && draw.u8(..) < 230 {
            return Some(tokenizer.decode(&ids, false).unwrap());
        }
        let may: Vec<u32> = may.into_iter().filter(|id| !is_end(id)).collect();
        if may.is_empty() {
            return Some(tokenizer.decode(&ids, false).unwrap());
        }
        // Long strings and much white space are possible and tell nothing: tokens that close something come more often.
        let closes = |id: &&u32| tokenizer.inner().id_to_token(**id).is_some_and(|t| t.starts_with(['"', '}', ']']));
        let closing: Vec<u32> = may.iter().filter(closes).copied().collect();
        let from = if !closing.is_empty() && draw.bool() { &closing } else { &may };
        let token = from[draw.usize(..from.len())];
        guide.took(token).unwrap();
        ids.push(token);
    }
    None
}

#[test]
fn every_answer_is_one_that_the_schema_allows() -> Outcome {
    let (tokenizer, seed) = (tokenizer()?, drawn_seed());
    let mut draw = fastrand::Rng::with_seed(seed);
    // Any token that is no text may end an answer.
    let ends: Vec<u32> = (0..tokenizer.vocab_size() as u32).filter(|id| tokenizer.is_special(*id)).take(3).collect();
    assert!(ends.len() > 1);
    let vocabulary = Vocabulary::new(tokenizer.inner(), &ends).map_err(anyhow::Error::msg)?;
    let mut whole = 0;
    for round in 0..120 {
        let schema = object(&mut draw, 0);
        let mut guide = vocabulary.json(&schema).map_err(|e| anyhow::anyhow!("seed {seed} round {round}: {e}: {schema}"))?;
        let Some(text) = answer(&mut guide, &tokenizer, &ends, &mut draw) else { continue };
        let value: Value = serde_json::from_str(&text).map_err(|e| anyhow::anyhow!("seed {seed} round {round}: {e}: {text:?}"))?;
        assert!(jsonschema::is_valid(&schema, &value), "seed {seed} round {round}: {value} {schema}");
        whole += 1;
    }
    assert!(whole > 100, "seed {seed}: {whole} of 120 answers came to their end");
    Ok(())
}

#[test]
fn every_forced_call_is_read_and_has_arguments_that_its_schema_allows() -> Outcome {
    let (tokenizer, seed) = (tokenizer()?, drawn_seed());
    let mut draw = fastrand::Rng::with_seed(seed);
    let ends = [tokenizer.eos_id().unwrap()];
    let vocabulary = Vocabulary::new(tokenizer.inner(), &ends).map_err(anyhow::Error::msg)?;
    let mut counts = [0; 3];
    for round in 0..60 {
        let mut schemas: Vec<Value> = (0..draw.usize(1..4)).map(|_| object(&mut draw, 2)).collect();
        // References begin at the root of a tool's own schema.
        schemas[0]["$defs"] = json!({"unit": {"enum": ["c", "f"]}});
        schemas[0]["properties"]["in"] = json!({"$ref": "#/$defs/unit"});
        let tool = |(i, s): (usize, &Value)| json!({"type": "function", "function": {"name": format!("tool-{i}"), "parameters": s}});
        let tools: Vec<Value> = schemas.iter().enumerate().map(tool).collect();
        for form in [CallForm::Hermes, CallForm::Llama3, CallForm::Json] {
            let several = draw.bool();
            let mut guide = vocabulary.calls(form, &tools, several).map_err(|e| anyhow::anyhow!("seed {seed} round {round}: {e}"))?;
            let Some(text) = answer(&mut guide, &tokenizer, &ends, &mut draw) else { continue };
            let parsed = parse(&text);
            assert!(parsed.broken.is_empty() && !parsed.calls.is_empty() && parsed.text.is_empty(), "seed {seed} round {round}: {text:?}");
            counts[parsed.calls.len().min(2)] += 1;
            assert!(several || parsed.calls.len() == 1, "seed {seed} round {round}: {text:?}");
            for call in &parsed.calls {
                let which: usize = call.name.strip_prefix("tool-").unwrap().parse()?;
                let arguments = Value::Object(call.arguments.clone());
                assert!(jsonschema::is_valid(&schemas[which], &arguments), "seed {seed} round {round}: {text:?} {}", schemas[which]);
            }
        }
    }
    assert!(counts[1] > 50, "seed {seed}: {counts:?}");
    Ok(())
}

#[test]
fn what_cannot_be_held_to_says_why() -> Outcome {
    let tokenizer = tokenizer()?;
    let vocabulary = Vocabulary::new(tokenizer.inner(), &[tokenizer.eos_id().unwrap()]).map_err(anyhow::Error::msg)?;
    let deep = (0..100).fold(json!({"type": "null"}), |inner, _| json!({"type": "array", "items": inner}));
    for (schema, part) in [
        (json!({"not": {"type": "string"}}), "not"),
        (json!({"$ref": "https://example.com/schema.json"}), "ref"),
        (json!({"type": "string", "pattern": "(a"}), ""),
        (json!({"type": "integer", "minimum": 5, "maximum": 1}), ""),
        (json!([1]), "object"),
        (deep, "deep"),
    ] {
        let why = vocabulary.json(&schema).err().unwrap_or_else(|| panic!("{schema} was taken"));
        assert!(!why.is_empty() && why.len() < 400 && why.contains(part), "{schema}: {why}");
    }
    // A schema that refers to nothing but itself fits nothing, and the arguments of a call are an object.
    for schema in [json!({"$ref": "#"}), json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"})] {
        assert!(vocabulary.json(&schema).is_err(), "{schema}");
    }
    for parameters in [json!({"type": "array"}), json!({"type": "string"}), json!({"type": "null"}), json!({"enum": [1, 2]}), json!(3)] {
        let tool = json!({"type": "function", "function": {"name": "f", "parameters": parameters}});
        let why = vocabulary.calls(CallForm::Hermes, std::slice::from_ref(&tool), false).err();
        assert!(why.is_some_and(|why| !why.is_empty()), "{tool}");
    }
    let open = json!({"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}});
    vocabulary.calls(CallForm::Hermes, &[open], false).map_err(anyhow::Error::msg)?;
    assert!(vocabulary.calls(CallForm::Python, &[json!({})], false).unwrap_err().contains("python"));
    assert!(Vocabulary::new(tokenizer.inner(), &[]).unwrap_err().contains("ends an answer"));
    Ok(())
}
