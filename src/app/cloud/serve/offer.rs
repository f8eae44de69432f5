//! What serving a run will take and cost; nothing is made yet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::app::cloud::{Cloud, worker_costs};
use crate::app::models;
use crate::app::outcome::{self, Outcome};
use crate::base::error::Fault;
use crate::cloud::{self, Caps, GpuType, S3_DATA_CENTERS, S3Access, WorkerGpu, Workers, gpu_types, hourly_price, volume_price_hour};
use crate::runs::RunFolder;

/// In which form the model is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Base and adapter merged, as safetensors.
    Merged,
    /// The adapter alone, over its base from the Hub.
    Adapter,
    /// A GGUF file of this type, for a worker with llama.cpp.
    Gguf(String),
    /// A model that is on the Hub already; nothing is exported or stored.
    Hub(String),
}

/// A wish to serve.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct ServeRequest {
    /// The run's folder; `None` for a model of the Hub.
    pub run: Option<PathBuf>,
    /// The form.
    pub form: Form,
    /// The name that clients call it by.
    pub name: String,
    /// GPU pools; empty: the cheapest that has room.
    pub pools: Vec<String>,
    /// GPUs of a worker.
    pub count: u32,
    /// Container image of the workers; `None`: vLLM's, or the template's.
    pub image: Option<String>,
    /// A template.
    pub template: Option<String>,
    /// More variables of the workers; `{model}` in a value stands for the model's path.
    pub env: BTreeMap<String, String>,
    /// Container disk in GB.
    pub disk_gb: u32,
    /// A volume of the account; `None`: one is made, and removed at the end.
    pub volume: Option<String>,
    /// Where a volume is made; `None`: where the GPUs are.
    pub data_center: Option<String>,
    /// Workers.
    pub workers: Workers,
    /// What ends it.
    pub caps: Caps,
    /// The request that is sent.
    pub prompt: String,
    /// Tokens of its answer, at most.
    pub max_tokens: u32,
    /// Seconds that the first answer may take: a worker is found, its image pulled, the model read.
    pub patience: f64,
}

impl std::fmt::Debug for ServeRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values of variables may be secrets.
        write!(f, "ServeRequest {{ name: {:?}, form: {:?}, pools: {:?} }}", self.name, self.form, self.pools)
    }
}

/// What is offered.
#[derive(Debug, Clone, Serialize)]
pub struct ServeOffer {
    /// GPU pools.
    pub pools: Vec<String>,
    /// Where the volume is, or will be; empty without one.
    pub data_center: String,
    /// GB of the volume that will be made; 0: none.
    pub volume_gb: u32,
    /// US dollars an hour that all workers together would cost as pods, at most; workers cost more.
    pub price_hour: f64,
    /// US dollars an hour of the volume, used or not.
    pub storage_hour: f64,
    /// In words.
    pub costs: String,
}

/// Memory beyond the weights, as a share of them, and GB.
const MORE: (f64, f64) = (1.2, 2.0);
/// The smallest volume.
const LEAST_GB: u32 = 10;

/// What is offered for a wish.
///
/// # Errors
/// When the run has no result, the form needs what is not there, or no pool has room.
pub fn serve_offer(cloud: &Cloud, wish: &ServeRequest) -> Result<ServeOffer, Fault> {
    check(wish)?;
    if !matches!(wish.form, Form::Hub(_)) && cloud.s3.is_none() {
        return Err(S3Access::missing());
    }
    let bytes = weights(wish)?;
    let types = gpu_types(&cloud.client, wish.count, true)?;
    let given = wish.volume.as_ref().map(|id| cloud::volume(&cloud.client, id)).transpose()?;
    let stores = !matches!(wish.form, Form::Hub(_));
    let fixed = given.as_ref().map(|v| v.data_center.clone()).or_else(|| wish.data_center.clone());
    if let Some(center) = fixed.as_ref().filter(|c| stores && !S3_DATA_CENTERS.contains(&c.as_str())) {
        return Err(Fault::new("cloud_no_s3", format!("{center}: volumes there have no S3 interface"))
            .hint(format!("choose one of {}", S3_DATA_CENTERS.join(", "))));
    }
    let (pools, center) = place(wish, &types, bytes, fixed.as_deref(), stores)?;
    let volume_gb = if stores && given.is_none() { LEAST_GB.max((bytes as f64 * MORE.0 / 1e9).ceil() as u32 + 1) } else { 0 };
    let gpu = WorkerGpu { pools: pools.clone(), count: wish.count };
    let most = prices(&types, &pools, wish.count).fold(0.0, f64::max) * f64::from(wish.workers.max.unwrap_or(1));
    let storage_hour = volume_price_hour(volume_gb);
    let mut costs = worker_costs(cloud, Some(&gpu), &wish.workers)?;
    if volume_gb > 0 {
        costs += &format!("; a volume of {volume_gb} GB in {center}: {:.2} US dollars a month, until it is removed", storage_hour * 730.0);
    }
    costs += &match (wish.caps.max_hours, wish.caps.max_cost) {
        (None, None) => "; no cap: it stays until it is ended".to_owned(),
        (hours, cost) => {
            let hours = hours.map(|h| format!("after {h} hours"));
            let cost = cost.map(|c| format!("when {c:.2} US dollars are billed"));
            format!("; it is removed {}", [hours, cost].into_iter().flatten().collect::<Vec<_>>().join(" or "))
        }
    };
    Ok(ServeOffer { pools, data_center: if stores { center } else { String::new() }, volume_gb, price_hour: most, storage_hour, costs })
}

