//! Situations that users of fine-tuning tools reported: what is trained, what is told, what is refused.

use serde_json::{Value, json};
use tallow::data::{DataError, DataOptions, Dataset, Fields, Layout, TextTokenizer, check, prompt_of, read, settle_template};

use super::templates::{MISTRAL, QWEN};
use super::{bare_tokenizer, dataset_of, file, masked, problem_list, records_of, tokenizer, tokens};

const CHATML: &str = "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}\
                      {%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}";

fn shown(template: &str, rows: &[Value]) -> Vec<String> {
    let tokenizer = tokenizer(Some(template));
    let rows: String = rows.iter().map(|r| format!("{r}\n")).collect();
    masked(&dataset_of(&rows, &tokenizer, &DataOptions::default()), &tokenizer)
}

fn unread(rows: &[Value], options: &DataOptions) -> Vec<(String, usize)> {
    let rows: String = rows.iter().map(|r| format!("{r}\n")).collect();
    let (_dir, path) = file("rows.jsonl", rows);
    let (report, _) = check(&[&path], options, Some(&tokenizer(Some(CHATML)))).unwrap();
    report.unread.into_iter().map(|u| (u.name, u.rows)).collect()
}

fn turns(answer: Value) -> Value {
    json!([{"role": "user", "content": "Q"}, answer])
}

fn ask(answer: &str) -> Value {
    turns(json!({"role": "assistant", "content": answer}))
}

#[test]
fn a_system_column_becomes_the_system_turn_in_every_layout() {
    let expect = "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n⟦A<|im_end|>⟧\n";
    for name in ["system", "system_prompt"] {
        for row in [
            json!({"messages": ask("A")}),
            json!({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}),
            json!({"instruction": "Q", "output": "A"}),
            json!({"prompt": "Q", "completion": "A"}),
            json!({"prompt": [{"role": "user", "content": "Q"}], "completion": [{"role": "assistant", "content": "A"}]}),
        ] {
            let mut row = row;
            row[name] = json!("Be kind");
            assert_eq!(shown(CHATML, std::slice::from_ref(&row)), [expect], "{row}");
        }
    }
    // A conversation that begins with its own system turn keeps it.
    let own = json!({"system": "Other", "messages": [{"role": "system", "content": "Be kind"}, ask("A")[0], ask("A")[1]]});
    assert_eq!(shown(CHATML, &[own]), [expect]);
}

#[test]
fn columns_that_nothing_reads_are_counted() {
    let rows = [
        json!({"messages": ask("A"), "id": 1, "source": "x", "empty": "", "metadata": {"k": 1}}),
        json!({"messages": turns(json!({"role": "assistant", "content": "A", "audio": null, "citations": [1]})), "id": 2}),
    ];
    let expect = [("id".to_owned(), 2), ("source".to_owned(), 1), ("messages[].citations".to_owned(), 1)];
    assert_eq!(unread(&rows, &DataOptions::default()), expect);
    let mut options = DataOptions::default();
    options.fields.metadata.extend(["id".to_owned(), "source".to_owned()]);
    assert_eq!(unread(&rows, &options), [("messages[].citations".to_owned(), 1)]);
    let alpaca = [json!({"instruction": "q", "output": "a", "context": "c", "text": "t", "score": 3})];
    assert_eq!(unread(&alpaca, &DataOptions::default()), [("score".to_owned(), 1), ("text".to_owned(), 1)]);
}

#[test]
fn history_context_and_reasoning_beside_an_answer_are_trained() {
    let row = json!({"instruction": "Q2", "context": "C", "output": "A2", "history": [["Q1", "A1"]], "system": "S"});
    let expect = "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ1<|im_end|>\n<|im_start|>assistant\n⟦A1<|im_end|>⟧\n\
                  <|im_start|>user\nQ2\n\nC<|im_end|>\n<|im_start|>assistant\n⟦A2<|im_end|>⟧\n";
    assert_eq!(shown(CHATML, &[row]), [expect]);
    for name in ["thinking", "reasoning", "reasoning_content"] {
        let mut row = json!({"instruction": "Q", "output": "A"});
        row[name] = json!("R");
        let expect = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n⟦<think>\nR\n</think>\n\nA<|im_end|>⟧\n";
        assert_eq!(shown("hermes", std::slice::from_ref(&row)), [expect]);
        // A template that loses it is refused, in rows and in messages alike.
        let mut message = json!({"role": "assistant", "content": "A"});
        message[name] = json!("R");
        for row in [row, json!({"messages": turns(message)})] {
            let error = refusal(CHATML, &row);
            assert_eq!(error.0, "reasoning_not_rendered", "{row}");
        }
    }
}

