//! `tallow data make-tools`, run as a user runs it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::program::{Desk, drawn_seed};

const TOOLS: &str = r#"[
  {"name": "get_weather", "description": "Get the weather of a city", "inputSchema": {"type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}}, "required": ["city"]}},
  {"name": "set_timer", "description": "Set a timer", "inputSchema": {"type": "object",
    "properties": {"minutes": {"type": "integer", "minimum": 1, "maximum": 90}}, "required": ["minutes"]}},
  {"name": "send_message", "description": "Send a message to a person", "inputSchema": {"type": "object",
    "properties": {"person": {"type": "string"}, "text": {"type": "string"}}, "required": ["person", "text"]}}
]"#;

#[test]
fn a_file_of_tools_becomes_rows_that_can_be_trained() {
    let desk = Desk::new();
    desk.write("tools.json", TOOLS);
    let seed = drawn_seed().to_string();
    for form in ["chat", "xml"] {
        let args =
            ["data", "make-tools", "tools.json", "--out", form, "--rows", "200", "--seed", &seed, "--form", form, "--unseen-tools", "1"];
        let report = desk.json(&args);
        assert_eq!(report["rows"], 200, "seed {seed}: {report}");
        assert_eq!(report["unseen_tools"].as_array().unwrap().len(), 1, "seed {seed}");
        for part in ["train", "validation", "test", "unseen"] {
            let file = format!("{form}/{part}.jsonl");
            let check = desk.json(&["data", "check", &file, "--metadata-field", "kind", "--metadata-field", "tool"]);
            assert_eq!((&check["bad_rows"], &check["skipped_rows"]), (&Value::from(0), &Value::from(0)), "seed {seed}, {file}: {check}");
            assert_eq!(check["usable_rows"], report["parts"][part], "seed {seed}, {file}");
        }
    }
    let again = desk.run(&["data", "make-tools", "tools.json", "--out", "chat"]);
    assert_eq!(again.code, 1, "{}", again.err);
    assert!(again.err.contains("train.jsonl exists already"), "{}", again.err);
}

#[test]
fn the_same_seed_gives_the_same_files() {
    let desk = Desk::new();
    desk.write("tools.json", TOOLS);
    let make = |out: &str, seed: &str| {
        desk.ok(&["data", "make-tools", "tools.json", "--out", out, "--rows", "120", "--seed", seed]);
        std::fs::read(desk.path().join(out).join("train.jsonl")).unwrap()
    };
    let first = make("a", "3");
    assert_eq!(first, make("b", "3"));
    assert_ne!(first, make("c", "4"));
}

#[test]
fn bad_requests_say_what_to_do() {
    let desk = Desk::new();
    desk.write("tools.json", TOOLS);
    desk.write("empty.json", "[]");
    desk.write("no.py", "print(1)");
    let program = env!("CARGO_BIN_EXE_tallow");
    let silent = format!("{program} --version");
    let cases: [(&[&str], &str); 9] = [
        (&["--out", "x"], "no tools are named"),
        (&["none.json", "--out", "x"], "none.json"),
        (&["empty.json", "--out", "x"], "there is no tool in it"),
        (&["no.py", "--out", "x"], "no JSON"),
        (&["tools.json", "tools.json", "--out", "x"], "second tool called `get_weather`"),
        (&["tools.json", "--out", "x", "--kinds", "single,double"], "no kind of rows `double`"),
        (&["tools.json", "--out", "x", "--unseen-tools", "3"], "3 tools cannot be kept unseen"),
        (&["--server", "no-such-program-here", "--out", "x"], "cannot start `no-such-program-here`"),
        (&["--server", &silent, "--out", "x"], "does not greet"),
    ];
    for (args, words) in cases {
        let args: Vec<&str> = ["data", "make-tools"].iter().chain(args).copied().collect();
        let said = desk.run(&args);
        assert_ne!(said.code, 0, "{args:?}");
        assert!(said.err.contains(words), "{args:?}: {}", said.err);
        assert!(!desk.path().join("x").exists(), "{args:?} left something behind");
    }
}

#[test]
fn tools_of_a_live_server_are_read_over_both_transports() {
    let desk = Desk::new();
    let program = env!("CARGO_BIN_EXE_tallow");
    let report = desk.json(&["data", "make-tools", "--server", &format!("{program} mcp"), "--out", "stdio", "--rows", "150"]);
    assert_eq!(report["rows"], 150);
    let tools = report["sources"][0]["tools"].as_array().unwrap().clone();
    assert!(tools.contains(&Value::from("validate_dataset")), "{tools:?}");
    let mut server = desk.command(&["mcp", "--http", "127.0.0.1:0"]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let address = lines.find_map(|l| l.unwrap().split("http://").nth(1).map(|a| a.split_whitespace().next().unwrap().to_owned()));
    let url = format!("http://{}", address.unwrap().trim_end_matches(['.', ',']));
    let report = desk.run(&["data", "make-tools", "--url", &url, "--out", "http", "--rows", "150", "--json"]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(report.code, 0, "{url}: {}", report.err);
    let over_http: Value = serde_json::from_str(&report.out).unwrap();
    assert_eq!(over_http["sources"][0]["tools"].as_array().unwrap(), &tools);
    // The same tools make the same rows, wherever they came from.
    let read = |folder: &str| std::fs::read(desk.path().join(folder).join("train.jsonl")).unwrap();
    assert_eq!(read("stdio"), read("http"));
}
