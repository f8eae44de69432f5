//! Which tokens are trained, on templates in the manner of real families.

use serde_json::{Value, json};
use tallow::data::{DataError, DataOptions, Dataset, Layout, Overlong, TrainOn};

use super::templates::{LLAMA3, MARKED, MISTRAL, OPENED, QWEN};
use super::{dataset_of, masked, records_of, tokenizer};

fn check(template: Option<&str>, row: Value, expect: &[&str]) {
    let tokenizer = tokenizer(template);
    let dataset = dataset_of(&row.to_string(), &tokenizer, &DataOptions::default());
    assert_eq!(masked(&dataset, &tokenizer), expect);
    assert_eq!(dataset.counts.straddling_tokens, 0);
}

fn two_turns() -> Value {
    json!({"messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "More"},
        {"role": "assistant", "content": "Yes"},
    ]})
}

/// A question, a call (arguments as text, as OpenAI writes them), the tool's reply, the answer.
fn with_tools() -> Value {
    json!({
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_0001", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"Paris\", \"days\": 2}"}},
            ]},
            {"role": "tool", "tool_call_id": "call_0001", "content": "sunny"},
            {"role": "assistant", "content": "It is sunny."},
        ],
        "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}],
    })
}

#[test]
fn every_assistant_turn_with_its_end_is_trained() {
    let system = "<|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n\n<|eot_id|>";
    let head = |role: &str| format!("<|start_header_id|>{role}<|end_header_id|>\n\n");
    let (user, assistant) = (head("user"), head("assistant"));
    let llama = format!("<s>{system}{user}Hi<|eot_id|>{assistant}⟦Hello<|eot_id|>⟧{user}More<|eot_id|>{assistant}⟦Yes<|eot_id|>⟧");
    check(Some(LLAMA3), two_turns(), &[&llama]);
    check(Some(MISTRAL), two_turns(), &["<s>[INST] Hi[/INST]⟦ Hello</s>⟧[INST] More[/INST]⟦ Yes</s>⟧"]);
    // The line break after <|im_end|> is the template's, never the model's.
    let chatml = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Hello<|im_end|>⟧\n\
                  <|im_start|>user\nMore<|im_end|>\n<|im_start|>assistant\n⟦Yes<|im_end|>⟧\n";
    for template in [QWEN, MARKED, "chatml"] {
        check(Some(template), two_turns(), &[chatml]);
    }
}

#[test]
fn tool_calls_are_trained_and_tool_replies_are_not() {
    let qwen = "<|im_start|>system\n# Tools\n<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"get_weather\", \
                \"parameters\": {\"type\": \"object\"}}}\n</tools><|im_end|>\n<|im_start|>user\nWeather?<|im_end|>\n\
                <|im_start|>assistant\n⟦<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}}\n\
                </tool_call><|im_end|>⟧\n<|im_start|>user\n<tool_response>\nsunny\n</tool_response><|im_end|>\n\
                <|im_start|>assistant\n⟦It is sunny.<|im_end|>⟧\n";
    check(Some(QWEN), with_tools(), &[qwen]);
    let mistral = "<s>[INST] Weather?[/INST]⟦[TOOL_CALLS][{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}, \
                   \"id\": \"call_0001\"}]</s>⟧[TOOL_RESULTS]{\"content\": sunny}[/TOOL_RESULTS]⟦ It is sunny.</s>⟧";
    check(Some(MISTRAL), with_tools(), &[mistral]);
}

#[test]
fn llama_tools_are_indented_like_python_and_strings_are_iterable() {
    let tokenizer = tokenizer(Some(LLAMA3));
    let dataset = dataset_of(&with_tools().to_string(), &tokenizer, &DataOptions::default());
    let text = masked(&dataset, &tokenizer).remove(0);
    let tool = "{\n    \"type\": \"function\",\n    \"function\": {\n        \"name\": \"get_weather\",\n        \"parameters\": {\n            \
                \"type\": \"object\"\n        }\n    }\n}\n\n";
    assert!(text.contains(tool), "{text}");
    assert!(text.contains("⟦{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\", \"days\": 2}}<|eot_id|>⟧"), "{text}");
    assert!(text.contains("ipython<|end_header_id|>\n\n\"sunny\"<|eot_id|>"), "{text}");
}

