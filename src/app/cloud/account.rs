//! What the account holds, spends and has rented.

use serde::Serialize;

use super::Cloud;
use crate::base::error::Fault;
use crate::cloud::{self, Balance, Entry, PodBills, Stage, Template, Volume};

/// The account at a glance.
#[derive(Debug, Clone, Serialize)]
pub struct Account {
    /// Balance and spend.
    pub balance: Balance,
    /// Pod bills of the last days.
    pub bills: PodBills,
    /// What serverless endpoints cost in that time, US dollars.
    pub endpoints_total: f64,
    /// What network volumes cost in that time, US dollars.
    pub volumes_total: f64,
    /// All of it, US dollars.
    pub total: f64,
    /// Pods that were rented from here, with what each was billed in that time.
    pub billed_here: Vec<Billed>,
    /// Network volumes.
    pub volumes: Vec<Volume>,
    /// Templates.
    pub templates: Vec<Template>,
    /// What was rented from this machine and has not ended.
    pub rented_here: Vec<Entry>,
}

/// A pod that was rented from here, and its bill.
#[derive(Debug, Clone, Serialize)]
pub struct Billed {
    /// Its tag.
    pub tag: String,
    /// The pod.
    pub pod_id: String,
    /// Hours until now or its end.
    pub hours: f64,
    /// What they come to at its price, with its disk, US dollars; the service has the last word.
    pub expected: f64,
    /// What the service has billed, US dollars. Its bills may lag.
    pub billed: f64,
}

/// Asks for all of it; bills of so many days, of one pod where it is named.
///
/// # Errors
/// When the service refuses.
pub fn account(cloud: &Cloud, days: u32, pod: Option<&str>) -> Result<Account, Fault> {
    let open = |e: &Entry| e.stage != Stage::Ended;
    let (client, entries) = (&cloud.client, cloud.ledger.entries()?);
    let bills = cloud::pod_bills(client, days, pod)?;
    let (endpoints_total, volumes_total) = match pod {
        Some(_) => (0.0, 0.0),
        None => (cloud::endpoint_bills(client, days, None)?.1, cloud::volume_bills(client, days, None)?),
    };
    let billed = |e: &Entry| {
        let pod_id = e.pod_id.clone()?;
        let records = bills.records.iter().filter(|r| r.pod_id == pod_id);
        let billed = records.clone().map(|r| r.total_amount).sum();
        let hours = e.hours(cloud.ledger.now());
        (open(e) || records.count() > 0).then(|| Billed { tag: e.tag.clone(), pod_id, hours, expected: hours * e.cost_hour(), billed })
    };
    Ok(Account {
        balance: cloud::balance(client)?,
        total: bills.total_amount + endpoints_total + volumes_total,
        billed_here: entries.iter().filter_map(billed).collect(),
        endpoints_total,
        volumes_total,
        volumes: cloud::volumes(client)?,
        templates: cloud::templates(client)?,
        rented_here: entries.into_iter().filter(open).collect(),
        bills,
    })
}
