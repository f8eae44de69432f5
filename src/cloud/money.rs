//! Balance, bills, and what a run will cost.

use serde::{Deserialize, Serialize};
use serde_json::json;
use ureq::http::Method;

use super::client::{Client, Repeat, segment};
use super::kinds::{Balance, PodBill, PodBills};
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

/// What something will cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// US dollars an hour.
    pub price_hour: f64,
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
const OVERHEAD_HOURS: f64 = 0.2;

/// From the price, the seconds that the steps take where they are known, and the caps.
pub fn estimate(price_hour: f64, seconds: Option<f64>, max_hours: Option<f64>, max_cost: Option<f64>) -> Estimate {
    let hours = seconds.map(|s| s / 3600.0 + OVERHEAD_HOURS);
    let by_hours = max_hours.map(|h| h * price_hour);
    let most = match (by_hours, max_cost) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    Estimate { price_hour, hours, total: hours.map(|h| h * price_hour), most }
}
