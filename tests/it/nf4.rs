//! NF4 against bitsandbytes: what is quantised here, and what was quantised there.

use candle_core::{DType, Device};
use tallow::model::weights::Shards;
use tallow::model::{Decoder, LoadOptions, Quantization};
use tallow_kernels::quant::{Absmax, Nf4, dynamic_map};

use crate::golden::{Outcome, error, golden_dir, values};

/// Equal to the bit; says where not.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: &[T], want: &[T]) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    let apart: Vec<usize> = (0..got.len()).filter(|&i| got[i] != want[i]).collect();
    if let Some(&i) = apart.first() {
        panic!("{what}: {} of {} differ, the first at {i}: {:?}, expected {:?}", apart.len(), got.len(), got[i], want[i]);
    }
}

#[test]
fn codes_and_scales_are_those_of_bitsandbytes() -> Outcome {
    let golden = candle_core::safetensors::load(golden_dir().join("nf4.safetensors"), &Device::Cpu)?;
    for case in ["wide", "zeros", "tail", "all_zero"] {
        let input = golden[&format!("{case}.input")].to_dtype(DType::F32)?;
        let want = |part: &str| &golden[&format!("{case}.{part}")];
        let q = Nf4::quantize(&input, true)?;
        same(&format!("{case}: codes"), &q.codes().to_vec1::<u8>()?, &want("codes").to_vec1()?);
        let Absmax::Double { codes, nested_absmax, map, offset } = q.absmax() else { anyhow::bail!("plain scales") };
        // torch sums in f32, in an order that differs between machines; here the sum is exact, so over many blocks
        // the mean may be one bit off, and the scales less that mean with it.
        let one_bit = if case == "wide" { f32::EPSILON } else { 0.0 };
        let near = |what: &str, got: &[f32], want: &[f32]| {
            assert!(
                got.len() == want.len() && got.iter().zip(want).all(|(a, b)| (a - b).abs() <= one_bit * b.abs()),
                "{case}: {what}: {got:?}, expected {want:?}"
            );
        };
        near("mean of the scales", &[*offset], &values(want("offset"))?);
        near("scales of the scales", &values(nested_absmax)?, &values(want("nested_absmax"))?);
        same(&format!("{case}: codes of the scales"), &codes.to_vec1::<u8>()?, &want("absmax").to_vec1()?);
        same("map", &values(map)?, &values(&golden["map"])?);
        if want("dequantized").elem_count() > 0 {
            same(&format!("{case}: dequantised"), &values(&q.dequantize()?)?, &values(want("dequantized"))?);
        }
    }
    let q = Nf4::quantize(&golden["wide.input"].to_dtype(DType::F32)?, false)?;
    let Absmax::Plain(absmax) = q.absmax() else { anyhow::bail!("double scales") };
    same("plain scales", &values(absmax)?, &values(&golden["plain.absmax"])?);
    same("unsigned map", &dynamic_map(false), &values(&golden["map_unsigned"])?);
    Ok(())
}

#[test]
fn a_checkpoint_of_bitsandbytes_loads_and_gives_the_logits_of_its_weights() -> Outcome {
    let dir = golden_dir().join("nf4_model");
    let golden = candle_core::safetensors::load(dir.join("expected.safetensors"), &Device::Cpu)?;
    let shards = Shards::open(&dir.join("model"))?;
    let mut seen = 0;
    for (name, want) in golden.iter().filter_map(|(n, t)| Some((n.strip_prefix("weight.")?, t))) {
        same(name, &values(&shards.nf4(name, want.dims())?.dequantize()?)?, &values(want)?);
        seen += 1;
    }
    assert_eq!(seen, 2);
    let model = Decoder::load(&dir.join("model"), &LoadOptions::default())?;
    assert_eq!(model.quantization(), Quantization::Nf4);
    let ids: Vec<u32> = golden["input_ids"].flatten_all()?.to_vec1::<i64>()?.into_iter().map(|id| id as u32).collect();
    let (batch, seq) = golden["input_ids"].dims2()?;
    let cu_seqlens: Vec<u32> = (0..=batch).map(|i| (i * seq) as u32).collect();
    let logits = model.logits(&ids, &cu_seqlens)?.reshape(golden["logits"].shape())?;
    let e = error(&logits, &golden["logits"])?;
    std::fs::write(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("nf4.txt"), format!("logits {e:.2e}\n"))?;
    assert!(e < 1e-4, "logits are off by {e:.2e}");
    Ok(())
}
