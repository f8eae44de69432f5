//! Chat templates and tokenizers that were made to do harm meet a limit within seconds.

use std::time::{Duration, Instant};

use serde_json::json;
use tallow::data::{ChatTemplate, DataError, DataOptions, Dataset, TemplateTokens, TextTokenizer};

use super::{bare_tokenizer, records_of, tokenizer, tokens};

/// What compiling or rendering says, and that it says it soon.
fn refused(template: &str) -> String {
    let started = Instant::now();
    let made = ChatTemplate::new(template, "test", TemplateTokens::default());
    let message = json!({"role": "user", "content": "hello"});
    let said = match made {
        Err(e) => e.to_string(),
        Ok(t) => t.render(&[message], &[], false).map(|text| format!("rendered {} bytes", text.len())).unwrap_or_else(|e| e),
    };
    assert!(started.elapsed() < Duration::from_secs(10), "{:?} for {}", started.elapsed(), &template[..template.len().min(80)]);
    said
}

#[test]
fn depth_and_size_are_looked_at_before_parsing() {
    let deep = 100_000;
    for template in [
        format!("{{{{ {}true }}}}", "not ".repeat(deep)),
        format!("{{{{ {}1 }}}}", "-".repeat(deep)),
        format!("{{{{ {}1{} }}}}", "(".repeat(deep), ")".repeat(deep)),
        format!("{{{{ {}1{} }}}}", "[".repeat(deep), "]".repeat(deep)),
        format!("{{{{ 1{} }}}}", "+1".repeat(deep)),
        format!("{{{{ x{} }}}}", "|upper".repeat(deep)),
        format!("{{{{ x{} }}}}", ".a".repeat(deep)),
        format!("{{{{ {}1 }}}}", "1 if x else ".repeat(deep)),
        format!("{}{}", "{% if x %}".repeat(deep), "{% endif %}".repeat(deep)),
        format!("{{% if x %}}{}{{% endif %}}", "{% elif x %}".repeat(deep)),
        format!("{}{}", "{% for a in x %}".repeat(deep), "{% endfor %}".repeat(deep)),
        "x".repeat(2 << 20),
        format!("{{{{ '{}", "a".repeat(deep)),
    ] {
        let said = refused(&template);
        assert!(!said.starts_with("rendered"), "{said}");
    }
}

#[test]
fn a_rendering_has_fuel_width_and_room() {
    let loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}";
    assert!(refused(loops).contains("does not come to an end"));
    assert!(
        refused("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").contains("recursion"),
        "{}",
        refused("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}")
    );
    for template in [
        "{{ '{:>1000000000000}'.format(1) }}",
        "{{ '{:>{}}'.format(1, 1000000000000) }}",
        "{{ '%1000000000000d' | format(1) }}",
        "{{ '%*d' | format(1000000000000, 1) }}",
        "{{ '{:.1000000000f}'.format(1.0) }}",
        "{{ 'x' | indent(100000000000) }}",
        "{{ 'x' | indent(width=100000000000) }}",
        "{{ [1] | batch(10000000000, 0) | list }}",
        "{{ [1] | slice(10000000000) | list }}",
        "{{ [[1]] | tojson(indent=100000000000) }}",
        "{{ ('a' * 50000).replace('a', 'b' * 50000) }}",
        "{% for a in range(9999) %}{{ 'a' * 50000 }}{% endfor %}",
    ] {
        let said = refused(template);
        assert!(!said.starts_with("rendered"), "{template}: {said}");
    }
    // What real templates do has room.
    assert_eq!(refused("{{ 'a\\nb' | indent(4) }}{{ '%05d' | format(7) }}{{ '{:>8}'.format(1) }}"), "rendered 20 bytes");
}

#[test]
fn an_endless_template_is_given_up_after_a_few_rows() {
    let template = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    let tokenizer = tokenizer(Some(template));
    let row = json!({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]});
    let rows: String = (0..1000).map(|_| format!("{row}\n")).collect();
    let options = DataOptions::default();
    let started = Instant::now();
    let Err(DataError::BadRows { problems }) = Dataset::encode(&records_of("rows.jsonl", &rows, &options), &tokenizer, &options) else {
        panic!("taken")
    };
    assert_eq!(problems.len(), 1000);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn a_namespace_that_contains_itself_prints() {
    let said = refused("{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns }}");
    assert!(said.starts_with("rendered") || said.contains("deep"), "{said}");
    let said = refused("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns | tojson }}");
    assert!(said.contains("deep"), "{said}");
}

#[test]
fn dropout_is_switched_off_and_told() {
    let mut json: serde_json::Value = serde_json::from_str(&bare_tokenizer().to_string(false).unwrap()).unwrap();
    json["model"]["dropout"] = json!(0.5);
    let inner = tokenizers::Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap();
    let tokenizer = TextTokenizer::from_parts(inner, tokens("<s>", "</s>")).unwrap();
    assert!(tokenizer.notes()[0].contains("dropout 0.5"), "{:?}", tokenizer.notes());
    let ids = |_| tokenizer.encode("the quick brown fox jumps over the lazy dog", false).unwrap();
    let first = ids(0);
    assert!((0..50).map(ids).all(|again| again == first));
    assert_eq!(
        first,
        TextTokenizer::from_parts(bare_tokenizer(), tokens("<s>", "</s>"))
            .unwrap()
            .encode("the quick brown fox jumps over the lazy dog", false)
            .unwrap()
    );
}
