//! What an endpoint may cost, before it is made or changed.

use super::Cloud;
use crate::base::error::Fault;
use crate::cloud::{WorkerGpu, Workers, gpu_types, hourly_price};

/// What so many workers may cost, in words. The catalogue tells the prices of pods alone: those of
/// serverless workers are higher, and no interface tells them.
///
/// # Errors
/// When the service refuses.
pub fn worker_costs(cloud: &Cloud, gpu: Option<&WorkerGpu>, workers: &Workers) -> Result<String, Fault> {
    let (min, max) = (workers.min.unwrap_or(0), workers.max.unwrap_or(3));
    let max = if max == 1 { "1 worker".to_owned() } else { format!("{max} workers") };
    let always = if min > 0 { format!(", {min} of them always on") } else { ", none while there is no work".to_owned() };
    let Some(gpu) = gpu else { return Ok(format!("at most {max}{always}; prices of CPU workers are not told")) };
    let types = gpu_types(&cloud.client, gpu.count, true)?;
    let of_pools = types.iter().filter(|g| g.pool.as_ref().is_some_and(|pool| gpu.pools.contains(pool)));
    let prices: Vec<f64> = of_pools.filter_map(|g| hourly_price(g, gpu.count, true)).collect();
    let pools = gpu.pools.join(", ");
    let Some(least) = prices.iter().copied().reduce(f64::min) else {
        return Ok(format!("at most {max} on {pools}{always}; the catalogue tells no price"));
    };
    let most = prices.iter().copied().fold(0.0, f64::max);
    Ok(format!(
        "at most {max} on {pools}{always}; as a pod each would cost {least:.2} to {most:.2} US dollars an hour, as a worker it costs more"
    ))
}
