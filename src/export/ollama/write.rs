//! The translated template, from what was observed.

use std::collections::BTreeMap;

use super::observe::{Glue, Kind, Piece, Place, Scope, Seen, Text, plain, source};

/// Text by the flags that decide it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    Text(Text),
    Ask(usize, Box<Choice>, Box<Choice>),
}

impl Choice {
    /// The fewest flags that decide the text.
    fn of(glues: &[&Glue]) -> Result<Self, String> {
        const FLAGS: usize = Place::ASKED.len();
        let mut masks: Vec<u32> = (0..1 << FLAGS).collect();
        masks.sort_by_key(|m| m.count_ones());
        for mask in masks {
            let masked = |p: Place| (0..FLAGS).map(|i| p.flags[i] && mask >> i & 1 == 1).collect::<Vec<bool>>();
            let mut by_flags: BTreeMap<Vec<bool>, &Text> = BTreeMap::new();
            let decided = glues.iter().all(|g| *by_flags.entry(masked(g.place)).or_insert(&g.text) == &g.text);
            if decided {
                let cases: Vec<(Vec<bool>, &Text)> = by_flags.into_iter().collect();
                let asked: Vec<usize> = (0..FLAGS).filter(|i| mask >> i & 1 == 1).collect();
                return Ok(Self::tree(&cases, &asked));
            }
        }
        let (from, to) = (glues[0].from.name(), glues[0].to.name());
        Err(format!("what it writes between {from} and {to} depends on more than its place"))
    }

    fn tree(cases: &[(Vec<bool>, &Text)], asked: &[usize]) -> Self {
        let Some((flag, rest)) = asked.split_first() else { return Self::Text(cases[0].1.clone()) };
        let side = |want: bool| cases.iter().filter(|(f, _)| f[*flag] == want).cloned().collect::<Vec<_>>();
        let (yes, no) = (side(true), side(false));
        match (yes.is_empty(), no.is_empty()) {
            (true, _) => Self::tree(&no, rest),
            (_, true) => Self::tree(&yes, rest),
            _ => {
                let (yes, no) = (Self::tree(&yes, rest), Self::tree(&no, rest));
                if yes == no { yes } else { Self::Ask(*flag, Box::new(yes), Box::new(no)) }
            }
        }
    }

    fn texts(&self) -> Vec<&Text> {
        match self {
            Self::Text(t) => vec![t],
            Self::Ask(_, yes, no) => [yes.texts(), no.texts()].concat(),
        }
    }

    fn cut_end(&mut self, n: usize) {
        match self {
            Self::Text(t) => t.truncate(t.len() - n),
            Self::Ask(_, yes, no) => {
                yes.cut_end(n);
                no.cut_end(n);
            }
        }
    }

    fn asks(&self, flag: usize) -> bool {
        match self {
            Self::Text(_) => false,
            Self::Ask(f, yes, no) => *f == flag || yes.asks(flag) || no.asks(flag),
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Text(t) => source(t),
            Self::Ask(flag, yes, no) => {
                let (yes, no) = (yes.write(), no.write());
                let otherwise = if no.is_empty() { String::new() } else { format!("{{{{ else }}}}{no}") };
                format!("{{{{ if {} }}}}{yes}{otherwise}{{{{ end }}}}", Place::ASKED[*flag])
            }
        }
    }
}

/// What comes before a message of one kind, by the kind before it.
struct Before {
    /// Kinds with the same text together, the largest group last.
    groups: Vec<(Vec<Kind>, Choice)>,
    /// What all of them end with.
    ending: Text,
}

