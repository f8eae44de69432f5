//! The part of Go's `text/template` that Ollama's templates use: text, `if`, `range`, `with`,
//! variables, fields, literals, pipelines, and the functions `and or not eq ne lt le gt ge len index
//! slice print printf json`. A translated template is run here and compared with the chat template
//! before it is written.
//!
//! Objects and lists print as JSON, since Ollama's types for tools and arguments do.

mod parse;
mod run;

use serde_json::Value;

/// A parsed template.
#[derive(Debug, Clone)]
pub struct GoTemplate {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
enum Node {
    Text(String),
    Print(Pipe),
    Set { name: String, declares: bool, value: Pipe },
    If { condition: Pipe, then: Vec<Node>, otherwise: Vec<Node> },
    With { value: Pipe, then: Vec<Node>, otherwise: Vec<Node> },
    Range { index: Option<String>, item: Option<String>, over: Pipe, body: Vec<Node>, otherwise: Vec<Node> },
    Break,
    Continue,
}

/// Commands; the value of each is the last argument of the next.
type Pipe = Vec<Vec<Operand>>;

#[derive(Debug, Clone)]
enum Operand {
    Dot,
    Literal(Value),
    Function(String),
    Variable(String, Vec<String>),
    Field(Vec<String>),
    Nested(Pipe, Vec<String>),
}

impl GoTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// What is not understood.
    pub fn parse(source: &str) -> Result<Self, String> {
        Ok(Self { nodes: parse::parse(source)? })
    }

    /// Runs it with `data` as the dot.
    ///
    /// # Errors
    /// When a function or an index does not fit its value.
    pub fn render(&self, data: &Value) -> Result<String, String> {
        run::run(&self.nodes, data)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(source: &str, data: &Value) -> String {
        GoTemplate::parse(source).and_then(|t| t.render(data)).unwrap_or_else(|e| panic!("{source}: {e}"))
    }

    #[test]
    fn what_go_does_is_done() {
        let data = json!({"A": "x", "L": [1, 2, 3], "O": {"B": "y"}, "E": "", "T": [{"function": {"name": "f"}}]});
        for (source, want) in [
            ("a {{ .A }} b", "a x b"),
            ("a {{- .A -}} b", "axb"),
            ("{{ if .E }}1{{ else if eq .A \"z\" \"x\" }}2{{ else }}3{{ end }}", "2"),
            ("{{ range $i, $x := .L }}{{ if $i }},{{ end }}{{ $x }}{{ end }}", "1,2,3"),
            ("{{ range .N }}1{{ else }}none{{ end }}", "none"),
            ("{{ $p := \"s\" }}{{ range .L }}{{ $p }}{{ $p = print . }}{{ end }}{{ $p }}", "s123"),
            ("{{ range $i, $_ := .L }}{{ if eq (len (slice $.L $i)) 1 }}last{{ end }}{{ end }}", "last"),
            ("{{ with .O }}{{ .B }}{{ $.A }}{{ end }}{{ with .E }}no{{ else }}{{ .A }}{{ end }}", "yxx"),
            ("{{ range .T }}{{ .Function.Name }} {{ . }}{{ end }}", "f {\"function\":{\"name\":\"f\"}}"),
            ("{{ if and .A (not .E) (gt (len .L) 2) }}yes{{ end }}{{/* words */}}", "yes"),
            ("{{ \"{{\" }}{{ `\"` }}{{ (index .L 1) }}{{ .L | len | printf \"%d!\" }}", "{{\"23!"),
            ("{{ range .L }}{{ if eq . 2 }}{{ continue }}{{ end }}{{ . }}{{ end }}", "13"),
        ] {
            assert_eq!(run(source, &data), want, "{source}");
        }
        for wrong in ["{{ if .A }}", "{{ end }}", "{{ .A", "{{ nosuch .A }}", "{{ $x = 1 }}"] {
            assert!(GoTemplate::parse(wrong).and_then(|t| t.render(&data)).is_err(), "{wrong}");
        }
    }
}
