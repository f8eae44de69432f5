//! A run on rented pods: a pod is rented, the run is sent, followed, fetched, and the pod given back.
//!
//! ```text
//!   Sending ──(rent, send)──> Running ──(ended, all is here)──> Fetched ──> pod terminated
//!      ^                         │ the pod is gone
//!      └──── attempt + 1 <───────┘ what was fetched is sent to the next pod
//! ```
//! Each arrow is on disk before the next thing is asked for, so a client that is killed anywhere is
//! followed by the next one. The caps hold for all pods of a job together.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::remote::{self, Followed, Job, Stage, TrainRequest};
use super::rent::{TERMINATED, release_because};
use super::{Cloud, RentRequest, offer, release, take};
use crate::app::jobs::{ELSEWHERE, Progress, State};
use crate::base::atomic;
use crate::base::error::Fault;
use crate::cloud::ssh::{Host, make_key};
use crate::cloud::{self, Caps, Entry, Pod, PodStatus};

/// What is rented for a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rent {
    /// The wish, without what is made for each pod.
    pub wish: RentRequest,
    /// US dollars an hour that were agreed to.
    pub agreed: f64,
    /// The pod, while there is one.
    pub pod_id: Option<String>,
    /// The type of its GPU, and of the one before it while there is none.
    #[serde(default)]
    pub gpu: Option<String>,
    /// Its number, from 1.
    pub attempt: u32,
}

/// How long a pod may take until it can be reached: its image is pulled first.
const START: Duration = Duration::from_secs(1200);
/// How long its SSH server may take once the pod runs.
const SERVER: Duration = Duration::from_secs(60);
/// Pods for one job.
const MOST_PODS: u32 = 5;
/// Hours below which another pod is not worth its start.
const LEAST_HOURS: f64 = 0.05;
/// Seconds that the service may take to carry out the wish of a client that was killed.
const SETTLE_SECONDS: f64 = 10.0;

/// The job of a run on rented pods, on disk; nothing is rented yet.
///
/// # Errors
/// When the project's settings are wrong, or nothing can be written.
pub fn rented_job(request: &TrainRequest, wish: &RentRequest, agreed: f64) -> Result<Job, Fault> {
    let mut job = request.job(None)?;
    job.rent = Some(Rent { wish: wish.clone(), agreed, pod_id: None, gpu: None, attempt: 1 });
    job.write()?;
    Ok(job)
}

/// A rented job to the end of its run. With `resume` a run that was paused or has failed goes on.
/// When this returns without an error, no pod is left.
///
/// # Errors
/// What renting, sending and following say. `cloud_cap_reached` when the caps leave no further pod:
/// the run is here and can go on here. After any other failure the pod may go on: whoever comes back
/// to the job finds it.
pub fn rented_finish(
    cloud: &Cloud,
    job: &mut Job,
    resume: bool,
    said: &mut dyn FnMut(&str),
    each: &mut dyn FnMut(&Progress),
) -> Result<Followed, Fault> {
    let _alone = job.alone()?;
    if job.stage == Stage::Fetched {
        give_back(cloud, job, said)?;
        let ended = remote::followed(job)?;
        if !resume || matches!(ended.state, State::Completed | State::Cancelled) {
            return Ok(ended);
        }
        send_again(job, &ended)?;
    }
    loop {
        let pod = rent_for(cloud, job, said)?;
        let fault = match on_pod(cloud, job, &pod, resume, said, each) {
            Ok(_) => {
                remote::settle(job)?;
                give_back(cloud, job, said)?;
                return remote::followed(job);
            }
            Err(fault) => fault,
        };
        if fault.code == "remote_over" || is_gone(cloud, &pod) {
            said(&format!("pod {pod} is gone or beyond its cap: {}", fault.message));
            next_pod(cloud, job, &pod)?;
        } else if job.run_id.is_none() && NEVER.contains(&fault.code) {
            // No pod would do, so none is kept.
            give_back(cloud, job, said)?;
            remote::settle(job)?;
            return Err(fault);
        } else {
            return Err(fault);
        }
    }
}

/// Faults that another try does not mend.
const NEVER: [&str; 4] = ["remote_refused", "remote_program", "remote_system", "cloud_pod_slow"];

