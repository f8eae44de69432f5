//! Rows, one kind each: a conversation in which the assistant does right.

use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::Kind;
use super::meaning::words;
use super::phrase::{Argument, actions, finished, framed, marked, with_arguments};
use super::schema::Tool;
use super::talk::{AND, LASTING, PASSING, small_talk};
use super::values::{Maker, kind as type_of};
use crate::data::calls::ToolCall;
use crate::data::random::Rng;

/// A conversation that was made.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub messages: Vec<Value>,
    /// Indices of the tools that are offered.
    pub offered: Vec<usize>,
    /// What the user asks first: no two rows may ask the same.
    pub request: String,
}

/// What rows are made from.
pub(super) struct Bench<'a> {
    pub tools: &'a [Tool],
    /// The tools that rows of this part may have, as indices.
    pub pool: &'a [usize],
    /// The frames of this part.
    pub frames: &'a [&'static str],
    pub most_offered: usize,
    pub rng: Rng,
}

/// A call with the words that ask for it.
struct Asked {
    call: ToolCall,
    action: String,
    words: String,
}

impl Bench<'_> {
    fn pick<'p, T>(&mut self, pool: &'p [T]) -> &'p T {
        &pool[self.rng.below(pool.len() as u64) as usize]
    }

    /// A row of a kind about a tool; `None` where the kind does not fit the tool.
    pub(super) fn row(&mut self, kind: Kind, tool: usize) -> Option<Made> {
        let today = Date::new(2025, 1, 1).ok()?.saturating_add(jiff::Span::new().days(self.rng.below(700) as i64));
        match kind {
            Kind::Single => self.single(tool, today, false),
            Kind::Reasoning => self.single(tool, today, true),
            Kind::Parallel => self.parallel(tool, today),
            Kind::MultiStep => self.multi_step(tool, today),
            Kind::Error => self.error(tool, today),
            Kind::Fallback => self.fallback(tool, today),
            Kind::Ambiguous => self.ambiguous(tool, today),
            Kind::Missing => self.missing(tool, today),
            Kind::NoTool => self.no_tool(tool),
            Kind::Unavailable => self.unavailable(tool, today),
        }
    }

    /// Arguments by the schema: required ones always, others half of the time.
    fn arguments(&mut self, tool: usize, today: Date) -> Vec<Argument> {
        let tool = &self.tools[tool];
        let mut arguments = Vec::new();
        let few = self.rng.below(3) == 0;
        for (name, schema) in tool.properties() {
            if !tool.requires(name) && (few || self.rng.below(2) == 0) {
                continue;
            }
            let said = Maker { rng: &mut self.rng, today, root: &tool.parameters }.value(name, schema, 0);
            arguments.push(Argument { name: name.clone(), schema: schema.clone(), said });
        }
        arguments
    }

    fn asked(&mut self, tool: usize, today: Date) -> Asked {
        let arguments = self.arguments(tool, today);
        self.asked_with(tool, &arguments)
    }

    fn asked_with(&mut self, tool: usize, arguments: &[Argument]) -> Asked {
        let all = actions(&self.tools[tool]);
        let action = self.pick(&all).clone();
        let style = self.rng.next_u64() % 12;
        let words = with_arguments(&action, arguments, style, &mut self.rng);
        let values: Map<String, Value> = arguments.iter().map(|a| (a.name.clone(), a.said.value.clone())).collect();
        let call = ToolCall { name: self.tools[tool].name.clone(), arguments: values, server: self.tools[tool].server.clone() };
        Asked { call, action, words }
    }

    /// The tools of a row: those named and some others, in a drawn order.
    fn offer(&mut self, named: &[usize], without: Option<usize>) -> Vec<usize> {
        let mut others: Vec<usize> = self.pool.iter().copied().filter(|t| !named.contains(t) && Some(*t) != without).collect();
        self.rng.shuffle(&mut others);
        let most = self.most_offered.saturating_sub(named.len()).min(others.len());
        let more = self.rng.below(most as u64 + 1) as usize;
        let mut offered: Vec<usize> = named.iter().copied().chain(others.into_iter().take(more)).collect();
        self.rng.shuffle(&mut offered);
        offered
    }

    fn request(&mut self, words: &str) -> String {
        let frame = self.pick(self.frames);
        let text = framed(frame, words);
        finished(&text, &mut self.rng)
    }

    /// Tells the day where the request or a call needs it.
    fn opening(&self, request: &str, today: Date) -> Vec<Value> {
        let relative = ["today", "tomorrow", " days"].iter().any(|w| request.contains(w));
        let mut messages = Vec::new();
        if relative {
            messages.push(json!({"role": "system", "content": format!("Today is {}.", today.strftime("%A, %Y-%m-%d"))}));
        }
        messages.push(json!({"role": "user", "content": request}));
        messages
    }

    fn single(&mut self, tool: usize, today: Date, reasoning: bool) -> Option<Made> {
        let asked = self.asked(tool, today);
        let request = self.request(&asked.words);
        let mut messages = self.opening(&request, today);
        let mut answer = calling(&[&asked.call], 1);
        if reasoning {
            answer["reasoning_content"] = json!(thought(&asked));
        }
        messages.push(answer);
        Some(Made { messages, offered: self.offer(&[tool], None), request })
    }

    fn parallel(&mut self, tool: usize, today: Date) -> Option<Made> {
        let other = if self.pool.len() > 1 && self.rng.below(2) == 0 { *self.pick(self.pool) } else { tool };
        let (first, second) = (self.asked(tool, today), self.asked(other, today));
        if first.call == second.call {
            return None;
        }
        let and = *self.pick(&AND);
        let request = self.request(&format!("{}{and}{}", first.words, second.words));
        let mut messages = self.opening(&request, today);
        messages.push(calling(&[&first.call, &second.call], 1));
        let named = if tool == other { vec![tool] } else { vec![tool, other] };
        Some(Made { messages, offered: self.offer(&named, None), request })
    }

    /// One tool gives a value that the next one needs.
    fn multi_step(&mut self, tool: usize, today: Date) -> Option<Made> {
        let others: Vec<usize> = self.pool.iter().copied().filter(|t| *t != tool).collect();
        if others.is_empty() {
            return None;
        }
        let first_tool = *self.pick(&others);
        let mut arguments = self.arguments(tool, today);
        let fits = |a: &Argument| matches!(type_of(&a.schema), "string" | "integer") && a.schema.get("enum").is_none();
        let places: Vec<usize> = (0..arguments.len()).filter(|i| fits(&arguments[*i])).collect();
        if places.is_empty() {
            return None;
        }
        let place = *self.pick(&places);
        let first = self.asked(first_tool, today);
        let passed = arguments[place].clone();
        let name = words(&passed.name).join(" ");
        arguments[place].said.text = format!("the {name} from the result");
        arguments[place].said.is_relative = false;
        arguments[place].said.is_reference = true;
        let second = self.asked_with(tool, &arguments);
        let joint = *self.pick(&[". Then ", ", and then ", ". After that, ", "; next, "]);
        let request = self.request(&format!("{}{joint}{}", first.words, second.words));
        let mut messages = self.opening(&request, today);
        messages.push(calling(&[&first.call], 1));
        messages.push(reply(&first.call.name, 1, &json!({(passed.name.clone()): passed.said.value}).to_string()));
        messages.push(calling(&[&second.call], 2));
        messages.push(reply(&second.call.name, 2, "{\"status\": \"ok\"}"));
        messages.push(say(&format!("Done. I took {name} {} from the first result and used it.", plain(&passed.said.value))));
        Some(Made { messages, offered: self.offer(&[first_tool, tool], None), request })
    }

    /// A fault that passes is tried again once; another one is told.
    fn error(&mut self, tool: usize, today: Date) -> Option<Made> {
        let asked = self.asked(tool, today);
        let request = self.request(&asked.words);
        let mut messages = self.opening(&request, today);
        messages.push(calling(&[&asked.call], 1));
        if self.rng.below(2) == 0 {
            let fault = *self.pick(&PASSING);
            messages.push(reply(&asked.call.name, 1, fault));
            messages.push(calling(&[&asked.call], 2));
            messages.push(reply(&asked.call.name, 2, "{\"status\": \"ok\"}"));
            messages.push(say("Done. It worked at the second try."));
        } else {
            let fault = *self.pick(&LASTING);
            messages.push(reply(&asked.call.name, 1, fault));
            let why = fault.trim_start_matches("Error: ");
            messages.push(say(&format!("I could not {}: {why}.", asked.action)));
        }
        Some(Made { messages, offered: self.offer(&[tool], None), request })
    }

    /// The user names another way, and the first one fails.
    fn fallback(&mut self, tool: usize, today: Date) -> Option<Made> {
        let others: Vec<usize> = self.pool.iter().copied().filter(|t| *t != tool).collect();
        if others.is_empty() {
            return None;
        }
        let other = *self.pick(&others);
        let (first, second) = (self.asked(tool, today), self.asked(other, today));
        let joint = *self.pick(&[". If that fails, ", ", or, if it does not work, ", ". Should there be an error, ", "; if you can't, "]);
        let request = self.request(&format!("{}{joint}{}", first.words, second.words));
        let mut messages = self.opening(&request, today);
        messages.push(calling(&[&first.call], 1));
        let fault = *self.pick(&LASTING);
        messages.push(reply(&first.call.name, 1, fault));
        messages.push(calling(&[&second.call], 2));
        Some(Made { messages, offered: self.offer(&[tool, other], None), request })
    }

    /// Two tools could be meant: the assistant asks which.
    fn ambiguous(&mut self, tool: usize, today: Date) -> Option<Made> {
        let others: Vec<usize> = self.pool.iter().copied().filter(|t| *t != tool).collect();
        if others.is_empty() {
            return None;
        }
        let other = *self.pick(&others);
        let arguments = self.arguments(tool, today);
        let with_text: Vec<&Argument> = arguments.iter().filter(|a| a.said.value.is_string() && !a.said.is_relative).collect();
        let argument = with_text.first()?;
        let about = format!("{} {}", words(&argument.name).join(" "), marked(&argument.said.text));
        let forms = ["take care of {}", "do something with {}", "handle {} for me", "deal with {}", "look into {}"];
        let words = self.pick(&forms).replace("{}", &about);
        let request = self.request(&words);
        let (one, two) = (actions(&self.tools[tool])[0].clone(), actions(&self.tools[other])[0].clone());
        let ask = ["Shall I {1} or {2}?", "Do you want me to {1}, or to {2}?", "I can {1} or {2}. Which one do you mean?"];
        let question = self.pick(&ask).replace("{1}", &one).replace("{2}", &two);
        let mut messages = vec![json!({"role": "user", "content": request})];
        messages.push(say(&question));
        Some(Made { messages, offered: self.offer(&[tool, other], None), request })
    }

    /// A required argument is not said: the assistant asks, and calls when it knows.
    fn missing(&mut self, tool: usize, today: Date) -> Option<Made> {
        let arguments = self.arguments(tool, today);
        let required: Vec<usize> =
            (0..arguments.len()).filter(|i| self.tools[tool].requires(&arguments[*i].name) && !arguments[*i].said.is_relative).collect();
        if required.is_empty() {
            return None;
        }
        let place = *self.pick(&required);
        let mut said = arguments.clone();
        let left_out = said.remove(place);
        let asked = self.asked_with(tool, &said);
        let call = self.asked_with(tool, &arguments).call;
        let request = self.request(&asked.words);
        let name = words(&left_out.name).join(" ");
        let ask = ["Which {} shall I use?", "What is the {}?", "I need the {} for that. What is it?", "Please tell me the {}."];
        let question = self.pick(&ask).replace("{}", &name);
        let mut messages = self.opening(&request, today);
        messages.push(say(&question));
        let form = *self.pick(&["{}", "Use {}.", "It is {}", "{}, please."]);
        messages.push(json!({"role": "user", "content": form.replace("{}", &left_out.said.text)}));
        messages.push(calling(&[&call], 1));
        Some(Made { messages, offered: self.offer(&[tool], None), request })
    }

    fn no_tool(&mut self, tool: usize) -> Option<Made> {
        let (request, answer) = small_talk(&mut self.rng);
        // The frames of a part shape this kind too: a greeting or none, a please or none.
        let frame = *self.pick(self.frames);
        let greeting = ["Hey, ", "Hi, ", "Hello! "].into_iter().find(|g| frame.starts_with(&g[..2]));
        let request = match greeting {
            Some(greeting) => format!("{greeting}{request}"),
            None if frame.contains("lease") => format!("Please: {request}"),
            None => request,
        };
        let messages = vec![json!({"role": "user", "content": request}), say(&answer)];
        Some(Made { messages, offered: self.offer(&[tool], None), request })
    }

    /// The tool that is needed is not among those offered.
    fn unavailable(&mut self, tool: usize, today: Date) -> Option<Made> {
        let others: Vec<usize> = self.pool.iter().copied().filter(|t| *t != tool).collect();
        if others.is_empty() {
            return None;
        }
        let asked = self.asked(tool, today);
        let request = self.request(&asked.words);
        let mut messages = self.opening(&request, today);
        let say_no = ["I have no tool to {}.", "Sorry, none of my tools can {}.", "I can't {} with the tools that I have."];
        messages.push(say(&self.pick(&say_no).replace("{}", &asked.action)));
        let other = *self.pick(&others);
        Some(Made { messages, offered: self.offer(&[other], Some(tool)), request })
    }
}

/// The assistant's turn with calls, numbered from `first`.
fn calling(calls: &[&ToolCall], first: usize) -> Value {
    let call = |(i, c): (usize, &&ToolCall)| {
        let id = format!("call{:05}", first + i);
        json!({"id": id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}})
    };
    json!({"role": "assistant", "content": "", "tool_calls": calls.iter().enumerate().map(call).collect::<Vec<_>>()})
}

fn reply(name: &str, call: usize, content: &str) -> Value {
    json!({"role": "tool", "tool_call_id": format!("call{call:05}"), "name": name, "content": content})
}

fn say(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What one thinks before a call.
fn thought(asked: &Asked) -> String {
    let arguments: Vec<String> = asked.call.arguments.iter().map(|(name, value)| format!("{name} is {}", plain(value))).collect();
    let known =
        if arguments.is_empty() { "It needs no arguments.".to_owned() } else { format!("From the request: {}.", arguments.join(", ")) };
    format!("The user wants to {}. The tool {} does that. {known}", asked.action, asked.call.name)
}
