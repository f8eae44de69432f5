//! Second versions of what runs on a GPU, chosen at run time until a card has shown which of the two is
//! the faster; the slower one then goes. `TALLOW_CUDA_VARIANTS=keys64,logits128` takes some of them.

use std::cell::Cell;
use std::sync::OnceLock;

use crate::{Error, Result};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Attention's forward pass reads 64 keys at a time with head dim 128, not 32: queries are read from
    /// shared memory half as often, for more registers.
    Keys64,
    /// Attention's blocks stay with few sequences at a time, whose keys and values the cache holds.
    BySequence,
    /// Logits are made in chunks of a multiple of 128 rows, which the products' tiles divide.
    Logits128,
    /// Attention by warpgroups, on compute capability 9.0 with head dims 64 and 128.
    Warpgroups,
}

/// All of them by name.
pub const ALL: [(&str, Variant); 4] = [
    ("keys64", Variant::Keys64),
    ("by-sequence", Variant::BySequence),
    ("logits128", Variant::Logits128),
    ("warpgroups", Variant::Warpgroups),
];

impl Variant {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

thread_local! {
    static CHOSEN: Cell<Option<u8>> = const { Cell::new(None) };
}

fn parse(list: &str) -> Result<u8> {
    let mut bits = 0;
    for name in list.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        let Some((_, variant)) = ALL.iter().find(|(n, _)| *n == name) else {
            let known = ALL.map(|(n, _)| n).join(", ");
            return Err(Error::Value { op: "TALLOW_CUDA_VARIANTS", message: format!("no variant `{name}`; there are {known}") });
        };
        bits |= variant.bit();
    }
    Ok(bits)
}

/// Those that the environment names.
fn named() -> &'static Result<u8> {
    static NAMED: OnceLock<Result<u8>> = OnceLock::new();
    NAMED.get_or_init(|| parse(&std::env::var("TALLOW_CUDA_VARIANTS").unwrap_or_default()))
}

/// Refuses a name that `TALLOW_CUDA_VARIANTS` has and this version does not.
///
/// # Errors
/// With the names that there are.
#[cfg(feature = "cuda")]
pub(crate) fn check() -> Result<()> {
    parse(&std::env::var("TALLOW_CUDA_VARIANTS").unwrap_or_default()).map(drop)
}

/// Whether the variant is taken on this thread.
pub(crate) fn on(variant: Variant) -> bool {
    let bits = CHOSEN.get().or(named().as_ref().ok().copied()).unwrap_or(0);
    bits & variant.bit() != 0
}

/// Runs `f` with just these variants taken on this thread.
pub fn with<R>(variants: &[Variant], f: impl FnOnce() -> R) -> R {
    struct Back(Option<u8>);
    impl Drop for Back {
        fn drop(&mut self) {
            CHOSEN.set(self.0);
        }
    }
    let _back = Back(CHOSEN.replace(Some(variants.iter().fold(0, |bits, v| bits | v.bit()))));
    f()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_or_refused_with_those_there_are() {
        assert_eq!(parse("").unwrap(), 0);
        assert_eq!(parse(" keys64, logits128 ").unwrap(), Variant::Keys64.bit() | Variant::Logits128.bit());
        let said = parse("keys64,fast").unwrap_err().to_string();
        assert!(said.contains("`fast`") && said.contains("by-sequence"), "{said}");
    }

    #[test]
    fn a_choice_ends_with_its_call() {
        let inner = with(&[Variant::BySequence], || {
            (on(Variant::BySequence), on(Variant::Keys64), with(&[], || on(Variant::BySequence)), on(Variant::BySequence))
        });
        assert_eq!((inner, on(Variant::BySequence)), ((true, false, false, true), false));
    }
}
