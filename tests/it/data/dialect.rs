//! The template dialect, line by line against what Python prints.

use serde_json::{Value, json};
use tallow::data::{ChatTemplate, TemplateTokens};

fn check(template: &str, message: Value, expect: &str) {
    let tokens = TemplateTokens { variables: vec![("bos_token".into(), "<s>".into())] };
    let template = ChatTemplate::new(template, "test", tokens).unwrap();
    assert_eq!(template.render(&[message], &[], false).unwrap(), expect);
}

#[test]
fn values_print_as_in_python() {
    let m = json!({"t": true, "n": null, "f": 1.0, "big": 1e16, "small": 0.00001, "i": 3, "l": [1, "a'b", null], "d": {"k": false}});
    check(
        "{% set m = messages[0] %}{{ m.t }} {{ m.n }} {{ m.f }} {{ m.big }} {{ m.small }} {{ m.i }}",
        m.clone(),
        "True None 1.0 1e+16 1e-05 3",
    );
    check("{{ messages[0].l }}{{ messages[0].d }}", m.clone(), "[1, \"a'b\", None]{'k': False}");
    check("{{ messages[0].missing }}|{{ tools is none }}|{{ bos_token }}", m, "|True|<s>");
}

#[test]
fn tojson_is_json_dumps() {
    let m = json!({"b": "é<&>\"\n", "a": [1.0, true, null, {}], "e": []});
    check("{{ messages[0] | tojson }}", m.clone(), r#"{"b": "é<&>\"\n", "a": [1.0, true, null, {}], "e": []}"#);
    check("{{ messages[0].b | tojson(ensure_ascii=true) }}", m.clone(), r#""\u00e9<&>\"\n""#);
    check(
        "{{ messages[0] | tojson(sort_keys=true, separators=[',', ':']) }}",
        m.clone(),
        r#"{"a":[1.0,true,null,{}],"b":"é<&>\"\n","e":[]}"#,
    );
    check("{{ messages[0].a | tojson(indent=2) }}", m, "[\n  1.0,\n  true,\n  null,\n  {}\n]");
}

#[test]
fn blocks_are_trimmed_and_loops_controlled() {
    let m = json!({"l": [1, 2, 3, 4]});
    check(
        "{% for x in messages[0].l %}\n    {% if x == 2 %}{% continue %}{% endif %}\n    {% if x == 4 %}{% break %}{% endif %}\n{{ x }};\n{% endfor %}\n",
        m,
        "1;\n3;\n",
    );
}

#[test]
fn python_methods_work() {
    let m = json!({"s": "<think>\na\n</think>\n\nb ", "d": {"k": 1}});
    check("{{ messages[0].s.split('</think>')[-1].lstrip('\\n') }}|", m.clone(), "b |");
    check(
        "{{ messages[0].s.startswith('<think>') }} {{ messages[0].d.get('x', 7) }} {% for k, v in messages[0].d.items() %}{{ k }}={{ v }}{% endfor %}",
        m,
        "True 7 k=1",
    );
}

#[test]
fn strings_are_sequences_as_in_python() {
    check("{{ 'x' is iterable }} {{ 'x' is sequence }} {{ 'x' is mapping }} {{ {} is mapping }}", json!({}), "True True False True");
}

#[test]
fn a_broken_template_names_its_line() {
    let error = ChatTemplate::new("{{ a }}\n{% if %}", "dir/chat_template.jinja", TemplateTokens::default()).unwrap_err();
    assert_eq!(error.code(), "chat_template_broken");
    assert!(error.to_string().contains("dir/chat_template.jinja") && error.to_string().contains("line 2"), "{error}");
}