/// The pod of a job: the one that there is, else a new one.
///
/// # Errors
/// What renting says; where nothing was rented for a job that has no run, the job is removed.
pub fn rent_for(cloud: &Cloud, job: &mut Job, said: &mut dyn FnMut(&str)) -> Result<String, Fault> {
    let rent = job.rent.clone().ok_or_else(|| Fault::new("usage", format!("job {}: nothing is rented for it", job.tag)))?;
    if let Some(pod) = own_pod(cloud, job)? {
        return Ok(pod);
    }
    let tag = pod_tag(job, rent.attempt);
    let mut wish = RentRequest { tag: Some(tag.clone()), for_one_job: true, job: Some(job.path()), ..rent.wish };
    wish.caps = left_of(cloud, job, wish.caps)?;
    wish.env.insert("PUBLIC_KEY".into(), make_key(&key_path(cloud, job))?);
    if !wish.ports.iter().any(|p| p == "22/tcp") {
        wish.ports.push("22/tcp".into());
    }
    let pod = match asked_for(cloud, &tag)? {
        Some(pod) => pod,
        None => {
            let rented = offer(cloud, &wish).and_then(|offer| take(cloud, &wish, &offer, rent.agreed)).inspect_err(|_| {
                let open = |e: &Entry| e.tag == tag && e.stage != cloud::Stage::Ended;
                if job.run_id.is_none() && cloud.ledger.entries().is_ok_and(|all| !all.iter().any(open)) {
                    let _ = std::fs::remove_file(job.path());
                    forget_key(cloud, job);
                }
            })?;
            rented.refused.iter().for_each(|r| said(r));
            rented.pod
        }
    };
    said(&format!("job {}: pod {} at {:.2} US dollars an hour", job.tag, pod.id, pod.cost));
    if let Some(rent) = &mut job.rent {
        rent.pod_id = Some(pod.id.clone());
        rent.gpu = pod.gpu.as_ref().map(|g| g.id.clone()).or_else(|| rent.gpu.take());
    }
    job.write()?;
    Ok(pod.id)
}

/// The pod of a job. Others may have written its record: what it names must be in the ledger as its
/// own.
fn own_pod(cloud: &Cloud, job: &Job) -> Result<Option<String>, Fault> {
    let Some(pod) = job.rent.as_ref().and_then(|r| r.pod_id.clone()) else { return Ok(None) };
    let entry = cloud.ledger.of_pod(&pod)?;
    if entry.is_some_and(|e| e.job.as_ref() == Some(&job.path())) {
        return Ok(Some(pod));
    }
    let message = format!("job {}: pod {pod} was not rented for it from here", job.tag);
    Err(Fault::new("remote_job_damaged", message).hint("look at the pod; terminate it by its name if it is yours"))
}

