//! Every family against PyTorch, transformers and PEFT: logits, loss, each gradient by name, twenty steps of AdamW.
//!
//! `tests/golden/make.py` made the folders and says what they hold. The figures of a run are written to
//! `target/tmp/golden.txt`. No path is compiled in: the tests' program can be carried to another machine
//! with `tests/golden` beside it.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use tallow::data::PackedBatch;
use tallow::model::{Decoder, Grads, LoadOptions, Policy, StepOptions, debug};
use tallow::train::{Optimizer, OptimizerConfig, Sft, StepSettings, train_step};

pub(crate) type Outcome = anyhow::Result<()>;

const TOLERANCE: f64 = 1e-4;

/// One golden folder.
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) expected: HashMap<String, Tensor>,
}

/// The folder of the golden files: in the package that cargo runs the tests of, else beside this program.
pub(crate) fn golden_dir() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let program = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf));
    let root = package.or(program).unwrap_or_default();
    root.join("tests/golden")
}

/// Where a run leaves its figures: `target/tmp` when cargo built this program where it stands, else the
/// system's folder for temporary files.
fn figures_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    let built = exe.ancestors().map(|dir| dir.join("tmp")).find(|tmp| tmp.is_dir() && exe.components().any(|c| c.as_os_str() == "deps"));
    built.unwrap_or_else(std::env::temp_dir)
}

/// All family folders, by name.
pub(crate) fn families() -> anyhow::Result<Vec<Golden>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(golden_dir())? {
        let dir = entry?.path();
        if dir.join("adapter").is_dir() {
            let expected = candle_core::safetensors::load(dir.join("expected.safetensors"), &Device::Cpu)?;
            all.push(Golden { name: dir.file_name().unwrap_or_default().to_string_lossy().into_owned(), dir, expected });
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    anyhow::ensure!(all.len() >= 8, "only {} golden folders in {}", all.len(), golden_dir().display());
    Ok(all)
}

/// One of them.
pub(crate) fn golden(name: &str) -> anyhow::Result<Golden> {
    families()?.into_iter().find(|g| g.name == name).ok_or_else(|| anyhow::anyhow!("no golden model {name}"))
}

impl Golden {
    pub(crate) fn base(&self) -> anyhow::Result<Decoder> {
        Ok(Decoder::load(&self.dir.join("model"), &LoadOptions::default())?)
    }

    pub(crate) fn with_adapter(&self) -> anyhow::Result<Decoder> {
        let mut model = self.base()?;
        model.load_adapter(&self.dir.join("adapter"))?;
        Ok(model)
    }

    pub(crate) fn get(&self, name: &str) -> anyhow::Result<&Tensor> {
        self.expected.get(name).ok_or_else(|| anyhow::anyhow!("{}: no golden `{name}`", self.name))
    }

    /// Rows of input_ids and labels, end to end.
    pub(crate) fn rows(&self, rows: &[usize]) -> anyhow::Result<PackedBatch> {
        let ids = self.get("input_ids")?.to_vec2::<i64>()?;
        let labels = self.get("labels")?.to_vec2::<i64>()?;
        Ok(pack(rows.iter().map(|&r| (ids[r].as_slice(), labels[r].as_slice()))))
    }
}

/// Sequences of ids and labels (not yet shifted), end to end.
pub(crate) fn pack<'a>(sequences: impl IntoIterator<Item = (&'a [i64], &'a [i64])>) -> PackedBatch {
    let mut batch = PackedBatch { cu_seqlens: vec![0], ..PackedBatch::default() };
    for (ids, labels) in sequences {
        batch.input_ids.extend(ids.iter().map(|&id| id as u32));
        batch.targets.extend(labels[1..].iter().copied().chain([-100]));
        batch.cu_seqlens.push(batch.input_ids.len() as u32);
    }
    batch
}

/// Loss sum and gradients of a batch, without dropout.
pub(crate) fn gradients(model: &Decoder, batch: &PackedBatch, grad_scale: f32, policy: Policy) -> anyhow::Result<(f64, Grads)> {
    let mut grads = model.zero_grads()?;
    let loss = model.loss_and_grads(batch, &StepOptions { grad_scale, dropout_seed: None, policy }, &mut grads)?;
    Ok((loss.loss_sum, grads))
}