/// Code and words of the only bad row.
fn refusal(template: &str, row: &Value) -> (&'static str, String) {
    let (tokenizer, options) = (tokenizer(Some(template)), DataOptions::default());
    let set = records_of("rows.jsonl", &row.to_string(), &options);
    match Dataset::encode(&set, &tokenizer, &options) {
        Err(DataError::BadRows { problems }) => (problems[0].code, problems[0].message.clone()),
        other => panic!("{row} was taken: {other:?}"),
    }
}

/// Columns that would change what a row teaches, beside layouts that do not read them.
#[test]
fn columns_that_change_the_meaning_are_refused_in_every_layout() {
    let layouts = [
        json!({"messages": ask("A")}),
        json!({"prompt": "Q", "completion": "A"}),
        json!({"text": "T"}),
        json!({"instruction": "Q", "output": "A"}),
    ];
    let everywhere =
        [("label", json!(0)), ("kto_tag", json!("1")), ("desirable", json!(1.0)), ("images", json!(["a.png"])), ("audio", json!("a.wav"))];
    let beside_messages = [("history", json!([["a", "b"]])), ("reasoning_content", json!("R")), ("thinking", json!("R"))];
    let beside_text = [("system", json!("S")), ("system_prompt", json!("S")), ("reasoning", json!("R"))];
    let with = |row: &Value, (name, value): &(&str, Value)| {
        let mut row = row.clone();
        row[*name] = value.clone();
        row
    };
    let rows = layouts.iter().flat_map(|row| everywhere.iter().map(|c| with(row, c)).collect::<Vec<_>>());
    let rows = rows.chain(beside_messages.iter().map(|c| with(&layouts[0], c))).chain(beside_text.iter().map(|c| with(&layouts[2], c)));
    for row in rows {
        assert_eq!(refusal(CHATML, &row).0, "unread_column", "{row}");
    }
    // Named as metadata, it is meant to be passed over.
    let mut options = DataOptions::default();
    options.fields.metadata.push("label".to_owned());
    assert_eq!(records_of("rows.jsonl", &with(&layouts[1], &everywhere[0]).to_string(), &options).records.len(), 1);
    // Switched off, and answers that are not wanted: left out.
    let off = [
        ("train", json!(false)),
        ("weight", json!(0)),
        ("trainable", json!("no")),
        ("desirable", json!(false)),
        ("label", json!("undesirable")),
    ];
    for column in &off {
        let row = with(&layouts[0], column);
        let set = records_of("rows.jsonl", &row.to_string(), &DataOptions::default());
        assert_eq!((set.records.len(), set.problems[0].code), (0, "unwanted_answer"), "{row}");
    }
    // Figures about a row are figures.
    for column in [("weight", json!(0.7)), ("loss", json!(0.0)), ("label", json!(3)), ("rejected_by", json!(2))] {
        let row = with(&layouts[0], &column);
        assert_eq!(records_of("rows.jsonl", &row.to_string(), &DataOptions::default()).records.len(), 1, "{row}");
    }
    for name in ["rejected_output", "rejected_messages", "response_rejected", "Rejected"] {
        let row = with(&layouts[1], &(name, json!("bad answer")));
        let (_dir, path) = file("rows.jsonl", format!("{row}\n"));
        let error = read(&[&path], &DataOptions::default()).unwrap_err().to_string();
        assert!(error.contains("preference pairs"), "{name}: {error}");
    }
}