impl Before {
    fn of(seen: &Seen, to: Kind) -> Result<Option<Self>, String> {
        let mut groups: Vec<(Vec<Kind>, Choice)> = Vec::new();
        for from in [Kind::Start, Kind::System, Kind::User, Kind::Assistant, Kind::Calls, Kind::Both, Kind::Tool] {
            let glues: Vec<&Glue> = seen.glues.iter().filter(|g| (g.from, g.to) == (from, to)).collect();
            if glues.is_empty() {
                continue;
            }
            let choice = Choice::of(&glues)?;
            match groups.iter_mut().find(|(_, c)| *c == choice) {
                Some((kinds, _)) => kinds.push(from),
                None => groups.push((vec![from], choice)),
            }
        }
        groups.sort_by_key(|(kinds, _)| kinds.len());
        if groups.is_empty() {
            return Ok(None);
        }
        let texts: Vec<&Text> = groups.iter().flat_map(|(_, c)| c.texts()).collect();
        let shared = (0..texts[0].len())
            .take_while(|i| texts.iter().all(|t| t.len() > *i && t[t.len() - 1 - i] == texts[0][texts[0].len() - 1 - i]));
        let shared = shared.count();
        let ending = texts[0][texts[0].len() - shared..].to_vec();
        for (_, choice) in &mut groups {
            choice.cut_end(shared);
        }
        Ok(Some(Self { groups, ending }))
    }

    fn asks(&self, flag: usize) -> bool {
        self.groups.iter().any(|(_, c)| c.asks(flag))
    }

    fn write(&self) -> String {
        let mut out = String::new();
        let (last, others) = match self.groups.split_last() {
            Some(split) => split,
            None => return out,
        };
        for (i, (kinds, choice)) in others.iter().enumerate() {
            let names: Vec<String> = kinds.iter().map(|k| format!("\"{}\"", k.name())).collect();
            let word = if i == 0 { "if" } else { "else if" };
            out.push_str(&format!("{{{{ {word} eq $p {} }}}}{}", names.join(" "), choice.write()));
        }
        let rest = last.1.write();
        match (others.is_empty(), rest.is_empty()) {
            (true, _) => out.push_str(&rest),
            (false, true) => out.push_str("{{ end }}"),
            (false, false) => out.push_str(&format!("{{{{ else }}}}{rest}{{{{ end }}}}")),
        }
        out + &source(&self.ending)
    }
}

/// How calls are written: what opens and closes each, and what stands between two.
struct CallForm {
    open: Text,
    body: Text,
    close: Text,
    join: Text,
}

impl CallForm {
    /// Takes what opens and closes a call out of the texts around it.
    fn take(seen: &mut Seen) -> Result<Option<Self>, String> {
        let Some(body) = seen.call.clone() else { return Ok(None) };
        let is_call = |k: Kind| matches!(k, Kind::Calls | Kind::Both);
        let mut before: Vec<Text> = seen.glues.iter().filter(|g| g.to == Kind::Calls).map(|g| g.text.clone()).collect();
        before.extend(seen.between.clone());
        let after: Vec<Text> = seen.glues.iter().filter(|g| is_call(g.from)).map(|g| g.text.clone()).collect();
        let (open, close, join) = match &seen.separator {
            Some(s) => {
                let close = after.iter().map(|a| common_start(s, a)).min().unwrap_or(0);
                let left = &s[close..];
                let open = before.iter().map(|b| common_end(left, b)).min().unwrap_or(0);
                (left[left.len() - open..].to_vec(), s[..close].to_vec(), left[..left.len() - open].to_vec())
            }
            None => {
                // One call only: it is the JSON around its name and arguments.
                let first = before.first().cloned().unwrap_or_default();
                let brace = first.iter().rposition(|p| *p == Piece::Char('{')).unwrap_or(first.len());
                let end = after.first().cloned().unwrap_or_default();
                let closing = end.iter().take_while(|p| matches!(p, Piece::Char('}' | ']'))).count();
                (first[brace..].to_vec(), end[..closing].to_vec(), Text::new())
            }
        };
        for glue in &mut seen.glues {
            if glue.to == Kind::Calls {
                glue.text = without_end(&glue.text, &open)?;
            }
            if is_call(glue.from) {
                glue.text = without_start(&glue.text, &close)?;
            }
        }
        seen.between = seen.between.take().map(|b| without_end(&b, &open)).transpose()?;
        Ok(Some(Self { open, body, close, join }))
    }

