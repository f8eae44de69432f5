//! `tallow cloud`.

mod args;
mod endpoints;
mod serve;
mod stores;
mod text;

pub use args::CloudCommand;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use args::{CloudTrainArgs, EstimateArgs, GpusArgs, MachineArgs, RentArgs};

use super::progress::{Talk, line, mark};
use super::remote::{JobArgs, ProjectArgs, Watched, absolute, ended, found, leave_on_signals, note};
use super::run::Desk;
use crate::app::cloud::remote::{Job, TrainRequest};
use crate::app::cloud::{self as use_cases, Cloud, Offer, RentRequest};
use crate::base::error::Fault;
use crate::cloud::{self, Action, Caps};

/// The image where none is named: CUDA's libraries and an SSH server.
const IMAGE: &str = "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404";

/// `tallow cloud ...`.
pub(super) fn cloud(desk: &Desk, command: CloudCommand) -> Result<u8, Fault> {
    let service = Cloud::from_env()?;
    match command {
        CloudCommand::Gpus(a) => gpus(desk, &service, &a),
        CloudCommand::Pods { id: None } => {
            let pods = cloud::list(&service.client)?;
            desk.give(&serde_json::json!({ "pods": pods }), || text::pods(&pods, desk.paint))
        }
        CloudCommand::Pods { id: Some(id) } => {
            let pod = cloud::get(&service.client, &id)?;
            desk.give(&pod, || text::pod(&pod, desk.paint))
        }
        CloudCommand::Rent(a) => rent(desk, &service, a),
        CloudCommand::Start { id, yes } => {
            agreed(desk, &format!("boot pod {id}: it costs money again"), yes)?;
            act(desk, &service, &id, Action::Start)
        }
        CloudCommand::Stop { id } => act(desk, &service, &id, Action::Stop),
        CloudCommand::Restart { id } => act(desk, &service, &id, Action::Restart),
        CloudCommand::Terminate { id, yes } => {
            agreed(desk, &format!("delete pod {id} with its disk"), yes)?;
            use_cases::release(&service, &id)?;
            desk.give(&serde_json::json!({ "terminated": id }), || format!("pod {id} is terminated"))
        }
        CloudCommand::Logs { id, tail, follow } => {
            let json = desk.json;
            cloud::follow_logs(&service.client, &id, tail, follow, &mut |l| {
                let mut out = std::io::stdout().lock();
                let text = if json { serde_json::json!(l).to_string() } else { format!("{} {}", l.ts, l.line) };
                // A reader that went away ends it.
                writeln!(out, "{text}").is_ok()
            })?;
            Ok(0)
        }
        CloudCommand::Account { days, pod } => {
            let account = use_cases::account(&service, days.max(1), pod.as_deref())?;
            desk.give(&account, || text::account(&account, desk.paint))
        }
        CloudCommand::Tidy { watch: true } => watch(&service),
        CloudCommand::Tidy { watch: false } => {
            let done = tidied(&service)?.0;
            let words = if done.is_empty() { "nothing to tidy".to_owned() } else { done.join("\n") };
            desk.give(&serde_json::json!({ "done": done }), || words)
        }
        CloudCommand::Estimate(a) => estimate(desk, &service, &a),
        CloudCommand::Volume(command) => stores::volume(desk, &service, command),
        CloudCommand::Template(command) => stores::template(desk, &service, command),
        CloudCommand::Serve(command) => serve::run(desk, &service, command),
        CloudCommand::Endpoint(command) => endpoints::run(desk, &service, command),
        CloudCommand::Train(a) => train(desk, &service, a),
        CloudCommand::Attach { job, resume } => attach(desk, &service, &job, resume),
    }
}

/// What was ended, and the seconds until the next cap of what is served.
fn tidied(service: &Cloud) -> Result<(Vec<String>, Option<f64>), Fault> {
    let mut done = service.ledger.tidy(&service.client, &use_cases::wanted)?;
    let (more, next) = use_cases::serve::tidy_servings(service)?;
    done.extend(more);
    Ok((done, next))
}

