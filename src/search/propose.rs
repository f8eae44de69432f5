//! What is tried next: at random, by the points of a grid, or where good trials lie densely (TPE).
//!
//! TPE (Bergstra, Bardenet, Bengio, Kégl 2011) by the crate `tpe`: for each parameter by itself, of
//! candidates drawn from the density of the best trials, the one that is most probable among the
//! best compared with the others.

use serde::{Deserialize, Serialize};
use tpe::density_estimation::DefaultEstimatorBuilder;
use tpe::{TpeOptimizer, TpeOptimizerBuilder};

use super::draw::Draw;
use super::space::{Domain, Settings, Space};
use crate::base::error::Fault;

/// How settings are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Tree-structured Parzen estimators, after some trials at random.
    Tpe,
    /// Each trial by itself.
    Random,
    /// The points of a grid, in an order drawn from the seed.
    Grid,
}

/// A trial that has ended, or is under way.
#[derive(Debug, Clone, Copy)]
pub struct Past<'a> {
    /// Its settings.
    pub settings: &'a Settings,
    /// Its place among all, the best first.
    pub rank: usize,
}

/// Trials at random before TPE has something to go by.
const RANDOM_FIRST: usize = 8;
/// Share of the trials that count as good.
const GOOD: f64 = 0.1;
/// Draws until one is new.
const DRAWS: u64 = 64;
/// Most points of a grid.
const MOST_POINTS: usize = 100_000;

/// The settings of trial `number`, which no trial of the past had; `None` when all have been tried.
///
/// # Errors
/// For a grid of too many points.
pub fn propose(space: &Space, method: Method, seed: u64, number: u64, past: &[Past]) -> Result<Option<Settings>, Fault> {
    let is_new = |settings: &Settings| past.iter().all(|p| !space.same(p.settings, settings));
    if method == Method::Grid {
        return grid(space, seed, &is_new);
    }
    let by_tpe = method == Method::Tpe && past.len() >= RANDOM_FIRST;
    let mut models = if by_tpe { models(space, past)? } else { Vec::new() };
    for draw in 0..DRAWS {
        let mut random = Draw::of(&[seed, number, draw]);
        let places = match models.as_mut_slice() {
            [] => space.parameters.iter().map(|_| random.unit()).collect::<Vec<_>>(),
            models => ask(models, &mut random)?,
        };
        let settings = space.at(&places);
        if is_new(&settings) {
            return Ok(Some(settings));
        }
    }
    // Few settings are left of a space in which all can be counted.
    match space.counted().filter(|s| s.grid_size().is_some_and(|n| n <= MOST_POINTS)) {
        Some(all) => grid(&all, seed, &is_new),
        None => Ok(None),
    }
}

/// The first new point of the grid in the order that the seed gives.
fn grid(space: &Space, seed: u64, is_new: &dyn Fn(&Settings) -> bool) -> Result<Option<Settings>, Fault> {
    let size = space.grid_size().filter(|n| *n <= MOST_POINTS).ok_or_else(|| {
        Fault::new("bad_space", format!("the grid has more than {MOST_POINTS} points")).hint("give fewer points, or search by tpe")
    })?;
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by_key(|i| (rand_core::Rng::next_u64(&mut Draw::of(&[seed, *i as u64])), *i));
    Ok(order.into_iter().map(|i| space.grid_point(i)).find(|s| is_new(s)))
}

type Model = (TpeOptimizer<DefaultEstimatorBuilder>, usize);

fn failed(e: impl std::fmt::Display) -> Fault {
    Fault::new("internal", format!("the next trial cannot be proposed: {e}"))
}

/// A model for each parameter. Places are its numbers, those of choices their index.
fn models(space: &Space, past: &[Past]) -> Result<Vec<Model>, Fault> {
    let places: Vec<Vec<Option<f64>>> = past.iter().map(|p| space.places(p.settings)).collect();
    let one = |(i, parameter): (usize, &super::space::Parameter)| {
        let choices = if let Domain::Choice(values) = &parameter.domain { values.len() } else { 0 };
        let (estimator, range) = match choices {
            0 => (tpe::parzen_estimator(), tpe::range(0.0, 1.0)),
            n => (tpe::histogram_estimator(), tpe::categorical_range(n)),
        };
        let range = range.map_err(failed)?;
        let mut model = TpeOptimizerBuilder::new().gamma(GOOD).build(estimator, range).map_err(failed)?;
        for (p, places) in past.iter().zip(&places) {
            let place = match places[i] {
                // A value that is none of the choices says nothing of them.
                None => f64::NAN,
                Some(place) if choices > 0 => (place * choices as f64).floor(),
                // The end of the range is not part of it.
                Some(place) => place.min(1.0 - f64::EPSILON),
            };
            model.tell(place, p.rank as f64).map_err(failed)?;
        }
        Ok((model, choices))
    };
    space.parameters.iter().enumerate().map(one).collect()
}

