//! Calls out of text, form by form, and over mutated text.

use serde_json::{Value, json};
use tallow::data::calls::{CallForm, Parsed, ToolCall, parse, parse_as, python_value};

fn calls(parsed: &Parsed) -> Value {
    json!(parsed.calls.iter().map(|c| json!([c.name, c.arguments])).collect::<Vec<_>>())
}

/// The same two calls in every form.
const FORMS: [(CallForm, &str); 10] = [
    (
        CallForm::Hermes,
        "Sure.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1, \"b\": \"x y\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"g.h\", \"arguments\": {}}\n</tool_call>",
    ),
    (
        CallForm::Llama3,
        "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"a\": 1, \"b\": \"x y\"}}; {\"name\": \"g.h\", \"parameters\": {}}<|eom_id|>",
    ),
    (CallForm::Llama3, "{\"name\": \"f\", \"parameters\": {\"a\": 1, \"b\": \"x y\"}}; {\"name\": \"g.h\", \"parameters\": {}}"),
    (
        CallForm::Mistral,
        "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1, \"b\": \"x y\"}}, {\"name\": \"g.h\", \"arguments\": {}}]</s>",
    ),
    (CallForm::Mistral, "[TOOL_CALLS]f[ARGS]{\"a\": 1, \"b\": \"x y\"}[TOOL_CALLS]g.h{}"),
    (
        CallForm::QwenXml,
        "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\nx y\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=g.h>\n</function>\n</tool_call>",
    ),
    (CallForm::Functionary, ">>>f\n{\"a\": 1, \"b\": \"x y\"}>>>g.h\n{}"),
    (CallForm::Functionary, "<function=f>{\"a\": 1, \"b\": \"x y\"}</function><function=g.h>{}</function>"),
    (
        CallForm::Json,
        "```json\n[{\"name\": \"f\", \"arguments\": {\"a\": 1, \"b\": \"x y\"}}, {\"function\": {\"name\": \"g.h\", \"arguments\": \"{}\"}}]\n```",
    ),
    (CallForm::Python, "[f(a=1, b='x y'), g.h()]"),
];

#[test]
fn every_form_gives_the_same_calls() {
    for (form, text) in FORMS {
        let expected = json!([["f", {"a": 1, "b": "x y"}], ["g.h", {}]]);
        for parsed in [parse_as(form, text), parse(text)] {
            assert_eq!(calls(&parsed), expected, "{form:?}: {text}");
            assert!(parsed.is_well_formed(), "{form:?}: {parsed:?}");
        }
    }
    let xml = "I look.\n<use_mcp_tool>\n<server_name>files</server_name>\n<tool_name>read</tool_name>\n<arguments>\n{\"path\": \"a\"}\n</arguments>\n</use_mcp_tool>";
    let parsed = parse(xml);
    assert_eq!(parsed.calls[0].server.as_deref(), Some("files"));
    assert_eq!(calls(&parsed), json!([["read", {"path": "a"}]]));
    assert_eq!(parsed.text, "I look.");
}

#[test]
fn text_around_calls_is_kept_and_text_alone_is_no_call() {
    assert_eq!(parse(FORMS[0].1).text, "Sure.");
    for text in
        ["", "Hello.", "It costs {5} dollars [today].", "f(x) is a function of x.", "{\"a\": 1}", "see [1](http://x.y)", "Call me (maybe)."]
    {
        let parsed = parse(text);
        assert!(parsed.calls.is_empty() && parsed.broken.is_empty(), "{text}: {parsed:?}");
        assert_eq!(parsed.text, text);
    }
}

#[test]
fn a_call_that_cannot_be_read_is_broken_and_not_absent() {
    let broken = [
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}\n</tool_call>",
        "<tool_call>\n{\"arguments\": {}}\n</tool_call>",
        "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>",
        "<tool_call>{\"name\": \"f\", \"arguments\": {}} and more</tool_call>",
        "[TOOL_CALLS] [{\"name\": \"f\"",
        "[TOOL_CALLS]f",
        "{\"name\": \"f\", \"arguments\": {\"a\": ",
        "<function=f>{\"a\": 1</function>",
        ">>>f\n{\"a\"",
        "[f(a=1, b=\"x)]",
        "f(a=1",
        "<use_mcp_tool><tool_name>f</tool_name><arguments>{</arguments></use_mcp_tool>",
        "<use_mcp_tool><arguments>{}</arguments></use_mcp_tool>",
        "<|python_tag|>what now?",
        "<tool_call><function=f><parameter=a>1</parameter>",
    ];
    for text in &broken[..14] {
        let parsed = parse(text);
        assert!(!parsed.is_well_formed(), "{text}: {parsed:?}");
        assert!(parsed.calls.is_empty(), "{text}: {parsed:?}");
    }
    // An end tag at which generation stopped is no fault.
    assert_eq!(calls(&parse(broken[14])), json!([["f", {"a": 1}]]));
    assert_eq!(calls(&parse("<tool_call>\n{\"name\": \"f\", \"arguments\": {}}")), json!([["f", {}]]));
}

