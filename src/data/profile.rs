//! What a set of rows is made of: lengths, answers, calls, tools, rows that are nearly the same.

use std::collections::BTreeMap;

use serde::Serialize;

use super::dataset::Dataset;
use super::prepare::{near_duplicates, text_chars};
use super::record::{Content, Record};
use super::stats;

/// From this Jaccard index on two rows are counted as nearly the same.
pub const NEAR: f64 = 0.8;

/// Rows whose value lies between two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// Smallest value.
    pub from: u64,
    /// Largest value.
    pub to: u64,
    /// Rows.
    pub rows: usize,
}

/// How often a tool is offered and called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ToolUse {
    /// Its name.
    pub name: String,
    /// Rows that offer it.
    pub offered: usize,
    /// Calls of it.
    pub calls: usize,
    /// Rows that call it.
    pub calling: usize,
}

/// What rows are made of.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Profile {
    /// Characters of all texts of a row.
    pub chars: Vec<Bin>,
    /// Tokens of a sequence.
    pub tokens: Vec<Bin>,
    /// Tokens of a sequence that the loss covers.
    pub trained_tokens: Vec<Bin>,
    /// Answers of a row.
    pub answers: Vec<Bin>,
    /// Calls of a row.
    pub calls: Vec<Bin>,
    /// Quality in tenths: `from` 9 holds 0.9 to 1.
    pub quality: Vec<Bin>,
    /// Rows whose Jaccard index with an earlier row is at least [`NEAR`]; repeated rows among them.
    pub near_duplicates: usize,
    /// Tools, the most called first.
    pub tools: Vec<ToolUse>,
    /// Tools that are offered and never called.
    pub never_called: Vec<String>,
}

impl Profile {
    /// Of usable rows and the sequences made of them.
    pub fn of(records: &[&Record], datasets: &[Dataset]) -> Self {
        let (mut answers, mut calls) = (Vec::new(), Vec::new());
        let mut tools: BTreeMap<&str, ToolUse> = BTreeMap::new();
        for record in records {
            let Content::Chat(chat) = &record.content else {
                answers.push(1);
                continue;
            };
            let said = chat.messages.iter().filter(|m| m.role == "assistant");
            answers.push(said.clone().count() as u64);
            let named: Vec<&str> = said.flat_map(|m| m.tool_calls()).filter_map(|c| c["function"]["name"].as_str()).collect();
            calls.push(named.len() as u64);
            count(&mut tools, chat.tools.iter().filter_map(|t| t["function"]["name"].as_str()).collect(), &named);
        }
        let sequences = || datasets.iter().flat_map(|d| &d.examples);
        let mut tools: Vec<ToolUse> = tools.into_iter().map(|(name, u)| ToolUse { name: name.to_owned(), ..u }).collect();
        tools.sort_by_key(|t| std::cmp::Reverse(t.calls));
        // Rows without tools need no table of calls.
        let calls = if calls.iter().all(|n| *n == 0) { Vec::new() } else { calls };
        Self {
            chars: doubling(records.iter().map(|r| text_chars(r) as u64)),
            tokens: doubling(sequences().map(|e| e.len() as u64)),
            trained_tokens: doubling(sequences().map(|e| e.trained_tokens())),
            answers: doubling(answers.into_iter()),
            calls: doubling(calls.into_iter()),
            quality: tenths(records.iter().map(|r| stats::quality(r))),
            near_duplicates: near_duplicates(records, NEAR),
            never_called: tools.iter().filter(|t| t.calls == 0).map(|t| t.name.clone()).collect(),
            tools,
        }
    }
}

fn count<'a>(tools: &mut BTreeMap<&'a str, ToolUse>, offered: Vec<&'a str>, called: &[&'a str]) {
    let once = |names: &[&'a str]| {
        let mut names = names.to_vec();
        names.sort_unstable();
        names.dedup();
        names
    };
    once(&offered).into_iter().for_each(|name| tools.entry(name).or_default().offered += 1);
    called.iter().for_each(|name| tools.entry(name).or_default().calls += 1);
    once(called).into_iter().for_each(|name| tools.entry(name).or_default().calling += 1);
}

/// Bins of 0, 1, 2 to 3, 4 to 7, ...: from the smallest value's to the largest one's.
fn doubling(values: impl Iterator<Item = u64>) -> Vec<Bin> {
    let bin = |v: u64| (u64::BITS - v.leading_zeros()) as u64;
    filled(values.map(bin)).into_iter().map(|(n, rows)| Bin { from: if n == 0 { 0 } else { 1 << (n - 1) }, to: upper(n), rows }).collect()
}

fn upper(n: u64) -> u64 {
    if n >= 64 { u64::MAX } else { (1 << n) - 1 }
}

fn tenths(values: impl Iterator<Item = f64>) -> Vec<Bin> {
    let bins = filled(values.map(|v| ((v * 10.0 + 1e-9) as u64).min(9)));
    bins.into_iter().map(|(n, rows)| Bin { from: n, to: n + 1, rows }).collect()
}

/// Counts by number, without gaps between the smallest and the largest.
fn filled(numbers: impl Iterator<Item = u64>) -> Vec<(u64, usize)> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    numbers.for_each(|n| *counts.entry(n).or_default() += 1);
    let (Some(first), Some(last)) = (counts.keys().next().copied(), counts.keys().last().copied()) else { return Vec::new() };
    (first..=last).map(|n| (n, counts.get(&n).copied().unwrap_or(0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bin() {
        let seed = u64::from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos());
        let mut rng = super::super::random::Rng::for_parts(&[seed]);
        let mut values: Vec<u64> = (0..200).map(|_| rng.next_u64() >> rng.below(64)).collect();
        values.extend([0, 1, 2, 3, 4, u64::MAX]);
        let bins = doubling(values.iter().copied());
        assert_eq!(bins.iter().map(|b| b.rows).sum::<usize>(), values.len());
        for bin in &bins {
            let inside = values.iter().filter(|v| (bin.from..=bin.to).contains(*v)).count();
            assert_eq!(inside, bin.rows, "seed {seed}: {bin:?}");
        }
        assert!(doubling(std::iter::empty()).is_empty());
        let bin = |from, rows| Bin { from, to: from + 1, rows };
        assert_eq!(
            tenths([0.2, 0.4, 1.0, 0.99, 0.9].into_iter()),
            [2, 3, 4, 5, 6, 7, 8, 9].map(|n| bin(
                n,
                match n {
                    2 | 4 => 1,
                    9 => 3,
                    _ => 0,
                }
            ))
        );
    }
}
