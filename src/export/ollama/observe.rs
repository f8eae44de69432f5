//! What a chat template writes between the contents of messages, found by rendering conversations
//! whose contents are marks.

use serde_json::{Value, json};

use super::talks::{self, Talk};

/// What a message is, for a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// Before the first message.
    Start,
    System,
    User,
    Assistant,
    /// An assistant's message that only calls tools.
    Calls,
    /// One that says something and calls tools.
    Both,
    Tool,
    /// After the last message.
    End,
}

impl Kind {
    /// Its name in the translated template.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Start => "",
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Calls => "calls",
            Self::Both => "both",
            Self::Tool => "tool",
            Self::End => "end",
        }
    }
}

/// A character of text, or an action of the translated template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Char(char),
    Code(String),
}

pub(super) type Text = Vec<Piece>;

/// Text without actions.
pub(super) fn plain(text: &str) -> Text {
    text.chars().map(Piece::Char).collect()
}

/// Source of the translated template. Braces that would open an action are quoted.
pub(super) fn source(text: &[Piece]) -> String {
    let mut out = String::new();
    for (i, piece) in text.iter().enumerate() {
        match piece {
            Piece::Code(code) => out.push_str(code),
            Piece::Char('{') if !matches!(text.get(i + 1), Some(Piece::Char(c)) if *c != '{') => out.push_str("{{ \"{\" }}"),
            Piece::Char(c) => out.push(*c),
        }
    }
    out
}

/// Where in a conversation a piece of text stands; the translated template can ask for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) flags: [bool; Place::ASKED.len()],
}

impl Place {
    /// How the translated template asks for each flag: whether there are tools, a system message,
    /// whether this is the last user message, whether it comes after that, whether thinking is off.
    pub(super) const ASKED: [&str; 5] = ["$.Tools", "$.System", "eq $i $lu", "gt $i $lu", "and $.IsThinkSet (not $.Think)"];
}

/// The text between two messages at one place.
#[derive(Debug, Clone)]
pub(super) struct Glue {
    pub(super) from: Kind,
    pub(super) to: Kind,
    pub(super) place: Place,
    pub(super) text: Text,
}

/// All that was seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) glues: Vec<Glue>,
    /// Between an answer's text and the first name or arguments of its calls.
    pub(super) between: Option<Text>,
    /// Name and arguments of a call and what stands between them.
    pub(super) call: Option<Text>,
    /// From a call's last name or arguments to the next call's first.
    pub(super) separator: Option<Text>,
}

/// Which parts of conversations are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scope {
    /// System messages may come after the first message, too.
    pub(super) later_system: bool,
    /// The system message is not where it came but somewhere in the text of another message.
    pub(super) system_moves: bool,
    pub(super) tools: bool,
    pub(super) calls: bool,
}

use Kind::{Assistant as A, Both as B, Calls as C, System as S, Tool as T, User as U};

const PLAIN: [&[Kind]; 6] = [&[U], &[S, U], &[U, A, U], &[S, U, A, U], &[U, A, U, A, U], &[S, U, A, U, A, U]];
/// Rare conversations: what a template makes of them may be anything.
const RARE: [&[Kind]; 2] = [&[A, U], &[U, A]];
const LATER_SYSTEM: [&[Kind]; 2] = [&[S, U, A, S, U], &[U, A, S, U]];
const WITH_CALLS: [&[Kind]; 12] = [
    &[U, C, T],
    &[S, U, C, T],
    &[U, C, T, A, U],
    &[S, U, C, T, A, U],
    &[U, C, T, T],
    &[U, C, T, T, A, U],
    &[U, C, T, C, T],
    &[U, A, U, C, T],
    &[U, C, T, A, U, C, T, A, U],
    &[U, B, T],
    &[U, C, T, B, T],
    &[U, C, U],
];

fn mark(i: usize) -> String {
    format!("zq{i:03}qz")
}

fn call_of(i: usize) -> (String, Value) {
    (format!("fn{i:03}zq"), json!({format!("key{i}"): format!("zv{i:03}qz")}))
}

fn tool_list() -> [Value; 2] {
    [talks::definition("toolAzq", "argA"), talks::definition("toolBzq", "argB")]
}

