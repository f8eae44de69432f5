//! A window: the batches of one optimiser step, cut into the passes that the model sees.

use crate::data::PackedBatch;

/// Joins batches end to end and cuts them again at sequence boundaries, so that no pass holds more than `max_tokens`
/// (0: no limit). A group of `together` sequences is never cut; a group longer than the limit gets a pass of its own.
///
/// ```text
///   batches   [ a b ][ c ][ d e f ]        a window of three
///   passes    [ a b c d ][ e f ]           with room for four sequences' tokens
/// ```
pub fn passes(batches: &[PackedBatch], max_tokens: usize, together: usize) -> Vec<PackedBatch> {
    let weighted = batches.iter().any(|b| b.token_weights.is_some());
    let empty = || PackedBatch { cu_seqlens: vec![0], token_weights: weighted.then(Vec::new), ..PackedBatch::default() };
    let mut out = Vec::new();
    let mut pass = empty();
    for batch in batches {
        let sequences: Vec<(usize, usize)> = batch.cu_seqlens.windows(2).map(|w| (w[0] as usize, w[1] as usize)).collect();
        for group in sequences.chunks(together.max(1)) {
            let length: usize = group.iter().map(|(a, b)| b - a).sum();
            if max_tokens > 0 && pass.tokens() > 0 && pass.tokens() + length > max_tokens {
                out.push(std::mem::replace(&mut pass, empty()));
            }
            group.iter().for_each(|&(a, b)| append(&mut pass, batch, a, b));
        }
    }
    if pass.tokens() > 0 {
        out.push(pass);
    }
    out
}

fn append(pass: &mut PackedBatch, from: &PackedBatch, a: usize, b: usize) {
    pass.input_ids.extend_from_slice(&from.input_ids[a..b]);
    pass.targets.extend_from_slice(&from.targets[a..b]);
    pass.cu_seqlens.push(pass.input_ids.len() as u32);
    if let Some(weights) = &mut pass.token_weights {
        match &from.token_weights {
            Some(w) => weights.extend_from_slice(&w[a..b]),
            None => weights.extend(std::iter::repeat_n(1.0, b - a)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lengths: &[usize], first: u32) -> PackedBatch {
        let mut b = PackedBatch { cu_seqlens: vec![0], ..PackedBatch::default() };
        for &n in lengths {
            b.input_ids.extend((0..n as u32).map(|i| first + i));
            b.targets.extend((0..n).map(|i| if i + 1 == n { -100 } else { 1 }));
            b.cu_seqlens.push(b.input_ids.len() as u32);
        }
        b
    }

    #[test]
    fn one_pass_without_a_limit() {
        let p = passes(&[batch(&[2, 3], 0), batch(&[4], 10)], 0, 1);
        assert_eq!(p.len(), 1);
        assert_eq!(p[0].cu_seqlens, [0, 2, 5, 9]);
        assert_eq!(p[0].input_ids, [0, 1, 0, 1, 2, 10, 11, 12, 13]);
        assert_eq!(p[0].target_tokens(), 6);
    }

    #[test]
    fn cut_at_sequences_only() {
        let p = passes(&[batch(&[2, 3], 0), batch(&[9, 1], 10)], 5, 1);
        let bounds: Vec<_> = p.iter().map(|b| b.cu_seqlens.clone()).collect();
        assert_eq!(bounds, [vec![0, 2, 5], vec![0, 9], vec![0, 1]]);
    }

    #[test]
    fn pairs_stay_together() {
        let p = passes(&[batch(&[2, 3, 1, 1], 0)], 3, 2);
        let bounds: Vec<_> = p.iter().map(|b| b.cu_seqlens.clone()).collect();
        assert_eq!(bounds, [vec![0, 2, 5], vec![0, 1, 2]]);
    }

    #[test]
    fn missing_weights_are_one() {
        let weighted = PackedBatch { token_weights: Some(vec![0.5, 2.0]), ..batch(&[2], 0) };
        let p = passes(&[batch(&[1], 0), weighted], 0, 1);
        assert_eq!(p[0].token_weights.as_deref(), Some([1.0, 0.5, 2.0].as_slice()));
    }
}
