//! Numbers: sums in digits and in words, comparing, counting on, the time of day.

use super::pen::Pen;
use super::words::{capital, number};

/// A sum: its two sides in digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// Left number.
    pub a: u32,
    /// `+`, `-` or `*`.
    pub sign: char,
    /// Right number.
    pub b: u32,
    /// What it makes.
    pub result: u32,
}

/// A sum whose numbers and result lie between 0 and 99.
pub fn sum(pen: &mut Pen) -> Sum {
    let high = if pen.once_in(2) { 9 } else { 49 };
    let (a, b) = (pen.between(0, high), pen.between(0, high));
    match pen.between(0, 4) {
        0 | 1 => Sum { a, sign: '+', b, result: a + b },
        2 | 3 => Sum { a: a.max(b), sign: '-', b: a.min(b), result: a.abs_diff(b) },
        _ => Sum { a: a % 10, sign: '*', b: b % 10, result: (a % 10) * (b % 10) },
    }
}

impl Sum {
    /// `3 + 4`
    pub fn digits(&self) -> String {
        format!("{} {} {}", self.a, self.sign, self.b)
    }

    /// `three plus four`
    pub fn words(&self) -> String {
        let sign = match self.sign {
            '+' => "plus",
            '-' => "minus",
            _ => "times",
        };
        format!("{} {sign} {}", number(self.a), number(self.b))
    }
}

/// A time of day as people say it, and on a 24-hour clock.
pub fn time_of_day(pen: &mut Pen) -> (String, String) {
    let hour = pen.between(1, 11);
    match pen.between(0, 5) {
        0 => (format!("{hour} am"), format!("{hour:02}:00")),
        1 => (format!("{hour} pm"), format!("{:02}:00", hour + 12)),
        _ => {
            let (hour, minute) = (pen.between(5, 22), pen.between(0, 11) * 5);
            (format!("{hour}:{minute:02}"), format!("{hour:02}:{minute:02}"))
        }
    }
}

fn line(pen: &mut Pen) -> String {
    match pen.between(0, 8) {
        0 | 1 => {
            let s = sum(pen);
            format!("{} = {}", s.digits(), s.result)
        }
        2 => {
            let s = sum(pen);
            format!("{} is {}.", capital(&s.words()), number(s.result))
        }
        3 => {
            let n = pen.between(0, 99);
            format!("{n} is {}.", number(n))
        }
        4 => {
            let (a, b) = (pen.between(0, 99), pen.between(0, 99));
            let word = match a.cmp(&b) {
                std::cmp::Ordering::Less => "less than",
                std::cmp::Ordering::Equal => "equal to",
                std::cmp::Ordering::Greater => "more than",
            };
            format!("{a} is {word} {b}.")
        }
        5 => {
            let (start, step) = (pen.between(0, 40), pen.pick(&[1, 1, 2, 5, 10]));
            let numbers: Vec<String> = (0..6).map(|i| (start + i * step).to_string()).collect();
            format!("Count: {}", numbers.join(", "))
        }
        6 => {
            let n = pen.between(0, 99);
            format!("{n} is {}.", if n.is_multiple_of(2) { "even" } else { "odd" })
        }
        _ => {
            let (said, clock) = time_of_day(pen);
            format!("The time {said} is {clock} on the clock.")
        }
    }
}

/// A few lines about numbers.
pub fn document(pen: &mut Pen) -> String {
    (0..pen.between(2, 7)).map(|_| line(pen)).collect::<Vec<_>>().join("\n")
}
