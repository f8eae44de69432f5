//! What may vary: settings with their ranges and choices, and values as numbers from 0 to 1.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Settings of a trial: dotted key and value.
pub type Settings = Map<String, Value>;

/// What a setting may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// A number of a range, ends included.
    Range {
        /// Least.
        low: f64,
        /// Most.
        high: f64,
        /// Whether equal steps are equal factors.
        log: bool,
        /// Whether it is a whole number.
        whole: bool,
        /// Values that a grid takes of it.
        points: usize,
    },
    /// One of these.
    Choice(Vec<Value>),
}

/// A setting that varies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its dotted key.
    pub key: String,
    /// What it may be.
    pub domain: Domain,
}

/// All settings that vary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Space {
    /// In the order in which they were named.
    pub parameters: Vec<Parameter>,
}

/// Digits of a proposed number: more would say nothing, and fewer are easier to read.
const DIGITS: i32 = 4;

fn rounded(x: f64) -> f64 {
    if x == 0.0 {
        return 0.0;
    }
    let text = format!("{x:.*e}", (DIGITS - 1) as usize);
    text.parse().unwrap_or(x)
}

impl Domain {
    /// The ends on the scale on which equal steps count the same; a whole number has half a step on
    /// each side.
    fn scale(&self) -> Option<(f64, f64, bool)> {
        let Self::Range { low, high, log, whole, .. } = *self else { return None };
        let half = if whole { 0.5 } else { 0.0 };
        let (low, high) = (low - half, high + half);
        Some(if log { (low.ln(), high.ln(), true) } else { (low, high, false) })
    }

    /// The value at a place from 0 to 1 of the range, or of the row of choices.
    pub fn at(&self, place: f64) -> Value {
        match self {
            Self::Choice(values) => values[((place * values.len() as f64) as usize).min(values.len() - 1)].clone(),
            Self::Range { low, high, whole, .. } => {
                let (from, to, log) = self.scale().unwrap_or((*low, *high, false));
                let x = from + place * (to - from);
                let x = if log { x.exp() } else { x };
                if *whole { json!(x.round().clamp(*low, *high) as u64) } else { json!(rounded(x).clamp(*low, *high)) }
            }
        }
    }

    /// Where a value lies, from 0 to 1; a number beyond the range lies at its end. `None` for a
    /// value that is no choice.
    pub fn place(&self, value: &Value) -> Option<f64> {
        match self {
            Self::Choice(values) => {
                let at = values.iter().position(|v| same(v, value))?;
                Some((at as f64 + 0.5) / values.len() as f64)
            }
            Self::Range { .. } => {
                let (from, to, log) = self.scale()?;
                let x = value.as_f64()?;
                let x = if log { x.max(f64::MIN_POSITIVE).ln() } else { x };
                Some(((x - from) / (to - from)).clamp(0.0, 1.0))
            }
        }
    }

    /// Different values there are; `None` where they are beyond counting.
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::Choice(values) => Some(values.len()),
            Self::Range { low, high, whole: true, .. } => Some((high - low) as usize + 1),
            Self::Range { .. } => None,
        }
    }

    /// The values of a grid.
    pub fn grid(&self) -> Vec<Value> {
        match self {
            Self::Choice(values) => values.clone(),
            Self::Range { low, high, whole, points, log } => {
                let on_scale = |x: f64| if *log { x.ln() } else { x };
                let (from, to) = (on_scale(*low), on_scale(*high));
                let at = |i: usize| {
                    let x = from + (to - from) * i as f64 / (*points - 1).max(1) as f64;
                    let x = if *log { x.exp() } else { x };
                    if *whole { json!(x.round().clamp(*low, *high) as u64) } else { json!(rounded(x).clamp(*low, *high)) }
                };
                let mut values: Vec<Value> = (0..*points).map(at).collect();
                values.dedup();
                values
            }
        }
    }
}

/// Whether two values mean the same: 8 and 8.0 do.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

impl Space {
    /// The settings at these places, one for each parameter.
    pub(super) fn at(&self, places: &[f64]) -> Settings {
        self.parameters.iter().zip(places).map(|(p, place)| (p.key.clone(), p.domain.at(*place))).collect()
    }