/// Longest time between two looks.
const LONGEST_LOOK: f64 = 60.0;

/// Ends what is due until nothing with a cap is left. One process does it for a ledger.
fn watch(service: &Cloud) -> Result<u8, Fault> {
    // One that has just found nothing left is about to end.
    let Some(_alone) = (0..4).find_map(|turn| {
        service.client.sleep(if turn == 0 { 0.0 } else { 0.5 });
        service.ledger.watched_alone().transpose()
    }) else {
        return Ok(0);
    };
    loop {
        let next = match tidied(service) {
            Ok((_, next)) => next,
            // A service that cannot be reached now is asked again.
            Err(fault) if fault.code.starts_with("cloud_") && fault.code != "cloud_key_refused" => Some(LONGEST_LOOK),
            Err(fault) => return Err(fault),
        };
        let capped = |e: &cloud::Entry| e.stage != cloud::Stage::Ended && e.caps != Caps::default();
        let due = |e: &cloud::Entry| Some((e.caps.hours_at(e.cost_hour())? - e.hours(service.ledger.now())) * 3600.0);
        let pods = service.ledger.entries()?.iter().filter(|e| capped(e)).filter_map(due).reduce(f64::min);
        let Some(next) = [next, pods].into_iter().flatten().reduce(f64::min) else { return Ok(0) };
        service.client.sleep(next.clamp(0.5, LONGEST_LOOK));
    }
}

fn estimate(desk: &Desk, service: &Cloud, a: &EstimateArgs) -> Result<u8, Fault> {
    let mut wish = wish(&a.machine);
    let (_, costs) = use_cases::offer_for_run(service, &a.config, &a.set, &mut wish, a.step_seconds)?;
    let report = serde_json::json!({ "needed_bytes": wish.memory_bytes, "overhead_hours": cloud::OVERHEAD_HOURS, "costs": costs });
    desk.give(&report, || text::costs_of_run(&costs, desk.paint))
}

fn act(desk: &Desk, service: &Cloud, id: &str, action: Action) -> Result<u8, Fault> {
    match cloud::act(&service.client, id, action)? {
        Some(pod) => desk.give(&pod, || text::pod(&pod, desk.paint)),
        None => desk.give(&serde_json::json!({ "terminated": id }), || format!("pod {id} is terminated")),
    }
}

/// Asks a person; without a terminal the flag must have said it.
fn agreed(desk: &Desk, what: &str, yes: bool) -> Result<(), Fault> {
    if yes {
        return Ok(());
    }
    if desk.json || desk.talk == Talk::Silent || !std::io::stdin().is_terminal() {
        return Err(Fault::new("confirmation_needed", what).hint("give --yes to agree"));
    }
    mark(&format!("{what}. Agree? [y/N] "));
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    let yes = ["y", "yes"].contains(&answer.trim().to_lowercase().as_str());
    if yes { Ok(()) } else { Err(Fault::new("cancelled", "not agreed to; nothing was done")) }
}

fn gpus(desk: &Desk, service: &Cloud, a: &GpusArgs) -> Result<u8, Fault> {
    let secure = !a.community;
    let bytes = match &a.fits {
        Some(config) => use_cases::memory_for(service, config, &[], a.count, secure)?.0,
        None => 0,
    };
    let types = cloud::gpu_types(&service.client, a.count, secure)?;
    if a.fits.is_some() {
        let fits = cloud::cheapest(&types, bytes, a.count, secure);
        return desk.give(&serde_json::json!({ "needed_bytes": bytes, "gpus": fits }), || text::fits(&fits, bytes, desk.paint));
    }
    desk.give(&serde_json::json!({ "gpus": types }), || text::gpus(&types, a.count, desk.paint))
}

