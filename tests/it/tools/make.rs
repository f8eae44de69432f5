//! Data made from tools.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Value, json};
use tallow::data::calls::parse;
use tallow::data::make_tools::{Kind, MadeSet, MakeOptions, Part, RowForm, Tool, ToolForm, append, make, read_tools};

/// Tools of many kinds of schemas.
fn tools() -> Vec<Tool> {
    let text = json!([
        {"name": "get_weather", "description": "Gets the weather of a city", "inputSchema": {"type": "object", "properties": {
            "city": {"type": "string"}, "date": {"type": "string", "format": "date"}, "unit": {"enum": ["celsius", "fahrenheit"]}}, "required": ["city"]}},
        {"name": "sendEmail", "description": "Sends an e-mail.", "inputSchema": {"type": "object", "properties": {
            "to": {"type": "array", "items": {"type": "string", "format": "email"}, "minItems": 1, "maxItems": 3, "uniqueItems": true},
            "subject": {"type": "string", "maxLength": 12}, "body": {"type": "string", "minLength": 40}}, "required": ["to", "body"], "additionalProperties": false}},
        {"name": "wait", "inputSchema": {"type": "object", "properties": {"seconds": {"type": "integer", "minimum": 1, "maximum": 900}}, "required": ["seconds"]}},
        {"name": "order", "description": "Order a product", "inputSchema": {"type": "object", "$defs": {"line": {"type": "object",
            "properties": {"sku": {"type": "string", "pattern": "^[A-Z]{3}-\\d{4}$"}, "count": {"type": "integer", "multipleOf": 5, "minimum": 5, "maximum": 50}},
            "required": ["sku", "count"]}}, "properties": {"lines": {"type": "array", "items": {"$ref": "#/$defs/line"}}, "express": {"type": "boolean"},
            "discount": {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, "note": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "required": ["lines"]}},
        {"name": "ping", "description": "Ping the service", "inputSchema": {"type": "object"}},
        {"name": "open_ticket", "description": "Open a ticket", "inputSchema": {"type": "object", "properties": {
            "id": {"type": "string", "format": "uuid"}, "when": {"type": "string", "format": "date-time"}, "ip": {"type": ["string", "null"]}}, "required": ["id", "when"]}},
    ]);
    read_tools(&text.to_string()).unwrap().into_iter().map(|(t, _)| t).collect()
}

fn made(options: &MakeOptions) -> MadeSet {
    make(&tools(), options).unwrap()
}

fn seed() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos() as u64
}

fn calls(row: &Value) -> Vec<&Value> {
    row["messages"].as_array().unwrap().iter().filter_map(|m| m["tool_calls"].as_array()).flatten().map(|c| &c["function"]).collect()
}

fn requests(rows: &[Value]) -> HashSet<String> {
    let user = |r: &Value| {
        r["messages"].as_array().unwrap().iter().find(|m| m["role"] == "user").unwrap()["content"].as_str().unwrap().to_lowercase()
    };
    rows.iter().map(user).collect()
}

fn offered(rows: &[Value]) -> BTreeSet<String> {
    rows.iter().flat_map(|r| r["tools"].as_array().unwrap()).map(|t| t["function"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_call_fits_the_schema_of_an_offered_tool() {
    let seed = seed();
    let set = made(&MakeOptions { rows: 1500, seed, kinds: Kind::ALL.to_vec(), ..MakeOptions::default() });
    assert_eq!((set.report.rows, set.report.short_by), (1500, 0), "seed {seed}: {:?}", set.report);
    assert!(set.report.unreachable_tools.is_empty(), "seed {seed}: {:?}", set.report);
    assert!(set.report.invalid_dropped < 150, "seed {seed}: values miss their schemas: {}", set.report.invalid_dropped);
    let mut seen = 0;
    for row in set.parts.values().flatten() {
        for call in calls(row) {
            let tool = row["tools"].as_array().unwrap().iter().find(|t| t["function"]["name"] == call["name"]);
            let schema = &tool.unwrap_or_else(|| panic!("seed {seed}: not offered: {row}"))["function"]["parameters"];
            let check = jsonschema::options().should_validate_formats(true).build(schema).unwrap();
            assert!(check.is_valid(&call["arguments"]), "seed {seed}: {call}");
            seen += 1;
        }
    }
    assert!(seen > 1000, "{seen}");
}

#[test]
fn kinds_do_what_their_names_say() {
    let seed = seed();
    let set = made(&MakeOptions { rows: 600, seed, kinds: Kind::ALL.to_vec(), ..MakeOptions::default() });
    for row in set.parts.values().flatten() {
        let messages = row["messages"].as_array().unwrap();
        let turns: Vec<usize> =
            messages.iter().filter(|m| m["role"] == "assistant").map(|m| m["tool_calls"].as_array().map_or(0, Vec::len)).collect();
        let good = match row["kind"].as_str().unwrap() {
            "single" => turns == [1],
            "reasoning" => turns == [1] && messages.last().unwrap()["reasoning_content"].as_str().is_some_and(|t| t.len() > 20),
            "parallel" => turns == [2],
            "multi_step" => turns == [1, 1, 0],
            "error" => turns == [1, 1, 0] || turns == [1, 0],
            "fallback" => turns == [1, 1],
            "ambiguous" => turns == [0] && messages.last().unwrap()["content"].as_str().unwrap().ends_with(['?', '.']),
            "missing" => turns == [0, 1],
            "no_tool" => turns == [0],
            "unavailable" => turns == [0] && !offered(std::slice::from_ref(row)).contains(row["tool"].as_str().unwrap()),
            other => panic!("{other}"),
        };
        assert!(good, "seed {seed}: {row}");
        if row["kind"] == "multi_step" {
            let result: Value =
                serde_json::from_str(messages.iter().find(|m| m["role"] == "tool").unwrap()["content"].as_str().unwrap()).unwrap();
            let (key, value) = result.as_object().unwrap().iter().next().unwrap();
            assert_eq!(&calls(row)[1]["arguments"][key], value, "seed {seed}: {row}");
        }
    }
    let counts: Vec<usize> = set.report.kinds.values().copied().collect();
    assert_eq!(counts.len(), Kind::ALL.len());
    assert!(*counts.iter().max().unwrap() < 3 * counts.iter().min().unwrap(), "seed {seed}: out of balance: {:?}", set.report.kinds);
}

#[test]
fn what_is_said_is_what_is_called() {
    let seed = seed();
    let set = made(&MakeOptions { rows: 400, seed, kinds: vec![Kind::Single], ..MakeOptions::default() });
    for row in set.parts.values().flatten().filter(|r| r["tool"] == "get_weather") {
        let text = row["messages"].as_array().unwrap().iter().find(|m| m["role"] == "user").unwrap()["content"].as_str().unwrap();
        let city = calls(row)[0]["arguments"]["city"].as_str().unwrap();
        assert!(text.contains(city), "seed {seed}: {text} / {city}");
    }
}

#[test]
fn the_seed_decides_and_parts_share_nothing() {
    let options = MakeOptions { rows: 800, seed: 7, unseen_tools: 2, ..MakeOptions::default() };
    let (a, b) = (made(&options), made(&options));
    assert_eq!(a.parts, b.parts);
    assert_ne!(a.parts, made(&MakeOptions { seed: 8, ..options }).parts);
    let parts: Vec<(&Part, HashSet<String>)> = a.parts.iter().map(|(p, rows)| (p, requests(rows))).collect();
    assert_eq!(parts.len(), 4);
    assert_eq!(parts.iter().map(|(_, r)| r.len()).sum::<usize>(), 800, "a request stands twice");
    for (i, (p, one)) in parts.iter().enumerate() {
        parts[i + 1..].iter().for_each(|(q, other)| assert!(one.is_disjoint(other), "{p:?} and {q:?}"));
    }
    let unseen = offered(&a.parts[&Part::Unseen]);
    assert_eq!(unseen.iter().cloned().collect::<Vec<_>>(), a.report.unseen_tools);
    for part in [Part::Train, Part::Validation, Part::Test] {
        assert!(offered(&a.parts[&part]).is_disjoint(&unseen), "{part:?}");
    }
}

#[test]
fn rows_in_xml_hold_calls_that_are_read_back() {
    let set = made(&MakeOptions { rows: 100, form: RowForm::Xml, kinds: vec![Kind::Single, Kind::Parallel], ..MakeOptions::default() });
    for row in set.parts.values().flatten() {
        let answer = row["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
        let parsed = parse(answer);
        assert!(parsed.is_well_formed() && parsed.text.is_empty(), "{answer}");
        assert_eq!(parsed.calls.len(), if row["kind"] == "single" { 1 } else { 2 }, "{answer}");
        assert_eq!(parsed.calls[0].server.as_deref(), Some("tools"));
    }
}

#[test]
fn all_forms_of_tool_files_give_the_same_tool() {
    let schema =
        json!({"type": "object", "properties": {"n": {"type": "number"}, "o": {"type": "object", "properties": {}}}, "required": ["n"]});
    let bfcl = json!({"type": "dict", "properties": {"n": {"type": "float"}, "o": {"type": "dict", "properties": {}}}, "required": ["n"]});
    let forms = [
        (ToolForm::OpenAi, json!([{"type": "function", "function": {"name": "f", "description": "D", "parameters": schema}}])),
        (ToolForm::Mcp, json!({"tools": [{"name": "f", "description": "D", "inputSchema": schema}]})),
        (
            ToolForm::Mcp,
            json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "f", "description": "D", "inputSchema": schema}]}}),
        ),
        (ToolForm::Anthropic, json!([{"name": "f", "description": "D", "input_schema": schema}])),
        (ToolForm::Plain, json!({"name": "f", "description": "D", "parameters": schema})),
        (ToolForm::Bfcl, json!({"id": "x", "question": [], "function": [{"name": "f", "description": "D", "parameters": bfcl}]})),
    ];
    for (form, document) in forms {
        let (tool, found) = read_tools(&document.to_string()).unwrap().remove(0);
        assert_eq!((found, &tool.name[..], &tool.description[..]), (form, "f", "D"), "{document}");
        assert_eq!(tool.parameters, schema, "{document}");
    }
    let lines = format!("{}\n{}\n", json!({"name": "a", "parameters": bfcl}), json!({"name": "b", "parameters": bfcl}));
    assert_eq!(read_tools(&lines).unwrap().len(), 2);
}