#[test]
fn turn_flags_are_honoured_under_every_name() {
    let expect = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nwrong<|im_end|>\n\
                  <|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n⟦right<|im_end|>⟧\n";
    let flags: [(&str, Value, Value); 10] = [
        ("weight", json!(0), json!(1)),
        ("weight", json!("0"), json!("1")),
        ("weight", json!(0.0), json!(1.0)),
        ("train", json!(false), json!(true)),
        ("train", json!("false"), json!(null)),
        ("training", json!(false), json!(true)),
        ("trainable", json!(0), json!(1)),
        ("loss", json!(false), json!(true)),
        ("loss_weight", json!(0), json!(1)),
        ("loss_mask", json!(0), json!(1)),
    ];
    for (name, off, on) in flags {
        let mut messages = json!([ask("wrong")[0], ask("wrong")[1], ask("right")[0], ask("right")[1]]);
        (messages[1][name], messages[3][name]) = (off.clone(), on.clone());
        assert_eq!(shown(CHATML, &[json!({"messages": messages})]), [expect], "{name} {off}");
        let mut turns = json!([{"from": "human", "value": "Q"}, {"from": "gpt", "value": "wrong"},
            {"from": "human", "value": "Q"}, {"from": "gpt", "value": "right"}]);
        (turns[1][name], turns[3][name]) = (off.clone(), on);
        assert_eq!(shown(CHATML, &[json!({"conversations": turns})]), [expect], "sharegpt {name} {off}");
    }
    let messages = json!([ask("wrong")[0], ask("wrong")[1], ask("right")[0], ask("right")[1]]);
    assert_eq!(shown(CHATML, &[json!({"messages": messages, "loss_mask": [0, 0, 0, 1]})]), [expect]);
    // A system column before the turns moves no mark.
    let row = json!({"messages": messages, "loss_mask": [0, 0, 0, 1], "system": "S"});
    assert!(shown(CHATML, &[row])[0].ends_with(expect));
    for (name, value, code) in
        [("weight", json!(0.5), "bad_flag"), ("train", json!("perhaps"), "bad_flag"), ("mask", json!(true), "unclear_flag")]
    {
        let mut answer = json!({"role": "assistant", "content": "A"});
        answer[name] = value;
        assert_eq!(
            problem_list(&records_of("rows.jsonl", &json!({"messages": turns(answer)}).to_string(), &DataOptions::default())),
            [format!("1: {code}")]
        );
    }
    let row = json!({"messages": ask("A"), "loss_mask": [1]});
    assert_eq!(problem_list(&records_of("rows.jsonl", &row.to_string(), &DataOptions::default())), ["1: bad_flag"]);
}

#[test]
fn parts_that_are_switched_off_are_not_trained() {
    let part = |text: &str, flag: &str, value: Value| {
        let mut part = json!({"type": "text", "text": text});
        part[flag] = value;
        part
    };
    for (flag, off, on) in [("weight", json!(0), json!(1)), ("train", json!(false), json!(true)), ("weight", json!("0"), json!("1"))] {
        let content = json!([part("Hmm maybe 5. ", flag, off.clone()), part("The answer is 4.", flag, on)]);
        let rows = [json!({"messages": turns(json!({"role": "assistant", "content": content}))})];
        let head = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n";
        // The space may stand on either side: it belongs to the token of the word behind it.
        let text = shown(CHATML, &rows).remove(0);
        assert_eq!(text.replace("5. ⟦The", "5.⟦ The"), format!("{head}Hmm maybe 5.⟦ The answer is 4.<|im_end|>⟧\n"), "{flag} {off}");
        let content =
            json!([part("Yes. ", flag, json!(1)), part("WRONG", flag, off.clone()), part(" Right", flag, json!(1)), part("no", flag, off)]);
        let rows = [json!({"messages": turns(json!({"role": "assistant", "content": content}))})];
        let text = shown(QWEN, &rows).remove(0);
        assert!(!text.split('⟦').skip(1).any(|t| t.split('⟧').next().unwrap().contains("WRONG")), "{text}");
        assert!(text.contains("⟦Yes") && text.contains("Right") && text.contains("no⟦<|im_end|>⟧"), "{text}");
    }
    // All of it off is the turn off.
    let content = json!([part("wrong", "weight", json!(0))]);
    let row = json!({"messages": turns(json!({"role": "assistant", "content": content}))});
    assert_eq!(problem_list(&records_of("rows.jsonl", &row.to_string(), &DataOptions::default())), ["1: nothing_trained"]);
}