fn check(wish: &ServeRequest) -> Result<(), Fault> {
    let usage = |m: &str, h: &str| Err(Fault::new("usage", m).hint(h));
    if wish.run.is_some() == matches!(wish.form, Form::Hub(_)) {
        return usage("a run is served, or a model of the Hub", "name one of them");
    }
    if matches!(wish.form, Form::Gguf(_)) && wish.image.is_none() && wish.template.is_none() {
        return usage("RunPod has no worker image for GGUF files of its own", "name an image or a template of a worker with llama.cpp");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if wish.name.is_empty() || wish.name.len() > 60 || !wish.name.chars().all(plain) {
        return usage("the name is no plain word", "use up to 60 letters, digits, -, _ and .");
    }
    if !(1..=16).contains(&wish.count) {
        return usage("a worker has from 1 to 16 GPUs", "choose another count");
    }
    if [wish.caps.max_hours, wish.caps.max_cost].into_iter().flatten().any(|c| !c.is_finite() || c <= 0.0) {
        return usage("a cap is a number above 0", "give hours or US dollars");
    }
    if !wish.patience.is_finite() || wish.patience <= 0.0 {
        return usage("the time to wait is a number above 0", "give minutes");
    }
    Ok(())
}

/// The result of a wish's run.
pub(super) fn result_of(wish: &ServeRequest) -> Result<Option<Outcome>, Fault> {
    let Some(run) = &wish.run else { return Ok(None) };
    let outcome = outcome::of_run(&RunFolder::open(run)?, None)?;
    if wish.form == Form::Adapter && (outcome.model.adapter.is_none() || Path::new(&outcome.model.model).exists()) {
        return Err(Fault::new("usage", format!("{}: workers could not read its base", outcome.model.model))
            .hint("an adapter alone needs a base of the Hub: serve it merged"));
    }
    Ok(Some(outcome))
}

/// Bytes of the weights that are served, roughly: those of the base; 0 where they are not known here.
fn weights(wish: &ServeRequest) -> Result<u64, Fault> {
    let Some(outcome) = result_of(wish)? else { return Ok(0) };
    let base = models::resolve(&outcome.model.model, outcome.model.revision.as_deref())?;
    if base.is_file() {
        return Ok(std::fs::metadata(&base).map_or(0, |m| m.len()));
    }
    let files = std::fs::read_dir(&base).into_iter().flatten().flatten().map(|e| e.path());
    let weights = files.filter(|p| p.extension().is_some_and(|e| e == "safetensors" || e == "gguf"));
    Ok(weights.filter_map(|p| std::fs::metadata(p).ok()).map(|m| m.len()).sum())
}

fn prices<'a>(types: &'a [GpuType], pools: &'a [String], count: u32) -> impl Iterator<Item = f64> + 'a {
    let own = types.iter().filter(|g| g.pool.as_ref().is_some_and(|pool| pools.contains(pool)));
    own.filter_map(move |g| hourly_price(g, count, true))
}

/// Pools and a data centre: as they were asked for, else the cheapest pool with room that is free
/// where a volume can be.
fn place(wish: &ServeRequest, types: &[GpuType], bytes: u64, fixed: Option<&str>, stores: bool) -> Result<(Vec<String>, String), Fault> {
    let needed = bytes as f64 * MORE.0 + MORE.1 * 1e9;
    let free = |g: &GpuType| -> Option<String> {
        let mut centers = g.data_centers.iter().filter(|d| d.availability != "NONE").map(|d| d.id.clone());
        centers.find(|id| fixed.map_or(!stores || S3_DATA_CENTERS.contains(&id.as_str()), |f| f == id))
    };
    let asked = |g: &GpuType| wish.pools.is_empty() || g.pool.as_ref().is_some_and(|pool| wish.pools.contains(pool));
    let room = |g: &GpuType| !wish.pools.is_empty() || f64::from(g.memory * wish.count) * 1e9 >= needed;
    let mut fits: Vec<(f64, String, String)> = types
        .iter()
        .filter(|g| asked(g) && room(g) && g.manufacturer.eq_ignore_ascii_case("nvidia"))
        .filter_map(|g| Some((hourly_price(g, wish.count, true)?, g.pool.clone()?, free(g)?)))
        .collect();
    fits.sort_by(|a, b| a.0.total_cmp(&b.0));
    let Some((_, pool, center)) = fits.into_iter().next() else {
        let place = fixed.map_or_else(String::new, |f| format!(" in {f}"));
        return Err(Fault::new("cloud_no_gpu", format!("no pool of GPUs with {:.1} GB is free{place}", needed / 1e9))
            .hint("name other pools, or another data centre"));
    };
    let pools = if wish.pools.is_empty() { vec![pool] } else { wish.pools.clone() };
    Ok((pools, fixed.map_or(center, str::to_owned)))
}