/// The pod that an earlier client, which was killed, has asked for. Its wish may still be on the way:
/// it is waited for a little, so that there are never two pods.
fn asked_for(cloud: &Cloud, tag: &str) -> Result<Option<Pod>, Fault> {
    let Some(mut entry) = cloud.ledger.entries()?.into_iter().find(|e| e.tag == tag && e.stage != cloud::Stage::Ended) else {
        return Ok(None);
    };
    let begun = Instant::now();
    loop {
        if let Some(pod) = cloud::find_by_name(&cloud.client, &entry.name)?.into_iter().next() {
            cloud.ledger.made(&mut entry, &pod)?;
            return Ok(Some(pod));
        }
        let settled = entry.hours(cloud.ledger.now()) * 3600.0 > SETTLE_SECONDS || begun.elapsed().as_secs_f64() > SETTLE_SECONDS;
        if entry.stage == cloud::Stage::Made || settled {
            cloud.ledger.ended(&mut entry, "the service knows no such pod")?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The name of a pod holds this.
fn pod_tag(job: &Job, attempt: u32) -> String {
    if attempt == 1 { job.tag.clone() } else { format!("{}-{attempt}", job.tag) }
}

fn key_path(cloud: &Cloud, job: &Job) -> PathBuf {
    cloud.ledger.folder().join("keys").join(&job.tag)
}

fn hosts_path(cloud: &Cloud, job: &Job) -> PathBuf {
    key_path(cloud, job).with_extension("hosts")
}

fn forget_key(cloud: &Cloud, job: &Job) {
    let key = key_path(cloud, job);
    for path in [key.with_extension("pub"), hosts_path(cloud, job), hosts_path(cloud, job).with_extension("hosts.old"), key] {
        let _ = std::fs::remove_file(path);
    }
}

/// What the caps leave after the pods that a job has had.
fn left_of(cloud: &Cloud, job: &Job, caps: Caps) -> Result<Caps, Fault> {
    let own = |e: &Entry| e.job.as_ref() == Some(&job.path()) && e.stage == cloud::Stage::Ended && e.pod_id.is_some();
    let (mut hours, mut cost) = (0.0, 0.0);
    for entry in cloud.ledger.entries()?.iter().filter(|e| own(e)) {
        hours += entry.hours(cloud.ledger.now());
        cost += entry.hours(cloud.ledger.now()) * entry.cost_hour();
    }
    let left = Caps { max_hours: caps.max_hours.map(|h| h - hours), max_cost: caps.max_cost.map(|c| c - cost) };
    let price = job.rent.as_ref().map_or(0.0, |r| r.agreed);
    let enough = left.max_cost.is_none_or(|c| c > 0.0) && left.hours_at(price).is_none_or(|h| h >= LEAST_HOURS);
    // The first pod's cap is what was asked for, however short.
    if hours == 0.0 || enough {
        return Ok(if hours == 0.0 { caps } else { left });
    }
    Err(Fault::new("cloud_cap_reached", format!("job {}: its pods ran for {hours:.2} hours and cost about {cost:.2} US dollars", job.tag))
        .hint("what was fetched is in the run's folder: start_training goes on with it here; a new job has caps of its own"))
}

fn on_pod(
    cloud: &Cloud,
    job: &mut Job,
    pod: &str,
    resume: bool,
    said: &mut dyn FnMut(&str),
    each: &mut dyn FnMut(&Progress),
) -> Result<Followed, Fault> {
    let mut told = |p: &Pod| said(&format!("pod {} is {}", p.id, p.status.name()));
    let (_, ssh) = cloud::wait_for_ssh(&cloud.client, pod, START, &mut told)?;
    let mut host = Host::new(&format!("{}@{}", ssh.username, ssh.host))?;
    (host.port, host.identity) = (Some(ssh.port), Some(key_path(cloud, job)));
    host.known_hosts = Some(hosts_path(cloud, job));
    job.host = Some(host);
    job.write()?;
    let begun = Instant::now();
    loop {
        match remote::attach(job, resume, said) {
            // An SSH server may need a moment more than its port.
            Err(fault) if fault.code == "remote_unreachable" && begun.elapsed() < SERVER && !is_gone(cloud, pod) => {
                std::thread::sleep(Duration::from_secs(2));
            }
            result => break result?,
        }
    }
    // The timer in the pod ends it too; this holds where that fails.
    let hours = cloud.ledger.of_pod(pod)?.and_then(|e| Some(e.caps.hours_at(e.cost_hour())? - e.hours(cloud.ledger.now())));
    let begun = Instant::now();
    let capped = || hours.is_some_and(|h| begun.elapsed().as_secs_f64() > h * 3600.0);
    remote::follow(job, &|reached| capped() || !reached && is_gone(cloud, pod), each)
}

/// Whether a pod does not come back: a stopped one has lost the disk of its container.
fn is_gone(cloud: &Cloud, pod: &str) -> bool {
    match cloud::get(&cloud.client, pod) {
        Ok(p) => matches!(p.status, PodStatus::Terminated | PodStatus::Exited | PodStatus::Error),
        Err(f) => f.code == "cloud_not_found",
    }
}

/// The job goes on on another pod, with what was fetched from the one that is gone.
fn next_pod(cloud: &Cloud, job: &mut Job, pod: &str) -> Result<(), Fault> {
    // Whoever terminated it from here does not want another one.
    let unwanted = cloud.ledger.of_pod(pod)?.is_some_and(|e| e.end.as_deref() == Some(TERMINATED));
    if !unwanted {
        release_because(cloud, pod, "it went away")?;
    }
    let attempt = job.rent.as_ref().map_or(1, |r| r.attempt);
    let caps = job.rent.as_ref().map(|r| r.wish.caps).unwrap_or_default();
    let allowed = left_of(cloud, job, caps).map(|_| ()).and_then(|()| {
        let gone = |how: String| {
            let fault = Fault::new("cloud_pod_gone", format!("job {}: {how}", job.tag));
            Err(fault.hint("what was fetched is in the run's folder: start_training goes on here"))
        };
        match attempt {
            _ if unwanted => gone("its pod was terminated".to_owned()),
            MOST_PODS.. => gone(format!("{attempt} pods went away")),
            _ => Ok(()),
        }
    });
    let _ = std::fs::remove_file(hosts_path(cloud, job));
    if let Some(rent) = &mut job.rent {
        (rent.pod_id, rent.attempt) = (None, attempt + 1);
    }
    (job.host, job.folder, job.stage) = (None, None, Stage::Sending);
    if job.run_folder().is_none_or(|run| !run.is_dir()) {
        // Nothing came of it: it begins anew.
        job.run_id = None;
    }
    job.write()?;
    if allowed.is_err() {
        remote::settle(job)?;
        forget_key(cloud, job);
    }
    allowed
}

/// Terminates the pod of a job whose run is here.
fn give_back(cloud: &Cloud, job: &mut Job, said: &mut dyn FnMut(&str)) -> Result<(), Fault> {
    if let Some(pod) = own_pod(cloud, job)? {
        release(cloud, &pod)?;
        said(&format!("pod {pod} is terminated"));
    }
    if let Some(rent) = &mut job.rent {
        rent.pod_id = None;
    }
    forget_key(cloud, job);
    job.write()
}

/// A run that is here goes on on another pod.
fn send_again(job: &mut Job, ended: &Followed) -> Result<(), Fault> {
    if ended.state.is_active() {
        return Err(Fault::new("run_busy", format!("{}: the run goes on here", ended.run_id)).hint("stop_training pauses it"));
    }
    if let Some(rent) = &mut job.rent {
        rent.attempt += 1;
    }
    (job.host, job.folder, job.stage) = (None, None, Stage::Sending);
    job.write()?;
    atomic::write_file(&ended.run.join(ELSEWHERE), b"a pod")
}

/// Whether somebody still wants what an entry was rented for.
pub fn wanted(entry: &Entry) -> bool {
    entry.job.as_ref().is_none_or(|path| Job::read(path).is_ok_and(|job| job.stage != Stage::Fetched))
}
