//! Ollama's TEMPLATE beside the chat template that it is translated from.

use serde_json::{Value, json};
use tallow::data::{ChatTemplate, TemplateTokens};
use tallow::export::ollama::{GoTemplate, Modelfile, Translation, modelfile, translate};

use crate::golden::Outcome;
use crate::program::Desk;

fn chat(source: &str) -> ChatTemplate {
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    ChatTemplate::new(source, "test", TemplateTokens { variables: tokens.into() }).unwrap()
}

/// What Ollama gives its template for these messages.
fn ollama(messages: &[Value], tools: &[Value]) -> Value {
    let systems: Vec<&str> = messages.iter().filter(|m| m["role"] == "system").filter_map(|m| m["content"].as_str()).collect();
    let call = |c: &Value| json!({"Function": {"Name": c["function"]["name"], "Arguments": c["function"]["arguments"]}});
    let message = |m: &Value| {
        let calls: Vec<Value> = m["tool_calls"].as_array().into_iter().flatten().map(call).collect();
        json!({"Role": m["role"], "Content": m["content"], "ToolCalls": calls, "Thinking": ""})
    };
    let messages: Vec<Value> = messages.iter().map(message).collect();
    json!({"Messages": messages, "System": systems.join("\n\n"), "Tools": tools, "Response": "", "Think": false, "IsThinkSet": false})
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn assistant(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

fn system(text: &str) -> Value {
    json!({"role": "system", "content": text})
}

fn tool(text: &str) -> Value {
    json!({"role": "tool", "name": "rates", "tool_call_id": "abcdefghi", "content": text})
}

fn calls(text: &str, names: &[&str]) -> Value {
    let one = |n: &&str| json!({"id": "abcdefghi", "type": "function", "function": {"name": n, "arguments": {"of": "EUR", "n": 3}}});
    json!({"role": "assistant", "content": text, "tool_calls": names.iter().map(one).collect::<Vec<_>>()})
}

/// Twelve conversations, the second half with tools.
fn conversations() -> Vec<(Vec<Value>, bool)> {
    let (s, u, a) = (|| system("Be brief."), || user("What is 2 + 2? {{x}} \"q\""), || assistant("It is **4**."));
    vec![
        (vec![u()], false),
        (vec![s(), u()], false),
        (vec![u(), a(), user("And 3 + 3?")], false),
        (vec![s(), u(), a(), user("And\n\n3 + 3?")], false),
        (vec![u(), a(), u(), a(), u(), a(), u()], false),
        (vec![s(), u(), a(), u(), a(), user("Größer? 日本")], false),
        (vec![user("Rates?")], true),
        (vec![s(), user("Rates?")], true),
        (vec![user("Rates?"), calls("", &["rates"]), tool("1.1")], true),
        (vec![s(), user("Rates?"), calls("", &["rates"]), tool("1.1"), assistant("1.1 it is."), user("Thanks. Now?")], true),
        (vec![user("Both?"), calls("", &["rates", "news"]), tool("1.1"), tool("calm")], true),
        (vec![user("Hello"), assistant("Hello."), user("Rates?"), calls("Let me see.", &["rates"]), tool("1.1")], true),
    ]
}

fn tools() -> Vec<Value> {
    let one = |name: &str| {
        json!({"type": "function", "function": {"name": name, "description": "Finds it.", "parameters": {"type": "object",
            "properties": {"of": {"type": "string", "description": "Of what."}}, "required": ["of"]}}})
    };
    vec![one("rates"), one("news")]
}

/// JSON in one form, everything else as it is.
fn compact(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '[']) {
        let mut stream = serde_json::Deserializer::from_str(&rest[at..]).into_iter::<Value>();
        let parsed = stream.next().and_then(Result::ok);
        let end = at + if parsed.is_some() { stream.byte_offset() } else { 1 };
        out += &rest[..at];
        out += &parsed.map_or_else(|| rest[at..=at].to_owned(), |v| serde_json::to_string(&sorted(&v)).unwrap());
        rest = &rest[end..];
    }
    out + rest
}

