//! Files, layouts, bad rows, the tokenizer's folder.

use std::sync::Arc;

use serde_json::json;
use tallow::data::{
    DataError, DataOptions, Dataset, Fields, Format, Layout, OnBadRow, TextTokenizer, check as check_files, read, read_table,
};

use super::{bare_tokenizer, file, lines, problem_list, records_of, tokenizer};

/// Lines of the good rows, and `line: code` of the others.
fn check(name: &str, content: &str, good: &[u64], bad: &[&str]) {
    let set = records_of(name, content, &DataOptions::default());
    assert_eq!(lines(&set.records), good, "{name}");
    assert_eq!(problem_list(&set), bad, "{name}");
}

#[test]
fn every_bad_row_is_named_by_its_line() {
    let rows = [
        r#"{"instruction": "a", "output": "b"}"#,
        "",
        r#"{"instruction": "a", "output": "#,
        r#"{"instruction": "a"}"#,
        r#"["not", "an", "object"]"#,
        r#"{"instruction": "a", "output": ""}"#,
        r#"{"instruction": "a", "output": ["x"]}"#,
        r#"{"instruction": "a", "output": 42}"#,
    ];
    check(
        "rows.jsonl",
        &rows.join("\n"),
        &[1, 8],
        &["3: bad_json", "4: missing_field", "5: not_an_object", "6: empty_output", "7: wrong_type"],
    );
    check("bom.jsonl", "\u{feff}{\"text\": \"a\"}\r\n{\"text\": \"b\"}\r\n", &[1, 2], &[]);
    let array = "[\n  {\"text\": \"a\"},\n\n  {\n    \"text\": \"b\"\n  }, 7,\n  {\"text\": \"\"}\n]\n";
    check("rows.json", array, &[2, 4], &["6: not_an_object", "7: empty_output"]);
    check("rows.csv", "prompt,completion\na,\"b\nc\"\nd,e\nf\n", &[2, 4], &["5: bad_csv"]);
    check("rows.tsv", "prompt\tcompletion\na\tb\n", &[2], &[]);
}

#[test]
fn bad_rows_stop_the_run_unless_skipped() {
    let (_dir, path) = file("rows.jsonl", "{\"text\": \"a b\"}\n{oops\n{\"text\": 1, \"x\n");
    let options = DataOptions::default();
    let set = read(&[&path], &options).unwrap();
    let error = Dataset::encode(&set, &tokenizer(None), &options).unwrap_err();
    let words = error.to_string();
    assert!(words.contains("rows.jsonl:2: not JSON") && words.contains("rows.jsonl:3: not JSON"), "{words}");
    let lenient = DataOptions { on_bad_row: OnBadRow::Skip, ..options };
    let dataset = Dataset::encode(&set, &tokenizer(None), &lenient).unwrap();
    assert_eq!((dataset.len(), dataset.problems.len()), (1, 2));
}

#[test]
fn chats_are_checked_message_by_message() {
    let chat = |messages: serde_json::Value| json!({"messages": messages}).to_string();
    let user = json!({"role": "user", "content": "x"});
    let cases = [
        (chat(json!([user])), "no_assistant"),
        (chat(json!([user, {"role": "robot", "content": "x"}])), "unknown_role"),
        (chat(json!([user, {"role": "assistant", "content": null}])), "empty_output"),
        (chat(json!([user, {"role": "assistant", "content": [{"type": "image_url", "image_url": {}}]}])), "not_text"),
        (chat(json!([user, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}])), "bad_tool_call"),
        (chat(json!([user, {"role": "tool", "content": "x"}, {"role": "assistant", "content": "x"}])), "orphan_tool_reply"),
        (chat(json!([user, {"role": "assistant", "content": "x", "weight": 0}])), "nothing_trained"),
        (chat(json!([user, {"content": "x"}])), "missing_field"),
        (chat(json!([user, "x"])), "wrong_type"),
    ];
    for (row, code) in cases {
        let set = records_of("rows.jsonl", &row, &DataOptions::default());
        assert_eq!(problem_list(&set), [format!("1: {code}")], "{row}");
    }
}

