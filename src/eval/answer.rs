//! Whether an answer is the wanted one: as text, as a number, as JSON.

use serde_json::Value;

/// Equal but for white space at both ends.
pub fn exact(answer: &str, wanted: &str) -> bool {
    answer.trim() == wanted.trim()
}

/// The number that an answer gives: the first after its last `####` (as GSM8K writes it), else the
/// last one in the text. Commas between digits are left out.
pub fn number(text: &str) -> Option<f64> {
    match text.rsplit_once("####") {
        Some((_, end)) => numbers(end).next(),
        None => numbers(text).last(),
    }
}

/// Whether both give the same number. No number in `wanted` is never matched.
pub fn numeric(answer: &str, wanted: &str) -> bool {
    match (number(answer), number(wanted)) {
        (Some(a), Some(w)) => (a - w).abs() <= 1e-9 * w.abs().max(1.0),
        _ => false,
    }
}

/// Decimal numbers in a text, from left to right. A minus sign counts where no letter or digit
/// stands before it, so that `5-3` gives 5 and 3.
fn numbers(text: &str) -> impl Iterator<Item = f64> {
    let b = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < b.len() && !b[at].is_ascii_digit() {
            at += 1;
        }
        if at == b.len() {
            return None;
        }
        let from = at;
        let (mut digits, mut point) = (String::new(), false);
        while at < b.len() {
            let next_is_digit = b.get(at + 1).is_some_and(u8::is_ascii_digit);
            match b[at] {
                d if d.is_ascii_digit() => digits.push(char::from(d)),
                b',' if !point && is_thousands(&b[at + 1..]) => {}
                b'.' if !point && next_is_digit => {
                    point = true;
                    digits.push('.');
                }
                _ => break,
            }
            at += 1;
        }
        let mut sign = from;
        // `.5` and `$` before the digits belong to the number.
        if sign > 0 && b[sign - 1] == b'.' && !(sign > 1 && b[sign - 2].is_ascii_digit()) && !point {
            sign -= 1;
            digits.insert_str(0, "0.");
        }
        if sign > 0 && b[sign - 1] == b'$' {
            sign -= 1;
        }
        let negative = sign > 0 && b[sign - 1] == b'-' && !(sign > 1 && b[sign - 2].is_ascii_alphanumeric());
        digits.parse::<f64>().ok().map(|n| if negative { -n } else { n })
    })
}

/// Whether three digits, and not a fourth, come next.
fn is_thousands(rest: &[u8]) -> bool {
    rest.len() >= 3 && rest[..3].iter().all(u8::is_ascii_digit) && !rest.get(3).is_some_and(u8::is_ascii_digit)
}

/// The JSON of an answer: the whole text, or its only fenced block of code.
pub fn json(answer: &str) -> Option<Value> {
    let text = answer.trim();
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let parts: Vec<&str> = text.split("```").collect();
    let [_, block, _] = parts.as_slice() else { return None };
    serde_json::from_str(block.split_once('\n')?.1.trim()).ok()
}

/// How near the answer's length in characters is to the wanted one: shorter over longer, 1 for two
/// empty texts.
pub fn length(answer: &str, wanted: &str) -> f64 {
    let (a, w) = (answer.trim().chars().count() as f64, wanted.trim().chars().count() as f64);
    if a == w { 1.0 } else { a.min(w) / a.max(w) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_write_them() {
        let cases = [
            ("so #### 72", Some(72.0)),
            ("#### 1,234,567", Some(1_234_567.0)),
            ("It costs $1,250.50.", Some(1250.5)),
            ("#### -5", Some(-5.0)),
            ("7-3 is 4", Some(4.0)),
            ("7-3", Some(3.0)),
            ("loses -$20 in total", Some(-20.0)),
            ("between 1,2 and 3", Some(3.0)),
            ("1,2", Some(2.0)),
            ("half is .5", Some(0.5)),
            ("v1.2.3", Some(3.0)),
            ("#### 10 of 20", Some(10.0)),
            ("#### 3 #### 4", Some(4.0)),
            ("the end is 18.", Some(18.0)),
            ("no number", None),
            ("#### none", None),
            ("", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(number(text), wanted, "{text:?}");
        }
        assert!(numeric("I think 18.0 apples", "9 + 9 = <<9+9=18>>18\n#### 18") && !numeric("18", "no number") && !numeric("", "#### 1"));
    }

    #[test]
    fn json_whole_or_in_one_fence() {
        assert_eq!(json(" {\"a\": 1} "), Some(serde_json::json!({"a": 1})));
        assert_eq!(json("Here:\n```json\n[1, 2]\n```\ndone"), Some(serde_json::json!([1, 2])));
        for bad in ["", "{", "x {\"a\":1}", "```json\n{\n```", "```\n1\n```\n```\n2\n```", "``` 1 ```"] {
            assert_eq!(json(bad), None, "{bad:?}");
        }
    }
}