    fn write(&self) -> String {
        let join = match source(&self.join) {
            empty if empty.is_empty() => empty,
            join => format!("{{{{ if gt (len (slice $m.ToolCalls $j)) 1 }}}}{join}{{{{ end }}}}"),
        };
        let one = source(&[self.open.clone(), self.body.clone(), self.close.clone()].concat());
        format!("{{{{ if .ToolCalls }}}}{{{{ range $j, $c := .ToolCalls }}}}{one}{join}{{{{ end }}}}{{{{ end }}}}")
    }
}

fn common_start(a: &[Piece], b: &[Piece]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

fn common_end(a: &[Piece], b: &[Piece]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count()
}

fn without_end(text: &Text, end: &Text) -> Result<Text, String> {
    text.strip_suffix(end.as_slice()).map(<[Piece]>::to_vec).ok_or_else(|| "it opens calls in several ways".into())
}

fn without_start(text: &Text, start: &Text) -> Result<Text, String> {
    text.strip_prefix(start.as_slice()).map(<[Piece]>::to_vec).ok_or_else(|| "it closes calls in several ways".into())
}

/// Takes a text off the beginning of every conversation: what the reading program adds itself.
pub(super) fn drop_start(seen: &mut Seen, start: &str) {
    let start = plain(start);
    for glue in seen.glues.iter_mut().filter(|g| g.from == Kind::Start) {
        if let Some(rest) = glue.text.strip_prefix(start.as_slice()) {
            glue.text = rest.to_vec();
        }
    }
}

/// The template's source.
///
/// # Errors
/// When what was seen does not follow from what Ollama's templates can ask.
pub(super) fn write(mut seen: Seen, scope: Scope) -> Result<String, String> {
    let calls = CallForm::take(&mut seen)?;
    let mut kinds = vec![Kind::User];
    if !scope.system_moves {
        kinds.insert(0, Kind::System);
    }
    kinds.push(Kind::Assistant);
    if calls.is_some() {
        kinds.push(Kind::Calls);
        kinds.extend(seen.between.is_some().then_some(Kind::Both));
    }
    kinds.push(Kind::Tool);
    let mut branches = String::new();
    let (mut asks_user, mut count) = (false, 0);
    for kind in kinds {
        let Some(before) = Before::of(&seen, kind)? else { continue };
        asks_user |= before.asks(2) || before.asks(3);
        let between = seen.between.as_deref().filter(|_| kind == Kind::Both).map(source).unwrap_or_default();
        let content = if kind == Kind::Calls { "" } else { "{{ .Content }}" };
        let word = if count == 0 { "if" } else { "else if" };
        branches.push_str(&format!("{{{{ {word} eq $k \"{}\" }}}}{}{content}{between}", kind.name(), before.write()));
        count += 1;
    }
    branches.push_str("{{ end }}");
    let end = Before::of(&seen, Kind::End)?.map(|b| b.write()).unwrap_or_default();
    let mut out = String::new();
    if asks_user {
        out.push_str("{{ $lu := 0 }}{{ range $i, $m := .Messages }}{{ if eq .Role \"user\" }}{{ $lu = $i }}{{ end }}{{ end }}");
    }
    out.push_str("{{ $p := \"\" }}{{ range $i, $m := .Messages }}");
    if scope.system_moves {
        out.push_str("{{ if ne .Role \"system\" }}");
    }
    out.push_str("{{ $k := .Role }}");
    if calls.is_some() {
        let both = if seen.between.is_some() { "{{ with $m.Content }}{{ $k = \"both\" }}{{ end }}" } else { "" };
        out.push_str(&format!("{{{{ with .ToolCalls }}}}{{{{ $k = \"calls\" }}}}{both}{{{{ end }}}}"));
    }
    out.push_str(&branches);
    out.push_str(&calls.map(|c| c.write()).unwrap_or_default());
    out.push_str("{{ $p = $k }}");
    out.push_str(if scope.system_moves { "{{ end }}{{ end }}" } else { "{{ end }}" });
    Ok(out + &end)
}
