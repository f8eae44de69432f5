//! Balance, bills, and what a run will cost.

use serde::{Deserialize, Serialize};
use serde_json::json;
use ureq::http::Method;

use super::client::{Client, Repeat, segment};
use super::kinds::{Balance, PodBill, PodBills};
use super::ledger::Caps;
use crate::base::error::Fault;

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
    #[serde(default)]
    errors: Vec<Said>,
}

#[derive(Deserialize)]
struct Data {
    myself: Option<Balance>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    message: String,
}

/// Balance and spend, which only the GraphQL interface tells.
///
/// # Errors
/// When the service refuses.
pub fn balance(client: &Client) -> Result<Balance, Fault> {
    let body = json!({ "query": "query { myself { clientBalance currentSpendPerHr spendLimit } }" });
    let answer: Answer = client.ask(&Method::POST, "/graphql", Some(&body), Repeat::Safe)?;
    answer.data.and_then(|d| d.myself).ok_or_else(|| {
        let said = answer.errors.into_iter().map(|e| e.message).collect::<Vec<_>>().join("; ");
        let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
        Fault::new("cloud_answer", format!("the balance was not told: {said}")).hint("the key needs the right to read the account")
    })
}

#[derive(Deserialize)]
struct Bills {
    records: Vec<PodBill>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    totals: Totals,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    total_amount: f64,
}

/// What pods cost over the last `days`, by day; of one pod where it is named.
///
/// # Errors
/// When the service refuses.
pub fn pod_bills(client: &Client, days: u32, pod: Option<&str>) -> Result<PodBills, Fault> {
    let of_pod = pod.map(|id| format!("&podId={}", segment(id))).unwrap_or_default();
    let bills: Bills = client.get(&format!("/v2/billing/pods?bucketSize=day&lastN={days}{of_pod}"))?;
    Ok(PodBills { records: bills.records, total_amount: bills.metadata.totals.total_amount })
}

#[derive(Deserialize)]
struct VolumeBills {
    metadata: Metadata,
}

/// What network volumes cost over the last `days`, US dollars; one of them where it is named.
///
/// # Errors
/// When the service refuses.
pub fn volume_bills(client: &Client, days: u32, volume: Option<&str>) -> Result<f64, Fault> {
    let one = volume.map(|id| format!("&networkVolumeId={}", segment(id))).unwrap_or_default();
    let bills: VolumeBills = client.get(&format!("/v2/billing/network-volumes?bucketSize=day&lastN={days}{one}"))?;
    Ok(bills.metadata.totals.total_amount)
}

/// US dollars that a GB of container disk costs a month while its pod runs, by the service's page of
/// prices (November 2026); the interface does not tell it.
const DISK_GB_MONTH: f64 = 0.10;
/// The same of a network volume, up to 1000 GB.
const VOLUME_GB_MONTH: f64 = 0.07;
/// The same of what is above.
const LARGE_VOLUME_GB_MONTH: f64 = 0.05;
const HOURS_OF_MONTH: f64 = 730.0;

/// US dollars an hour of a container's disk.
pub fn disk_price_hour(gb: u32) -> f64 {
    f64::from(gb) * DISK_GB_MONTH / HOURS_OF_MONTH
}

/// US dollars an hour of a network volume, whether it is used or not.
pub fn volume_price_hour(gb: u32) -> f64 {
    let (first, more) = (gb.min(1000), gb.saturating_sub(1000));
    (f64::from(first) * VOLUME_GB_MONTH + f64::from(more) * LARGE_VOLUME_GB_MONTH) / HOURS_OF_MONTH
}

/// What something will cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// US dollars an hour, without disks.
    pub price_hour: f64,
    /// US dollars an hour of its disks.
    pub storage_hour: f64,
    /// Hours it will take, starting and copying included; `None` where nothing is known about its
    /// pace.
    pub hours: Option<f64>,
    /// US dollars in all; `None` as `hours`.
    pub total: Option<f64>,
    /// Most US dollars that it can cost: the caps.
    pub most: Option<f64>,
}

/// Hours that a pod runs before and after the steps: it is placed, pulls its image, files are
/// copied.
pub const OVERHEAD_HOURS: f64 = 0.2;

/// From the prices an hour of GPUs and disks, the seconds that the steps take where they are known,
/// and the caps.
pub fn estimate(price_hour: f64, storage_hour: f64, seconds: Option<f64>, caps: Caps) -> Estimate {
    let hours = seconds.map(|s| s / 3600.0 + OVERHEAD_HOURS);
    let all = price_hour + storage_hour;
    let most = caps.hours_at(all).map(|h| h * all);
    Estimate { price_hour, storage_hour, hours, total: hours.map(|h| h * all), most }
}
