//! From the source to nodes.

use serde_json::Value;

use super::{Node, Operand, Pipe};

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Variable(String),
    Field(String),
    Dot,
    Literal(Value),
    Open,
    Close,
    Bar,
    Declare,
    Assign,
    Comma,
}

/// A piece of the source: text, or the inside of an action.
enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// The nodes of a template.
pub(super) fn parse(source: &str) -> Result<Vec<Node>, String> {
    let pieces = pieces(source)?;
    let mut at = 0;
    let nodes = list(&pieces, &mut at)?;
    if at == pieces.len() { Ok(nodes) } else { Err("`end` or `else` without a beginning".into()) }
}

fn pieces(source: &str) -> Result<Vec<Piece>, String> {
    let mut out = Vec::new();
    let mut rest = source;
    let mut trim_next = false;
    while let Some(open) = rest.find("{{") {
        let mut text = &rest[..open];
        rest = &rest[open + 2..];
        if trim_next {
            text = text.trim_start();
        }
        if rest.starts_with('-') && rest[1..].starts_with(char::is_whitespace) {
            text = text.trim_end();
            rest = &rest[1..];
        }
        if !text.is_empty() {
            out.push(Piece::Text(text.to_owned()));
        }
        let body = rest.trim_start();
        let (tokens, after) = match body.strip_prefix("/*") {
            Some(comment) => (None, comment.split_once("*/").ok_or("a comment without an end")?.1),
            None => {
                let (tokens, after) = tokens(rest)?;
                (Some(tokens), after)
            }
        };
        let after = after.trim_start();
        (trim_next, rest) = match after.strip_prefix("-}}") {
            Some(r) => (true, r),
            None => (false, after.strip_prefix("}}").ok_or("an action without an end")?),
        };
        out.extend(tokens.map(Piece::Action));
    }
    let last = if trim_next { rest.trim_start() } else { rest };
    if !last.is_empty() {
        out.push(Piece::Text(last.to_owned()));
    }
    Ok(out)
}

/// The tokens of an action, and the source from its end.
fn tokens(source: &str) -> Result<(Vec<Token>, &str), String> {
    let mut out = Vec::new();
    let mut rest = source;
    loop {
        rest = rest.trim_start();
        if rest.starts_with("}}") || rest.starts_with("-}}") {
            return Ok((out, rest));
        }
        let first = rest.chars().next().ok_or("an action without an end")?;
        let word = |s: &str| s.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(s.len());
        let taken = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '|' => (Token::Bar, 1),
            ',' => (Token::Comma, 1),
            ':' if rest.starts_with(":=") => (Token::Declare, 2),
            '=' => (Token::Assign, 1),
            '$' => {
                let n = word(&rest[1..]) + 1;
                (Token::Variable(rest[..n].to_owned()), n)
            }
            '.' => match word(&rest[1..]) {
                0 => (Token::Dot, 1),
                n => (Token::Field(rest[1..=n].to_owned()), n + 1),
            },
            '"' => {
                let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                let text = stream.next().and_then(Result::ok).ok_or("a string without an end")?;
                (Token::Literal(Value::String(text)), stream.byte_offset())
            }
            '`' => {
                let end = rest[1..].find('`').ok_or("a string without an end")?;
                (Token::Literal(Value::String(rest[1..=end].to_owned())), end + 2)
            }
            c if c.is_ascii_digit() || c == '-' => {
                let n = rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |n| n + 1);
                (Token::Literal(Value::from(rest[..n].parse::<i64>().map_err(|e| e.to_string())?)), n)
            }
            c if c.is_alphabetic() => {
                let n = word(rest);
                (Token::Word(rest[..n].to_owned()), n)
            }
            c => return Err(format!("`{c}` is not understood")),
        };
        out.push(taken.0);
        rest = &rest[taken.1..];
    }
}

/// Nodes up to an `else`, an `end` or the end of the source.
fn list(pieces: &[Piece], at: &mut usize) -> Result<Vec<Node>, String> {
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.get(*at) {
        let tokens = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text.clone()));
                *at += 1;
                continue;
            }
            Piece::Action(tokens) => tokens.as_slice(),
        };
        let word = match tokens.first() {
            Some(Token::Word(w)) => w.as_str(),
            _ => "",
        };
        if matches!(word, "else" | "end") {
            break;
        }
        *at += 1;
        nodes.push(match word {
            "if" | "with" | "range" => block(word, &tokens[1..], pieces, at)?,
            "break" => Node::Break,
            "continue" => Node::Continue,
            _ => action(tokens)?,
        });
    }
    Ok(nodes)
}