/// Renders every conversation of the scope and takes the texts apart. A conversation that the
/// template refuses shows nothing.
///
/// # Errors
/// What cannot be taken apart.
pub(super) fn observe(render: &dyn Fn(&Talk) -> Option<String>, scope: Scope) -> Result<Seen, String> {
    let mut seen = Seen::default();
    let tools: &[bool] = if scope.tools { &[false, true] } else { &[false] };
    let thinking = [None, Some(false), Some(true)];
    let later: &[&[Kind]] = if scope.later_system { &LATER_SYSTEM } else { &[] };
    let sequences = PLAIN.iter().chain(if scope.calls { WITH_CALLS.as_slice() } else { &[] }).chain(later).chain(&RARE);
    for kinds in sequences {
        for (tools, thinking) in tools.iter().flat_map(|t| thinking.map(|th| (*t, th))) {
            let mut talk = talk_of(kinds, 1);
            talk.thinking = thinking;
            if tools {
                talk = talk.with_tools(&tool_list());
            }
            let Some(text) = render(&talk) else { continue };
            let held = seen.clone();
            let taken = take_apart(&text, kinds, (tools, thinking == Some(false)), scope, &mut seen);
            // Some templates leave out the text of a message that calls tools.
            if taken.is_err() && (RARE.contains(kinds) || kinds.contains(&B)) {
                seen = held;
            } else {
                taken?;
            }
        }
    }
    if scope.calls {
        separator(render, &mut seen)?;
    }
    let has = |to: Kind| seen.glues.iter().any(|g| g.to == to);
    if !has(U) || !has(Kind::End) || !has(A) {
        return Err("it refuses plain conversations".into());
    }
    Ok(seen)
}

fn talk_of(kinds: &[Kind], calls: usize) -> Talk {
    let message = |(i, kind): (usize, &Kind)| match kind {
        S => talks::system(&mark(i)),
        U => talks::user(&mark(i)),
        T => talks::tool(&mark(i)),
        C | B => {
            let list: Vec<(String, Value)> = (0..calls).map(|j| call_of(10 * i + j)).collect();
            talks::calls(if *kind == B { mark(i) } else { String::new() }.as_str(), &list)
        }
        _ => talks::assistant(&mark(i)),
    };
    Talk::new(kinds.iter().enumerate().map(message).collect())
}

/// A text from the left.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The text up to a mark; the cursor is behind the mark then.
    fn to(&mut self, mark: &str) -> Option<&'a str> {
        let found = self.text[self.at..].find(mark)?;
        let before = &self.text[self.at..self.at + found];
        self.at += found + mark.len();
        Some(before)
    }

    /// The text up to a call, and the call.
    fn call_text(&mut self, (name, arguments): &(String, Value)) -> Option<(&'a str, Text)> {
        let rest = &self.text[self.at..];
        let name_at = rest.find(name.as_str())?;
        let value = arguments.as_object()?.values().next()?.as_str()?;
        let arguments_at = rest[..rest.find(value)?].rfind('{')?;
        let mut stream = serde_json::Deserializer::from_str(&rest[arguments_at..]).into_iter::<Value>();
        if stream.next()?.ok()? != *arguments {
            return None;
        }
        let arguments_end = arguments_at + stream.byte_offset();
        let code = |expression: &str| vec![Piece::Code(format!("{{{{ {expression} }}}}"))];
        let (name_code, arguments_code) = (code("$c.Function.Name"), code("$c.Function.Arguments"));
        let name_end = name_at + name.len();
        let (first, last, call) = match name_end <= arguments_at {
            true => (name_at, arguments_end, [name_code, plain(&rest[name_end..arguments_at]), arguments_code].concat()),
            false if arguments_end <= name_at => {
                (arguments_at, name_end, [arguments_code, plain(&rest[arguments_end..name_at]), name_code].concat())
            }
            false => return None,
        };
        self.at += last;
        Some((&rest[..first], call))
    }
}

fn take_apart(text: &str, kinds: &[Kind], (tools, quiet): (bool, bool), scope: Scope, seen: &mut Seen) -> Result<(), String> {
    if scope.calls && text.contains("call0000") {
        return Err("it writes the ids of calls, which Ollama's templates do not have".into());
    }
    let last_user = kinds.iter().rposition(|k| *k == U).unwrap_or(0);
    let place = |i: usize| {
        let system = kinds.contains(&S);
        Place { flags: [tools, system, i == last_user, i > last_user, quiet] }
    };
    let mut cursor = Cursor { text, at: 0 };
    let mut from = Kind::Start;
    let lost = |kind: Kind| format!("it does not write {} messages one after the other", kind.name());
    for (i, kind) in kinds.iter().enumerate() {
        if scope.system_moves && *kind == S {
            continue;
        }
        let before = match kind {
            C => {
                let (before, call) = cursor.call_text(&call_of(10 * i)).ok_or_else(|| lost(*kind))?;
                agree(&mut seen.call, call, "calls")?;
                before
            }
            _ => cursor.to(&mark(i)).ok_or_else(|| lost(*kind))?,
        };
        seen.glues.push(Glue { from, to: *kind, place: place(i), text: pieces(before, scope)? });
        if *kind == B {
            let (before, call) = cursor.call_text(&call_of(10 * i)).ok_or_else(|| lost(*kind))?;
            agree(&mut seen.call, call, "calls")?;
            agree(&mut seen.between, plain(before), "calls after text")?;
        }
        from = *kind;
    }
    let mut end = place(kinds.len());
    // Where it ends is the same question for every conversation.
    (end.flags[2], end.flags[3]) = (false, false);
    seen.glues.push(Glue { from, to: Kind::End, place: end, text: pieces(&text[cursor.at..], scope)? });
    Ok(())
}

