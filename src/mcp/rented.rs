//! Rented machines as resources and in prompts; only where a key is there and their tools are shown.

use serde_json::{Value, json};

use super::tool::Shared;
use crate::app::cloud::{Cloud, memory_for};
use crate::app::configure;
use crate::base::error::Fault;
use crate::cloud::{self, KEY_VARIABLE};

/// Address, name and what it is.
pub(super) const RESOURCES: [(&str, &str, &str); 4] = [
    ("runpod://pods", "pods", "Rented pods, with status and price"),
    ("runpod://templates", "templates", "Templates for pods"),
    ("runpod://endpoints", "endpoints", "Serverless endpoints"),
    ("runpod://volumes", "volumes", "Network volumes"),
];

/// Whether the service may be asked.
pub(super) fn is_on(shared: &Shared) -> bool {
    let has_key = std::env::var_os(KEY_VARIABLE).is_some_and(|key| !key.is_empty());
    has_key && shared.choice.find("runpod_list_pods").is_some_and(|row| row.is_ok())
}

/// A resource of the service; `None` for other addresses.
pub(super) fn read(shared: &Shared, uri: &str) -> Option<Result<Value, Fault>> {
    let (.., name, _) = RESOURCES.iter().find(|(known, ..)| *known == uri)?;
    if !is_on(shared) {
        let off = Fault::new("cloud_no_key", format!("{uri}: the service cannot be asked here"));
        return Some(Err(off.hint("whoever runs the server can set RUNPOD_API_KEY and add the toolset `cloud`")));
    }
    let read = || -> Result<Value, Fault> {
        let client = Cloud::from_env()?.client;
        Ok(match *name {
            "pods" => json!({ "pods": cloud::list(&client)? }),
            "templates" => json!({ "templates": cloud::templates(&client)? }),
            "endpoints" => json!({ "endpoints": cloud::endpoints(&client)? }),
            _ => json!({ "volumes": cloud::volumes(&client)? }),
        })
    };
    Some(read())
}

/// The live catalogue, for `gpus://available`; `None` where the service may not be asked.
pub(super) fn catalogue(shared: &Shared) -> Option<Value> {
    if !is_on(shared) {
        return None;
    }
    let read = || cloud::gpu_types(&Cloud::from_env()?.client, 1, true);
    Some(read().map_or_else(|fault| json!({ "error": fault }), |types| json!(types)))
}

/// Types that are offered.
const MOST_LINES: usize = 6;

/// The cheapest GPUs that hold so many bytes, for a prompt.
pub(super) fn prices(shared: &Shared, bytes: u64) -> String {
    if !is_on(shared) {
        return "Prices of rented GPUs are not known here: RUNPOD_API_KEY and the toolset `cloud` are needed.".to_owned();
    }
    let read = || -> Result<String, Fault> {
        let types = cloud::gpu_types(&Cloud::from_env()?.client, 1, true)?;
        let fits = cloud::cheapest(&types, bytes, 1, true);
        let line =
            |f: &cloud::Fit| format!("- {}: {} GB, {:.2} US dollars an hour, free: {}", f.id, f.memory_gb, f.price_hour, f.availability);
        let lines: Vec<String> = fits.iter().take(MOST_LINES).map(line).collect();
        let gb = bytes as f64 / 1e9;
        Ok(if lines.is_empty() {
            format!("No rented GPU with {gb:.0} GB is free now.")
        } else {
            format!("Rented GPUs with {gb:.0} GB or more, the cheapest first, prices of now:\n{}", lines.join("\n"))
        })
    };
    read().unwrap_or_else(|fault| format!("The catalogue of rented GPUs cannot be read: {}", fault.message))
}

/// Parameters as people write them: `7B`, `270M`, `1.5 b`.
pub(super) fn parameters(text: &str) -> Option<f64> {
    let text = text.trim().to_lowercase().replace(' ', "");
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    let scale = match unit.chars().next() {
        Some('t') => 1e12,
        Some('b') => 1e9,
        Some('m') => 1e6,
        Some('k') => 1e3,
        None => 1.0,
        Some(_) => return None,
    };
    number.parse::<f64>().ok().map(|n| n * scale).filter(|n| n.is_finite() && *n > 0.0)
}