#[test]
fn unwanted_answers_and_pairs_are_not_trained() {
    let rows = [
        json!({"prompt": "p", "completion": "good", "label": true}),
        json!({"prompt": "p", "completion": "bad", "label": false}),
        json!({"prompt": "p", "completion": "bad", "label": "False"}),
    ];
    let rows: String = rows.iter().map(|r| format!("{r}\n")).collect();
    assert_eq!(problem_list(&records_of("rows.jsonl", &rows, &DataOptions::default())), ["2: unwanted_answer", "3: unwanted_answer"]);
    // A class is no verdict, and a field that is the answer itself is read as one.
    let class = json!({"prompt": "p", "completion": "c", "label": "spam"}).to_string();
    assert_eq!(records_of("rows.jsonl", &class, &DataOptions::default()).records.len(), 1);
    let fields = Fields { output: "label".into(), ..Fields::default() };
    let answer = json!({"instruction": "true or false?", "label": false}).to_string();
    assert_eq!(records_of("rows.jsonl", &answer, &DataOptions { fields, ..DataOptions::default() }).records.len(), 1);
    for row in [
        json!({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "chosen": "c", "rejected": "r"}),
        json!({"prompt": "p", "completion": "c", "rejected": "r"}),
        json!({"prompt": "p", "chosen": "c", "rejected": "r"}),
    ] {
        let (_dir, path) = file("rows.jsonl", row.to_string());
        let error = read(&[&path], &DataOptions::default()).unwrap_err();
        let text = format!("{error} {}", error.hint().unwrap());
        assert!(text.contains("preference pairs") && text.contains("rejected"), "{text}");
    }
}

#[test]
fn older_forms_of_calls_are_read() {
    let messages = json!([{"role": "user", "content": "Q"},
        {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{\"x\": 1}"}},
        {"role": "function", "name": "f", "content": "2"}, {"role": "assistant", "content": "two"}]);
    let text = shown(QWEN, &[json!({"messages": messages, "functions": [{"name": "f", "parameters": {"type": "object"}}]})]).remove(0);
    assert!(text.contains("⟦<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call><|im_end|>⟧"), "{text}");
    assert!(text.contains("<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"f\""), "{text}");
}

#[test]
fn no_content_is_no_text() {
    let template = "{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{%- for c in m.tool_calls or [] %}<call>\
                    {{ c.function.name }}</call>{%- endfor %}<|im_end|>\n{% endfor %}{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    let call = json!({"id": "c1", "type": "function", "function": {"name": "f", "arguments": {}}});
    for message in [
        json!({"role": "assistant", "content": null, "tool_calls": [call]}),
        json!({"role": "assistant", "tool_calls": [call]}),
        json!({"role": "assistant", "content": "", "tool_calls": [call]}),
    ] {
        let messages = json!([{"role": "system", "content": null}, {"role": "user", "content": null}, message]);
        let expect = "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n⟦<call>f</call><|im_end|>⟧\n";
        assert_eq!(shown(template, &[json!({"messages": messages})]), [expect]);
    }
    let null =
        records_of("rows.jsonl", &format!("{}\n{}", json!({"messages": ask("A")}), json!({"messages": null})), &DataOptions::default());
    assert!(null.problems[0].message.contains("`messages` is null"), "{}", null.problems[0]);
}

#[test]
fn a_prompt_that_opens_the_answer_eats_none_of_it() {
    let template = "{{ '<s>' }}{%- for m in messages %}{%- if m.role == 'user' %}{{ '[U]' + m.content }}{%- else %}{%- set c = m.content %}\
                    {%- if '</think>' in c %}{%- set c = c.split('</think>')[-1] %}{%- endif %}{{ '[A]' + c + '</s>' }}{%- endif %}\
                    {%- endfor %}{%- if add_generation_prompt %}{{ '[A]<think>\\n' }}{%- endif %}";
    for answer in ["<table><tr></tr></table>", "<p>hi</p>", "hi", "<thing>1</thing>", "<think", "<"] {
        assert_eq!(shown(template, &[json!({"messages": ask(answer)})]), [format!("<s>[U]Q[A]⟦{answer}</s>⟧")]);
    }
    let tokenizer = tokenizer(Some(template));
    let rows = json!({"messages": ask("<think>plan</think><table/>")}).to_string();
    let dataset = dataset_of(&rows, &tokenizer, &DataOptions::default());
    assert_eq!(masked(&dataset, &tokenizer), ["<s>[U]Q[A]⟦<table/></s>⟧"]);
    assert_eq!((dataset.counts.opened_turns, dataset.counts.changed_answers), (1, 1), "both are told");
}

#[test]
fn a_generation_block_may_set_a_namespace() {
    let template = "{%- set ns = namespace(n=0) %}{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{%- if m.role == 'assistant' %}\
                    {%- generation %}{{ m.content + '<|im_end|>' }}{%- set ns.n = ns.n + 1 %}{%- endgeneration %}{{ '\\n' }}{%- else %}\
                    {{ m.content + '<|im_end|>\\n' }}{%- endif %}{%- endfor %}{{ ns.n }}";
    let expect = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n⟦A<|im_end|>⟧\n1";
    assert_eq!(shown(template, &[json!({"messages": ask("A")})]), [expect]);
}

