//! The leaderboard's rules against its published checker.

use serde_json::{Value, json};
use tallow::data::calls::{Parsed, ToolCall};
use tallow::eval::tools::bfcl::{Expect, Language, Question, check, perfect, read};

const GOLDEN: &str = include_str!("bfcl/bfcl.jsonl");

fn question(row: &Value) -> Question {
    let category = row["category"].as_str().unwrap();
    let expect = match () {
        () if category.contains("parallel") => Expect::Parallel,
        () if category.contains("multiple") => Expect::Multiple,
        () => Expect::Simple,
    };
    let language = match row["language"].as_str().unwrap() {
        "java" => Language::Java,
        "javascript" => Language::Javascript,
        _ => Language::Python,
    };
    let list = |key: &str| row[key].as_array().unwrap().clone();
    Question { id: "q".into(), expect, language, messages: Vec::new(), functions: list("function"), ground_truth: list("ground_truth") }
}

fn parsed(calls: &Value) -> Parsed {
    let call = |c: &Value| {
        let (name, arguments) = c.as_object().unwrap().iter().next().unwrap();
        ToolCall::new(name.clone(), arguments.as_object().unwrap().clone())
    };
    Parsed { calls: calls.as_array().unwrap().iter().map(call).collect(), ..Parsed::default() }
}

/// Names of faults of answers that the checker's own code stumbles over, or that it only counts elsewhere.
fn same_type(ours: &str, theirs: &str) -> bool {
    ours == theirs || theirs.starts_with("crash:") || ours == "ast_decoder:decoder_failed" && theirs.ends_with(":wrong_count")
}

#[test]
fn odd_answers_are_judged_as_the_published_checker_judges_them() {
    let mut seen = 0;
    for row in GOLDEN.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()) {
        let question = question(&row);
        for answer in row["answers"].as_array().unwrap() {
            // A dot may stand as an underscore here, whatever model wrote it: there it depends on the model.
            if answer["calls"][0].get("trip_book").is_some() {
                continue;
            }
            let verdict = check(&question, &parsed(&answer["calls"]));
            let context = format!("{} {}: {verdict:?}, published: {answer}", row["category"], answer["calls"]);
            assert_eq!(verdict.valid, answer["valid"].as_bool().unwrap(), "{context}");
            assert!(same_type(&verdict.error_type, answer["error_type"].as_str().unwrap()), "{context}");
            seen += 1;
        }
        let perfect = Parsed { calls: perfect(&question), ..Parsed::default() };
        assert!(check(&question, &perfect).valid, "{:?}", check(&question, &perfect));
    }
    assert!(seen >= 100, "{seen}");
}

#[test]
fn relevance_is_whether_a_call_was_made() {
    let row = json!({"category": "simple", "language": "python", "function": [{"name": "f", "parameters": {"type": "dict", "properties": {}, "required": []}}], "ground_truth": []});
    let mut question = question(&row);
    let (none, call) = (Parsed::default(), parsed(&json!([{"f": {}}])));
    let broken = tallow::data::calls::parse("<tool_call>{\"name\": \"f\"");
    for (expect, rights) in [(Expect::Irrelevance, [true, false, true]), (Expect::Relevance, [false, true, false])] {
        question.expect = expect;
        for (answer, right) in [&none, &call, &broken].into_iter().zip(rights) {
            assert_eq!(check(&question, answer).valid, right, "{expect:?} {answer:?}");
        }
    }
}

#[test]
fn files_are_read_with_their_ground_truth_and_faults_name_the_line() {
    let folder = std::env::temp_dir().join(format!("tallow-bfcl-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("possible_answer")).unwrap();
    let file = folder.join("BFCL_v4_simple_java.json");
    let line = json!({"id": "a", "question": [[{"role": "user", "content": "q"}]], "function": [{"name": "g.f", "description": "d.", "parameters": {"type": "dict",
        "properties": {"n": {"type": "ArrayList", "items": {"type": "long"}, "description": "Numbers."}}, "required": ["n"]}}]});
    std::fs::write(&file, format!("{line}\n")).unwrap();
    std::fs::write(
        folder.join("possible_answer/BFCL_v4_simple_java.json"),
        "{\"id\": \"a\", \"ground_truth\": [{\"g.f\": {\"n\": [[1, 2]]}}]}\n",
    )
    .unwrap();
    let questions = read(&file).unwrap();
    assert_eq!((questions[0].expect, questions[0].language), (Expect::Simple, Language::Java));
    assert_eq!(perfect(&questions[0])[0].arguments["n"], "new ArrayList<>(Arrays.asList(1L, 2L))");
    let tool = &questions[0].tools()[0]["function"];
    assert_eq!(tool["parameters"]["properties"]["n"]["type"], "string");
    assert!(tool["parameters"]["properties"]["n"]["description"].as_str().unwrap().contains("Java"));
    std::fs::write(&file, format!("{line}\n{{\"id\": \"b\"}}\n")).unwrap();
    assert!(read(&file).unwrap_err().at.ends_with("java.json:2"));
    assert!(read(&folder.join("other.json")).unwrap_err().message.contains("category"));
    std::fs::remove_dir_all(&folder).unwrap();
}
