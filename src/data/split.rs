//! Training, validation and test parts that share no row.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use serde::Serialize;

use super::dataset::RecordSet;
use super::error::{DataError, Location};
use super::random::{Rng, purpose};
use super::record::Record;

/// The three parts.
#[derive(Debug, Clone, Default)]
pub struct Splits {
    /// To train on; holds the problems of the whole set.
    pub train: RecordSet,
    /// To watch while training.
    pub validation: RecordSet,
    /// To judge the result.
    pub test: RecordSet,
}

/// Splits by seeded order. Rows with the same content (up to case and white space) go to the same part, so no row is
/// both trained and judged. With three different rows or more, every part with a share above zero gets at least one;
/// with fewer, only what fits into its share, so that there is something left to train.
///
/// # Errors
/// [`DataError::Options`] when the shares are negative or do not add up to 1.
pub fn split(set: RecordSet, shares: [f64; 3], seed: u64) -> Result<Splits, DataError> {
    check_shares(shares)?;
    let keys: Vec<u64> = set.records.par_iter().map(Record::content_key).collect();
    let part_of = assign(&keys, shares, seed);
    let part = || RecordSet { files: set.files.clone(), has_quality: set.has_quality, ..RecordSet::default() };
    let mut parts = [part(), part(), part()];
    parts[0].problems = set.problems;
    for (record, key) in set.records.into_iter().zip(&keys) {
        parts[part_of[key]].records.push(record);
    }
    let [train, validation, test] = parts;
    Ok(Splits { train, validation, test })
}

/// Refuses shares that are negative or do not add up to 1.
pub(super) fn check_shares(shares: [f64; 3]) -> Result<(), DataError> {
    let sum: f64 = shares.iter().sum();
    if shares.iter().any(|s| !s.is_finite() || *s < 0.0) || (sum - 1.0).abs() > 1e-6 {
        let [train, validation, test] = shares;
        return Err(DataError::Options {
            message: format!("train, validation and test shares {train}, {validation}, {test} must be positive and add up to 1"),
        });
    }
    Ok(())
}

/// The part of each content key: 0 to train on, 1 to watch, 2 to judge by.
pub(super) fn assign(keys: &[u64], shares: [f64; 3], seed: u64) -> HashMap<u64, usize> {
    let mut rows_of: HashMap<u64, usize> = HashMap::new();
    let mut groups: Vec<u64> = Vec::new();
    for key in keys {
        let rows = rows_of.entry(*key).or_insert(0);
        if *rows == 0 {
            groups.push(*key);
        }
        *rows += 1;
    }
    Rng::for_parts(&[seed, purpose::SPLIT]).shuffle(&mut groups);
    let total = keys.len() as f64;
    let least = |part: usize| usize::from(shares[part] > 0.0 && groups.len() >= 3);
    let mut part_of = HashMap::new();
    let mut at = 0;
    // Test and validation first, up to their share in rows; the rest is trained.
    for part in [2, 1] {
        let wanted = (total * shares[part]).round() as usize;
        let (mut rows, mut taken) = (0, 0);
        while at + 1 < groups.len() && (rows < wanted || taken < least(part)) {
            if groups.len() < 3 && rows + rows_of[&groups[at]] > wanted {
                break;
            }
            rows += rows_of[&groups[at]];
            taken += 1;
            part_of.insert(groups[at], part);
            at += 1;
        }
    }
    part_of.extend(groups[at..].iter().map(|key| (*key, 0)));
    part_of
}

/// Rows of one part that stand in another as well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Leakage {
    /// Rows of `other` whose question and answer are also trained.
    pub same_rows: usize,
    /// Rows of `other` whose question is also trained, whatever the answer.
    pub same_questions: usize,
    /// The first five of them.
    pub first: Vec<Location>,
}

/// Which rows of `other` leak from `train`, up to case and white space. For parts given as files.
pub fn leakage(train: &[Record], other: &[Record]) -> Leakage {
    let keys = |records: &[Record]| -> Vec<(u64, u64)> { records.par_iter().map(|r| (r.content_key(), r.question_key())).collect() };
    let (rows, questions): (HashSet<u64>, HashSet<u64>) = keys(train).into_iter().unzip();
    let mut found = Leakage::default();
    for (record, (row, question)) in other.iter().zip(keys(other)) {
        found.same_rows += usize::from(rows.contains(&row));
        if questions.contains(&question) {
            found.same_questions += 1;
            if found.first.len() < 5 {
                found.first.push(record.at.clone());
            }
        }
    }
    found
}
