//! Pods: made once however often one asks, looked at, acted on.

use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::http::Method;

use super::client::{Client, Repeat, drawn_tag, segment};
use super::kinds::{CreatePod, Pod, PodStatus, SshEndpoint};
use crate::base::error::Fault;

/// What can be done with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Boots a stopped one.
    Start,
    /// Stops it; its disk is kept, and paid for.
    Stop,
    /// Starts its container again.
    Restart,
    /// Deletes it with its disk.
    Terminate,
}

impl Action {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Terminate => "terminate",
        }
    }
}

/// A tag that nobody else has drawn.
pub fn new_tag() -> String {
    drawn_tag()
}

/// The name of the pod of a tag.
pub fn name_of(tag: &str) -> String {
    format!("tallow-{tag}")
}

#[derive(Deserialize)]
struct Pods {
    pods: Vec<Pod>,
}

/// All pods of the account.
///
/// # Errors
/// When the service refuses.
pub fn list(client: &Client) -> Result<Vec<Pod>, Fault> {
    Ok(client.get::<Pods>("/v2/pods")?.pods)
}

/// One pod.
///
/// # Errors
/// When there is none, or the service refuses.
pub fn get(client: &Client, id: &str) -> Result<Pod, Fault> {
    client.get(&format!("/v2/pods/{}", segment(id)))
}

/// Pods of this name that are not terminated.
///
/// # Errors
/// When the service refuses.
pub fn find_by_name(client: &Client, name: &str) -> Result<Vec<Pod>, Fault> {
    Ok(list(client)?.into_iter().filter(|p| p.name == name && p.status != PodStatus::Terminated).collect())
}

/// How often a pod is asked for where the answer leaves open whether it was made.
const TRIES: u32 = 4;

/// The pod of this name: the one that is there, else a new one. Whenever it stays open whether a
/// wish was carried out, a look at the list says it.
///
/// # Errors
/// `cloud_rejected` where no such machine is free, `cloud_no_credit`, and so on.
pub fn create(client: &Client, wish: &CreatePod) -> Result<Pod, Fault> {
    let mut wait = 1.0;
    for turn in 1..=TRIES {
        if let Some(pod) = find_by_name(client, &wish.name)?.into_iter().next() {
            return Ok(pod);
        }
        match client.ask::<Pod>(&Method::POST, "/v2/pods", Some(wish), Repeat::Unsafe) {
            // An answer that cannot be read is an answer: the pod may well be there.
            Err(fault) if turn < TRIES && ["cloud_unavailable", "cloud_unreachable", "cloud_answer"].contains(&fault.code) => {
                client.sleep(wait);
                wait *= 2.0;
            }
            Err(fault) => {
                // The last failure may have made it all the same.
                let made = find_by_name(client, &wish.name).ok().and_then(|all| all.into_iter().next());
                return made.ok_or(fault);
            }
            result => return result,
        }
    }
    Err(Fault::new("cloud_unavailable", "the pod could not be made"))
}

/// Does something with a pod; `None` after a termination. One that is gone is terminated.
///
/// # Errors
/// When its state does not allow it, or the service refuses.
pub fn act(client: &Client, id: &str, action: Action) -> Result<Option<Pod>, Fault> {
    let path = format!("/v2/pods/{}/action", segment(id));
    let body = serde_json::json!({ "action": action.name() });
    match client.ask::<Option<Pod>>(&Method::POST, &path, Some(&body), Repeat::Safe) {
        Err(fault) if fault.code == "cloud_not_found" && action == Action::Terminate => Ok(None),
        // A first try whose answer was lost may have done it.
        Err(fault) if fault.code == "cloud_conflict" => match (get(client, id)?, action) {
            (pod, Action::Stop) if pod.status == PodStatus::Exited => Ok(Some(pod)),
            (pod, Action::Start) if matches!(pod.status, PodStatus::Running | PodStatus::Starting | PodStatus::Provisioning) => {
                Ok(Some(pod))
            }
            (pod, Action::Terminate) if pod.status == PodStatus::Terminated => Ok(None),
            _ => Err(fault),
        },
        result => result,
    }
}

/// Deletes a pod with its disk; one that is gone already is no failure.
///
/// # Errors
/// When the service refuses.
pub fn terminate(client: &Client, id: &str) -> Result<(), Fault> {
    act(client, id, Action::Terminate).map(|_| ())
}

/// Waits until a pod can be reached by SSH.
///
/// # Errors
/// When it fails, stops, vanishes, or takes longer than `most`.
pub fn wait_for_ssh(client: &Client, id: &str, most: Duration, said: &mut dyn FnMut(&Pod)) -> Result<(Pod, SshEndpoint), Fault> {
    let begun = Instant::now();
    let (mut status, mut pause) = (None, 0.25);
    loop {
        let pod = get(client, id)?;
        if status.replace(pod.status) != Some(pod.status) {
            said(&pod);
        }
        match (pod.status, &pod.ssh.direct) {
            (PodStatus::Running, Some(direct)) => {
                let direct = direct.clone();
                return Ok((pod, direct));
            }
            (PodStatus::Error | PodStatus::Exited | PodStatus::Terminated, _) => {
                return Err(Fault::new("cloud_pod_failed", format!("pod {id} is {}", pod.status.name()))
                    .hint("look at its log; terminate it, so that its disk costs nothing, and make another one"));
            }
            _ if begun.elapsed() > most => {
                let message = format!("pod {id} cannot be reached after {} s ({})", most.as_secs(), pod.status.name());
                return Err(Fault::new("cloud_pod_slow", message)
                    .hint("its image must start an SSH server, and its ports must hold 22/tcp; terminate it, so that it costs nothing"));
            }
            _ => {
                client.sleep(pause);
                pause = f64::min(pause * 1.5, 5.0);
            }
        }
    }
}
