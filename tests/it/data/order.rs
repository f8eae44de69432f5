//! Splits, packing, batches, order and cursor.

use serde_json::json;
use tallow::data::{
    Cursor, DataOptions, Dataset, Example, Location, Order, PackedBatch, Sampler, SamplerOptions, best_fit_decreasing, leakage, split,
};

use super::{dataset_of, lines, records_of, tokenizer};

fn example(ids: &[u32], trained_from: usize, weight: f32) -> Example {
    let label = |(i, id): (usize, &u32)| if i >= trained_from { i64::from(*id) } else { -100 };
    let source = Location { file: "test".into(), line: 1, counts_rows: false };
    Example { input_ids: ids.to_vec(), labels: ids.iter().enumerate().map(label).collect(), source, weight }
}

fn dataset(lengths: &[usize], weights: &[f32]) -> Dataset {
    let weight = |i: usize| weights.get(i).copied().unwrap_or(1.0);
    let make = |(i, n): (usize, &usize)| example(&vec![i as u32; *n], 0, weight(i));
    Dataset { examples: lengths.iter().enumerate().map(make).collect(), fingerprint: format!("{lengths:?}"), ..Dataset::default() }
}

#[test]
fn batches_keep_sequences_apart() {
    let (a, b, empty) = (example(&[1, 2, 3], 1, 1.0), example(&[4, 5], 0, 1.0), example(&[], 0, 1.0));
    let batch = PackedBatch::from_examples(&[&a, &empty, &b]);
    assert_eq!(batch.input_ids, [1, 2, 3, 4, 5]);
    assert_eq!(batch.targets, [2, 3, -100, 5, -100], "the last token of a sequence predicts nothing of the next");
    assert_eq!(batch.cu_seqlens, [0, 3, 5]);
    assert_eq!(batch.positions(), [0, 1, 2, 0, 1]);
    assert_eq!((batch.tokens(), batch.sequences(), batch.target_tokens()), (5, 2, 3));
    assert_eq!(a.trained_tokens() + b.trained_tokens(), 3);
}

#[test]
fn packing_fills_rows_best_fit_longest_first() {
    let check = |lengths: &[u32], capacity: u32, expect: &[&[u32]]| {
        let items: Vec<u32> = (0..lengths.len() as u32).collect();
        assert_eq!(best_fit_decreasing(&items, lengths, capacity), expect, "{lengths:?}");
    };
    check(&[], 10, &[]);
    check(&[3, 7, 5, 5, 2], 10, &[&[1, 0], &[2, 3], &[4]]);
    check(&[6, 6, 4, 3, 1], 10, &[&[0, 2], &[1, 3, 4]]);
    check(&[12, 10, 1], 10, &[&[0], &[1], &[2]]);
}

#[test]
fn packing_wastes_little_and_loses_nothing() {
    let lengths: Vec<usize> = (0..500).map(|i| 20 + (i * 7919) % 400).collect();
    let data = dataset(&lengths, &[]);
    let options = SamplerOptions { batch_size: 2, pack_to: Some(1024), ..SamplerOptions::default() };
    let mut sampler = Sampler::new(&data, options).unwrap();
    assert!(sampler.fill() > 0.98, "fill {}", sampler.fill());
    let mut seen: Vec<u32> = Vec::new();
    for _ in 0..sampler.batches_in_epoch() {
        for row in sampler.next_rows() {
            assert!(row.iter().map(|i| lengths[*i as usize]).sum::<usize>() <= 1024);
            seen.extend(row);
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..500).collect::<Vec<_>>());
}

#[test]
fn a_curriculum_goes_from_short_to_long_or_to_high_quality_and_loses_nothing() {
    let seed = crate::program::drawn_seed();
    let mut rng = tallow::data::Rng::for_parts(&[seed]);
    for _ in 0..30 {
        let n = 200 + rng.below(200) as usize;
        let lengths: Vec<usize> = (0..n).map(|_| 4 + rng.below(120) as usize).collect();
        let weights: Vec<f32> = (0..n).map(|_| if rng.below(3) == 0 { 2.0 } else { 1.0 }).collect();
        let data = dataset(&lengths, &weights);
        let pack_to = [None, Some(128 + rng.below(128) as usize)][rng.below(2) as usize];
        let order = [Order::Length, Order::Quality][rng.below(2) as usize];
        let key = |i: u32| if order == Order::Length { lengths[i as usize] as f64 } else { f64::from(weights[i as usize]) };
        let options =
            SamplerOptions { batch_size: 1 + rng.below(3) as usize, pack_to, seed: rng.below(99), order, ..SamplerOptions::default() };
        let mut sampler = Sampler::new(&data, options.clone()).unwrap();
        let what = format!("seed {seed}: {options:?}, {n} sequences");
        let mut epochs = Vec::new();
        for _ in 0..2 {
            // Epochs can differ in their number of rows: the first call of one plans it.
            let mut seen: Vec<u32> = sampler.next_rows().into_iter().flatten().collect();
            while sampler.cursor().position < sampler.rows_in_epoch() {
                seen.extend(sampler.next_rows().into_iter().flatten());
            }
            let mut counts = vec![0.0f32; n];
            seen.iter().for_each(|i| counts[*i as usize] += 1.0);
            assert_eq!(counts, weights, "{what}");
            let mean = |part: &[u32]| part.iter().map(|i| key(*i)).sum::<f64>() / part.len() as f64;
            let quarters: Vec<f64> = seen.chunks(seen.len().div_ceil(4)).map(mean).collect();
            assert!(quarters.windows(2).all(|w| w[0] <= w[1]) && quarters[0] < quarters[3], "{what}: {quarters:?}");
            if pack_to.is_none() {
                assert!(seen.windows(2).all(|w| key(w[0]) <= key(w[1])), "{what}");
            }
            epochs.push(seen);
        }
        assert_ne!(epochs[0], epochs[1], "{what}: equal ones are shuffled anew");
        // A place in one order is none in another.
        let cursor = sampler.cursor();
        let mut other = Sampler::new(&data, SamplerOptions { order: Order::Shuffled, ..options }).unwrap();
        assert!(other.seek(&cursor).is_err(), "{what}");
    }
}