#[test]
fn python_literals_read_as_python_reads_them() {
    let cases = [
        ("-3", json!(-3)),
        ("1_000", json!(1000)),
        ("0x1F", json!(31)),
        ("2.50", json!(2.5)),
        ("1e-3", json!(0.001)),
        (".5", json!(0.5)),
        ("'it\\'s'", json!("it's")),
        ("\"a\" 'b'", json!("ab")),
        ("r'\\d'", json!("\\d")),
        ("'\\u00e9\\n'", json!("é\n")),
        ("'''a\nb'''", json!("a\nb")),
        ("(1, 2)", json!([1, 2])),
        ("(1)", json!(1)),
        ("(1,)", json!([1])),
        ("[1, [2], ]", json!([1, [2]])),
        ("{'a': True, 2: None}", json!({"a": true, "2": null})),
        ("1/4", json!(0.25)),
        ("2**10", json!(1024)),
        ("variable", json!("variable")),
        ("datetime.now()", json!("datetime.now()")),
        ("f(x=1)", json!({"f": {"x": 1}})),
        ("a[0]", json!("a[0]")),
    ];
    for (text, value) in cases {
        assert_eq!(python_value(text), Some(value), "{text}");
    }
    for text in ["'a", "[1", "1 2", "", "{1}", "{'a' 1}", "'\\x1'"] {
        assert_eq!(python_value(text), None, "{text}");
    }
}

#[test]
fn the_form_is_chosen_by_the_template() {
    let cases = [
        ("{{ '<tool_call>\\n' }}", Some(CallForm::Hermes)),
        ("{{ '[TOOL_CALLS]' }}", Some(CallForm::Mistral)),
        ("<function=' ~ n ~ '>\\n<parameter=", Some(CallForm::QwenXml)),
        ("'<|python_tag|>'", Some(CallForm::Llama3)),
        ("'>>>' + name", Some(CallForm::Functionary)),
        ("<use_mcp_tool>", Some(CallForm::McpXml)),
        ("m.tool_calls | tojson", Some(CallForm::Json)),
        ("{{ messages }}", None),
    ];
    for (source, form) in cases {
        assert_eq!(CallForm::of_template(source), form, "{source}");
    }
}

/// SplitMix64, as good as any here.
struct Rng(u64);
impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

#[test]
fn mutated_text_never_panics_and_gives_the_same_twice() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos() as u64;
    let mut rng = Rng(seed);
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        "'",
        "<tool_call>",
        "</tool_call>",
        "<function=",
        ">",
        "\\",
        "\\u12",
        "é",
        "\u{1F600}",
        "(",
        ")",
        "=",
        ",",
        "[ARGS]",
        ">>>",
        "\n",
        "-",
        "1e",
        "0x",
        "<arguments>",
        "</",
        "nul",
        "**",
        "{\"name\":\"f\",\"arguments\":{",
    ];
    for round in 0..20_000 {
        let mut text: Vec<char> = FORMS[rng.below(FORMS.len())].1.chars().collect();
        for _ in 0..=rng.below(4) {
            let at = rng.below(text.len() + 1);
            match rng.below(4) {
                0 if !text.is_empty() => {
                    text.remove(at.min(text.len() - 1));
                }
                1 => {
                    let piece = pieces[rng.below(pieces.len())];
                    text.splice(at..at, piece.chars());
                }
                2 => text.truncate(at),
                _ if !text.is_empty() => {
                    let other = rng.below(text.len());
                    let at = at.min(text.len() - 1);
                    text.swap(at, other);
                }
                _ => {}
            }
        }
        let text: String = text.into_iter().collect();
        let context = format!("seed {seed}, round {round}: {text:?}");
        let first = std::panic::catch_unwind(|| parse(&text)).unwrap_or_else(|_| panic!("{context}"));
        for form in CallForm::ALL {
            std::panic::catch_unwind(|| parse_as(form, &text)).unwrap_or_else(|_| panic!("{form:?}, {context}"));
        }
        assert_eq!(first, parse(&text), "{context}");
        assert!(first.calls.iter().all(|c: &ToolCall| !c.name.is_empty()), "{context}: {first:?}");
    }
    for text in [
        "[".repeat(100_000),
        "{\"a\":".repeat(50_000),
        "f(a=".repeat(50_000),
        "-".repeat(100_000),
        "(".repeat(90_000),
        "{ ".repeat(100_000),
    ] {
        let start = std::time::Instant::now();
        parse(&text);
        assert!(start.elapsed().as_secs() < 5, "{} took {:?}", &text[..8], start.elapsed());
    }
}
