//! Colour and numbers for people. Colour only on a terminal and never with NO_COLOR.

use std::io::IsTerminal;

/// Paints text, or leaves it as it is.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Colour when stdout is a terminal and NO_COLOR is unset or empty.
    pub fn for_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self { on: (wanted && std::io::stdout().is_terminal()) || std::env::var_os("CLICOLOR_FORCE").is_some_and(|v| v == "1") }
    }

    /// The same for stderr.
    pub fn for_stderr() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self { on: (wanted && std::io::stderr().is_terminal()) || std::env::var_os("CLICOLOR_FORCE").is_some_and(|v| v == "1") }
    }

    /// True when colour is on.
    pub fn is_on(self) -> bool {
        self.on
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Good news.
    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }
    /// What needs a look.
    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }
    /// What went wrong.
    pub fn red(self, text: &str) -> String {
        self.wrap("31;1", text)
    }
    /// What matters less.
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }
    /// Headings.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }
}

/// Bytes with a binary unit: `1.50 GiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.2} {}", UNITS[unit]) }
}

/// A count with thin groups: `12,345,678`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Seconds as `1 h 02 m`, `3 m 07 s` or `4.2 s`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        s if s >= 3600 => format!("{} h {:02} m", s / 3600, s % 3600 / 60),
        s if s >= 60 => format!("{} m {:02} s", s / 60, s % 60),
        _ => format!("{seconds:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, duration};

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1 << 20), "1.00 MiB");
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(duration(4.24), "4.2 s");
        assert_eq!(duration(187.0), "3 m 07 s");
        assert_eq!(duration(3720.0), "1 h 02 m");
    }
}