#[test]
fn a_system_prompt_in_the_last_user_turn_is_trained_behind_its_prompt() {
    let row = json!({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q1"}, {"role": "assistant", "content": "A1"},
        {"role": "user", "content": "Q2"}, {"role": "assistant", "content": "A2"}]});
    let expect = ["<s>[INST] S\n\nQ1[/INST]⟦ A1</s>⟧", "<s>[INST] Q1[/INST] A1</s>[INST] S\n\nQ2[/INST]⟦ A2</s>⟧"];
    assert_eq!(shown(MISTRAL, &[row]), expect);
}

#[test]
fn reasoning_is_known_by_all_its_names() {
    for asked in ["reasoning_content", "thinking"] {
        let template = format!(
            "{{%- for m in messages %}}{{{{ '<|im_start|>' + m.role + '\\n' }}}}{{%- if m.role == 'assistant' and m.{asked} is defined %}}\
             {{{{ '<think>' + m.{asked} + '</think>' }}}}{{%- endif %}}{{{{ m.content + '<|im_end|>\\n' }}}}{{%- endfor %}}\
             {{%- if add_generation_prompt %}}{{{{ '<|im_start|>assistant\\n' }}}}{{%- endif %}}"
        );
        for given in ["reasoning_content", "thinking", "reasoning"] {
            let mut answer = json!({"role": "assistant", "content": "A"});
            answer[given] = json!("R");
            let expect = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n⟦<think>R</think>A<|im_end|>⟧\n";
            assert_eq!(shown(&template, &[json!({"messages": turns(answer)})]), [expect], "{given} for {asked}");
        }
    }
}

#[test]
fn calls_in_the_text_of_an_answer_are_trained() {
    let call = "<tool_call>\n{\"name\": \"area\", \"arguments\": {\"w\": 3}}\n</tool_call>";
    let messages = json!([{"role": "user", "content": "area?"}, {"role": "assistant", "content": call},
        {"role": "tool", "content": "9"}, {"role": "assistant", "content": "It is 9."}]);
    let tokenizer = tokenizer(Some(CHATML));
    let dataset = dataset_of(&json!({"messages": messages}).to_string(), &tokenizer, &DataOptions::default());
    let text = masked(&dataset, &tokenizer).remove(0);
    assert!(text.contains(&format!("⟦{call}<|im_end|>⟧")) && text.contains("⟦It is 9.<|im_end|>⟧"), "{text}");
    assert_eq!(dataset.counts.calls_in_text, 1);
}

#[test]
fn tables_filler_is_no_argument() {
    let file = |filled: bool| {
        let mut out = String::new();
        for (name, arguments, other) in [("f", json!({"city": "Oslo"}), "zone"), ("g", json!({"zone": "CET"}), "city")] {
            let mut arguments = arguments;
            let mut properties = json!({arguments.as_object().unwrap().keys().next().unwrap().clone(): {"type": "string"}});
            if filled {
                arguments[other] = Value::Null;
                properties[other] = Value::Null;
            }
            let mut messages = json!([{"role": "user", "content": "Q"},
                {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}]},
                {"role": "tool", "content": "3", "tool_call_id": "c"}, {"role": "assistant", "content": "A"}]);
            if filled {
                for message in messages.as_array_mut().unwrap() {
                    let message = message.as_object_mut().unwrap();
                    let (calls, id) = (message.get("tool_calls").cloned(), message.get("tool_call_id").cloned());
                    let (role, content) = (message["role"].clone(), message["content"].clone());
                    *message =
                        json!({"role": role, "content": content, "tool_calls": calls, "tool_call_id": id}).as_object().unwrap().clone();
                }
            }
            let tools =
                json!([{"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}]);
            out += &format!("{}\n", json!({"messages": messages, "tools": tools}));
        }
        out
    };
    let tokenizer = tokenizer(Some(QWEN));
    let options = DataOptions::default();
    let straight = dataset_of(&file(false), &tokenizer, &options);
    let filled = dataset_of(&file(true), &tokenizer, &options);
    assert_eq!(masked(&filled, &tokenizer), masked(&straight, &tokenizer));
    assert!(records_of("rows.jsonl", &file(true), &options).files[0].notes[0].contains("null members"));
    // A null that the caller means stays: the file is no table's.
    let meant = json!({"messages": [{"role": "user", "content": "Q"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"unit": null}}}]}],
        "tools": [{"name": "f", "parameters": {"properties": {"unit": {"type": "string"}}}}]});
    assert!(shown(QWEN, &[meant])[0].contains("{\"unit\": null}"));
}