fn block(word: &str, head: &[Token], pieces: &[Piece], at: &mut usize) -> Result<Node, String> {
    let (names, head) = loop_names(word, head);
    let value = pipe(head)?;
    let then = list(pieces, at)?;
    let otherwise = match pieces.get(*at) {
        Some(Piece::Action(tokens)) if tokens.first() == Some(&Token::Word("else".into())) => {
            *at += 1;
            match tokens.get(1) {
                // The `end` of the inner block is that of the outer one, too.
                Some(Token::Word(inner)) => return Ok(branch(word, names, value, then, vec![block(inner, &tokens[2..], pieces, at)?])),
                _ => list(pieces, at)?,
            }
        }
        _ => Vec::new(),
    };
    match pieces.get(*at) {
        Some(Piece::Action(tokens)) if tokens.as_slice() == [Token::Word("end".into())] => *at += 1,
        _ => return Err(format!("`{word}` without an `end`")),
    }
    Ok(branch(word, names, value, then, otherwise))
}

/// `$i, $x :=` in front of what a `range` goes over.
fn loop_names<'a>(word: &str, head: &'a [Token]) -> ((Option<String>, Option<String>), &'a [Token]) {
    match head {
        [Token::Variable(i), Token::Comma, Token::Variable(x), Token::Declare, rest @ ..] if word == "range" => {
            ((Some(i.clone()), Some(x.clone())), rest)
        }
        [Token::Variable(x), Token::Declare, rest @ ..] if word == "range" => ((None, Some(x.clone())), rest),
        _ => ((None, None), head),
    }
}

fn branch(word: &str, names: (Option<String>, Option<String>), value: Pipe, then: Vec<Node>, otherwise: Vec<Node>) -> Node {
    match word {
        "range" => Node::Range { index: names.0, item: names.1, over: value, body: then, otherwise },
        "with" => Node::With { value, then, otherwise },
        _ => Node::If { condition: value, then, otherwise },
    }
}

fn action(tokens: &[Token]) -> Result<Node, String> {
    Ok(match tokens {
        [Token::Variable(name), Token::Declare, rest @ ..] => Node::Set { name: name.clone(), declares: true, value: pipe(rest)? },
        [Token::Variable(name), Token::Assign, rest @ ..] => Node::Set { name: name.clone(), declares: false, value: pipe(rest)? },
        _ => Node::Print(pipe(tokens)?),
    })
}

fn pipe(tokens: &[Token]) -> Result<Pipe, String> {
    let mut at = 0;
    let pipe = pipe_at(tokens, &mut at)?;
    if at == tokens.len() { Ok(pipe) } else { Err(format!("{:?} is not expected", tokens[at])) }
}

fn pipe_at(tokens: &[Token], at: &mut usize) -> Result<Pipe, String> {
    let mut commands = vec![Vec::new()];
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        let fields = |at: &mut usize| {
            let mut all = Vec::new();
            while let Some(Token::Field(f)) = tokens.get(*at) {
                all.push(f.clone());
                *at += 1;
            }
            all
        };
        let operand = match token {
            Token::Close => {
                *at -= 1;
                break;
            }
            Token::Bar => {
                commands.push(Vec::new());
                continue;
            }
            Token::Open => {
                let inner = pipe_at(tokens, at)?;
                if tokens.get(*at) != Some(&Token::Close) {
                    return Err("a parenthesis without an end".into());
                }
                *at += 1;
                Operand::Nested(inner, fields(at))
            }
            Token::Dot => Operand::Dot,
            Token::Literal(v) => Operand::Literal(v.clone()),
            Token::Field(f) => Operand::Field([vec![f.clone()], fields(at)].concat()),
            Token::Variable(v) => Operand::Variable(v.clone(), fields(at)),
            Token::Word(w) => match w.as_str() {
                "true" | "false" => Operand::Literal(Value::Bool(w == "true")),
                "nil" => Operand::Literal(Value::Null),
                name => Operand::Function(name.to_owned()),
            },
            other => return Err(format!("{other:?} is not expected")),
        };
        if let Some(last) = commands.last_mut() {
            last.push(operand);
        }
    }
    if commands.iter().any(Vec::is_empty) { Err("an empty command".into()) } else { Ok(commands) }
}
