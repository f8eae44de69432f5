//! Renting a pod: what is offered, at which price; then the pod itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Cloud;
use crate::base::error::Fault;
use crate::cloud::{
    self, Caps, CreatePod, Estimate, Fit, Gpu, Intended, Mounts, NetworkMount, PersistentMount, Pod, cheapest, disk_price_hour, gpu_types,
    hourly_price,
};

/// A wish for a pod.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RentRequest {
    /// A GPU type, or a part of its name that fits only one; `None`: the cheapest that holds
    /// `memory_bytes`.
    pub gpu: Option<String>,
    /// Memory that one GPU must have.
    pub memory_bytes: u64,
    /// GPUs.
    pub count: u32,
    /// Only the service's own data centres; false: other hosts.
    pub secure: bool,
    /// Container image; `None` with a template.
    pub image: Option<String>,
    /// A template.
    pub template: Option<String>,
    /// Container disk in GB.
    pub disk_gb: Option<u32>,
    /// Disk on the pod's machine in GB, at /workspace; it outlives a stop.
    pub persistent_gb: Option<u32>,
    /// A network volume, mounted at /workspace.
    pub volume: Option<String>,
    /// Ports, as `22/tcp`.
    pub ports: Vec<String>,
    /// Variables of the container.
    pub env: BTreeMap<String, String>,
    /// Preferred data centres.
    pub data_centers: Vec<String>,
    /// What ends it.
    pub caps: Caps,
    /// Seconds that its work takes, where they are known.
    pub seconds: Option<f64>,
    /// Whether it has no use without the work that it is made for.
    pub for_one_job: bool,
    /// The job that it is rented for.
    pub job: Option<PathBuf>,
    /// The tag to use; `None`: a new one. The same tag never gives a second pod.
    pub tag: Option<String>,
}

impl std::fmt::Debug for RentRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RentRequest {{ gpu: {:?}, count: {}, tag: {:?} }}", self.gpu, self.count, self.tag)
    }
}

impl RentRequest {
    /// US dollars an hour of its disks, a network volume left out: that is paid for anyway.
    pub fn storage_hour(&self) -> f64 {
        disk_price_hour(self.disk_gb.unwrap_or(0) + self.persistent_gb.unwrap_or(0))
    }
}

/// What is offered: nothing has been rented yet.
#[derive(Debug, Clone, Serialize)]
pub struct Offer {
    /// Types in the order in which they will be tried.
    pub candidates: Vec<Fit>,
    /// The first one's costs.
    pub estimate: Estimate,
    /// The dearest one's price: US dollars an hour at most.
    pub most_price_hour: f64,
}

/// A rented pod.
#[derive(Debug, Clone, Serialize)]
pub struct Rented {
    /// Its tag.
    pub tag: String,
    /// The pod.
    pub pod: Pod,
    /// What it costs.
    pub estimate: Estimate,
    /// Candidates that were refused, and why.
    pub refused: Vec<String>,
}

/// Candidates that are tried.
const MOST_CANDIDATES: usize = 5;