#[test]
fn rendered_text_gets_one_beginning_and_one_end() {
    let mut inner = bare_tokenizer();
    let post = tokenizers::processors::template::TemplateProcessing::builder()
        .try_single("<s> $A")
        .unwrap()
        .special_tokens(vec![("<s>", inner.token_to_id("<s>").unwrap())])
        .build()
        .unwrap();
    inner.with_post_processor(Some(post));
    let tokenizer = TextTokenizer::from_parts(inner, tokens("<s>", "</s>")).unwrap();
    for text in [
        "<s>[INST] hello [/INST] world</s>",
        "[INST] hello [/INST] world</s>",
        "[INST] hello [/INST] world",
        "[INST] hello [/INST] world</s>\n",
    ] {
        let shown = masked(&dataset_of(&json!({"text": text}).to_string(), &tokenizer, &DataOptions::default()), &tokenizer).remove(0);
        assert_eq!(shown, "<s>⟦[INST] hello [/INST] world</s>⟧", "{text:?}");
    }
    let pair = json!({"prompt": "<s>[INST] hello [/INST]", "completion": " world</s>"}).to_string();
    assert_eq!(masked(&dataset_of(&pair, &tokenizer, &DataOptions::default()), &tokenizer), ["<s>[INST] hello [/INST]⟦ world</s>⟧"]);
    assert_eq!(tokenizer.encode("<s>hello", true).unwrap(), tokenizer.encode("hello", true).unwrap());
}

#[test]
fn the_ids_before_an_answer_are_those_that_a_model_is_given() {
    // Two line breaks are one token; the prompt ends between them.
    let mut inner = bare_tokenizer();
    inner.add_tokens([tokenizers::AddedToken::from("\n\n", false)]).unwrap();
    let template = "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{%- if m.role == 'assistant' %}\
                    {{ '<think>\\n' + (m.reasoning_content if m.reasoning_content else '') + '\\n</think>\\n\\n' }}{%- endif %}\
                    {{ m.content + '<|im_end|>\\n' }}{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{%- endif %}";
    let mut tokenizer = TextTokenizer::from_parts(inner, tokens("<s>", "<|im_end|>")).unwrap();
    tokenizer.set_chat_template(template, "test").unwrap();
    for answer in [json!({"role": "assistant", "content": "A"}), json!({"role": "assistant", "content": "A", "reasoning_content": "hm"})] {
        let messages = json!([{"role": "user", "content": "Q"}, answer]);
        let dataset = dataset_of(&json!({"messages": messages}).to_string(), &tokenizer, &DataOptions::default());
        let example = &dataset.examples[0];
        let asked = prompt_of(&tokenizer, &messages.as_array().unwrap()[..1], &Value::Null, &Default::default()).unwrap();
        assert_eq!(example.input_ids[..asked.ids.len()], asked.ids, "{}", masked(&dataset, &tokenizer)[0]);
        assert!(example.labels[..asked.ids.len()].iter().all(|l| *l < 0) && example.labels[asked.ids.len()] >= 0);
        assert_eq!(dataset.counts.straddling_tokens, 0);
    }
}

#[test]
fn a_prompt_is_the_same_however_its_messages_are_written() {
    let tokenizer = tokenizer(Some(QWEN));
    let conversation = |arguments: Value, question: Value| {
        json!([{"role": "user", "content": question},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]},
            {"role": "tool", "tool_call_id": "c", "content": "3"}])
    };
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    let ids = |messages: &Value| prompt_of(&tokenizer, messages.as_array().unwrap(), &tools, &Default::default()).unwrap().ids;
    let object = ids(&conversation(json!({"city": "Oslo"}), json!("W?")));
    assert_eq!(ids(&conversation(json!("{\"city\": \"Oslo\"}"), json!("W?"))), object);
    assert_eq!(ids(&conversation(json!({"city": "Oslo"}), json!([{"type": "text", "text": "W?"}]))), object);
    // The same ids stand before the answer in training.
    let mut messages = conversation(json!({"city": "Oslo"}), json!("W?"));
    messages.as_array_mut().unwrap().push(json!({"role": "assistant", "content": "3 degrees"}));
    let dataset = dataset_of(&json!({"messages": messages, "tools": tools}).to_string(), &tokenizer, &DataOptions::default());
    assert_eq!(dataset.examples[0].input_ids[..object.len()], object);
}

