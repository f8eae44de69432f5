//! Blocks of every quantised GGUF type hold the numbers that gguf-py reads in them.
//! `tests/golden/gguf_blocks.py` made the file.

use safetensors::SafeTensors;
use tallow::model::gguf::{GgmlType, dequantize};

use crate::golden::{Outcome, golden_dir};

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[test]
fn random_blocks_of_every_type_are_read_as_gguf_py_reads_them() -> Outcome {
    let file = std::fs::read(golden_dir().join("gguf_blocks.safetensors"))?;
    let held = SafeTensors::deserialize(&file)?;
    let mut seen = 0;
    for kind in (0..64).filter_map(GgmlType::from_id).filter(|k| k.block() > 1) {
        let bytes = held.tensor(&format!("{}.bytes", kind.name()))?;
        let want = floats(held.tensor(&format!("{}.values", kind.name()))?.data());
        let got = dequantize(kind, bytes.data());
        assert_eq!(got.len(), want.len(), "{}", kind.name());
        for (i, (g, w)) in got.iter().zip(&want).enumerate() {
            assert!(g == w, "{} element {i}: {g} where gguf-py reads {w}", kind.name());
        }
        seen += 1;
    }
    assert_eq!(seen, held.len() / 2, "types of the file that were not compared");
    Ok(())
}