#[test]
fn layouts_are_detected_with_a_reason() {
    let cases = [
        (json!({"instruction": "a", "input": "", "output": "b"}), Layout::Alpaca, "`instruction` and `output`"),
        (
            json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
            Layout::Chat,
            "a list of {role, content}",
        ),
        (
            json!({"conversations": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
            Layout::Chat,
            "`conversations`",
        ),
        (
            json!({"messages": "[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}]"}),
            Layout::Chat,
            "`messages`",
        ),
        (
            json!({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}),
            Layout::Sharegpt,
            "a list of {from, value}",
        ),
        (json!({"prompt": "a", "response": "b"}), Layout::Completion, "`prompt` and `response`"),
        (json!({"text": "a", "meta": 1}), Layout::Text, "`text`"),
    ];
    for (row, layout, reason) in cases {
        let set = records_of("rows.jsonl", &row.to_string(), &DataOptions::default());
        assert_eq!(set.files[0].layout, Some(layout), "{row}");
        assert!(set.files[0].layout_reason.contains(reason), "{}", set.files[0].layout_reason);
        assert_eq!(set.records.len(), 1, "{row}: {:?}", set.problems);
    }
}

#[test]
fn unknown_layouts_say_what_to_set() {
    let cases = [
        (json!({"question": "a", "answer": "b"}), "instruction_field: question"),
        (json!({"prompt": "x", "chosen": "a", "rejected": "b"}), "preference"),
        (json!({"x": 1}), "dataset.layout"),
    ];
    for (row, hint) in cases {
        let (_dir, path) = file("rows.jsonl", row.to_string());
        let error = read(&[&path], &DataOptions::default()).unwrap_err();
        assert_eq!(error.code(), "data_unknown_layout");
        assert!(error.hint().unwrap().contains(hint), "{error} {:?}", error.hint());
    }
}

#[test]
fn broken_files_are_errors() {
    let cases = [
        ("a.json", "[{\"text\": \"a\"}, {oops]", "line 1"),
        ("a.json", "[\n{\"text\": \"a\"}\n", "expected a comma or the closing bracket"),
        ("a.json", "[", "no closing bracket"),
        ("a.csv", "a,a\n1,2\n", "twice"),
        ("a.parquet", "PAR1 nonsense", "not a readable Parquet file"),
        ("a.txt", "hello", "format"),
    ];
    for (name, content, words) in cases {
        let (_dir, path) = file(name, content);
        let error = read(&[&path], &DataOptions::default()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let missing = read(&["/no/such/file.jsonl".as_ref()], &DataOptions::default()).unwrap_err();
    assert_eq!(missing.code(), "data_unreadable");
    for empty in ["", "\n\n"] {
        let set = records_of("empty.jsonl", empty, &DataOptions::default());
        assert!(matches!(Dataset::encode(&set, &tokenizer(None), &DataOptions::default()), Err(DataError::Empty { .. })));
    }
}

#[test]
fn parquet_rows_match_json() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.parquet");
    write_parquet(&path);
    let table = read_table(&path, None).unwrap();
    assert_eq!(table.format, Format::Parquet);
    let rows: Vec<String> = table.rows.iter().map(|r| serde_json::to_string(&r.fields).unwrap()).collect();
    // The second message has no name: a struct column says null there, the row says nothing.
    assert_eq!(
        rows,
        [
            r#"{"messages":[{"role":"user","content":"Hi","name":"Ann"},{"role":"assistant","content":"Hello"}],"score":0.5}"#,
            r#"{"messages":[{"role":"assistant","content":null}],"score":1.0}"#,
        ]
    );
    let set = read(&[&path], &DataOptions::default()).unwrap();
    assert_eq!(set.records[0].at.to_string(), format!("{}:row 1", path.display()));
    assert_eq!(problem_list(&set), ["2: empty_output"]);
}

pub fn write_parquet(path: &std::path::Path) {
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
    use parquet::file::writer::SerializedFileWriter;
    let schema = "message rows { required group messages (LIST) { repeated group list { required group element {
        required binary role (UTF8); optional binary content (UTF8); optional binary name (UTF8); } } } required double score; }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(std::fs::File::create(path).unwrap(), schema, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let text = |values: &[&str]| -> Vec<ByteArray> { values.iter().map(|v| ByteArray::from(*v)).collect() };
    // (values, definition levels, repetition levels) of role, content, name: two messages, then one.
    let columns: [(Vec<ByteArray>, [i16; 3]); 3] =
        [(text(&["user", "assistant", "assistant"]), [1, 1, 1]), (text(&["Hi", "Hello"]), [2, 2, 1]), (text(&["Ann"]), [2, 1, 1])];
    for (values, definition) in columns {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&values, Some(&definition), Some(&[0, 1, 0])).unwrap();
        column.close().unwrap();
    }
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<DoubleType>().write_batch(&[0.5, 1.0], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn the_check_reports_signs_and_figures() {
    let rows = [
        json!({"prompt": "What is it?", "completion": "A fox"}),
        json!({"prompt": "what  is it?", "completion": "a FOX"}),
        json!({"prompt": "What is it?", "completion": "A dog"}),
        json!({"prompt": "echo", "completion": "echo"}),
        json!({"prompt": "p", "completion": "bad \u{fffd}"}),
        json!({"prompt": "p2", "completion": "a b c d ".repeat(20)}),
        json!({"prompt": "p3", "completion": ""}),
        json!({"prompt": "p4"}),
    ];
    let (_dir, path) = file("rows.jsonl", rows.map(|r| r.to_string()).join("\n"));
    let (report, dataset) = check_files(&[&path], &DataOptions::default(), Some(&tokenizer(None))).unwrap();
    let s = &report.signs;
    let found = [&s.duplicates, &s.conflicting, &s.echoes, &s.broken_characters, &s.repetitive, &s.empty_outputs]
        .map(|sign| (sign.rows, sign.first[0].line));
    assert_eq!(found, [(1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (1, 7)]);
    assert_eq!((report.rows, report.usable_rows, report.bad_rows, report.skipped_rows), (8, 6, 1, 1));
    let counts = report.counts.unwrap();
    let dataset = dataset.unwrap();
    assert_eq!(counts.tokens, dataset.examples.iter().map(|e| e.len() as u64).sum::<u64>());
    assert!(counts.lengths.p50 <= counts.lengths.p90 && counts.lengths.p99 <= counts.lengths.max);
    let json = serde_json::to_value(&report.problems).unwrap();
    assert_eq!(json[1]["code"], "missing_field");
}

#[test]
fn field_names_can_be_set() {
    let fields = Fields { instruction: "question".into(), output: "answer".into(), quality: Some("score".into()), ..Fields::default() };
    let options = DataOptions { fields, ..DataOptions::default() };
    let rows = r#"{"question": "a", "answer": "b", "score": 9}
{"question": "a", "answer": "b", "score": "low"}
{"question": "a", "answer": "b", "score": "2"}
{"question": "a", "answer": "b"}"#;
    let set = records_of("rows.jsonl", rows, &options);
    assert_eq!(set.files[0].layout, Some(Layout::Alpaca));
    let dataset = Dataset::encode(&set, &tokenizer(None), &options).unwrap();
    assert_eq!(dataset.examples.iter().map(|e| e.weight).collect::<Vec<_>>(), [2.5, 1.0, 1.0, 1.0]);
    assert_eq!((dataset.counts.high_quality_rows, dataset.counts.rows_without_quality), (1, 1));
}

#[test]
fn a_tokenizer_folder_is_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let missing = TextTokenizer::load(dir.path()).unwrap_err();
    assert_eq!(missing.code(), "tokenizer_unreadable");
    let mut saved = bare_tokenizer();
    saved.with_truncation(Some(tokenizers::TruncationParams { max_length: 3, ..Default::default() })).unwrap();
    saved.save(dir.path().join("tokenizer.json"), false).unwrap();
    let next = saved.get_vocab_size(true);
    write("special_tokens_map.json", r#"{"bos_token": "<s>", "eos_token": "ignored"}"#);
    let config = json!({
        "eos_token": {"content": "</s>", "special": true},
        "added_tokens_decoder": {next.to_string(): {"content": "<extra>", "special": true}},
        "chat_template": [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "{{ eos_token }}!"}],
    });
    write("tokenizer_config.json", &config.to_string());
    let loaded = TextTokenizer::load(dir.path()).unwrap();
    assert_eq!((loaded.special("bos_token"), loaded.special("eos_token"), loaded.pad_id()), (Some("<s>"), Some("</s>"), None));
    assert_eq!(loaded.inner().token_to_id("<extra>"), Some(next as u32));
    assert!(loaded.encode("a much longer text than three tokens", true).unwrap().len() > 3, "saved truncation is off");
    assert_eq!(loaded.chat_template().unwrap().render(&[], &[], false).unwrap(), "</s>!");
    write("chat_template.jinja", "from the file");
    assert_eq!(TextTokenizer::load(&dir.path().join("tokenizer.json")).unwrap().chat_template().unwrap().source(), "from the file");
    write("tokenizer_config.json", "{broken");
    assert!(TextTokenizer::load(dir.path()).unwrap_err().to_string().contains("tokenizer_config.json"));
}
