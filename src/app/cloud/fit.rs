//! The smallest GPU on offer that a run fits.

use std::path::PathBuf;

use super::Cloud;
use crate::app::plan::{self, PlanReport, PlanRequest};
use crate::base::error::Fault;
use crate::cloud::{gpu_types, hourly_price};

/// The memory of the smallest offered GPU on which the run's plan fits, in bytes, and that plan.
/// `config` is a configuration file or a project folder, `set` holds overrides.
///
/// # Errors
/// `out_of_memory_plan` with what would fit on the largest, or what else is wrong with the run.
pub fn memory_for(cloud: &Cloud, config: &std::path::Path, set: &[String], count: u32, secure: bool) -> Result<(u64, PlanReport), Fault> {
    let types = gpu_types(&cloud.client, count, secure)?;
    let mut sizes: Vec<u32> = types.iter().filter(|g| hourly_price(g, count, secure).is_some()).map(|g| g.memory).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut last = Fault::new("cloud_no_gpu", "the catalogue offers no GPU").hint("try the other cloud");
    for size in sizes {
        let bytes = u64::from(size) * 1_000_000_000;
        let config: Option<PathBuf> = Some(config.to_path_buf());
        match plan::run(&PlanRequest { config, set: set.to_vec(), flags: Vec::new(), memory: None, gpu_memory: Some(bytes) }) {
            Ok(report) => return Ok((bytes, report)),
            Err(fault) if fault.code == "out_of_memory_plan" => last = fault,
            Err(fault) => return Err(fault),
        }
    }
    Err(last)
}
