//! chrF2 as sacrebleu computes it: character n-grams up to six without white space, beta 2
//! (Popović, 2015).

use super::{grams, shared, space};

/// Orders of n-grams.
pub const ORDERS: usize = 6;
/// Sums of a row: for each order the n-grams of the answer, those wanted, and those in both.
pub const SUMS: usize = 3 * ORDERS;
/// How much recall counts against precision, squared.
const BETA_SQUARED: f64 = 4.0;

/// The sums of one row.
pub fn sums(answer: &str, wanted: &str) -> Vec<f64> {
    let chars = |text: &str| text.chars().filter(|c| !space(*c)).collect::<Vec<_>>();
    let (a, w) = (chars(answer), chars(wanted));
    let mut out = Vec::with_capacity(SUMS);
    for order in 1..=ORDERS {
        let count = |n: usize| (n + 1).saturating_sub(order) as f64;
        let wanted = count(w.len());
        // An answer's n-grams count only where the reference has some of that order.
        out.push(if wanted > 0.0 { count(a.len()) } else { 0.0 });
        out.push(wanted);
        out.push(shared(&grams(&a, order), &grams(&w, order)) as f64);
    }
    out
}

/// The score, 0 to 100, of the sums of all rows.
pub fn score(sums: &[f64]) -> f64 {
    let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
    for of in sums.chunks(3) {
        if of[0] > 0.0 && of[1] > 0.0 {
            precision += of[2] / of[0];
            recall += of[2] / of[1];
            orders += 1.0;
        }
    }
    if precision + recall == 0.0 {
        return 0.0;
    }
    (precision, recall) = (precision / orders, recall / orders);
    100.0 * (1.0 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)
}
