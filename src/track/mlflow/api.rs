//! The requests themselves.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::Response;
use ureq::{Agent, Body, SendBody};

use super::MARK;
use crate::base::error::Fault;

/// How long the server may take to answer; a run that waits for its end waits no longer.
const ANSWER: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(5);
/// Steps of a metric that are asked for at once.
const PAGE: usize = 5000;

/// Who sends.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(String);

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// A bearer token, or a user and a password.
    pub fn new(token: Option<&str>, user: Option<(&str, &str)>) -> Option<Self> {
        use base64::Engine;
        let basic = |(user, password): (&str, &str)| {
            let both = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            Self(format!("Basic {both}"))
        };
        token.map(|t| Self(format!("Bearer {t}"))).or(user.map(basic))
    }
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `http://host:port`, without a slash at its end.
    pub url: String,
    /// Who sends, where the server wants to know.
    pub credentials: Option<Credentials>,
}

#[derive(Debug)]
pub(super) struct Api {
    agent: Agent,
    address: Address,
}

impl Api {
    pub(super) fn new(address: &Address) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would take credentials and figures to somebody else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_recv_body(Some(ANSWER))
            .user_agent(concat!("tallow/", env!("CARGO_PKG_VERSION")));
        Self { agent: config.build().new_agent(), address: address.clone() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/2.0/mlflow/{path}", self.address.url)
    }

    fn unreachable(&self, e: &ureq::Error) -> Fault {
        let message = format!("the MLflow server at {} does not answer: {e}", self.address.url);
        Fault::new("mlflow_unreachable", message).hint("what was not sent is kept; `tallow track sync RUN` sends it")
    }

    fn answer(&self, path: &str, mut response: Response<Body>) -> Result<Value, Fault> {
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().map_err(|e| self.unreachable(&e))?;
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if (200..300).contains(&status) {
            return Ok(value);
        }
        let said = value["message"].as_str().unwrap_or_default();
        let code = value["error_code"].as_str().unwrap_or_default();
        let fault = Fault::new("mlflow", format!("{}: {path}: {status} {code} {said}", self.address.url));
        Err(match status {
            401 | 403 => fault.hint("set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
            404 => fault.hint("check mlflow.tracking_uri: is it the address of an MLflow server?"),
            _ => fault,
        })
    }

    fn with_credentials<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.address.credentials {
            Some(Credentials(value)) => request.header("authorization", value),
            None => request,
        }
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Fault> {
        let request = self.with_credentials(self.agent.post(self.url(path)).header("content-type", "application/json"));
        let response = request.send(body.to_string().as_bytes()).map_err(|e| self.unreachable(&e))?;
        self.answer(path, response)
    }

    fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Fault> {
        let request = self.with_credentials(self.agent.get(self.url(path)));
        let request = query.iter().fold(request, |request, (key, value)| request.query(key, value));
        self.answer(path, request.call().map_err(|e| self.unreachable(&e))?)
    }

    pub(super) fn log(&self, run: &str, mut what: Value) -> Result<(), Fault> {
        what["run_id"] = json!(run);
        self.post("runs/log-batch", &what).map(|_| ())
    }

    /// The id of an experiment.
    pub(super) fn experiment(&self, name: &str) -> Result<Option<String>, Fault> {
        let path = "experiments/get-by-name";
        match self.get(path, &[("experiment_name", name)]) {
            Ok(answer) if answer.pointer("/experiment/lifecycle_stage").and_then(Value::as_str) == Some("deleted") => {
                let message = format!("the experiment `{name}` is deleted at {}", self.address.url);
                Err(Fault::new("mlflow", message).hint("restore it there, or set another mlflow.experiment_name"))
            }
            Ok(answer) => super::text(&answer, "/experiment/experiment_id").map(Some),
            Err(fault) if fault.message.contains("RESOURCE_DOES_NOT_EXIST") => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The run with this mark.
    pub(super) fn marked(&self, experiment: &str, mark: &str) -> Result<Option<Value>, Fault> {
        let filter = format!("tags.`{MARK}` = '{}'", mark.replace('\'', ""));
        let request = json!({ "experiment_ids": [experiment], "filter": filter, "max_results": 1 });
        Ok(self.post("runs/search", &request)?.pointer("/runs/0").cloned())
    }

    /// Step and time of every value of a metric that the server has.
    pub(super) fn history(&self, run: &str, metric: &str) -> Result<BTreeSet<(u64, u64)>, Fault> {
        let mut known = BTreeSet::new();
        let (mut page, most) = (String::new(), PAGE.to_string());
        loop {
            let mut query = vec![("run_id", run), ("metric_key", metric), ("max_results", &most)];
            if !page.is_empty() {
                query.push(("page_token", &page));
            }
            let answer = self.get("metrics/get-history", &query)?;
            let number = |v: &Value| v.as_u64().or_else(|| v.as_str()?.parse().ok());
            let all = answer["metrics"].as_array().into_iter().flatten();
            // A step of 0 is left out of the answer.
            known.extend(all.map(|m| (number(&m["step"]).unwrap_or(0), number(&m["timestamp"]).unwrap_or(0))));
            match answer["next_page_token"].as_str().filter(|t| !t.is_empty()) {
                Some(next) => page = next.to_owned(),
                None => return Ok(known),
            }
        }
    }

    /// A file into the run's artifacts.
    pub(super) fn put_file(&self, experiment: &str, run: &str, name: &str, path: &Path) -> Result<(), Fault> {
        let name: Vec<String> = name.split('/').map(escaped).collect();
        let url = format!("{}/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/{}", self.address.url, name.join("/"));
        let io = |e: std::io::Error| Fault::io("read", path, &e);
        let mut file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let request = self.agent.put(url).header("content-length", length.to_string()).header("content-type", "application/octet-stream");
        let response = self.with_credentials(request).send(SendBody::from_reader(&mut file)).map_err(|e| self.unreachable(&e))?;
        self.answer("mlflow-artifacts", response).map(|_| ())
    }
}

/// A part of a path as an address has it.
fn escaped(part: &str) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    part.bytes().map(|b| if safe(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}
