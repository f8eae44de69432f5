//! Running a template's nodes.

use serde_json::Value;

use super::{Node, Operand, Pipe};

/// Runs nodes with `data` as the dot and as `$`.
pub(super) fn run(nodes: &[Node], data: &Value) -> Result<String, String> {
    let mut run = Run { out: String::new(), variables: vec![("$".into(), data.clone())] };
    run.nodes(nodes, data)?;
    Ok(run.out)
}

/// What a list of nodes ended with.
#[derive(PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct Run {
    out: String,
    variables: Vec<(String, Value)>,
}

impl Run {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, String> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.out.push_str(text);
                    Flow::Next
                }
                Node::Print(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    self.out.push_str(&printed(&value));
                    Flow::Next
                }
                Node::Set { name, declares, value } => {
                    let value = self.pipe(value, dot)?;
                    self.set(name, *declares, value)?;
                    Flow::Next
                }
                Node::If { condition, then, otherwise } => {
                    let value = self.pipe(condition, dot)?;
                    self.scope(if truth(&value) { then } else { otherwise }, dot)?
                }
                Node::With { value, then, otherwise } => {
                    let value = self.pipe(value, dot)?;
                    if truth(&value) { self.scope(then, &value)? } else { self.scope(otherwise, dot)? }
                }
                Node::Range { index, item, over, body, otherwise } => self.range((index, item), over, body, otherwise, dot)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn scope(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, String> {
        let held = self.variables.len();
        let flow = self.nodes(nodes, dot)?;
        self.variables.truncate(held);
        Ok(flow)
    }

    fn range(
        &mut self,
        names: (&Option<String>, &Option<String>),
        over: &Pipe,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, String> {
        let items = match self.pipe(over, dot)? {
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            other => return Err(format!("range over {other}")),
        };
        if items.is_empty() {
            return self.scope(otherwise, dot);
        }
        for (i, item) in items.into_iter().enumerate() {
            let held = self.variables.len();
            if let Some(name) = names.0 {
                self.variables.push((name.clone(), i.into()));
            }
            if let Some(name) = names.1 {
                self.variables.push((name.clone(), item.clone()));
            }
            let flow = self.nodes(body, &item)?;
            self.variables.truncate(held);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    fn set(&mut self, name: &str, declares: bool, value: Value) -> Result<(), String> {
        if declares {
            self.variables.push((name.to_owned(), value));
            return Ok(());
        }
        let found = self.variables.iter_mut().rev().find(|(n, _)| n == name);
        found.map(|(_, v)| *v = value).ok_or_else(|| format!("`{name}` is not declared"))
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, String> {
        let mut last = None;
        for command in pipe {
            last = Some(self.command(command, dot, last)?);
        }
        last.ok_or_else(|| "an empty pipeline".into())
    }

    fn command(&mut self, command: &[Operand], dot: &Value, piped: Option<Value>) -> Result<Value, String> {
        let Operand::Function(name) = &command[0] else {
            return match (command, piped) {
                ([one], None) => self.operand(one, dot),
                _ => Err("a value with arguments".into()),
            };
        };
        // `and` and `or` stop at the first value that decides.
        if let "and" | "or" = name.as_str() {
            let mut value = Value::Null;
            for operand in &command[1..] {
                value = self.operand(operand, dot)?;
                if truth(&value) == (name == "or") {
                    return Ok(value);
                }
            }
            return Ok(piped.unwrap_or(value));
        }
        let mut arguments = command[1..].iter().map(|o| self.operand(o, dot)).collect::<Result<Vec<_>, _>>()?;
        arguments.extend(piped);
        call(name, &arguments)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, String> {
        Ok(match operand {
            Operand::Dot => dot.clone(),
            Operand::Literal(v) => v.clone(),
            Operand::Field(fields) => follow(dot, fields),
            Operand::Variable(name, fields) => {
                let found = self.variables.iter().rev().find(|(n, _)| n == name);
                follow(&found.ok_or_else(|| format!("`{name}` is not declared"))?.1, fields)
            }
            Operand::Nested(pipe, fields) => follow(&self.pipe(pipe, dot)?, fields),
            Operand::Function(name) => call(name, &[])?,
        })
    }
}

/// Fields by their Go name, or as the JSON of tools has them.
fn follow(value: &Value, fields: &[String]) -> Value {
    fields.iter().fold(value.clone(), |v, field| {
        let found = v.get(field).or_else(|| v.get(field.to_lowercase()));
        found.cloned().unwrap_or(Value::Null)
    })
}

fn truth(v: &Value) -> bool {
    match v {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    }
}

fn printed(v: &Value) -> String {
    match v {
        Value::Null => String::new(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let number = |v: &Value| v.as_i64().ok_or_else(|| format!("{name}: {v} is no number"));
    let compare = |f: fn(&i64, &i64) -> bool| match arguments {
        [a, b] => Ok(Value::Bool(f(&number(a)?, &number(b)?))),
        _ => Err(format!("{name} takes two arguments")),
    };
    match (name, arguments) {
        ("not", [v]) => Ok(Value::Bool(!truth(v))),
        ("eq", [first, others @ ..]) => Ok(Value::Bool(others.contains(first))),
        ("ne", [a, b]) => Ok(Value::Bool(a != b)),
        ("lt", _) => compare(i64::lt),
        ("le", _) => compare(i64::le),
        ("gt", _) => compare(i64::gt),
        ("ge", _) => compare(i64::ge),
        ("len", [v]) => match v {
            Value::String(s) => Ok(s.len().into()),
            Value::Array(a) => Ok(a.len().into()),
            Value::Object(o) => Ok(o.len().into()),
            other => Err(format!("len of {other}")),
        },
        ("index", [list, at]) => match (list, at) {
            (Value::Array(a), at) => a.get(number(at)? as usize).cloned().ok_or_else(|| format!("index {at} of {}", a.len())),
            (Value::Object(o), Value::String(key)) => Ok(o.get(key).cloned().unwrap_or(Value::Null)),
            _ => Err("index of what has none".into()),
        },
        ("slice", [Value::Array(a), from, to @ ..]) => {
            let to = to.first().map(number).transpose()?.map_or(a.len(), |n| n as usize);
            a.get(number(from)? as usize..to).map(|s| s.to_vec().into()).ok_or_else(|| "slice beyond the end".into())
        }
        ("print", values) => Ok(Value::String(values.iter().map(printed).collect())),
        ("printf", [Value::String(format), values @ ..]) => {
            let mut out = format.clone();
            for v in values {
                let at = ["%s", "%v", "%d"].iter().filter_map(|p| out.find(p)).min().ok_or("printf: more values than places")?;
                out.replace_range(at..at + 2, &printed(v));
            }
            Ok(Value::String(out))
        }
        ("json", [v]) => Ok(Value::String(v.to_string())),
        _ => Err(format!("`{name}` is not known with {} arguments", arguments.len())),
    }
}