/// What a project's run needs on a rented GPU, for a prompt.
pub(super) fn plan(shared: &Shared, project: &str) -> Result<String, Fault> {
    let project = shared.roots.project(project)?;
    configure::settings(&project.config, &[], &|config| shared.roots.settings(config))?;
    if !is_on(shared) {
        return Ok(prices(shared, 0));
    }
    let service = Cloud::from_env()?;
    let (bytes, plan) = memory_for(&service, &project.config, &[], 1, true)?;
    let time = plan.time.map_or_else(String::new, |t| format!(" Its steps take about {:.1} hours on this machine.", t.seconds / 3600.0));
    Ok(format!("The run of {} fits on a GPU with {} GB.{time}\n{}", project.root.display(), bytes / 1_000_000_000, prices(shared, bytes)))
}

/// What is rented for a kind of work, step by step.
pub(super) fn workload(shared: &Shared, workload: &str, project: &str) -> Result<String, Fault> {
    let kind = workload.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| kind.contains(word));
    let (gb, steps) = if has(&["endpoint", "serve", "deploy", "api"]) {
        (
            16,
            "1. evaluate_model: the run is better than its base.\n2. runpod_serve_run with its run_id, a name, max_hours and max_cost, without \
             agreed_price_hour: tell me the costs.\n3. After I agree, call it again with that price; it exports the run, puts it on a volume, \
             makes an endpoint with min_workers 0, so that nothing but the volume is paid for without work, and sends one request.\n4. \
             runpod_list_served until it has answered; show me the answer.\n5. runpod_run_endpoint for more requests, runpod_end_serving when \
             it is not needed any more. A worker image of another kind: runpod_create_endpoint.",
        )
    } else if has(&["diffusion", "image", "video", "comfy", "flux", "sdxl"]) {
        (
            24,
            "1. runpod_create_pod without agreed_price_hour tells the price: an image with the program, disk_gb 60 for the weights, ports \
             22/tcp and the program's own as http, max_hours 4.\n2. After I agree, call it again with that price.\n3. runpod_list_pods until it \
             runs; runpod_get_pod_logs shows how far its start is.\n4. Work with it; what shall stay goes to a network volume.\n5. \
             runpod_pod_action terminate.",
        )
    } else if has(&["long", "experiment", "overnight", "sweep", "days"]) {
        (
            24,
            "1. A network volume (runpod_get_account lists them), so that nothing is lost with the pod.\n2. runpod_start_training with max_hours \
             and max_cost that you reckon from the plan, without agreed_price_hour: tell me the price.\n3. After I agree, call it again. It \
             goes on without this conversation; a pod that is taken away is replaced, within the caps.\n4. Later: runpod_get_training_logs and \
             get_run; stop_training pauses it and gives the pod back.\n5. runpod_get_account: what it cost.",
        )
    } else {
        (
            16,
            "1. plan_training and runpod_estimate_cost for the project.\n2. runpod_start_training without agreed_price_hour tells the price; set max_hours and \
             max_cost.\n3. After I agree, call it again with that price.\n4. runpod_get_training_logs until it runs, then wait and get_run.\n5. \
             When it has ended everything is here and the pod is terminated: evaluate_model, then runpod_get_account for the bill.",
        )
    };
    let needs = if project.is_empty() { prices(shared, gb * 1_000_000_000) } else { plan(shared, project)? };
    Ok(format!(
        "Rent what this needs, and no more.\nWork: {workload}\n{needs}\n\nGo step by step; nothing that costs money before I agree:\n{steps}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_models_are_read_as_people_write_them() {
        for (text, wanted) in [("7B", 7e9), ("270m", 270e6), ("1.5 b", 1.5e9), ("124 million", 124e6), ("1000", 1000.0)] {
            assert_eq!(parameters(text), Some(wanted), "{text}");
        }
        for bad in ["", "big", "7x", "b", "0B", "."] {
            assert_eq!(parameters(bad), None, "{bad}");
        }
    }
}
