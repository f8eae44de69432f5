//! A base with an adapter folded in, one tensor at a time.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Tensor};

use super::card::Training;
use crate::model::adapter::AdapterFile;
use crate::model::merge::merged_f32;
use crate::model::weights::{TensorSource, check_finite};
use crate::model::{DecoderSpec, Error, Result, Unknown, open_source, stream_logits};

/// A base model and its adapter, opened but not loaded.
#[derive(Debug)]
pub struct Merged {
    spec: DecoderSpec,
    base: Box<dyn TensorSource>,
    adapter: Option<AdapterFile>,
    training: Option<Training>,
}

impl Merged {
    /// Opens a model folder and, where given, an adapter folder.
    ///
    /// # Errors
    /// When one is damaged, or they do not fit each other.
    pub fn open(model: &Path, adapter: Option<&Path>) -> Result<Self> {
        Self::open_as(model, adapter, Unknown::Refuse)
    }

    /// The same, with a say about architectures that are not known by name.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_as(model: &Path, adapter: Option<&Path>, unknown: Unknown) -> Result<Self> {
        let (spec, base) = open_source(model, unknown)?;
        let adapter = adapter.map(AdapterFile::open).transpose()?;
        if let Some(a) = &adapter {
            a.check_places(&spec)?;
        }
        Ok(Self { spec, base, adapter, training: None })
    }

    /// The architecture.
    pub fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    /// The base's tensors.
    pub fn base(&self) -> &dyn TensorSource {
        self.base.as_ref()
    }

    /// The adapter.
    pub fn adapter(&self) -> Option<&AdapterFile> {
        self.adapter.as_ref()
    }

    /// How it was trained, where that is known.
    pub fn training(&self) -> Option<&Training> {
        self.training.as_ref()
    }

    /// Says how it was trained.
    pub fn set_training(&mut self, training: Training) {
        self.training = Some(training);
    }

    /// Logits of the live model: the base with the adapter beside it, as it was trained, nothing folded in.
    ///
    /// # Errors
    /// When a tensor is damaged.
    pub fn live_logits(&self, ids: &[u32], cu_seqlens: &[u32]) -> Result<Tensor> {
        stream_logits(&self.spec, self.base(), self.adapter.as_ref(), ids, cu_seqlens)
    }

    /// A tensor with the adapter folded in, in f32.
    ///
    /// # Errors
    /// When it is missing or damaged, or holds a number that is not finite.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let merged = merged_f32(self.base(), self.adapter.as_ref(), name, shape)?;
        finite(name, merged.flatten_all()?.to_vec1::<f32>()?)
    }

    /// The same in runs of whole rows: of a large matrix that nothing is folded into, no more than a run is held.
    ///
    /// # Errors
    /// As [`Self::values`], and what `take` says.
    pub fn runs<E: From<Error>>(
        &self,
        name: &str,
        shape: &[usize],
        mut take: impl FnMut(usize, Vec<f32>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let ([rows, width], true) = (shape, self.is_plain(name)) else { return take(0, self.values(name, shape)?) };
        for from in (0..*rows).step_by(run_rows(*width)) {
            let count = run_rows(*width).min(rows - from);
            take(from, finite(name, self.base.rows(name, from, count)?)?)?;
        }
        Ok(())
    }

    /// Whether a tensor is the base's own, in floating point.
    fn is_plain(&self, name: &str) -> bool {
        let path = name.strip_suffix(".weight").unwrap_or(name);
        !self.base.is_nf4(name) && !self.adapter.as_ref().is_some_and(|a| a.has(path))
    }
}

/// Elements of a run.
const RUN: usize = 1 << 24;

/// Rows of a run.
pub(super) fn run_rows(width: usize) -> usize {
    (RUN / width.max(1)).max(1)
}

fn finite(name: &str, values: Vec<f32>) -> Result<Vec<f32>> {
    check_finite(name, &values)?;
    Ok(values)
}

impl TensorSource for Merged {
    fn float(&self, name: &str, dtype: DType) -> Result<Tensor> {
        let spec = self.spec.tensors().into_iter().find(|t| t.name == name);
        let shape = spec.ok_or_else(|| Error::Value(format!("`{name}` is not a tensor of this model")))?.shape;
        Ok(merged_f32(self.base(), self.adapter.as_ref(), name, &shape)?.to_dtype(dtype)?)
    }

    fn rows(&self, name: &str, from: usize, count: usize) -> Result<Vec<f32>> {
        if self.is_plain(name) {
            return self.base.rows(name, from, count);
        }
        Ok(self.float(name, DType::F32)?.narrow(0, from, count)?.flatten_all()?.to_vec1()?)
    }
}

/// The base with pairs `B A` that were read back from an exported adapter.
#[derive(Debug)]
pub struct WithPairs<'a> {
    base: &'a dyn TensorSource,
    spec: &'a DecoderSpec,
    /// By the path of the linear layer: A `[r, in]`, B `[out, r]`, scale.
    pairs: BTreeMap<String, (Tensor, Tensor, f64)>,
}

impl<'a> WithPairs<'a> {
    /// Without any pair yet.
    pub fn new(merged: &'a Merged) -> Self {
        Self { base: merged.base(), spec: &merged.spec, pairs: BTreeMap::new() }
    }

    /// Adds one.
    pub fn add(&mut self, path: String, a: Tensor, b: Tensor, scale: f64) {
        self.pairs.insert(path, (a, b, scale));
    }
}

impl TensorSource for WithPairs<'_> {
    fn float(&self, name: &str, dtype: DType) -> Result<Tensor> {
        let spec = self.spec.tensors().into_iter().find(|t| t.name == name);
        let shape = spec.ok_or_else(|| Error::Value(format!("`{name}` is not a tensor of this model")))?.shape;
        let w = merged_f32(self.base, None, name, &shape)?;
        let pair = name.strip_suffix(".weight").and_then(|p| self.pairs.get(p));
        let w = match pair {
            Some((a, b, scale)) => (w + (b.matmul(a)? * *scale)?)?,
            None => w,
        };
        Ok(w.to_dtype(dtype)?)
    }

    fn rows(&self, name: &str, from: usize, count: usize) -> Result<Vec<f32>> {
        if !name.strip_suffix(".weight").is_some_and(|p| self.pairs.contains_key(p)) && !self.base.is_nf4(name) {
            return self.base.rows(name, from, count);
        }
        Ok(self.float(name, DType::F32)?.narrow(0, from, count)?.flatten_all()?.to_vec1()?)
    }
}