/// What is offered for a wish.
///
/// # Errors
/// `cloud_no_gpu` when nothing fits, is free, or is priced; `usage` when the wish contradicts
/// itself.
pub fn offer(cloud: &Cloud, wish: &RentRequest) -> Result<Offer, Fault> {
    check(wish)?;
    let types = gpu_types(&cloud.client, wish.count, wish.secure)?;
    let mut candidates = match &wish.gpu {
        None => cheapest(&types, wish.memory_bytes, wish.count, wish.secure),
        Some(named) => {
            let lower = named.to_lowercase();
            let exact: Vec<_> = types.iter().filter(|g| g.id.to_lowercase() == lower || g.name.to_lowercase() == lower).collect();
            let part = || types.iter().filter(|g| g.id.to_lowercase().contains(&lower)).collect();
            let found: Vec<_> = if exact.is_empty() { part() } else { exact };
            let [gpu] = found.as_slice() else {
                let names: Vec<&str> = found.iter().map(|g| g.id.as_str()).collect();
                let what = if names.is_empty() { "is none".to_owned() } else { format!("fits several: {}", names.join(", ")) };
                return Err(Fault::new("cloud_no_gpu", format!("`{named}` {what} of the catalogue")).hint("list the GPU types first"));
            };
            let price = hourly_price(gpu, wish.count, wish.secure).ok_or_else(|| {
                let where_ = if wish.secure { "secure" } else { "community" };
                Fault::new("cloud_no_gpu", format!("{}: not offered {} times in the {where_} cloud", gpu.id, wish.count))
                    .hint("ask for fewer GPUs, or for the other cloud")
            })?;
            let centers = gpu.data_centers.iter().map(|d| d.id.clone()).collect();
            let availability = gpu.availability.clone().unwrap_or_else(|| "NONE".into());
            vec![Fit { id: gpu.id.clone(), memory_gb: gpu.memory, price_hour: price, availability, data_centers: centers }]
        }
    };
    candidates.truncate(MOST_CANDIDATES);
    let Some(first) = candidates.first() else {
        let gb = wish.memory_bytes as f64 / 1e9;
        return Err(Fault::new("cloud_no_gpu", format!("no GPU with {gb:.1} GB is free, {} times in one pod", wish.count))
            .hint("try the other cloud, another data centre, or a smaller run"));
    };
    let most_price_hour = candidates.iter().map(|c| c.price_hour).fold(0.0, f64::max);
    let estimate = cloud::estimate(first.price_hour, wish.storage_hour(), wish.seconds, wish.caps);
    Ok(Offer { candidates, estimate, most_price_hour })
}

fn check(wish: &RentRequest) -> Result<(), Fault> {
    let usage = |m: &str, h: &str| Err(Fault::new("usage", m).hint(h));
    if wish.image.is_some() == wish.template.is_some() {
        return usage("a pod starts from an image or from a template", "name one of them");
    }
    if wish.volume.is_some() && wish.persistent_gb.is_some() {
        return usage("a pod has a network volume or a disk of its own", "name one of them");
    }
    if !(1..=16).contains(&wish.count) {
        return usage("a pod has from 1 to 16 GPUs", "choose another count");
    }
    let caps = [wish.caps.max_hours, wish.caps.max_cost];
    if caps.into_iter().flatten().any(|c| !c.is_finite() || c <= 0.0) {
        return usage("a cap is a number above 0", "give hours or US dollars");
    }
    Ok(())
}

/// Whether so many US dollars an hour are enough for the first candidate.
///
/// # Errors
/// `confirmation_needed` with the price, what it comes to, and the cap.
pub fn agree(offer: &Offer, agreed: Option<f64>) -> Result<(), Fault> {
    let e = &offer.estimate;
    let agreed = agreed.unwrap_or(0.0);
    if e.price_hour <= agreed + 1e-9 {
        return Ok(());
    }
    let first = offer.candidates.first().map_or("", |c| c.id.as_str());
    let total = e.total.map_or_else(String::new, |t| format!(", about {t:.2} in all for {:.1} hours", e.hours.unwrap_or(0.0)));
    let most = e.most.map_or_else(|| ", no cap".to_owned(), |m| format!(", {m:.2} at most"));
    let until_now = if agreed > 0.0 { format!("; {agreed:.2} an hour were agreed to") } else { String::new() };
    let price = format!("{first}: {:.2} US dollars an hour{total}{most}{until_now}", e.price_hour);
    Err(Fault::new("confirmation_needed", price).hint("ask the user; agree to this price if it is fine"))
}

