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
    /// Network volumes.
    pub volumes: Vec<Volume>,
    /// Templates.
    pub templates: Vec<Template>,
    /// What was rented from this machine and has not ended.
    pub rented_here: Vec<Entry>,
}

/// Asks for all of it; bills of so many days, of one pod where it is named.
///
/// # Errors
/// When the service refuses.
pub fn account(cloud: &Cloud, days: u32, pod: Option<&str>) -> Result<Account, Fault> {
    let open = |e: &Entry| e.stage != Stage::Ended;
    Ok(Account {
        balance: cloud::balance(&cloud.client)?,
        bills: cloud::pod_bills(&cloud.client, days, pod)?,
        endpoints_total: cloud::endpoint_bills(&cloud.client, days)?.1,
        volumes: cloud::volumes(&cloud.client)?,
        templates: cloud::templates(&cloud.client)?,
        rented_here: cloud.ledger.entries()?.into_iter().filter(open).collect(),
    })
}
