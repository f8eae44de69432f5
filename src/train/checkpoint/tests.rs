//! What is written is read back, whatever the numbers; what was damaged is never read.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::sums::SUMS;
use super::*;
use crate::base::hash::{sha256_bytes, sha256_file};
use crate::data::Rng;

/// Another seed in every run; failures print it.
fn drawn_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Any finite number: all exponents, subnormals, zeros and whole numbers among them.
fn finite(rng: &mut Rng) -> f64 {
    match rng.below(4) {
        0 => rng.below(1 << 53) as f64,
        1 => rng.unit() * 10.0,
        _ => loop {
            let x = f64::from_bits(rng.next_u64());
            if x.is_finite() {
                return x;
            }
        },
    }
}

fn random_state(rng: &mut Rng) -> State {
    let word = |rng: &mut Rng| format!("{:016x}", rng.next_u64());
    let any = |rng: &mut Rng| rng.next_u64() >> rng.below(64);
    State {
        version: VERSION,
        tallow: word(rng),
        step: any(rng),
        cursor: Cursor { epoch: any(rng), position: any(rng) as usize, seed: any(rng), order_hash: word(rng) },
        seed: any(rng),
        config_hash: word(rng),
        best: (rng.below(3) > 0).then(|| Best { step: any(rng), loss: finite(rng) }),
        evaluated_step: any(rng),
        evaluations_without_gain: any(rng) as u32,
        tokens: any(rng),
        trained_tokens: any(rng),
        seconds: finite(rng),
        sequences: (rng.below(4) > 0).then(|| any(rng)),
    }
}

fn write_tensors(dir: &Path, rng: &mut Rng) {
    for name in [ADAPTER, OPTIMIZER, "adapter_config.json"] {
        let bytes: Vec<u8> = (0..rng.below(200)).map(|_| rng.next_u64() as u8).collect();
        fs::write(dir.join(name), bytes).unwrap();
    }
}

fn fresh(dir: &Path) -> PathBuf {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).unwrap();
    dir.to_path_buf()
}

#[test]
fn any_state_is_read_back_to_the_bit() {
    let seed = drawn_seed();
    let mut rng = Rng::for_parts(&[seed]);
    let root = tempfile::tempdir().unwrap();
    for round in 0..500 {
        let dir = fresh(&root.path().join("step-000001"));
        write_tensors(&dir, &mut rng);
        let state = random_state(&mut rng);
        seal(&dir, &state).unwrap();
        let read = verify(&dir).unwrap_or_else(|e| panic!("seed {seed}, round {round}: {e}: {state:?}"));
        assert_eq!(read.state, state, "seed {seed}, round {round}");
        let bits = |s: &State| (s.seconds.to_bits(), s.best.map(|b| b.loss.to_bits()));
        assert_eq!(bits(&read.state), bits(&state), "seed {seed}, round {round}");
    }
}

/// A state.json as layout 1 wrote it: checksums inside, the record's own over its compact rendering.
fn seal_version_1(dir: &Path, state: &State) {
    let mut value = serde_json::to_value(State { version: 1, ..state.clone() }).unwrap();
    value.as_object_mut().unwrap().remove("sequences");
    let names = [ADAPTER, OPTIMIZER, "adapter_config.json"];
    let files: serde_json::Map<_, _> = names.iter().map(|n| ((*n).to_owned(), sha256_file(&dir.join(n)).unwrap().into())).collect();
    value["files"] = files.into();
    value["checksum"] = "".into();
    value["checksum"] = sha256_bytes(value.to_string().as_bytes()).into();
    fs::write(dir.join(STATE), serde_json::to_string_pretty(&value).unwrap()).unwrap();
}

