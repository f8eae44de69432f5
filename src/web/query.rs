//! The query of an address.

use std::collections::BTreeMap;

use crate::base::error::Fault;

/// Names and values; of a name that is given twice, the last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    /// Of `a=b&c=d`, with `%41` for `A` and `+` for a space. Bytes that are no text are replaced.
    pub(super) fn parse(text: &str) -> Self {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (unescape(name), unescape(value))
        };
        Self(text.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    pub(super) fn need(&self, name: &str) -> Result<&str, Fault> {
        self.get(name).ok_or_else(|| Fault::new("invalid_arguments", format!("`{name}` is missing")))
    }

    /// A number, or `None` where it is not given.
    pub(super) fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, Fault> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let bad = || Fault::new("invalid_arguments", format!("`{name}` is no such number: {}", text.escape_debug()));
        text.parse().map(Some).map_err(|_| bad())
    }
}

fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        let digits = more.get(..2).filter(|two| two.iter().all(u8::is_ascii_hexdigit));
        match (first, digits.and_then(|two| std::str::from_utf8(two).ok())) {
            (b'%', Some(two)) => {
                out.push(u8::from_str_radix(two, 16).unwrap_or(b'?'));
                rest = &more[2..];
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(*first),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_values_and_escapes() {
        let q = Query::parse("a=1&b=x%2Fy+z&c&=q&a=2&d=%zz%4&e=%C3%A4%FF");
        assert_eq!((q.get("a"), q.get("b"), q.get("c"), q.get("d")), (Some("2"), Some("x/y z"), None, Some("%zz%4")));
        assert_eq!(q.get("e"), Some("\u{e4}\u{fffd}"));
        assert_eq!(q.number::<u64>("a").unwrap(), Some(2));
        assert_eq!(q.number::<u64>("f").unwrap(), None);
        assert_eq!(q.number::<u64>("b").unwrap_err().code, "invalid_arguments");
        assert_eq!(q.need("c").unwrap_err().code, "invalid_arguments");
    }
}
