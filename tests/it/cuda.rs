//! Whole models on the CUDA kernels, on the emulator or, where `TALLOW_TEST_DEVICE=cuda:0` names one, on
//! a GPU: gradients as the CPU makes them, the same under every policy, and the memory that was planned.

use std::path::Path;
use std::process::Command;

use candle_core::{DType, Device};
use serde_json::json;
use tallow::data::PackedBatch;
use tallow::model::random_init::{RandomInit, write_random_model};
use tallow::model::{Decoder, Error, LoadOptions, LoraConfig, Policy, Quantization, StepOptions, Trainable};
use tallow::train::{MemoryRequest, Optimizer, OptimizerConfig, OptimizerKind, Sft, StepSettings, predict, train_step};
use tallow_kernels::device::{launch_count, memory, peak_bytes, reset_peak};
use tallow_kernels::{alloc, emulated};

use crate::golden::{Golden, Outcome, families, values};

/// Somewhere a model runs.
#[derive(Clone)]
enum Place {
    Cpu,
    /// With an order of threads; under even ones copies to host memory and back are made as late as may be.
    Emulator(u32),
    Gpu(Device),
}

impl Place {
    fn device(&self) -> Device {
        if let Self::Gpu(d) = self { d.clone() } else { Device::Cpu }
    }

    /// # Panics
    /// On the emulator, when this build has none: a test must not pass without having run.
    fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        let Self::Emulator(order) = self else { return f() };
        emulated(*order, f).expect("this build has no emulator (it needs a C++17 compiler), and TALLOW_TEST_DEVICE names no GPU")
    }

    /// The same kind of place, with copies to host memory and back as late as may be.
    fn late(&self) -> Self {
        if let Self::Emulator(_) = self { Self::Emulator(0) } else { self.clone() }
    }
}

fn gpu() -> Option<Device> {
    let name = std::env::var("TALLOW_TEST_DEVICE").ok()?;
    let ordinal = name.strip_prefix("cuda:").and_then(|n| n.parse().ok());
    let ordinal = ordinal.unwrap_or_else(|| panic!("TALLOW_TEST_DEVICE is {name}, not cuda:N"));
    Some(tallow_kernels::device::cuda(ordinal).unwrap_or_else(|e| panic!("TALLOW_TEST_DEVICE={name}: {e}")))
}

/// The GPU that is named, else the emulator: bits are compared within one kind of place.
fn place() -> Place {
    gpu().map_or(Place::Emulator(1), Place::Gpu)
}

/// Loss and gradients of a fresh but stirred adapter with dropout.
fn gradients(
    g: &Golden,
    quantization: Quantization,
    compute_dtype: DType,
    policy: Policy,
    place: &Place,
) -> anyhow::Result<(f64, Vec<Vec<f32>>)> {
    let options = LoadOptions { quantization, compute_dtype, device: place.device(), ..LoadOptions::default() };
    let mut model = Decoder::load(&g.dir.join("model"), &options)?;
    let target_modules = vec!["all-linear".to_owned()];
    model.add_lora(&LoraConfig { rank: 4, alpha: 8.0, dropout: 0.2, use_rslora: false, target_modules }, 1)?;
    for p in model.params_mut().iter_mut() {
        let fresh: Vec<f32> = (0..p.tensor.elem_count()).map(|i| ((i * 37 % 101) as f32 / 101.0 - 0.5) * 0.4).collect();
        p.tensor = candle_core::Tensor::from_vec(fresh, p.tensor.shape(), p.tensor.device())?;
    }
    model.sync_params()?;
    let batch = g.rows(&[0, 1])?;
    let mut grads = model.zero_grads()?;
    let loss = model.loss_and_grads(&batch, &StepOptions { grad_scale: 0.03, dropout_seed: Some(3), policy }, &mut grads)?;
    let cpu = |t: &candle_core::Tensor| values(&t.to_device(&Device::Cpu)?);
    Ok((loss.loss_sum, grads.tensors.iter().map(cpu).collect::<anyhow::Result<_>>()?))
}

/// |a - b| / |b| over all gradients together.
fn distance(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let squares =
        |f: &dyn Fn(f64, f64) -> f64| a.iter().flatten().zip(b.iter().flatten()).map(|(x, y)| f(f64::from(*x), f64::from(*y))).sum::<f64>();
    (squares(&|x, y| (x - y) * (x - y)) / squares(&|_, y| y * y)).sqrt()
}

