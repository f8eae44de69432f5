//! What can be rented, where, and for how much; templates and volumes of the account.

use serde::{Deserialize, Serialize};

use super::client::Client;
use super::kinds::{GpuType, Template, Volume};
use crate::base::error::Fault;

#[derive(Deserialize)]
struct Gpus {
    gpus: Vec<GpuType>,
}

#[derive(Deserialize)]
struct Templates {
    templates: Vec<Template>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volumes {
    network_volumes: Vec<Volume>,
}

/// GPU types with prices and how many are free, for pods of so many GPUs.
///
/// # Errors
/// When the service refuses.
pub fn gpu_types(client: &Client, count: u32, secure: bool) -> Result<Vec<GpuType>, Fault> {
    let cloud = if secure { "SECURE" } else { "COMMUNITY" };
    let path = format!("/v2/catalog/gpus?include=AVAILABILITY&product=POD&count={count}&cloud={cloud}");
    Ok(client.get::<Gpus>(&path)?.gpus)
}

/// Templates of the account.
///
/// # Errors
/// When the service refuses.
pub fn templates(client: &Client) -> Result<Vec<Template>, Fault> {
    Ok(client.get::<Templates>("/v2/templates")?.templates)
}

/// Network volumes of the account.
///
/// # Errors
/// When the service refuses.
pub fn volumes(client: &Client) -> Result<Vec<Volume>, Fault> {
    Ok(client.get::<Volumes>("/v2/network-volumes")?.network_volumes)
}

/// US dollars an hour for so many GPUs of a type; `None` where it is not offered.
pub fn hourly_price(gpu: &GpuType, count: u32, secure: bool) -> Option<f64> {
    let (price, most) = if secure { (gpu.price.secure, gpu.max_count.secure) } else { (gpu.price.community, gpu.max_count.community) };
    (price > 0.0 && price.is_finite() && (1..=most).contains(&count)).then(|| price * f64::from(count))
}

/// A GPU type that would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fit {
    /// Its identifier.
    pub id: String,
    /// GB.
    pub memory_gb: u32,
    /// US dollars an hour for the wished count.
    pub price_hour: f64,
    /// How many are free.
    pub availability: String,
    /// Where, those with most first.
    pub data_centers: Vec<String>,
}

/// Types that hold `bytes` on one GPU, the cheapest first; those with none free are left out.
/// Kernels are made for NVIDIA's GPUs of compute capability 8.0 and upward: older ones, and those
/// of other makers, are left out.
pub fn cheapest(gpus: &[GpuType], bytes: u64, count: u32, secure: bool) -> Vec<Fit> {
    let rank = |level: &str| ["HIGH", "MEDIUM", "LOW"].iter().position(|l| *l == level);
    let fits = gpus.iter().filter(|g| g.manufacturer.eq_ignore_ascii_case("nvidia") && !is_old(&g.id));
    let mut all: Vec<Fit> = fits
        .filter(|g| u64::from(g.memory) * 1_000_000_000 >= bytes)
        .filter_map(|g| {
            let availability = g.availability.clone().filter(|a| rank(a).is_some())?;
            let mut centers: Vec<_> = g.data_centers.iter().filter(|d| rank(&d.availability).is_some()).collect();
            centers.sort_by_key(|d| rank(&d.availability));
            Some(Fit {
                id: g.id.clone(),
                memory_gb: g.memory,
                price_hour: hourly_price(g, count, secure)?,
                availability,
                data_centers: centers.into_iter().map(|d| d.id.clone()).collect(),
            })
        })
        .collect();
    all.sort_by(|a, b| a.price_hour.total_cmp(&b.price_hour).then_with(|| b.memory_gb.cmp(&a.memory_gb)).then_with(|| a.id.cmp(&b.id)));
    all
}

/// Types before compute capability 8.0, by the words of their names: `Tesla V100-PCIE-16GB`,
/// `NVIDIA GeForce RTX 2080 Ti`.
fn is_old(id: &str) -> bool {
    let mut words = id.split([' ', '-']);
    words.any(|w| ["V100", "T4", "P100", "P40", "GTX", "TITAN", "Quadro", "2060", "2070", "2080"].contains(&w))
}
