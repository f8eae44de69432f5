//! The memory plan against what the allocator counts, and what it chooses and refuses.
//!
//! Tests share a process, so each measurement runs in a process of its own: this binary again, with only [`child`] and the
//! case in an environment variable.

use std::path::Path;
use std::process::Command;

use candle_core::DType;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tallow::data::PackedBatch;
use tallow::model::random_init::{RandomInit, write_random_model};
use tallow::model::{Decoder, DecoderSpec, LoadOptions, LoraConfig, Policy, Quantization, Trainable};
use tallow::train::memory::{HeldOut, MemoryRequest, plan, predict};
use tallow::train::{Optimizer, OptimizerConfig, OptimizerKind, Sft, StepSettings, TrainError, train_step};
use tallow_kernels::{alloc, offload};

const CASE: &str = "TALLOW_MEMORY_CASE";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Case {
    config: serde_json::Value,
    quantization: Quantization,
    bf16: bool,
    lora: Vec<String>,
    optimizer: OptimizerKind,
    policy: Policy,
    sequences: Vec<usize>,
    /// Of a pass that is evaluated after the step; empty: none is.
    evaluated: Vec<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    held: u64,
    weights: u64,
    optimizer: u64,
    kept: u64,
    peak: u64,
    rss: u64,
    host: u64,
}

fn config(family: &str, hidden: usize, inter: usize, layers: usize, vocab: usize) -> serde_json::Value {
    let (architecture, tied) = match family {
        "qwen3" => ("Qwen3ForCausalLM", true),
        "olmo2" => ("Olmo2ForCausalLM", false),
        _ => ("LlamaForCausalLM", false),
    };
    json!({
        "architectures": [architecture], "model_type": family, "hidden_size": hidden, "intermediate_size": inter,
        "num_hidden_layers": layers, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": hidden / 8,
        "vocab_size": vocab, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": tied, "hidden_act": "silu",
    })
}

impl Case {
    fn dtype(&self) -> DType {
        if self.bf16 { DType::BF16 } else { DType::F32 }
    }

    fn trainable(&self) -> Trainable {
        match self.lora.as_slice() {
            [] => Trainable::Full,
            targets => Trainable::Lora(lora(targets)),
        }
    }

    fn batch(&self) -> PackedBatch {
        Self::batch_of(&self.sequences)
    }

    fn batch_of(sequences: &[usize]) -> PackedBatch {
        let mut b = PackedBatch { cu_seqlens: vec![0], ..PackedBatch::default() };
        for n in sequences {
            b.input_ids.extend((0..*n as u32).map(|i| i * 7 % 1000));
            b.targets.extend((0..*n as i64).map(|i| if i + 1 == *n as i64 { -100 } else { (i + 1) * 7 % 1000 }));
            b.cu_seqlens.push(b.input_ids.len() as u32);
        }
        b
    }
}

fn mixed(recomputed: usize, offloaded: usize) -> Policy {
    Policy::Mixed { recomputed, offloaded }
}

fn lora(targets: &[String]) -> LoraConfig {
    LoraConfig { rank: 8, alpha: 16.0, dropout: 0.05, use_rslora: false, target_modules: targets.to_vec() }
}

/// A step of a case and another pass, measured.
fn measure(case: &Case, dir: &Path) -> Measured {
    let held = alloc::live_bytes();
    alloc::reset_peak();
    let options = LoadOptions { quantization: case.quantization, compute_dtype: case.dtype(), ..LoadOptions::default() };
    let mut model = Decoder::load(dir, &options).unwrap();
    match case.trainable() {
        Trainable::Lora(config) => model.add_lora(&config, 1).unwrap(),
        _ => model.enable_full_finetuning().unwrap(),
    }
    let mut optimizer = Optimizer::new(model.params(), OptimizerConfig { kind: case.optimizer, ..OptimizerConfig::default() }).unwrap();
    let mut grads = model.zero_grads().unwrap();
    let settings = StepSettings { lr: 1e-4, max_grad_norm: Some(1.0), policy: case.policy, dropout_seed: Some(7) };
    let passes = [case.batch()];
    train_step(&mut model, &mut optimizer, &Sft, &passes, &mut grads, &settings).unwrap();
    let options = tallow::model::StepOptions { grad_scale: 1.0, dropout_seed: None, policy: case.policy };
    let (_, kept) = model.loss_and_grads_measured(&passes[0], &options, &mut grads).unwrap();
    if !case.evaluated.is_empty() {
        model.evaluate(&Case::batch_of(&case.evaluated)).unwrap();
    }
    let peak = alloc::peak_bytes();
    Measured {
        held,
        weights: model.weight_bytes(),
        optimizer: optimizer.bytes(),
        kept,
        peak,
        rss: alloc::peak_rss_bytes(),
        host: offload::host_peak_bytes(),
    }
}