/// Families with an operation that GPUs have no kernel for yet: they must be refused, not computed wrongly.
const ON_THE_CPU_ONLY: [&str; 3] = ["gemma3", "granite", "phi4"];

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "nothing ran: the emulator needs Linux")]
fn gradients_are_the_cpus() -> Outcome {
    let (place, late) = (place(), place().late());
    for g in families()? {
        if ON_THE_CPU_ONLY.contains(&g.name.as_str()) {
            let refused = place.run(|| gradients(&g, Quantization::None, DType::F32, Policy::KeepAll, &place)).err();
            let code = refused.as_ref().and_then(|e| e.downcast_ref::<Error>()).map(Error::code);
            assert_eq!(code, Some("no_kernel_for_device"), "{}: {refused:?}", g.name);
            continue;
        }
        for quantization in [Quantization::None, Quantization::Nf4] {
            let run = |dtype, policy, place: &Place| place.run(|| gradients(&g, quantization, dtype, policy, place));
            let exact = run(DType::F32, Policy::KeepAll, &Place::Cpu)?;
            let plain = run(DType::BF16, Policy::KeepAll, &Place::Cpu)?;
            let what = format!("{} {quantization:?}", g.name);
            let single = run(DType::F32, Policy::KeepAll, &place)?;
            let off = distance(&single.1, &exact.1);
            assert!(off < 1e-4 && (single.0 / exact.0 - 1.0).abs() < 1e-5, "{what} f32: gradients {off:.2e} apart");
            let half = run(DType::BF16, Policy::KeepAll, &place)?;
            assert!(half.1 != plain.1, "{what}: to the bit the CPU's, so its kernels ran");
            let (off, allowed) = (distance(&half.1, &exact.1), 2.0 * distance(&plain.1, &exact.1));
            assert!(off <= allowed, "{what} bf16: gradients {off:.2e} from f32, the CPU's twice {allowed:.2e}");
            for policy in [Policy::Minimal, Policy::Recompute, OFFLOAD, Policy::HostInputs] {
                let again = run(DType::BF16, policy, &late)?;
                assert!(again == half, "{what}: other gradients under {policy:?}");
            }
        }
    }
    Ok(())
}

/// Launches of one training step of a model with so many layers, after one that fills what is kept.
fn launches_of_a_step(layers: usize, quantization: Quantization, policy: Policy) -> anyhow::Result<u64> {
    let dir = tempfile::tempdir()?;
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": layers, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 64, "vocab_size": 512,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "tie_word_embeddings": false,
    });
    write_random_model(&dir.path().join("model"), &config.to_string(), &RandomInit::default())?;
    let place = place();
    let options = LoadOptions { quantization, compute_dtype: DType::BF16, device: place.device(), ..LoadOptions::default() };
    let mut model = Decoder::load(&dir.path().join("model"), &options)?;
    model.add_lora(&LoraConfig { dropout: 0.0, ..adapters() }, 1)?;
    place.run(|| {
        let mut optimizer = Optimizer::new(model.params(), OptimizerConfig::default())?;
        let mut grads = model.zero_grads()?;
        let settings = StepSettings { lr: 1e-4, max_grad_norm: Some(1.0), policy, dropout_seed: None };
        let tiny = PackedBatch { input_ids: vec![1, 2, 3, 4], targets: vec![2, 3, 4, -100], cu_seqlens: vec![0, 4], token_weights: None };
        let mut counts = [0; 2];
        for count in &mut counts {
            let before = launch_count();
            train_step(&mut model, &mut optimizer, &Sft, std::slice::from_ref(&tiny), &mut grads, &settings)?;
            *count = launch_count() - before;
        }
        anyhow::ensure!(counts[0] == counts[1], "the second step launches {counts:?}");
        Ok(counts[1])
    })
}

/// Small models wait for launches, not for arithmetic: one more a layer is a decision, not an accident.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "nothing ran: the emulator needs Linux")]
fn launches_of_a_layer_are_counted() -> Outcome {
    // Launches of a layer, and what comes on top of that once; the lowest layer decodes three weights less,
    // since nothing below it needs a gradient.
    let expected = [
        (Quantization::None, Policy::KeepAll, (82, 4)),
        (Quantization::Nf4, Policy::KeepAll, (96, 1)),
        (Quantization::Nf4, Policy::Minimal, (99, 1)),
        (Quantization::Nf4, Policy::Recompute, (133, 1)),
    ];
    let counted = expected.map(|(quantization, policy, _)| -> anyhow::Result<_> {
        let [two, three] = [2, 3].map(|layers| launches_of_a_step(layers, quantization, policy));
        let (two, three) = (two?, three?);
        Ok((quantization, policy, (three - two, 3 * two - 2 * three)))
    });
    let counted = counted.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    assert_eq!(counted, expected);
    Ok(())
}