fn wish(m: &MachineArgs) -> RentRequest {
    let image = match (&m.image, &m.template) {
        (None, None) => Some(IMAGE.to_owned()),
        (image, _) => image.clone(),
    };
    RentRequest {
        gpu: m.gpu.clone(),
        count: m.count,
        secure: !m.community,
        image,
        template: m.template.clone(),
        disk_gb: Some(m.disk.max(1)),
        volume: m.volume.clone(),
        data_centers: m.data_center.clone(),
        caps: Caps { max_hours: m.max_hours, max_cost: m.max_cost },
        ..RentRequest::default()
    }
}

/// Variables of a container.
fn variables(pairs: &[String]) -> Result<BTreeMap<String, String>, Fault> {
    let wrong = || Fault::new("usage", "--env takes NAME=VALUE").hint("for example --env HF_HOME=/workspace/hub");
    let of = |pair: &String| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(wrong);
    pairs.iter().map(of).collect()
}

fn rent(desk: &Desk, service: &Cloud, a: RentArgs) -> Result<u8, Fault> {
    let env = variables(&a.env)?;
    let memory_bytes = u64::from(a.memory) * 1_000_000_000;
    let wish = RentRequest { memory_bytes, persistent_gb: a.persistent, ports: a.port, env, tag: a.tag, ..wish(&a.machine) };
    let offer = use_cases::offer(service, &wish)?;
    let price = confirmed(desk, &offer, a.machine.yes)?;
    let rented = use_cases::take(service, &wish, &offer, price)?;
    desk.give(&rented, || text::rented(&rented, desk.paint))
}

/// The price that was agreed to: US dollars an hour.
fn confirmed(desk: &Desk, offer: &Offer, yes: bool) -> Result<f64, Fault> {
    let words = text::offered(offer);
    if yes && desk.talk != Talk::Silent {
        line(&words);
    }
    agreed(desk, &words, yes)?;
    Ok(offer.most_price_hour)
}

/// The cap of a training pod where none is named.
const TRAIN_HOURS: f64 = 24.0;

fn train(desk: &Desk, service: &Cloud, a: CloudTrainArgs) -> Result<u8, Fault> {
    let ProjectArgs { config, set, name, program } = a.project;
    if program.is_none() && !cfg!(feature = "cuda") && desk.talk != Talk::Silent {
        line("this build has no CUDA: on the pod it trains on the CPU; --program FILE sends a build that has");
    }
    let mut wish = wish(&a.machine);
    wish.caps.max_hours.get_or_insert(TRAIN_HOURS);
    let (offer, costs) = use_cases::offer_for_run(service, &config, &set, &mut wish, None)?;
    if let Some(first) = costs.first().filter(|_| desk.talk != Talk::Silent) {
        line(&first.basis.words());
    }
    let request = TrainRequest {
        set,
        name,
        program: absolute(program),
        idle_hours: Some(a.idle_hours),
        stop_command: Some(use_cases::END_POD.to_owned()),
        ..TrainRequest::new(config)
    };
    let price = confirmed(desk, &offer, a.machine.yes)?;
    let mut job = use_cases::rented_job(&request, &wish, price)?;
    finish(desk, service, &mut job, false)
}

fn attach(desk: &Desk, service: &Cloud, job: &JobArgs, resume: bool) -> Result<u8, Fault> {
    finish(desk, service, &mut found(job)?, resume)
}

fn finish(desk: &Desk, service: &Cloud, job: &mut Job, resume: bool) -> Result<u8, Fault> {
    let back = format!("`tallow cloud attach {}`", job.tag);
    leave_on_signals(format!("left: the run goes on there, and the pod is paid for; {back} comes back to it"));
    let mut watch = Watched::new(desk.talk);
    let followed = use_cases::rented_finish(service, job, resume, &mut note(desk.talk), &mut |p| watch.show(p)).map_err(|fault| {
        let pod = job.rent.as_ref().and_then(|r| r.pod_id.as_ref());
        let Some(pod) = pod else { return fault };
        let hint = fault.hint.clone().map_or_else(String::new, |hint| format!("{hint}; "));
        fault.hint(format!("{hint}pod {pod} is paid for: {back} comes back to the job, `tallow cloud terminate {pod}` ends it"))
    })?;
    ended(desk, &followed)
}