pub(crate) fn values(t: &Tensor) -> anyhow::Result<Vec<f32>> {
    Ok(t.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// The larger of ‖a-b‖/‖b‖ and max|a-b|/max|b|.
pub(crate) fn error(got: &Tensor, want: &Tensor) -> anyhow::Result<f64> {
    anyhow::ensure!(got.dims() == want.dims(), "shape {:?}, expected {:?}", got.dims(), want.dims());
    let (got, want) = (values(got)?, values(want)?);
    let apart: Vec<f64> = got.iter().zip(&want).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
    let wide: Vec<f64> = want.iter().map(|b| f64::from(*b)).collect();
    let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let peak = |v: &[f64]| v.iter().fold(0f64, |m, x| if x.is_nan() { f64::NAN } else { m.max(x.abs()) });
    Ok((norm(&apart) / norm(&wide)).max(peak(&apart) / peak(&wide)))
}

/// What a family's comparison came to, worst first.
#[derive(Default)]
struct Report {
    text: String,
    failures: Vec<String>,
}

impl Report {
    fn add(&mut self, family: &str, what: &str, error: f64) {
        let _ = writeln!(self.text, "{family:14} {what:10} {error:.2e}");
        if error.is_nan() || error > TOLERANCE {
            self.failures.push(format!("{family}: {what} is off by {error:.3e}"));
        }
    }

    fn finish(self, file: &str) -> Outcome {
        std::fs::write(figures_dir().join(file), &self.text)?;
        assert!(self.failures.is_empty(), "{}", self.failures.join("\n"));
        Ok(())
    }
}

#[test]
fn logits_loss_and_adapter_gradients_are_those_of_peft() -> Outcome {
    let mut report = Report::default();
    let out = tempfile::tempdir()?;
    for g in families()? {
        let model = g.with_adapter()?;
        let path = out.path().join(&g.name);
        debug::gradients(&model, &g.dir.join("expected.safetensors"), &path, "labels")?;
        let got = candle_core::safetensors::load(&path, &Device::Cpu)?;
        let names: Vec<&String> = g.expected.keys().filter(|n| n.contains(".lora_")).collect();
        assert_eq!(names.len(), model.params().len(), "{}: adapter tensors", g.name);
        let mut worst = 0f64;
        for name in names {
            let got = got.get(name).ok_or_else(|| anyhow::anyhow!("{}: no gradient `{name}`", g.name))?;
            let e = error(got, g.get(name)?)?;
            assert!(e <= TOLERANCE, "{}: gradient of `{name}` is off by {e:.3e}", g.name);
            worst = worst.max(e);
        }
        report.add(&g.name, "logits", error(&got["logits"], g.get("logits")?)?);
        report.add(&g.name, "loss", error(&got["loss"], g.get("loss")?)?);
        report.add(&g.name, "gradients", worst);
    }
    report.finish("golden.txt")
}

#[test]
fn gradients_of_the_base_weights_are_those_of_transformers() -> Outcome {
    let mut report = Report::default();
    for g in families()? {
        let Some(want_loss) = g.expected.get("full.loss") else { continue };
        let mut model = g.base()?;
        model.enable_full_finetuning()?;
        let batch = g.rows(&[0, 1])?;
        let targets = batch.target_tokens();
        let (loss_sum, grads) = gradients(&model, &batch, 1.0 / targets as f32, Policy::KeepAll)?;
        let loss = Tensor::new((loss_sum / targets as f64) as f32, &Device::Cpu)?;
        report.add(&g.name, "loss", error(&loss, want_loss)?);
        for (name, want) in g.expected.iter().filter(|(n, _)| n.as_str() != "full.loss") {
            let Some(name) = name.strip_prefix("full.") else { continue };
            let got = model.params().iter().zip(&grads.tensors).find(|(p, _)| p.name == name);
            let (_, got) = got.ok_or_else(|| anyhow::anyhow!("{}: `{name}` does not train", g.name))?;
            report.add(&g.name, name, error(got, want)?);
        }
    }
    assert!(report.text.lines().count() > 50, "too few golden gradients:\n{}", report.text);
    report.finish("golden_full.txt")
}

#[test]
fn twenty_steps_of_adamw_are_those_of_torch() -> Outcome {
    let mut report = Report::default();
    for g in families()? {
        let mut model = g.with_adapter()?;
        let mut optimizer = Optimizer::new(model.params(), OptimizerConfig::default())?;
        let mut grads = model.zero_grads()?;
        let settings = StepSettings { lr: 1e-2, max_grad_norm: Some(1.0), policy: Policy::Minimal, dropout_seed: None };
        let rows = [g.rows(&[0])?, g.rows(&[1])?];
        let want = values(g.get("losses")?)?;
        assert_eq!(want.len(), 20);
        let mut worst = 0f64;
        for (step, want) in want.iter().enumerate() {
            let out = train_step(&mut model, &mut optimizer, &Sft, &rows[step % 2..=step % 2], &mut grads, &settings)?;
            worst = worst.max((out.loss / f64::from(*want) - 1.0).abs());
        }
        report.add(&g.name, "20 steps", worst);
    }
    report.finish("golden_steps.txt")
}

#[test]
fn every_policy_gives_the_same_gradients_to_the_bit() -> Outcome {
    for g in families()? {
        for full in [false, true] {
            let mut model = if full { g.base()? } else { g.with_adapter()? };
            if full {
                model.enable_full_finetuning()?;
            }
            let batch = g.rows(&[0, 1])?;
            let (loss, want) = gradients(&model, &batch, 0.03, Policy::KeepAll)?;
            for policy in [Policy::Minimal, Policy::Recompute] {
                let (again, got) = gradients(&model, &batch, 0.03, policy)?;
                assert_eq!(loss.to_bits(), again.to_bits(), "{}: loss under {policy:?}", g.name);
                for ((p, a), b) in model.params().iter().zip(&want.tensors).zip(&got.tensors) {
                    assert!(values(a)? == values(b)?, "{}: gradient of `{}` under {policy:?}", g.name, p.name);
                }
            }
        }
    }
    Ok(())
}