/// Where the child finds its case.
const CHILD: &str = "TALLOW_TEST_CUDA_MEMORY";

const OFFLOAD: Policy = Policy::Mixed { recomputed: 0, offloaded: usize::MAX };

const POLICIES: [(&str, Policy); 5] = [
    ("keep", Policy::KeepAll),
    ("minimal", Policy::Minimal),
    ("recompute", Policy::Recompute),
    ("offload", OFFLOAD),
    ("inputs in host memory", Policy::HostInputs),
];

fn adapters() -> LoraConfig {
    LoraConfig { rank: 8, alpha: 16.0, dropout: 0.1, use_rslora: false, target_modules: vec!["all-linear".into()] }
}

fn batch() -> PackedBatch {
    let ids: Vec<u32> = (0..160).map(|i| i * 7 % 500).collect();
    let targets = ids.iter().skip(1).map(|id| i64::from(*id)).chain([-100]).collect();
    PackedBatch { input_ids: ids, targets, cu_seqlens: vec![0, 96, 160], token_weights: None }
}

/// Bytes of tensors on the device: on the emulator, of this process's allocations.
fn device_bytes(device: &Device) -> anyhow::Result<u64> {
    Ok(memory(device)?.map_or_else(alloc::live_bytes, |m| m.used))
}

/// One step: the bytes held before the model was loaded, and the most that its tensors took.
fn measured_peak(model: &Path, policy: Policy, place: &Place) -> anyhow::Result<(u64, u64)> {
    let device = place.device();
    let held = device_bytes(&device)?;
    let options =
        LoadOptions { quantization: Quantization::Nf4, compute_dtype: DType::BF16, device: device.clone(), ..LoadOptions::default() };
    let mut model = Decoder::load(model, &options)?;
    model.add_lora(&adapters(), 1)?;
    place.run(|| {
        let mut optimizer = Optimizer::new(model.params(), OptimizerConfig::default())?;
        let mut grads = model.zero_grads()?;
        let settings = StepSettings { lr: 1e-4, max_grad_norm: Some(1.0), policy, dropout_seed: Some(7) };
        reset_peak(&device)?;
        let out = train_step(&mut model, &mut optimizer, &Sft, &[batch()], &mut grads, &settings)?;
        anyhow::ensure!(out.symptom.is_none(), "{out:?}");
        Ok((held, peak_bytes(&device)?))
    })
}

/// Does nothing, unless a parent asks for a measurement.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let dir = Path::new(&dir);
    let policy = std::fs::read_to_string(dir.join("policy")).unwrap();
    let policy = POLICIES.iter().find(|p| p.0 == policy).unwrap().1;
    let peak = measured_peak(&dir.join("model"), policy, &place().late()).unwrap();
    std::fs::write(dir.join("peak.json"), serde_json::to_vec(&peak).unwrap()).unwrap();
}

/// Tensors on the emulator are this process's allocations, so its allocator says what a GPU's tensors
/// would take; on a GPU its memory pool says it.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "nothing ran: the emulator needs Linux")]
fn the_plan_of_a_gpu_is_what_a_step_takes() {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 192, "intermediate_size": 512,
        "num_hidden_layers": 3, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 64, "vocab_size": 512,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "tie_word_embeddings": false,
    });
    let dir = tempfile::tempdir().unwrap();
    let spec = write_random_model(&dir.path().join("model"), &config.to_string(), &RandomInit::default()).unwrap();
    let trainable = Trainable::Lora(adapters());
    for (name, policy) in POLICIES {
        std::fs::write(dir.path().join("policy"), name).unwrap();
        let me = std::env::current_exe().unwrap();
        let out = Command::new(me).args(["--exact", "cuda::child", "--test-threads=1"]).env(CHILD, dir.path()).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
        let (held, peak): (u64, u64) = serde_json::from_slice(&std::fs::read(dir.path().join("peak.json")).unwrap()).unwrap();
        let request = MemoryRequest {
            spec: &spec,
            quantization: Quantization::Nf4,
            compute_dtype: DType::BF16,
            trainable: &trainable,
            optimizer: OptimizerKind::AdamW,
            window_tokens: 160,
            longest: 96,
            held_out: tallow::train::HeldOut::default(),
            tokens_per_pass: None,
            policy: None,
            budget: Some(u64::MAX),
            held,
            gpu: true,
            host_budget: None,
        };
        let plan = predict(&request, policy, 160);
        let off = plan.peak_bytes as f64 / peak as f64 - 1.0;
        assert!(off.abs() < 0.05, "{name}: predicted {} measured {peak} ({off:+.3}); {:?}", plan.peak_bytes, plan.parts);
    }
}