fn agree(known: &mut Option<Text>, now: Text, what: &str) -> Result<(), String> {
    match known {
        Some(before) if *before != now => Err(format!("it writes {what} in several ways")),
        _ => {
            *known = Some(now);
            Ok(())
        }
    }
}

/// What stands between two calls of one message. Templates that take one call only have none.
fn separator(render: &dyn Fn(&Talk) -> Option<String>, seen: &mut Seen) -> Result<(), String> {
    let talk = talk_of(&[U, C, T, T], 2).with_tools(&tool_list());
    let Some(text) = render(&talk) else { return Ok(()) };
    let mut cursor = Cursor { text: &text, at: 0 };
    let unknown = || "it writes several calls in another way than one".to_owned();
    cursor.call_text(&call_of(10)).ok_or_else(unknown)?;
    let (before, call) = cursor.call_text(&call_of(11)).ok_or_else(unknown)?;
    if seen.call.as_ref() != Some(&call) {
        return Err(unknown());
    }
    seen.separator = Some(plain(before));
    Ok(())
}

/// Text with actions where tools, and a system message that moved, stand in it.
fn pieces(text: &str, scope: Scope) -> Result<Text, String> {
    let mut out = Text::new();
    let mut rest = text;
    while let Some((before, code, after)) = next_tools(rest) {
        out.extend(plain(before));
        out.push(Piece::Code(code));
        rest = after;
    }
    out.extend(plain(rest));
    if text.contains("toolAzq") && out.iter().all(|p| matches!(p, Piece::Char(_))) || rest.contains("toolAzq") {
        return Err("it writes tools in another form than JSON".into());
    }
    if !scope.system_moves {
        return Ok(out);
    }
    let marks: Vec<Text> = (0..4).map(|i| plain(&mark(i))).collect();
    let mut i = 0;
    while i < out.len() {
        if let Some(m) = marks.iter().find(|m| out[i..].starts_with(m)) {
            out.splice(i..i + m.len(), [Piece::Code("{{ $.System }}".into())]);
        }
        i += 1;
    }
    Ok(out)
}

/// The first place where the tools are written: what is before, the action, and what is after.
fn next_tools(text: &str) -> Option<(&str, String, &str)> {
    let tools = tool_list();
    let functions: Vec<Value> = tools.iter().map(|t| t["function"].clone()).collect();
    let at = |from: usize, want: &Value| json_at(text, from, want);
    let whole = at(0, &Value::Array(tools.to_vec())).map(|r| (r, "{{ $.Tools }}".to_owned()));
    let listed = |expression: &str, (first, second): (&Value, &Value)| {
        let a = at(0, first)?;
        let b = at(a.end, second)?;
        let between = source(&plain(&text[a.end..b.start]));
        let code = format!("{{{{ range $j, $t := $.Tools }}}}{{{{ if $j }}}}{between}{{{{ end }}}}{{{{ {expression} }}}}{{{{ end }}}}");
        Some((a.start..b.end, code))
    };
    let found = whole.or_else(|| listed("$t", (&tools[0], &tools[1]))).or_else(|| listed("$t.Function", (&functions[0], &functions[1])))?;
    Some((&text[..found.0.start], found.1, &text[found.0.end..]))
}

/// Where a JSON value stands in a text, from an offset on.
fn json_at(text: &str, from: usize, want: &Value) -> Option<std::ops::Range<usize>> {
    let open = if want.is_array() { '[' } else { '{' };
    text[from..].match_indices(open).find_map(|(i, _)| {
        let start = from + i;
        let mut stream = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
        let value = stream.next()?.ok()?;
        (value == *want).then(|| start..start + stream.byte_offset())
    })
}