#[test]
fn the_cursor_continues_exactly() {
    let lengths: Vec<usize> = (0..37).map(|i| 3 + i % 11).collect();
    let data = dataset(&lengths, &[2.5, 1.0, 0.5]);
    for pack_to in [None, Some(32)] {
        let options = SamplerOptions { batch_size: 3, pack_to, seed: 7, ..SamplerOptions::default() };
        let fresh = Sampler::new(&data, options).unwrap();
        let mut straight = fresh.clone();
        for stop in 0..40 {
            let saved = serde_json::to_string(&straight.cursor()).unwrap();
            let mut resumed = fresh.clone();
            resumed.seek(&serde_json::from_str::<Cursor>(&saved).unwrap()).unwrap();
            let expect: Vec<PackedBatch> = {
                let mut s = straight.clone();
                (0..5).map(|_| s.next_batch(&data)).collect()
            };
            assert_eq!((0..5).map(|_| resumed.next_batch(&data)).collect::<Vec<_>>(), expect, "after {stop} batches");
            straight.next_batch(&data);
        }
    }
}

#[test]
fn a_cursor_of_other_data_is_refused() {
    let options = SamplerOptions { batch_size: 2, ..SamplerOptions::default() };
    let cursor = Sampler::new(&dataset(&[3, 4, 5], &[]), options.clone()).unwrap().cursor();
    let mut other = Sampler::new(&dataset(&[3, 4, 6], &[]), options.clone()).unwrap();
    assert_eq!(other.seek(&cursor).unwrap_err().code(), "data_cursor_mismatch");
    let mut seeded = Sampler::new(&dataset(&[3, 4, 5], &[]), SamplerOptions { seed: 1, ..options.clone() }).unwrap();
    assert!(seeded.seek(&cursor).unwrap_err().to_string().contains("seed"));
    let mut same = Sampler::new(&dataset(&[3, 4, 5], &[]), options).unwrap();
    let outside = Cursor { position: 9, ..cursor };
    assert!(same.seek(&outside).is_err());
}

#[test]
fn orders_differ_by_epoch_and_repeat_by_seed() {
    let data = dataset(&[4; 50], &[]);
    let epochs = |seed: u64| -> Vec<Vec<Vec<u32>>> {
        let mut s = Sampler::new(&data, SamplerOptions { batch_size: 50, seed, ..SamplerOptions::default() }).unwrap();
        (0..3).map(|_| s.next_rows()).collect()
    };
    let one = epochs(1);
    assert_eq!(one, epochs(1));
    assert_ne!(one, epochs(2));
    assert_ne!(one[0], one[1]);
    let mut in_order = Sampler::new(&data, SamplerOptions { batch_size: 50, shuffle: false, ..SamplerOptions::default() }).unwrap();
    assert_eq!(in_order.next_rows().concat(), (0..50).collect::<Vec<_>>());
}

#[test]
fn high_quality_rows_are_seen_more_often() {
    let data = dataset(&[4; 40], &[2.5; 20]);
    let mut sampler = Sampler::new(&data, SamplerOptions::default()).unwrap();
    let mut seen = [0usize; 2];
    while sampler.cursor().epoch < 200 {
        let row = sampler.next_rows().concat()[0];
        seen[usize::from(row >= 20)] += 1;
    }
    let ratio = seen[0] as f64 / seen[1] as f64;
    assert!((ratio - 2.5).abs() < 0.03, "{ratio}");
}