fn sorted(v: &Value) -> Value {
    match v {
        Value::Object(o) => {
            let mut pairs: Vec<_> = o.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Array(pairs.into_iter().map(|(k, v)| json!([k, v])).collect())
        }
        Value::Array(a) => a.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// Compares on every conversation that the chat template takes; how many those were.
fn same_prompts(source: &str, translated: &Translation, with_tools: bool, start: &str) -> usize {
    let chat = chat(source);
    let template = translated.template.as_ref().unwrap_or_else(|| panic!("{source}: {:?}", translated.notes));
    let go = GoTemplate::parse(template).unwrap();
    let mut compared = 0;
    for (messages, tooled) in conversations() {
        let list = if tooled && with_tools { tools() } else { Vec::new() };
        if tooled && !with_tools && messages.iter().any(|m| m["role"] == "tool") {
            continue;
        }
        let Ok(want) = chat.render(&messages, &list, true) else { continue };
        let got = go.render(&ollama(&messages, &list)).unwrap();
        assert_eq!(start.to_owned() + &compact(&got), compact(&want), "{messages:?}\n{template}");
        compared += 1;
    }
    compared
}

const CHATML_DEFAULT: &str = "{%- if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}{%- endif %}\
{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}\
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}";

const DATED: &str = "{{ bos_token }}{{ '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' + strftime_now('%d %b %Y') + '\\n\\n' }}\
{%- if messages[0].role == 'system' %}{{ messages[0].content }}{%- set messages = messages[1:] %}{%- endif %}{{ '<|eot_id|>' }}\
{%- for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content + '<|eot_id|>' }}{%- endfor %}\
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}";

const FOLDED: &str = "{%- if messages[0].role == 'system' %}{%- set sys = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' %}\
{%- set messages = messages[1:] %}{%- else %}{%- set sys = '' %}{%- endif %}{%- for m in messages %}{%- if m.role == 'user' %}\
{{ bos_token + '[INST] ' + (sys if loop.first else '') + m.content + ' [/INST]' }}{%- else %}{{ ' ' + m.content + ' ' + eos_token }}\
{%- endif %}{%- endfor %}";

const SYSTEM_PROMPT: &str = "{{ bos_token }}{%- if messages[0].role == 'system' %}{{ '[SYSTEM_PROMPT]' + messages[0].content + '[/SYSTEM_PROMPT]' }}\
{%- set messages = messages[1:] %}{%- endif %}{%- for m in messages %}{%- if m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}\
{%- else %}{{ m.content + eos_token }}{%- endif %}{%- endfor %}";

/// The system message stands in front of the last user message.
const SYSTEM_LAST: &str = "{{ bos_token }}{%- set ns = namespace(sys='', last=0) %}{%- for m in messages %}{%- if m.role == 'user' %}\
{%- set ns.last = loop.index0 %}{%- elif m.role == 'system' %}{%- set ns.sys = m.content + '\\n\\n' %}{%- endif %}{%- endfor %}\
{%- for m in messages %}{%- if m.role == 'user' %}{{ '[INST] ' + (ns.sys if loop.index0 == ns.last else '') + m.content + '[/INST]' }}\
{%- elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}{%- endif %}{%- endfor %}";

const TURNS: &str = "{{ bos_token }}{%- if messages[0].role == 'system' %}{%- set first = messages[0].content + '\\n\\n' %}{%- set messages = messages[1:] %}\
{%- else %}{%- set first = '' %}{%- endif %}{%- for m in messages %}{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('turns alternate') }}{%- endif %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else 'user') + '\\n' + \
(first if loop.first else '') + m.content + '<end_of_turn>\\n' }}{%- endfor %}{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{%- endif %}";

const THINKING: &str = "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}\
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- if enable_thinking is defined and enable_thinking is false %}\
{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}";

/// Tools in the system turn, calls in tags, answers of tools together in a user turn.
const TAGGED_TOOLS: &str = "{%- if tools %}{{ '<|im_start|>system\\n' }}{%- if messages[0].role == 'system' %}{{ messages[0].content + '\\n\\n' }}{%- endif %}\
{{ '# Tools\\n\\n<tools>' }}{%- for t in tools %}{{ '\\n' + (t | tojson) }}{%- endfor %}{{ '\\n</tools>\\nCall as {\\\"name\\\": ..}<|im_end|>\\n' }}\
{%- elif messages[0].role == 'system' %}{{ '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}{%- endif %}\
{%- for m in messages %}{%- if m.role == 'user' or (m.role == 'system' and not loop.first) or (m.role == 'assistant' and not m.tool_calls) %}\
{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- elif m.role == 'assistant' %}{{ '<|im_start|>assistant' }}\
{%- if m.content %}{{ '\\n' + m.content }}{%- endif %}{%- for c in m.tool_calls %}\
{{ '\\n<tool_call>\\n{\\\"name\\\": \\\"' + c.function.name + '\\\", \\\"arguments\\\": ' + (c.function.arguments | tojson) + '}\\n</tool_call>' }}{%- endfor %}\
{{ '<|im_end|>\\n' }}{%- elif m.role == 'tool' %}{%- if loop.index0 == 0 or messages[loop.index0 - 1].role != 'tool' %}{{ '<|im_start|>user' }}{%- endif %}\
{{ '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' }}{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{ '<|im_end|>\\n' }}\
{%- endif %}{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}";

/// Tools before the last user message, one call at most.
const LAST_TOOLS: &str = "{{ bos_token }}{%- set ns = namespace(last=0) %}{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}\
{%- endif %}{%- endfor %}{%- for m in messages %}{%- if m.role == 'user' %}{%- if tools and loop.index0 == ns.last %}\
{{ '[AVAILABLE_TOOLS]' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}{%- endif %}{{ '[INST]' + m.content + '[/INST]' }}\
{%- elif m.role == 'assistant' and m.tool_calls %}{%- if m.tool_calls | length != 1 %}{{ raise_exception('one call') }}{%- endif %}\
{{ '[TOOL_CALLS]{\\\"name\\\": \\\"' + m.tool_calls[0].function.name + '\\\", \\\"parameters\\\": ' + (m.tool_calls[0].function.arguments | tojson) + '}' + eos_token }}\
{%- elif m.role == 'tool' %}{{ '[TOOL_RESULTS]' + m.content + '[/TOOL_RESULTS]' }}{%- elif m.role == 'assistant' %}{{ m.content + eos_token }}\
{%- else %}{{ raise_exception('no system messages') }}{%- endif %}{%- endfor %}";

#[test]
fn the_template_gives_the_prompts_of_the_chat_template() {
    for (name, source, least) in [
        ("default system turn", CHATML_DEFAULT, 8),
        ("date header", DATED, 8),
        ("system folded into the first turn", FOLDED, 8),
        ("system prompt tags", SYSTEM_PROMPT, 8),
        ("system before the last user message", SYSTEM_LAST, 8),
        ("alternating turns", TURNS, 7),
        ("closed thinking", THINKING, 8),
        (
            "plain tags",
            "{%- for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + eos_token + '\\n' }}{%- endfor %}{{ '<|assistant|>\\n' }}",
            8,
        ),
    ] {
        let translated = translate(&chat(source), None);
        let compared = same_prompts(source, &translated, false, "");
        assert!(compared >= least && translated.compared >= 6, "{name}: {compared} and {} compared", translated.compared);
    }
}

#[test]
fn tools_and_calls_are_translated() {
    for (name, source, least) in [("tags", TAGGED_TOOLS, 12), ("last user message", LAST_TOOLS, 6)] {
        let translated = translate(&chat(source), None);
        let template = translated.template.as_deref().unwrap_or_else(|| panic!("{name}: {:?}", translated.notes));
        assert!(template.contains(".Tools") && template.contains(".ToolCalls"), "{name}: {:?} {template}", translated.notes);
        assert!(same_prompts(source, &translated, true, "") >= least, "{name}");
    }
}

#[test]
fn thinking_follows_ollamas_switch() {
    let translated = translate(&chat(THINKING), None);
    let go = GoTemplate::parse(translated.template.as_deref().unwrap()).unwrap();
    let mut values = ollama(&[user("Hi")], &[]);
    assert!(!go.render(&values).unwrap().contains("<think>"));
    values["IsThinkSet"] = true.into();
    assert!(go.render(&values).unwrap().ends_with("<think>\n\n</think>\n\n"));
    values["Think"] = true.into();
    assert!(!go.render(&values).unwrap().contains("<think>"));
}

#[test]
fn a_token_that_the_reader_adds_is_not_written_twice() {
    let translated = translate(&chat(DATED), Some("<s>"));
    assert!(!translated.template.as_deref().unwrap().contains("<s>"));
    same_prompts(DATED, &translated, false, "<s>");
    // This one begins every user turn with it: only the first is the reader's.
    let folded = translate(&chat(FOLDED), Some("<s>"));
    assert!(folded.template.as_deref().unwrap().contains("<s>[INST]"));
    same_prompts(FOLDED, &folded, false, "<s>");
    let without = translate(&chat(CHATML_DEFAULT), Some("<s>"));
    assert!(without.notes.iter().any(|n| n.contains("<s>")), "{:?}", without.notes);
}

#[test]
fn what_cannot_be_translated_is_said_so() {
    // What it writes depends on the length of a message: no template of Ollama's can ask for that.
    let odd = "{%- for m in messages %}{{ '<' + (m.content | length | string) + '>' + m.content }}{%- endfor %}{{ '>' }}";
    let translated = translate(&chat(odd), None);
    assert!(translated.template.is_none() && translated.notes[0].contains("cannot be written"), "{translated:?}");
    let text = modelfile(&Modelfile { model: "m.gguf", chat: Some(&translated), context: 99, ..Modelfile::default() });
    assert!(text.contains("\n# the chat template cannot") && !text.contains("TEMPLATE \""), "{text}");
    // Tools in a form of their own: the rest is translated, and what is missing is named.
    let listed = CHATML_DEFAULT
        .replace("{%- for m in messages %}", "{%- for t in tools or [] %}{{ t.function.name }}{%- endfor %}{%- for m in messages %}");
    let without = translate(&chat(&listed), None);
    assert!(without.template.is_some_and(|t| !t.contains("Tools")) && without.notes[0].contains("tools are not in"), "{:?}", without.notes);
    let trimmed = CHATML_DEFAULT.replace("m.content", "(m.content | trim)");
    let notes = translate(&chat(&trimmed), None).notes;
    assert!(notes.iter().any(|n| n.contains("white space")), "{notes:?}");
}

#[test]
fn quotation_marks_do_not_end_the_template() {
    let source = "{%- for m in messages %}{{ '\"\"\"' + m.role + '\"\"\"\"{{' + m.content }}{%- endfor %}{{ '\"\"' }}";
    let translated = translate(&chat(source), None);
    let text = modelfile(&Modelfile { model: "m.gguf", chat: Some(&translated), ..Modelfile::default() });
    let inside = text.split_once("TEMPLATE \"\"\"").unwrap().1.split_once("\"\"\"").unwrap().0;
    let go = GoTemplate::parse(inside).unwrap();
    let want = chat(source).render(&[user("a")], &[], true).unwrap();
    assert_eq!(go.render(&ollama(&[user("a")], &[])).unwrap(), want);
}

#[test]
fn the_exported_folder_has_the_translated_template() -> Outcome {
    let desk = Desk::new();
    desk.ok(&["bench", "random-model", "tiny", "--out", "model", "--tokenizer", "embedded"]);
    let path = desk.path().join("model/tokenizer_config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    config["chat_template"] = CHATML_DEFAULT.into();
    std::fs::write(&path, config.to_string())?;
    let report = desk.json(&["export", "--model", "model", "--format", "ollama", "--type", "q8_0", "--out", "served"]);
    assert!(report["notes"].to_string().contains("the chat template's prompts on"), "{report}");
    let text = std::fs::read_to_string(desk.path().join("served/Modelfile"))?;
    assert!(text.contains("You are helpful.") && text.contains("PARAMETER stop \"<|im_end|>\""), "{text}");
    Ok(())
}