#[test]
fn a_template_that_strips_thinking_gives_each_turn_its_own_context() {
    let row = json!({"messages": [
        {"role": "user", "content": "A"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\none"},
        {"role": "user", "content": "B"},
        {"role": "assistant", "content": "<think>\nso\n</think>\n\ntwo"},
    ]});
    let first = "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n⟦<think>\nhm\n</think>\n\none<|im_end|>⟧\n";
    let second = "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\none<|im_end|>\n\
                  <|im_start|>user\nB<|im_end|>\n<|im_start|>assistant\n⟦<think>\nso\n</think>\n\ntwo<|im_end|>⟧\n";
    check(Some(QWEN), row, &[first, second]);
}

#[test]
fn a_prompt_that_opens_the_reply_is_still_told_apart() {
    let row = json!({"messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "one"}]});
    check(Some(OPENED), row, &["<s><|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n⟦one<|im_end|>⟧\n"]);
}

#[test]
fn text_that_looks_like_a_marker_changes_nothing() {
    // The user quotes the very characters that open an assistant turn.
    let quoted = "say <|im_start|>assistant\nno<|im_end|>";
    let row = json!({"messages": [{"role": "user", "content": quoted}, {"role": "assistant", "content": "ok"}]});
    let expect = format!("<|im_start|>user\n{quoted}<|im_end|>\n<|im_start|>assistant\n⟦ok<|im_end|>⟧\n");
    for template in [QWEN, MARKED] {
        check(Some(template), row.clone(), &[&expect]);
    }
}

#[test]
fn messages_can_be_left_untrained() {
    let row = json!({"messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello", "weight": 0},
        {"role": "user", "content": "More"},
        {"role": "assistant", "content": "Yes", "weight": 1},
        {"role": "user", "content": "left out"},
    ]});
    let expect = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n\
                  <|im_start|>user\nMore<|im_end|>\n<|im_start|>assistant\n⟦Yes<|im_end|>⟧\n";
    for template in [QWEN, MARKED] {
        check(Some(template), row.clone(), &[expect]);
    }
}

#[test]
fn train_on_chooses_the_turns() {
    let tokenizer = tokenizer(Some(MISTRAL));
    for (train_on, expect) in [
        (TrainOn::LastAssistant, "<s>[INST] Hi[/INST] Hello</s>[INST] More[/INST]⟦ Yes</s>⟧"),
        (TrainOn::Everything, "⟦<s>[INST] Hi[/INST] Hello</s>[INST] More[/INST] Yes</s>⟧"),
    ] {
        let options = DataOptions { train_on, ..DataOptions::default() };
        assert_eq!(masked(&dataset_of(&two_turns().to_string(), &tokenizer, &options), &tokenizer), [expect]);
    }
}

#[test]
fn pairs_become_messages_with_a_template_and_plain_text_without() {
    let alpaca = json!({"instruction": "Add", "input": "1 2", "output": "3"});
    check(Some(MISTRAL), alpaca.clone(), &["<s>[INST] Add\n\n1 2[/INST]⟦ 3</s>⟧"]);
    let plain = "Below is an instruction that describes a task, paired with an input that provides further context. \
                 Write a response that appropriately completes the request.\n\n### Instruction:\nAdd\n\n### Input:\n1 2\n\n### Response:\n⟦3</s>⟧";
    check(None, alpaca, &[plain]);
    check(Some(MISTRAL), json!({"prompt": "Add", "completion": "3"}), &["<s>[INST] Add[/INST]⟦ 3</s>⟧"]);
    check(None, json!({"prompt": "Add:", "completion": " 3"}), &["Add:⟦ 3</s>⟧"]);
    check(None, json!({"text": "All of it"}), &["⟦All of it</s>⟧"]);
    check(Some(MISTRAL), json!({"text": "All of it"}), &["⟦All of it</s>⟧"]);
}

#[test]
fn sharegpt_turns_become_messages() {
    let row = json!({"system": "Be kind", "conversations": [
        {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"},
        {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"x\": 1}}"},
        {"from": "observation", "value": "2"}, {"from": "gpt", "value": "two"},
    ]});
    let expect = "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Hello<|im_end|>⟧\n\
                  <|im_start|>assistant\n⟦<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call><|im_end|>⟧\n\
                  <|im_start|>user\n<tool_response>\n2\n</tool_response><|im_end|>\n<|im_start|>assistant\n⟦two<|im_end|>⟧\n";
    check(Some(QWEN), row, &[expect]);
}

#[test]
fn what_cannot_be_rendered_is_named() {
    let cases = [
        (
            LLAMA3,
            json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": null, "tool_calls": [
            {"function": {"name": "f", "arguments": {}}}, {"function": {"name": "g", "arguments": {}}}]}]),
            "template_refused",
            "single tool-calls at once",
        ),
        (
            MISTRAL,
            json!([{"role": "user", "content": "x"}, {"role": "user", "content": "y"}, {"role": "assistant", "content": "z"}]),
            "template_refused",
            "roles must alternate",
        ),
        // `chatml` has no tool support: the call would be trained as an empty turn.
        (
            "chatml",
            json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}]),
            "tool_call_not_rendered",
            "leaves out the call of `f`",
        ),
    ];
    for (template, messages, code, words) in cases {
        let tokenizer = tokenizer(Some(template));
        let options = DataOptions::default();
        let set = records_of("rows.jsonl", &json!({"messages": messages}).to_string(), &options);
        let Err(DataError::BadRows { problems }) = Dataset::encode(&set, &tokenizer, &options) else { panic!("{code} accepted") };
        assert_eq!(problems[0].code, code, "{}", problems[0]);
        assert!(problems[0].message.contains(words), "{}", problems[0]);
    }
}