#[test]
fn splits_are_seeded_and_share_nothing() {
    // Every row twice, in another case: twins must not be torn apart.
    let rows: Vec<String> = (0..100)
        .flat_map(|i| [json!({"prompt": format!("q{i}"), "completion": "yes"}), json!({"prompt": format!("Q{i}"), "completion": "YES"})])
        .map(|r| r.to_string())
        .collect();
    let set = || records_of("rows.jsonl", &rows.join("\n"), &DataOptions::default());
    let parts = split(set(), [0.8, 0.1, 0.1], 42).unwrap();
    let sizes = [&parts.train, &parts.validation, &parts.test].map(|p| p.records.len());
    assert_eq!(sizes, [160, 20, 20]);
    for part in [&parts.validation, &parts.test] {
        let found = leakage(&parts.train.records, &part.records);
        assert_eq!((found.same_rows, found.same_questions), (0, 0));
    }
    assert_eq!(lines(&split(set(), [0.8, 0.1, 0.1], 42).unwrap().test.records), lines(&parts.test.records));
    assert_ne!(lines(&split(set(), [0.8, 0.1, 0.1], 43).unwrap().test.records), lines(&parts.test.records));
    assert!(split(set(), [0.8, 0.1, 0.2], 42).unwrap_err().to_string().contains("add up to 1"));
    let small = records_of("rows.jsonl", &rows[..6].join("\n"), &DataOptions::default());
    let parts = split(small, [0.8, 0.1, 0.1], 42).unwrap();
    assert!(!parts.validation.records.is_empty() && !parts.test.records.is_empty() && !parts.train.records.is_empty());
}

#[test]
fn leaks_between_given_files_are_counted() {
    let records = |rows: &str| records_of("rows.jsonl", rows, &DataOptions::default()).records;
    let train = records("{\"prompt\": \"a\", \"completion\": \"1\"}\n{\"prompt\": \"b\", \"completion\": \"2\"}");
    let test = records(
        "{\"prompt\": \"A\", \"completion\": \"1\"}\n{\"prompt\": \"b\", \"completion\": \"3\"}\n{\"prompt\": \"c\", \"completion\": \"1\"}",
    );
    let found = leakage(&train, &test);
    assert_eq!((found.same_rows, found.same_questions, found.first.len()), (1, 2, 2));
}

#[test]
fn the_replay_ratio_is_the_share_of_replayed_rows_in_the_mix() {
    let (later, earlier) = (dataset(&[3; 10], &[]), dataset(&[5; 100], &[]));
    let mixed = later.with_replay(&earlier, 0.15, 42);
    assert_eq!((mixed.dataset.len(), mixed.replayed, mixed.share), (12, 2, 2.0 / 12.0));
    assert_ne!(mixed.dataset.fingerprint, later.fingerprint);
    assert_eq!(mixed.dataset.examples, later.with_replay(&earlier, 0.15, 42).dataset.examples);
    assert_eq!(later.with_replay(&earlier, 0.0, 42).dataset.len(), 10);
    // 600 old rows do not drown 6 new ones.
    let few = dataset(&[3; 6], &[]).with_replay(&dataset(&[5; 600], &[]), 0.15, 42);
    assert_eq!((few.replayed, few.share), (1, 1.0 / 7.0));
}

#[test]
fn the_replayed_share_is_met_whatever_the_sizes_and_weights() {
    let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let mut rng = tallow::data::Rng::for_parts(&[seed]);
    for round in 0..300 {
        let mut part = |most: u64| {
            let n = 1 + rng.below(most) as usize;
            let weights: Vec<f32> = (0..n).map(|_| if rng.below(3) == 0 { 2.5 } else { 1.0 }).collect();
            dataset(&vec![4; n], &weights)
        };
        let (own, earlier) = (part(400), part(400));
        let ratio = 0.01 + 0.98 * rng.unit();
        let mixed = own.with_replay(&earlier, ratio, seed ^ round);
        let stream: f64 = mixed.dataset.examples.iter().map(|e| f64::from(e.weight)).sum();
        // One row more or less is what whole rows allow; at least one is always replayed.
        let slack = if mixed.replayed == 1 { 2.5 / stream } else { 1.25 / stream + 1e-6 };
        assert!((mixed.share - ratio).abs() <= slack, "seed {seed}, round {round}: {} of {ratio}, {stream}", mixed.share);
        assert!(mixed.repeated == 1.0 || mixed.replayed == earlier.len(), "seed {seed}, round {round}");
    }
}

#[test]
fn evaluation_batches_are_bounded() {
    let data = dataset(&[4, 4, 4, 9, 1], &[]);
    let sizes: Vec<Vec<u32>> = data.batches(8).into_iter().map(|b| b.cu_seqlens).collect();
    assert_eq!(sizes, [vec![0, 4, 8], vec![0, 4], vec![0, 9], vec![0, 1]]);
}

#[test]
fn threads_change_nothing() {
    let rows: Vec<String> =
        (0..300).map(|i| json!({"prompt": format!("the quick {i}"), "completion": format!("fox {}", i * i)}).to_string()).collect();
    let tokenizer = tokenizer(None);
    let print = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| dataset_of(&rows.join("\n"), &tokenizer, &DataOptions::default()).fingerprint)
    };
    assert_eq!(print(1), print(4));
}