#[test]
fn the_template_for_tools_is_taken_for_rows_with_tools() {
    let tool_use = "{%- if tools %}TOOLS{{ tools | tojson }}{%- endif %}{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}\
                    {%- for c in m.tool_calls or [] %}<call>{{ c.function.name }}</call>{%- endfor %}<|im_end|>\n{% endfor %}\
                    {%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    let dir = tempfile::tempdir().unwrap();
    bare_tokenizer().save(dir.path().join("tokenizer.json"), false).unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let rows = format!("{}\n{}", json!({"messages": ask("A"), "tools": [{"name": "f"}]}), json!({"messages": ask("A")}));
    let list = json!([{"name": "default", "template": CHATML}, {"name": "tool_use", "template": tool_use}]);
    write("tokenizer_config.json", &json!({"eos_token": "<|im_end|>", "chat_template": list}).to_string());
    let check = || {
        let tokenizer = TextTokenizer::load(dir.path()).unwrap();
        let texts = masked(&dataset_of(&rows, &tokenizer, &DataOptions::default()), &tokenizer);
        assert!(texts[0].starts_with("TOOLS[{") && texts[1].starts_with("<|im_start|>user"), "{texts:?}");
        let saved = tempfile::tempdir().unwrap();
        tokenizer.save(saved.path()).unwrap();
        let again = TextTokenizer::load(saved.path()).unwrap();
        assert_eq!(masked(&dataset_of(&rows, &again, &DataOptions::default()), &again), texts, "saved and read again");
    };
    check();
    write("tokenizer_config.json", &json!({"eos_token": "<|im_end|>"}).to_string());
    write("chat_template.jinja", CHATML);
    write("additional_chat_templates/tool_use.jinja", tool_use);
    check();
}

#[test]
fn tools_that_a_template_leaves_out_are_told_and_the_form_of_calls_takes_them() {
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    let rows = json!({"messages": ask("A"), "tools": tools}).to_string();
    let mut plain = tokenizer(Some(CHATML));
    assert_eq!(dataset_of(&rows, &plain, &DataOptions::default()).counts.tools_ignored, 1);
    let options = DataOptions::default();
    let set = records_of("rows.jsonl", &rows, &options);
    let report = settle_template(&mut plain, None, &Default::default(), &[&set]).unwrap();
    assert_eq!((report.name.as_str(), report.notes.len()), ("own+tools", 1));
    let dataset = Dataset::encode(&set, &plain, &options).unwrap();
    assert_eq!(dataset.counts.tools_ignored, 0);
    let text = masked(&dataset, &plain).remove(0);
    assert!(text.starts_with("<|im_start|>system\nYou may call functions.") && text.contains("\"name\": \"f\""), "{text}");
}

#[test]
fn calls_are_trained_and_served_under_a_template_without_tools() {
    // The first takes a system turn, the second refuses one.
    let no_system = format!("{{%- if messages[0].role == 'system' %}}{{{{ raise_exception('no system') }}}}{{%- endif %}}{CHATML}");
    for template in [CHATML, no_system.as_str()] {
        let call = |arguments: Value| json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}});
        let messages = json!([{"role": "user", "content": "Q"},
            {"role": "assistant", "content": null, "tool_calls": [call(json!({"x": 1})), call(json!({"x": "é"}))]},
            {"role": "tool", "content": "1", "tool_call_id": "c"}, {"role": "tool", "content": "2", "tool_call_id": "c"},
            {"role": "assistant", "content": "done"}]);
        let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
        let mut tokenizer = tokenizer(Some(template));
        let options = DataOptions::default();
        let set = records_of("rows.jsonl", &json!({"messages": messages, "tools": tools}).to_string(), &options);
        settle_template(&mut tokenizer, Some("auto"), &Default::default(), &[&set]).unwrap();
        let dataset = Dataset::encode(&set, &tokenizer, &options).unwrap();
        let text = masked(&dataset, &tokenizer).remove(0);
        let calls = "⟦<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": \"é\"}}\n</tool_call><|im_end|>⟧";
        assert!(text.contains(calls), "{text}");
        assert!(
            text.contains("<|im_start|>user\n<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response><|im_end|>"),
            "{text}"
        );
        assert!(text.contains("⟦done<|im_end|>⟧"), "{text}");
        let asked = prompt_of(&tokenizer, &messages.as_array().unwrap()[..4], &tools, &Default::default()).unwrap();
        assert_eq!(dataset.examples[0].input_ids[..asked.ids.len()], asked.ids);
    }
}