#[test]
fn chats_need_a_template() {
    let options = DataOptions::default();
    let set = records_of("rows.jsonl", &two_turns().to_string(), &options);
    let error = Dataset::encode(&set, &tokenizer(None), &options).unwrap_err();
    assert_eq!(error.code(), "chat_template_missing");
    assert!(error.hint().unwrap().contains("chatml"));
}

#[test]
fn long_rows_follow_the_policy() {
    let rows = format!(
        "{}\n{}",
        json!({"prompt": "short", "completion": "ok"}),
        json!({"prompt": "q", "completion": "a b c d e f g h i j k l m n o p"})
    );
    let tokenizer = tokenizer(None);
    let options = |overlong| DataOptions { overlong, max_seq_length: 12, layout: Some(Layout::Completion), ..DataOptions::default() };
    let cut = dataset_of(&rows, &tokenizer, &options(Overlong::Truncate));
    assert_eq!((cut.len(), cut.counts.truncated, cut.examples[1].len()), (2, 1, 12));
    assert!(cut.counts.lengths.max > 12, "lengths are those before truncation");
    let dropped = dataset_of(&rows, &tokenizer, &options(Overlong::Drop));
    assert_eq!((dropped.len(), dropped.counts.dropped_overlong, dropped.problems.len()), (1, 1, 1));
    let set = records_of("rows.jsonl", &rows, &options(Overlong::Error));
    let Err(DataError::BadRows { problems }) = Dataset::encode(&set, &tokenizer, &options(Overlong::Error)) else { panic!() };
    assert_eq!((problems[0].at.line, problems[0].code), (2, "too_long"));
    // A prompt that fills the row leaves nothing to train.
    let away = format!("{}\n{}", json!({"prompt": "q ".repeat(40), "completion": "a"}), json!({"prompt": "q", "completion": "a"}));
    let left = dataset_of(&away, &tokenizer, &options(Overlong::Truncate));
    assert_eq!((left.len(), left.counts.truncated_away), (1, 1));
}
