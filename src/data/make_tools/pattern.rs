//! A text that a regular expression allows.

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::data::random::Rng;

/// Longest text that is made.
const LONGEST: usize = 200;

/// A text that matches `pattern`; `None` where it is no expression that can be followed. What is not
/// anchored is made as if it were.
pub(super) fn matching(pattern: &str, rng: &mut Rng) -> Option<String> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let mut out = String::new();
    write(&hir, rng, &mut out)?;
    Some(out)
}

fn write(hir: &Hir, rng: &mut Rng, out: &mut String) -> Option<()> {
    if out.len() > LONGEST {
        return None;
    }
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(Class::Unicode(class)) => {
            // Letters and digits where the class has some: a dot allows all of Unicode.
            let nice = |c: &char| c.is_ascii_alphanumeric() && class.ranges().iter().any(|r| r.start() <= *c && *c <= r.end());
            let pool: Vec<char> = ('0'..='9').chain('a'..='z').chain('A'..='Z').filter(nice).collect();
            let first = class.ranges().first()?.start();
            out.push(if pool.is_empty() { first } else { pool[rng.below(pool.len() as u64) as usize] });
        }
        HirKind::Class(Class::Bytes(class)) => out.push(char::from(class.ranges().first()?.start())),
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(repetition.min.saturating_add(5)).min(repetition.min.saturating_add(8));
            let times = repetition.min + rng.below(u64::from(most - repetition.min) + 1) as u32;
            for _ in 0..times {
                write(&repetition.sub, rng, out)?;
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, rng, out)?,
        HirKind::Concat(parts) => {
            for part in parts {
                write(part, rng, out)?;
            }
        }
        HirKind::Alternation(parts) => write(&parts[rng.below(parts.len() as u64) as usize], rng, out)?,
    }
    Some(())
}