/// Does nothing, unless a parent asks for a measurement.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CASE) else { return };
    let dir = Path::new(&dir);
    let case: Case = serde_json::from_slice(&std::fs::read(dir.join("case.json")).unwrap()).unwrap();
    let measured = measure(&case, &dir.join("model"));
    std::fs::write(dir.join("measured.json"), serde_json::to_vec(&measured).unwrap()).unwrap();
}

fn measured_apart(case: &Case) -> (DecoderSpec, Measured) {
    let dir = tempfile::tempdir().unwrap();
    let spec = write_random_model(&dir.path().join("model"), &case.config.to_string(), &RandomInit::default()).unwrap();
    std::fs::write(dir.path().join("case.json"), serde_json::to_vec(case).unwrap()).unwrap();
    let me = std::env::current_exe().unwrap();
    let out = Command::new(me).args(["--exact", "memory::child", "--test-threads=1"]).env(CASE, dir.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    (spec, serde_json::from_slice(&std::fs::read(dir.path().join("measured.json")).unwrap()).unwrap())
}

fn request<'a>(case: &Case, spec: &'a DecoderSpec, trainable: &'a Trainable) -> MemoryRequest<'a> {
    MemoryRequest {
        spec,
        quantization: case.quantization,
        compute_dtype: case.dtype(),
        trainable,
        optimizer: case.optimizer,
        window_tokens: case.sequences.iter().sum(),
        longest: case.sequences.iter().copied().max().unwrap(),
        held_out: HeldOut { tokens: case.evaluated.iter().sum(), longest: case.evaluated.iter().copied().max().unwrap_or(0) },
        tokens_per_pass: None,
        policy: None,
        budget: Some(u64::MAX),
        gpu: false,
        host_budget: None,
        held: 0,
    }
}

/// Predicts, measures, compares: parts that are sizes of tensors to the byte, the peak within 5 %.
#[allow(clippy::print_stdout)] // The table that `--nocapture` shows.
fn check(name: &str, case: &Case) {
    let (spec, m) = measured_apart(case);
    let trainable = case.trainable();
    let request = MemoryRequest { held: m.held, ..request(case, &spec, &trainable) };
    let p = predict(&request, case.policy, request.window_tokens);
    let off = p.peak_bytes as f64 / m.peak as f64 - 1.0;
    let mib = |b: u64| b as f64 / f64::from(1 << 20);
    println!(
        "| {name} | {:?} | {:.1} | {:.1} | {:+.2} % | rss {:.1} | kept {:.1} / {:.1} |",
        case.policy,
        mib(p.peak_bytes),
        mib(m.peak),
        100.0 * off,
        mib(m.rss),
        mib(p.part("activations")),
        mib(m.kept),
    );
    assert_eq!(p.part("weights"), m.weights, "{name}: weights");
    assert_eq!(p.part("optimizer"), m.optimizer, "{name}: optimizer");
    assert_eq!(p.parts.iter().map(|p| p.bytes).sum::<u64>(), p.peak_bytes, "{name}: parts");
    assert!(
        ((p.part("activations") + 1) as f64 / (m.kept + 1) as f64 - 1.0).abs() < 0.02,
        "{name}: activations {} {}",
        p.part("activations"),
        m.kept
    );
    assert!(off.abs() < 0.05, "{name}: predicted {} measured {} ({off:+.3})", p.peak_bytes, m.peak);
    let off = (p.host_bytes as f64 + 1.0) / (m.host as f64 + 1.0) - 1.0;
    assert!(off.abs() < 0.01, "{name}: predicted {} in host memory, measured {}", p.host_bytes, m.host);
}

fn llama_f32(policy: Policy) -> Case {
    Case {
        config: config("llama", 256, 704, 5, 2048),
        quantization: Quantization::None,
        bf16: false,
        lora: vec!["all-linear".into()],
        optimizer: OptimizerKind::AdamW,
        policy,
        sequences: vec![512, 350, 162],
        evaluated: vec![],
    }
}

/// Wide heads over a narrow feed-forward block: the peak lies in attention.
fn qwen_nf4_bf16(policy: Policy) -> Case {
    let mut config = config("qwen3", 512, 512, 3, 1024);
    config["head_dim"] = json!(160);
    Case {
        config,
        quantization: Quantization::Nf4,
        bf16: true,
        lora: vec!["q_proj".into(), "v_proj".into()],
        optimizer: OptimizerKind::AdamW8bit,
        policy,
        sequences: vec![256; 6],
        evaluated: vec![],
    }
}

fn olmo_full_bf16(policy: Policy) -> Case {
    Case {
        config: config("olmo2", 256, 1024, 3, 4096),
        quantization: Quantization::None,
        bf16: true,
        lora: vec![],
        optimizer: OptimizerKind::AdamW8bit,
        policy,
        sequences: vec![768],
        evaluated: vec![],
    }
}

fn llama_full_f32(policy: Policy) -> Case {
    Case { config: config("llama", 320, 1280, 3, 4096), lora: vec![], sequences: vec![256; 3], ..llama_f32(policy) }
}

fn llama_q8(policy: Policy) -> Case {
    Case { quantization: Quantization::Q8, lora: vec!["gate_proj".into(), "down_proj".into()], ..llama_f32(policy) }
}

#[test]
fn adapters_in_f32() {
    for p in [Policy::KeepAll, Policy::Minimal, mixed(2, 0), Policy::Recompute] {
        check("llama f32 lora", &llama_f32(p));
    }
}

/// The memory that tensors wait in is not the allocator's.
#[test]
fn activations_in_host_memory() {
    for p in [mixed(0, 3), mixed(1, 4), mixed(0, 5), Policy::HostInputs] {
        check("llama f32 lora", &llama_f32(p));
        check("qwen3 nf4 bf16 lora", &qwen_nf4_bf16(p));
    }
    check("olmo2 bf16 full", &olmo_full_bf16(mixed(0, 3)));
}

#[test]
fn adapters_on_nf4_in_bf16() {
    for p in [Policy::KeepAll, Policy::Minimal, Policy::Recompute] {
        check("qwen3 nf4 bf16 lora", &qwen_nf4_bf16(p));
    }
}

/// Short training rows beside long ones that are evaluated: the peak lies in the evaluation.
#[test]
fn evaluations_between_steps() {
    let short = |case: Case| Case { sequences: vec![64, 40], evaluated: vec![512, 700, 512, 300], ..case };
    check("llama f32 lora, evaluated", &short(llama_f32(Policy::KeepAll)));
    check("qwen3 nf4 bf16 lora, evaluated", &short(qwen_nf4_bf16(Policy::Recompute)));
    check("olmo2 bf16 full, evaluated", &short(olmo_full_bf16(Policy::KeepAll)));
}

/// Where a long evaluation does not fit and short passes do, the evaluation is cut into short passes.
#[test]
fn evaluations_are_cut_to_what_fits() {
    let case = Case { evaluated: vec![300; 8], sequences: vec![300], ..llama_f32(Policy::Recompute) };
    let (spec, trainable) = (spec_of(&case.config), case.trainable());
    let r = request(&case, &spec, &trainable);
    let roomy = predict(&r, case.policy, 300);
    assert_eq!(roomy.evaluation_tokens, 2048);
    let training = predict(&MemoryRequest { held_out: HeldOut::default(), ..r.clone() }, case.policy, 300);
    assert!(training.peak_bytes < roomy.peak_bytes, "{} {}", training.peak_bytes, roomy.peak_bytes);
    let budget = Some(training.peak_bytes + training.peak_bytes / 100 * 5 + 100);
    let tight = predict(&MemoryRequest { budget, ..r }, case.policy, 300);
    assert_eq!((tight.evaluation_tokens, tight.fits, tight.peak_bytes), (300, true, training.peak_bytes));
}

#[test]
fn full_in_bf16_with_norms_behind() {
    for p in [Policy::KeepAll, Policy::Recompute] {
        check("olmo2 bf16 full", &olmo_full_bf16(p));
    }
}

#[test]
fn full_in_f32() {
    for p in [Policy::KeepAll, Policy::Recompute] {
        check("llama f32 full", &llama_full_f32(p));
    }
}

#[test]
fn adapters_on_q8() {
    for p in [Policy::KeepAll, Policy::Recompute] {
        check("llama q8 lora", &llama_q8(p));
    }
}

fn spec_of(config: &serde_json::Value) -> DecoderSpec {
    DecoderSpec::from_config_json(Path::new("config.json"), &config.to_string()).unwrap()
}

#[test]
fn the_fastest_plan_that_fits_is_chosen() {
    let case = llama_f32(Policy::KeepAll);
    let (spec, trainable) = (spec_of(&case.config), case.trainable());
    let r = MemoryRequest { window_tokens: 16384, longest: 1024, ..request(&case, &spec, &trainable) };
    let of = |policy, tokens| predict(&r, policy, tokens).peak_bytes;
    let with = |budget: u64| plan(&MemoryRequest { budget: Some(budget + budget / 100 * 5 + 100), ..r.clone() });
    let chosen = |budget: u64| with(budget).map(|p| (p.policy, p.tokens_per_pass)).unwrap();
    assert_eq!(chosen(of(Policy::KeepAll, 16384)), (Policy::KeepAll, 16384));
    assert_eq!(chosen(of(Policy::KeepAll, 16384) - (1 << 20)), (Policy::KeepAll, 8192), "a cut costs less than computing again");
    assert_eq!(chosen(of(Policy::KeepAll, 2048) - (1 << 20)), (Policy::Minimal, 2048));
    assert_eq!(chosen(of(Policy::Minimal, 2048) - (1 << 20)).0, mixed(1, 0), "a mebibyte is one layer's");
    assert_eq!(chosen(of(mixed(3, 0), 2048)).0, mixed(3, 0), "the fewest layers");
    assert_eq!(chosen(of(mixed(4, 0), 2048) - (1 << 20)).0, Policy::Recompute);
    assert_eq!(chosen(of(Policy::Recompute, 1024)).1, 1024, "shorter passes before refusing");
    assert!(with(of(Policy::Recompute, 1024) - (1 << 20)).is_err());
}

/// On a GPU copies beside the computing come before recomputing, and inputs in host memory after it.
#[test]
fn a_gpu_sends_activations_away_before_it_recomputes() {
    let case = qwen_nf4_bf16(Policy::KeepAll);
    // Wide and deep, as models are that do not fit.
    let mut config = config("llama", 4096, 14336, 32, 32000);
    config["head_dim"] = json!(128);
    let (spec, trainable) = (spec_of(&config), case.trainable());
    let free = Some(1 << 50);
    let r =
        MemoryRequest { window_tokens: 4096, longest: 2048, gpu: true, held: 0, host_budget: free, ..request(&case, &spec, &trainable) };
    let of = |policy| predict(&r, policy, 2048);
    let chosen =
        |peak: u64, host| plan(&MemoryRequest { budget: Some(peak + peak / 100 * 5 + 100), host_budget: host, ..r.clone() }).unwrap();
    let step = 64 << 20;
    let offloaded = |policy| if let Policy::Mixed { recomputed: 0, offloaded } = policy { offloaded } else { 0 };
    let few = chosen(of(Policy::Minimal).peak_bytes - step, free);
    let count = offloaded(few.policy);
    assert!(count > 0 && few.offloaded_layers.len() == count && few.host_bytes > 0, "{few:?}");
    assert_eq!(few.host_bytes, count as u64 * of(mixed(0, 1)).host_bytes, "every layer takes as much");
    assert!(few.peak_bytes < of(Policy::Minimal).peak_bytes && of(mixed(0, count - 1)).peak_bytes > few.peak_bytes, "the fewest layers");
    // As many as leave without waiting: then layers are recomputed beside them.
    let most = (1..=32).rev().find(|n| offloaded(chosen(of(mixed(0, *n)).peak_bytes, free).policy) == *n);
    let most = most.expect("some number is the most");
    assert!((10..24).contains(&most), "{most}: about half a layer leaves while one is computed");
    let beyond = chosen(of(mixed(0, most)).peak_bytes - step, free);
    let Policy::Mixed { recomputed, offloaded } = beyond.policy else { panic!("{beyond:?}") };
    assert!(recomputed > 0 && offloaded > 0 && recomputed + offloaded <= 32, "{beyond:?}");
    // Without host memory nothing leaves.
    let none = chosen(of(Policy::Minimal).peak_bytes - step, Some(0));
    assert!(matches!(none.policy, Policy::Mixed { recomputed: 1.., offloaded: 0 }) && none.host_bytes == 0, "{none:?}");
    // The last that fits is the one whose inputs wait in host memory.
    let last = chosen(of(Policy::Recompute).peak_bytes - step, free);
    assert_eq!((last.policy, last.offloaded_layers.len()), (Policy::HostInputs, 32));
    assert_eq!(last.host_bytes, 32 * last.tokens_per_pass as u64 * 4096 * 2);
    // And it makes rows possible that are too long otherwise.
    let budget = Some(6 << 30);
    let longest = |host| {
        let fits = |n: &usize| plan(&MemoryRequest { window_tokens: *n, longest: *n, budget, host_budget: host, ..r.clone() }).is_ok();
        (1..64).map(|n| n * 2048).take_while(fits).last().unwrap()
    };
    let (with, without) = (longest(free), longest(Some(0)));
    assert!(with > without * 3 / 2, "{with} tokens with host memory, {without} without");
}

#[test]
fn a_refusal_says_what_would_fit() {
    let case = llama_f32(Policy::KeepAll);
    let (spec, trainable) = (spec_of(&case.config), case.trainable());
    let r = MemoryRequest { window_tokens: 8192, longest: 4096, ..request(&case, &spec, &trainable) };
    let least = predict(&r, Policy::Recompute, 4096).peak_bytes;
    let budget = Some(least / 4 * 3);
    let Err(TrainError::Memory { needed, budget: has, message, fits }) = plan(&MemoryRequest { budget, ..r.clone() }) else {
        panic!("a budget of {budget:?} must not do");
    };
    assert!(needed > least && Some(has) == budget, "{needed} {has}");
    assert!(message.contains("MiB") && message.contains("weights"), "{message}");
    let length: usize = fits.iter().find_map(|f| f.strip_prefix("max_seq_length ")?.parse().ok()).unwrap_or_else(|| panic!("{fits:?}"));
    let with = |longest: usize| plan(&MemoryRequest { budget, longest, window_tokens: 2 * longest, ..r.clone() });
    assert!(with(length).is_ok(), "{fits:?}");
    assert!(with(length + 128).is_err(), "the longest that fits: {fits:?}");
    assert!(fits.iter().any(|f| f.contains("bf16")), "{fits:?}");

    let keep_all = predict(&r, Policy::KeepAll, 8192).peak_bytes;
    let fixed = MemoryRequest { policy: Some(Policy::KeepAll), tokens_per_pass: Some(8192), budget: Some(keep_all / 3 * 2), ..r };
    let Err(TrainError::Memory { fits, .. }) = plan(&fixed) else { panic!("keeping all must not fit") };
    assert!(fits.iter().any(|f| f == "gradient_checkpointing true"), "{fits:?}");

    let tiny = MemoryRequest { budget: Some(1 << 20), ..fixed };
    let Err(TrainError::Memory { fits, .. }) = plan(&tiny) else { panic!("1 MiB must not do") };
    assert!(fits.is_empty(), "nothing fits into 1 MiB: {fits:?}");
}

/// Where adapters are most of the memory, the peak is not in saving them.
#[test]
fn large_adapters_are_saved_within_the_plan() {
    let desk = crate::program::Desk::new();
    desk.project(2, "");
    let path = desk.path().join("project/config/fine_tuning_config.yaml");
    let rank = fastrand::usize(500..3000);
    let config = std::fs::read_to_string(&path).unwrap().replace("rank: 4,", &format!("rank: {rank},"));
    std::fs::write(&path, config).unwrap();
    let said = desk.ok(&["train", "project", "--quiet"]).out;
    let line = said.lines().find(|l| l.starts_with("memory")).unwrap_or_else(|| panic!("{said}"));
    let mib: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [measured, predicted] = mib[..] else { panic!("{line}") };
    assert!(line.matches("MiB").count() == 2 && measured > 10.0, "{line}");
    assert!(measured <= predicted * 1.02 + 0.5, "rank {rank}: {line}");
}