#[test]
fn every_template_that_comes_with_the_program_tells_turns_apart() {
    for name in tallow::data::template_names() {
        let tokenizer = tokenizer(Some(name));
        let row =
            json!({"messages": [{"role": "system", "content": "S"}, ask("first")[0], ask("first")[1], ask("second")[0], ask("second")[1]]});
        let dataset = dataset_of(&row.to_string(), &tokenizer, &DataOptions::default());
        let text = masked(&dataset, &tokenizer);
        let trained: Vec<&str> = text[0].split('⟦').skip(1).map(|t| t.split('⟧').next().unwrap()).collect();
        assert_eq!((text.len(), trained.len()), (1, 2), "{name}: {text:?}");
        assert!(trained[0].contains("first") && trained[1].contains("second"), "{name}: {text:?}");
        assert!(text[0].contains('S') && !trained.iter().any(|t| t.contains('Q')), "{name}: {text:?}");
        let messages = &row["messages"].as_array().unwrap()[..4];
        let asked = prompt_of(&tokenizer, messages, &Value::Null, &Default::default()).unwrap();
        assert_eq!(dataset.examples[0].input_ids[..asked.ids.len()], asked.ids, "{name}");
    }
}

#[test]
fn a_base_model_serves_the_form_that_it_was_trained_in() {
    let mut base = tokenizer(None);
    let options = DataOptions::default();
    let set = records_of("rows.jsonl", &json!({"instruction": "Add", "output": "3"}).to_string(), &options);
    let report = settle_template(&mut base, None, &Default::default(), &[&set]).unwrap();
    assert_eq!(report.name, "alpaca");
    let dataset = Dataset::encode(&set, &base, &options).unwrap();
    let asked = prompt_of(&base, &[json!({"role": "user", "content": "Add"})], &Value::Null, &Default::default()).unwrap();
    assert!(asked.text.ends_with("### Instruction:\nAdd\n\n### Response:\n"), "{}", asked.text);
    assert_eq!(dataset.examples[0].input_ids[..asked.ids.len()], asked.ids);
    assert_eq!(base.turn_end(), base.eos_id());
}

#[test]
fn variables_are_saved_with_the_template() {
    let template = "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}\
                    {%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- if enable_thinking is defined and not enable_thinking %}\
                    {{ '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}";
    let mut tokenizer = tokenizer(Some(template));
    let variables = json!({"enable_thinking": false}).as_object().unwrap().clone();
    settle_template(&mut tokenizer, None, &variables, &[]).unwrap();
    let question = [json!({"role": "user", "content": "Q"})];
    let saved = tempfile::tempdir().unwrap();
    tokenizer.save(saved.path()).unwrap();
    let again = TextTokenizer::load(saved.path()).unwrap();
    let none = Default::default();
    assert!(prompt_of(&again, &question, &Value::Null, &none).unwrap().text.ends_with("<think>\n\n</think>\n\n"));
    let other = json!({"enable_thinking": true}).as_object().unwrap().clone();
    assert!(prompt_of(&again, &question, &Value::Null, &other).unwrap().text.ends_with("assistant\n"));
}

#[test]
fn the_token_that_ends_a_turn_is_found() {
    for (template, end) in [(Some(CHATML), "<|im_end|>"), (Some(MISTRAL), "</s>"), (Some("llama3"), "<|eot_id|>"), (None, "</s>")] {
        let mut tokenizer = TextTokenizer::from_parts(bare_tokenizer(), tokens("<s>", "</s>")).unwrap();
        if let Some(template) = template {
            tokenizer.set_chat_template(template, "test").unwrap();
        }
        let found = tokenizer.turn_end().and_then(|id| tokenizer.inner().id_to_token(id));
        assert_eq!(found.as_deref(), Some(end));
    }
}

#[test]
fn a_quality_field_that_stands_in_no_row_is_refused() {
    let (_dir, path) = file("rows.jsonl", "{\"prompt\":\"p\",\"completion\":\"c\",\"score\":0.9}\n");
    let options = |name: &str| {
        let fields = Fields { quality: Some(name.into()), ..Fields::default() };
        DataOptions { fields, layout: Some(Layout::Completion), ..DataOptions::default() }
    };
    let error = read(&[&path], &options("scor")).unwrap_err();
    assert!(error.to_string().contains("no row has the quality field `scor`") && error.to_string().contains("`score`"), "{error}");
    assert!(read(&[&path], &options("score")).is_ok());
}
