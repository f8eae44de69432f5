//! What the service says when it refuses (RFC 9457), as a fault with a stable code.

use serde::Deserialize;

use super::key::Key;
use crate::base::error::Fault;

/// The body of an `application/problem+json` answer.
#[derive(Debug, Default, Deserialize)]
struct Problem {
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: Vec<String>,
}

/// Longest text of an answer that is repeated in a message, in characters.
const MOST_SAID: usize = 600;

/// The fault of an answer. `what` says what was asked for.
pub(super) fn fault(what: &str, status: u16, body: &str, key: &Key) -> Fault {
    let problem: Problem = serde_json::from_str(body).unwrap_or_default();
    let mut said = if problem.detail.is_empty() { problem.title.clone() } else { problem.detail.clone() };
    if !problem.errors.is_empty() {
        said += &format!(" ({})", problem.errors.join("; "));
    }
    if said.is_empty() {
        said = "no reason was given".into();
    }
    let said: String = key.hide(&said).chars().filter(|c| !c.is_control()).take(MOST_SAID).collect();
    let (code, hint) = match status {
        401 => ("cloud_key_refused", "the key is wrong, expired or revoked: make another one and set RUNPOD_API_KEY"),
        402 => ("cloud_no_credit", "the account has no credit left: add some in the console of RunPod; nothing was started"),
        403 => ("cloud_forbidden", "the key may not do this: use one with read and write access to this part of the account"),
        404 => ("cloud_not_found", "it does not exist, or no longer: list what there is"),
        409 => ("cloud_conflict", "its state does not allow this now: look at its status and its allowed actions first"),
        400 => ("cloud_rejected", "no such machine is free, or the settings contradict each other: try another GPU or data centre"),
        422 => ("cloud_invalid_request", "the settings are wrong; sending them again would not help"),
        429 => ("cloud_rate_limited", "too many requests: wait a minute and try again"),
        500..=599 => ("cloud_unavailable", "the service failed: try again in a few minutes"),
        _ => ("cloud_failed", "look at the console of RunPod"),
    };
    Fault::new(code, format!("{what}: {status} {said}")).hint(hint)
}