fn ask(models: &mut [Model], random: &mut Draw) -> Result<Vec<f64>, Fault> {
    let one = |(model, choices): &mut Model| {
        let place = model.ask(random).map_err(failed)?;
        Ok(if *choices > 0 { (place.floor() + 0.5) / *choices as f64 } else { place })
    };
    models.iter_mut().map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn space() -> Space {
        let texts = ["lr=log:1e-5..1e-1", "rank=1..64", "dropout=0.0..0.5", "optimizer=adamw,adamw8bit,x,y"];
        Space::from_arguments(&texts.map(str::to_owned)).unwrap()
    }

    /// Best at `lr = best_lr`, a middle rank, little dropout, one of the choices; the learning rate
    /// matters most.
    fn objective(settings: &Settings, best_lr: f64, best_choice: &str) -> f64 {
        let of = |key: &str| settings[key].as_f64().unwrap();
        let lr = (of("training.stage1.learning_rate") / best_lr).ln();
        let rank = (of("lora.rank") - 32.0) / 64.0;
        let choice = if settings["training.optimizer"] == json!(best_choice) { 0.0 } else { 1.0 };
        lr * lr + rank * rank + of("lora.dropout") + choice
    }

    /// The best of so many trials, and what was tried.
    fn search(method: Method, seed: u64, trials: usize, objective: &dyn Fn(&Settings) -> f64) -> (f64, Vec<Settings>) {
        let space = space();
        let mut done: Vec<(Settings, f64)> = Vec::new();
        for number in 1..=trials as u64 {
            let rank = |cost: f64| done.iter().filter(|(_, c)| *c < cost).count();
            let past: Vec<Past> = done.iter().map(|(settings, cost)| Past { settings, rank: rank(*cost) }).collect();
            let next = propose(&space, method, seed, number, &past).unwrap().unwrap();
            let cost = objective(&next);
            done.push((next, cost));
        }
        let best = done.iter().map(|(_, cost)| *cost).fold(f64::INFINITY, f64::min);
        (best, done.into_iter().map(|(settings, _)| settings).collect())
    }

    #[test]
    fn tpe_finds_better_settings_than_random() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut wins, mut losses, mut tpe_sum, mut random_sum) = (0, 0, 0.0, 0.0);
        for _ in 0..200 {
            let (own, best_lr) = (rng.u64(..), 10f64.powf(-4.5 + 3.0 * rng.f64()));
            let choice = ["adamw", "adamw8bit", "x", "y"][rng.usize(..4)];
            let cost = |s: &Settings| objective(s, best_lr, choice);
            let (tpe, random) = (search(Method::Tpe, own, 40, &cost).0, search(Method::Random, own, 40, &cost).0);
            wins += usize::from(tpe < random);
            losses += usize::from(tpe > random);
            tpe_sum += tpe;
            random_sum += random;
        }
        // Wins of some 135 and sums in a proportion of 0.7 are usual.
        assert!(wins > losses + 20, "seed {seed}: tpe was better in {wins} and worse in {losses} of 200");
        assert!(tpe_sum < 0.9 * random_sum, "seed {seed}: sums of the best costs {tpe_sum} and {random_sum}");
    }

    #[test]
    fn the_same_seed_proposes_the_same_and_another_one_something_else() {
        let seed = fastrand::u64(..);
        let cost = |s: &Settings| objective(s, 1e-3, "x");
        for method in [Method::Tpe, Method::Random, Method::Grid] {
            let (a, b) = (search(method, seed, 20, &cost).1, search(method, seed, 20, &cost).1);
            assert_eq!(a, b, "seed {seed}, {method:?}");
            assert_ne!(a, search(method, seed.wrapping_add(1), 20, &cost).1, "seed {seed}, {method:?}");
            for (i, one) in a.iter().enumerate() {
                assert!(!a[..i].contains(one), "seed {seed}, {method:?}: {one:?} came twice");
            }
        }
    }

    #[test]
    fn a_small_space_is_tried_to_its_end_once() {
        let texts = ["rank=1..3", "optimizer=adamw,adamw8bit"].map(str::to_owned);
        let space = Space::from_arguments(&texts).unwrap();
        for method in [Method::Tpe, Method::Random, Method::Grid] {
            let seed = fastrand::u64(..);
            let mut done: Vec<Settings> = Vec::new();
            for number in 1.. {
                let past: Vec<Past> = done.iter().enumerate().map(|(rank, settings)| Past { settings, rank }).collect();
                match propose(&space, method, seed, number, &past).unwrap() {
                    Some(next) => done.push(next),
                    None => break,
                }
            }
            assert_eq!(done.len(), 6, "seed {seed}, {method:?}: {done:?}");
        }
    }
}