    /// Where the settings lie; `None` for a parameter whose value lies nowhere.
    pub fn places(&self, settings: &Settings) -> Vec<Option<f64>> {
        self.parameters.iter().map(|p| settings.get(&p.key).and_then(|v| p.domain.place(v))).collect()
    }

    /// Whether two are the same in every parameter.
    pub(super) fn same(&self, a: &Settings, b: &Settings) -> bool {
        let equal = |key: &String| match (a.get(key), b.get(key)) {
            (Some(a), Some(b)) => same(a, b),
            (a, b) => a == b,
        };
        self.parameters.iter().all(|p| equal(&p.key))
    }

    /// Points of the grid; `None` where they are too many to count.
    pub fn grid_size(&self) -> Option<usize> {
        self.parameters.iter().try_fold(1usize, |n, p| n.checked_mul(p.domain.grid().len()))
    }

    /// A point of the grid, of which the first parameter changes most slowly.
    pub(super) fn grid_point(&self, mut index: usize) -> Settings {
        let mut settings: Vec<(String, Value)> = Vec::new();
        for p in self.parameters.iter().rev() {
            let values = p.domain.grid();
            settings.push((p.key.clone(), values[index % values.len()].clone()));
            index /= values.len();
        }
        settings.into_iter().rev().collect()
    }

    /// The space in which every whole number of a range is a point of the grid, where all values
    /// can be counted.
    pub(super) fn counted(&self) -> Option<Self> {
        let counted = |p: &Parameter| {
            let count = p.domain.count()?;
            let domain = match &p.domain {
                Domain::Range { low, high, whole, .. } => {
                    Domain::Range { low: *low, high: *high, log: false, whole: *whole, points: count }
                }
                choice => choice.clone(),
            };
            Some(Parameter { key: p.key.clone(), domain })
        };
        Some(Self { parameters: self.parameters.iter().map(counted).collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_where_they_came_from() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..500 {
            let whole = rng.bool();
            let log = rng.bool();
            let low = if whole { rng.u64(1..50) as f64 } else { 10f64.powf(-6.0 + 6.0 * rng.f64()) };
            let high = if whole { low + rng.u64(1..200) as f64 } else { low * (1.5 + 100.0 * rng.f64()) };
            let domain = Domain::Range { low, high, log, whole, points: 5 };
            let what = format!("seed {seed}: {domain:?}");
            let place = rng.f64();
            let value = domain.at(place);
            let x = value.as_f64().unwrap();
            assert!((low..=high).contains(&x) && (!whole || x.fract() == 0.0), "{what} {x}");
            let back = domain.place(&value).unwrap();
            let tolerance = if whole { 1.0 / (high - low) + if log { 0.5 } else { 1e-9 } } else { 0.01 };
            assert!((back - place).abs() <= tolerance, "{what}: {place} became {back}");
            let grid = domain.grid();
            assert!(grid.len() <= 5 && grid.len() >= 2, "{what} {grid:?}");
            assert!((grid[0].as_f64().unwrap() / low - 1.0).abs() < 1e-3, "{what} {grid:?}");
            assert!((grid[grid.len() - 1].as_f64().unwrap() / high - 1.0).abs() < 1e-3, "{what} {grid:?}");
        }
        let choice = Domain::Choice(vec![json!("a"), json!(8), json!([1, 2])]);
        assert_eq!([0.0, 0.4, 0.99].map(|p| choice.at(p)), [json!("a"), json!(8), json!([1, 2])]);
        assert_eq!((choice.place(&json!(8.0)), choice.place(&json!("b"))), (Some(0.5), None));
    }

    #[test]
    fn every_point_of_a_grid_comes_once() {
        let range = |points| Domain::Range { low: 1.0, high: 3.0, log: false, whole: true, points };
        let space = Space {
            parameters: vec![
                Parameter { key: "a".into(), domain: range(3) },
                Parameter { key: "b".into(), domain: Domain::Choice(vec![json!("x"), json!("y")]) },
            ],
        };
        assert_eq!(space.grid_size(), Some(6));
        let all: Vec<Settings> = (0..6).map(|i| space.grid_point(i)).collect();
        for (i, one) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|other| !space.same(one, other)), "{all:?}");
        }
        assert_eq!(json!(all[1]), json!({"a": 1, "b": "y"}));
    }
}