#[test]
fn files_that_hold_no_tools_are_refused_with_the_place() {
    let refused = [
        ("{", "no JSON"),
        ("[]", "no tool"),
        ("[{\"name\": \"\"}]", "[0] the tool has no `name`"),
        ("[3]", "[0] a tool is"),
        ("[{\"name\": \"f\", \"parameters\": {\"type\": \"string\"}}]", "`f`"),
        ("[{\"name\": \"f\", \"parameters\": {\"properties\": {\"a\": {\"type\": \"wrong\"}}}}]", "schema of `f`"),
        ("[{\"name\": \"f\"}, {\"name\": \"f\"}]", "two tools"),
        ("{\"name\": \"f\"}\n{\"name\"", "line 2"),
    ];
    for (text, words) in refused {
        let error = read_tools(text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
    assert!(make(&[], &MakeOptions::default()).is_err());
    let error = make(&tools(), &MakeOptions { unseen_tools: 6, ..MakeOptions::default() }).unwrap_err();
    assert!(error.contains("6 tools cannot be kept unseen"), "{error}");
    // No value fits: the tool is reported, and alone it is an error.
    let never = read_tools(
        "[{\"name\": \"f\", \"parameters\": {\"properties\": {\"a\": {\"type\": \"string\", \"not\": {}}}, \"required\": [\"a\"]}}]",
    )
    .unwrap();
    let never: Vec<Tool> = never.into_iter().map(|(t, _)| t).collect();
    let only_calls = MakeOptions { kinds: vec![Kind::Single], ..MakeOptions::default() };
    assert!(make(&never, &only_calls).unwrap_err().contains("valid call"));
    let both: Vec<Tool> = tools().into_iter().chain(never).collect();
    assert_eq!(make(&both, &only_calls).unwrap().report.unreachable_tools, ["f"]);
}

#[test]
fn rows_of_others_are_taken_where_they_fit() {
    let row = |text: &str, name: &str, arguments: Value| {
        json!({"messages": [{"role": "user", "content": text},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": name, "arguments": arguments}}]}]})
    };
    let rows = [
        row("Weather in Oslo?", "get_weather", json!({"city": "Oslo"})),
        row("weather in oslo", "get_weather", json!({"city": "Oslo"})),
        row("Weather in Rome", "get_weather", json!("{\"city\": \"Rome\"}")),
        row("Weather", "get_weather", json!({"city": 3})),
        row("Weather here", "get_weather", json!({})),
        row("Call", "nothing", json!({})),
        json!({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}),
        json!({"messages": [{"role": "user", "content": "Hi there"}]}),
        json!({"messages": [{"role": "user", "content": "Hm"}, {"role": "assistant", "content": " "}]}),
        json!({}),
        row("Known", "ping", json!({})),
    ];
    let known = [row("known", "ping", json!({}))];
    let taken = append(&rows, &tools(), &known).unwrap();
    assert_eq!((taken.taken, taken.duplicates), (3, 2), "{taken:?}");
    assert_eq!(taken.refused.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [3, 4, 5, 7, 8, 9]);
    assert_eq!((taken.calls["get_weather"], taken.calls["ping"]), (2, 0));
    assert!(taken.rows.iter().all(|r| r["tools"].as_array().unwrap().len() == tools().len()));
}

#[test]
fn ten_thousand_rows_take_seconds() {
    let start = std::time::Instant::now();
    let set = made(&MakeOptions { rows: 10_000, ..MakeOptions::default() });
    assert_eq!(set.report.rows, 10_000, "{:?}", set.report);
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
