//! What kind of text a text is, by its form.

use serde::Serialize;
use serde::de::IgnoredAny;

/// A kind of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TextKind {
    /// Sentences.
    Prose,
    /// Source code.
    Code,
    /// Mostly digits.
    Numbers,
    /// JSON, such as tools and their calls.
    ToolJson,
}

/// Endings of files that hold source code.
pub(super) const CODE_ENDINGS: [&str; 34] = [
    "bash", "c", "cc", "clj", "cpp", "cs", "css", "ex", "go", "h", "hpp", "hs", "html", "java", "jl", "js", "jsx", "kt", "lua", "ml",
    "php", "pl", "py", "r", "rb", "rs", "scala", "sh", "sql", "swift", "toml", "ts", "tsx", "zig",
];

/// Words at the beginning of a line of code.
const BEGINNINGS: [&str; 24] = [
    "def ",
    "fn ",
    "let ",
    "const ",
    "import ",
    "#include",
    "class ",
    "return",
    "if (",
    "for (",
    "while (",
    "//",
    "pub ",
    "var ",
    "function ",
    "public ",
    "private ",
    "static ",
    "else",
    "elif ",
    "struct ",
    "enum ",
    "use ",
    "async ",
];

impl TextKind {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prose => "prose",
            Self::Code => "code",
            Self::Numbers => "numbers",
            Self::ToolJson => "tool_json",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Prose, Self::Code, Self::Numbers, Self::ToolJson].into_iter().find(|k| k.name() == name)
    }

    /// By the text's form: JSON as a whole or a marked call; digits for at least 40 % of what is not
    /// white space, and no more letters than digits; lines that look like code.
    pub fn of(text: &str) -> Self {
        let text = text.trim();
        if is_json(text) || text.contains("<tool_call>") || text.contains("[TOOL_CALLS]") {
            return Self::ToolJson;
        }
        let (mut digits, mut letters, mut symbols, mut all) = (0usize, 0usize, 0usize, 0usize);
        for c in text.chars().filter(|c| !c.is_whitespace()) {
            all += 1;
            digits += usize::from(c.is_numeric());
            letters += usize::from(c.is_alphabetic());
            symbols += usize::from("{}()[];=<>_&|*".contains(c));
        }
        if digits > 0 && digits * 5 >= all * 2 && digits >= letters {
            return Self::Numbers;
        }
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        let code = lines.iter().filter(|l| is_code(l)).count();
        if code * 2 >= lines.len() && symbols * 25 >= all && code > 0 { Self::Code } else { Self::Prose }
    }
}

/// An object or a list of objects, and nothing else.
fn is_json(text: &str) -> bool {
    text.starts_with(['{', '[']) && text.contains('"') && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn is_code(line: &str) -> bool {
    line.ends_with(['{', '}', ';', '(', '[', ')', ']']) || BEGINNINGS.iter().any(|b| line.starts_with(b)) || line.contains(" = ")
}