#[test]
fn any_state_of_layout_1_is_read_back_to_the_bit() {
    let seed = drawn_seed();
    let mut rng = Rng::for_parts(&[seed]);
    let root = tempfile::tempdir().unwrap();
    for round in 0..500 {
        let dir = fresh(&root.path().join("step-000001"));
        write_tensors(&dir, &mut rng);
        let state = random_state(&mut rng);
        seal_version_1(&dir, &state);
        let read = verify(&dir).unwrap_or_else(|e| panic!("seed {seed}, round {round}: {e}: {state:?}"));
        assert_eq!(read.state, State { version: 1, sequences: None, ..state }, "seed {seed}, round {round}");
        let text = fs::read_to_string(dir.join(STATE)).unwrap();
        fs::write(dir.join(STATE), text.replacen("\"step\": ", "\"step\": 1", 1)).unwrap();
        assert!(verify(&dir).is_err(), "seed {seed}, round {round}");
    }
}

#[test]
fn one_changed_byte_anywhere_is_refused() {
    let seed = drawn_seed();
    let mut rng = Rng::for_parts(&[seed]);
    let root = tempfile::tempdir().unwrap();
    for round in 0..500 {
        let dir = fresh(&root.path().join("step-000001"));
        write_tensors(&dir, &mut rng);
        fs::write(dir.join(ADAPTER), [1, 2, 3]).unwrap();
        seal(&dir, &random_state(&mut rng)).unwrap();
        let names = [STATE, SUMS, ADAPTER, OPTIMIZER, "adapter_config.json"];
        let name = names[rng.below(names.len() as u64) as usize];
        let mut bytes = fs::read(dir.join(name)).unwrap();
        let at = rng.below(bytes.len().max(1) as u64) as usize;
        let how = rng.below(4);
        match how {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << rng.below(8),
            1 if !bytes.is_empty() => bytes.truncate(at),
            2 => bytes.insert(at, b'7'),
            _ => {
                fs::remove_file(dir.join(name)).unwrap();
                assert!(verify(&dir).is_err(), "seed {seed}, round {round}: {name} removed");
                continue;
            }
        }
        fs::write(dir.join(name), &bytes).unwrap();
        // A list without its last line end is still the same list.
        let same = name == SUMS && how == 1 && bytes.ends_with(STATE.as_bytes());
        assert!(same || verify(&dir).is_err(), "seed {seed}, round {round}: {name} {how} at {at}");
    }
}

#[test]
fn none_readable_is_an_error_and_none_there_is_not() {
    let seed = drawn_seed();
    let mut rng = Rng::for_parts(&[seed]);
    let root = tempfile::tempdir().unwrap();
    assert_eq!(latest(root.path()).unwrap().0, None);
    assert_eq!(latest(&root.path().join("absent")).unwrap().0, None);
    for step in [4, 8, 12] {
        let dir = fresh(&folder(root.path(), step));
        write_tensors(&dir, &mut rng);
        seal(&dir, &State { step, ..random_state(&mut rng) }).unwrap();
    }
    fs::write(folder(root.path(), 12).join(OPTIMIZER), "x").unwrap();
    let (found, skipped) = latest(root.path()).unwrap();
    assert_eq!((found.unwrap().state.step, skipped.len()), (8, 1));
    for step in [4, 8] {
        fs::write(folder(root.path(), step).join(STATE), "{}").unwrap();
    }
    let fault = latest(root.path()).unwrap_err();
    assert_eq!(fault.code(), "checkpoints_unreadable");
    let text = fault.to_string();
    assert!(["step-000004", "step-000008", "step-000012"].iter().all(|n| text.contains(n)), "{text}");
}

#[test]
fn pruning_counts_no_folder_beyond_the_present_step() {
    let root = tempfile::tempdir().unwrap();
    for step in [10, 20, 30, 90] {
        fs::create_dir_all(folder(root.path(), step)).unwrap();
    }
    prune(root.path(), 30, 1, &[10]).unwrap();
    let left: Vec<u64> = folders(root.path()).unwrap().into_iter().map(|(step, _)| step).collect();
    assert_eq!(left, [90, 30, 10]);
}