/// Rents the first candidate that can be had for at most `agreed` US dollars an hour. The ledger
/// holds the wish before it is sent, and the pod before anything waits for it.
///
/// # Errors
/// `confirmation_needed` when the offer is dearer than agreed; what the service says of the last
/// candidate.
pub fn take(cloud: &Cloud, wish: &RentRequest, offer: &Offer, agreed: f64) -> Result<Rented, Fault> {
    let tag = wish.tag.clone().unwrap_or_else(cloud::new_tag);
    let affordable: Vec<&Fit> = offer.candidates.iter().filter(|c| c.price_hour <= agreed + 1e-9).collect();
    agree(offer, Some(agreed))?;
    let price_hour = affordable.first().map_or(offer.estimate.price_hour, |c| c.price_hour);
    let (caps, for_one_job, job) = (wish.caps, wish.for_one_job, wish.job.clone());
    let mut entry = cloud.ledger.intend(&tag, Intended { caps, price_hour, disk_gb: wish.disk_gb.unwrap_or(0), for_one_job, job })?;
    let mut refused = Vec::new();
    let mut last = None;
    for candidate in affordable {
        match cloud::create(&cloud.client, &request(wish, &entry.name, candidate)) {
            Ok(pod) => {
                cloud.ledger.made(&mut entry, &pod)?;
                let price = if pod.cost > 0.0 { pod.cost } else { candidate.price_hour };
                let estimate = cloud::estimate(price, wish.storage_hour(), wish.seconds, wish.caps);
                return Ok(Rented { tag, pod, estimate, refused });
            }
            // This one cannot be had: the next one may.
            Err(fault) if ["cloud_rejected", "cloud_forbidden"].contains(&fault.code) => {
                refused.push(format!("{}: {}", candidate.id, fault.message));
                last = Some(fault);
            }
            Err(fault) => {
                // Where nothing is known about what the service did, the wish stays open, and is
                // looked after later.
                if !["cloud_unavailable", "cloud_unreachable", "cloud_answer"].contains(&fault.code) {
                    cloud.ledger.ended(&mut entry, &fault.message)?;
                }
                return Err(fault);
            }
        }
    }
    cloud.ledger.ended(&mut entry, "no candidate could be had")?;
    let fault = last.unwrap_or_else(|| Fault::new("cloud_rejected", "no candidate could be had"));
    let message = format!("none of {} could be had; the last one: {}", refused.len(), fault.message);
    Err(Fault { message, ..fault })
}

fn request(wish: &RentRequest, name: &str, candidate: &Fit) -> CreatePod {
    const WORKSPACE: &str = "/workspace";
    let persistent = wish.persistent_gb.map(|size| PersistentMount { size: size.max(10), path: WORKSPACE.into() });
    let network = wish.volume.clone().map(|volume_id| [NetworkMount { volume_id, path: WORKSPACE.into() }]);
    let mounts = (persistent.is_some() || network.is_some()).then_some(Mounts { persistent, network });
    CreatePod {
        name: name.to_owned(),
        gpu: Gpu { id: candidate.id.clone(), count: wish.count },
        cloud: if wish.secure { "SECURE".into() } else { "COMMUNITY".into() },
        image: wish.image.clone(),
        template_id: wish.template.clone(),
        disk: wish.disk_gb,
        data_center_ids: wish.data_centers.clone(),
        ports: wish.ports.clone(),
        env: wish.env.clone(),
        args: timer(wish.caps.hours_at(candidate.price_hour + wish.storage_hour()), wish.for_one_job),
        mounts,
    }
}

/// What stops a pod from within; its disk is kept, and paid for.
const STOP_POD: &str = "runpodctl stop pod $RUNPOD_POD_ID";

/// What ends a pod of a job from within. When a pod stops, its container's disk is lost anyway; where
/// it may not remove itself, it stops.
pub const END_POD: &str = "runpodctl remove pod $RUNPOD_POD_ID || runpodctl stop pod $RUNPOD_POD_ID";

/// The container's command where a cap is set: beside the image's own start script runs a timer
/// that ends the pod, whoever else is still alive.
fn timer(hours: Option<f64>, for_one_job: bool) -> String {
    let Some(hours) = hours else { return String::new() };
    let seconds = (hours * 3600.0).floor().max(60.0) as u64;
    let end = if for_one_job { END_POD } else { STOP_POD };
    format!("bash -c '(sleep {seconds}; {end}) & if [ -x /start.sh ]; then exec /start.sh; else exec sleep infinity; fi'")
}

/// Gives a pod back and notes it.
///
/// # Errors
/// When the service refuses.
pub fn release(cloud: &Cloud, id: &str) -> Result<(), Fault> {
    release_because(cloud, id, TERMINATED)
}

/// How the ledger says that a pod was given back from here.
pub(super) const TERMINATED: &str = "terminated";

/// The same for another reason.
pub(super) fn release_because(cloud: &Cloud, id: &str, why: &str) -> Result<(), Fault> {
    cloud::terminate(&cloud.client, id)?;
    if let Some(mut entry) = cloud.ledger.of_pod(id)? {
        // A wish that was sent twice may have been carried out twice.
        for twin in cloud::find_by_name(&cloud.client, &entry.name)? {
            cloud::terminate(&cloud.client, &twin.id)?;
        }
        cloud.ledger.ended(&mut entry, why)?;
    }
    Ok(())
}
