//! A finished run behind an endpoint.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cloud::confirm;
use crate::app::cloud::Cloud;
use crate::app::cloud::serve::{
    Form, ServeRequest, Serving, begin_serving, end_serving, find_serving, keep_detached, serve_detached, serve_offer, servings,
};
use crate::base::error::Fault;
use crate::cloud::{self, Caps, Workers};
use crate::mcp::consent::consent;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};

/// In which form a run is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum FormIn {
    Merged,
    Adapter,
    Gguf,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ServeIn {
    /// Go on with this one, instead of a new one: its tag or name.
    serving: Option<String>,
    project_path: Option<String>,
    run_id: Option<String>,
    /// A model of the Hub instead of a run: owner/name.
    hub_model: Option<String>,
    /// The name that clients call it by; default: the run's.
    name: Option<String>,
    /// Default merged. adapter: over its base from the Hub. gguf: for a worker image with llama.cpp.
    form: Option<FormIn>,
    /// Type of a GGUF file; default q8_0.
    gguf_type: Option<String>,
    /// Default: the cheapest pool with room.
    gpu_pools: Option<Vec<String>>,
    /// Container image of the workers; default RunPod's with vLLM.
    image: Option<String>,
    template_id: Option<String>,
    /// Variables of the workers; {model} stands for the model's path.
    env: Option<BTreeMap<String, String>>,
    /// Default: a volume is made for it, and removed at its end.
    volume_id: Option<String>,
    data_center_id: Option<String>,
    #[schemars(range(min = 1, max = 100))]
    max_workers: Option<u64>,
    /// After so many hours everything is removed.
    max_hours: Option<f64>,
    /// The same once so many US dollars are billed.
    max_cost: Option<f64>,
    /// The request that is sent.
    prompt: Option<String>,
    /// US dollars an hour that the user has agreed to, as told. Without it nothing is made.
    agreed_price_hour: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ServingOut {
    serving: String,
    name: String,
    /// begun, exported, stored, made, answered, ended.
    stage: String,
    endpoint_id: Option<String>,
    volume_id: Option<String>,
    /// Whether a process works on it.
    is_followed: bool,
    prompt: String,
    /// As the worker gave it, once it has answered.
    answer: Value,
    /// Why it ended.
    end: Option<String>,
    /// The end of what the process said.
    log: Vec<String>,
}

/// Lines of a log that are shown.
const LOG_LINES: usize = 20;

impl From<&Serving> for ServingOut {
    fn from(s: &Serving) -> Self {
        let text = std::fs::read_to_string(s.log_path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        Self {
            serving: s.tag.clone(),
            name: s.wish.name.clone(),
            stage: s.stage.name().to_owned(),
            endpoint_id: s.endpoint_id.clone(),
            volume_id: s.volume_id.clone(),
            is_followed: s.is_followed(),
            prompt: s.wish.prompt.clone(),
            answer: s.answer.clone().unwrap_or(Value::Null),
            end: s.end.clone(),
            log: lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|l| (*l).to_owned()).collect(),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ServeOut {
    success: bool,
    serving: ServingOut,
    /// Empty for one that was there.
    costs: String,
    next: String,
}

/// runpod_serve_run
pub(super) struct Serve;

impl Tool for Serve {
    const NAME: &'static str = "runpod_serve_run";
    const TITLE: &'static str = "Serve a finished run";
    const ABOUT: &'static str = "Export a finished run, put it on a network volume, make a serverless endpoint for it and send it one request; \
        goes on without this server. Call it without agreed_price_hour to hear the costs, ask the user, then call it with that price. Needs \
        an S3 key in RUNPOD_S3_ACCESS_KEY_ID and RUNPOD_S3_SECRET_ACCESS_KEY.";
    const HINTS: Hints = Hints::MAKE.reaching_out();
    const LANE: Lane = Lane::Wait;
    const ASKS: bool = true;
    type In = ServeIn;
    type Out = ServeOut;

    fn call(input: ServeIn, shared: &Shared, call: &Call) -> Result<ServeOut, Fault> {
        let service = Cloud::from_env()?;
        if let Some(which) = &input.serving {
            let serving = find_serving(&service.ledger, which)?;
            serving.wish.run.as_ref().map(|run| shared.roots.allow(run)).transpose()?;
            return started(&serving, String::new());
        }
        let agreed = input.agreed_price_hour;
        let wish = wish(input, shared)?;
        let offer = serve_offer(&service, &wish)?;
        if agreed.is_none_or(|a| a + 1e-9 < offer.price_hour) {
            let told = format!("serve {}: up to {:.2} US dollars an hour as pods; {}", wish.name, offer.price_hour, offer.costs);
            let hint = format!("ask the user, then call again with agreed_price_hour: {:.2}", offer.price_hour);
            consent(call, Fault::new("confirmation_needed", told).hint(hint))?;
        }
        let serving = begin_serving(&service, &wish, &offer)?;
        keep_detached(&service)?;
        started(&serving, offer.costs)
    }
}

fn started(serving: &Serving, costs: String) -> Result<ServeOut, Fault> {
    serve_detached(serving)?;
    let next = "runpod_list_served shows how far it is and the answer; runpod_end_serving removes it".to_owned();
    Ok(ServeOut { success: true, serving: ServingOut { is_followed: true, ..serving.into() }, costs, next })
}

fn wish(input: ServeIn, shared: &Shared) -> Result<ServeRequest, Fault> {
    let run = match (&input.project_path, &input.run_id, &input.hub_model) {
        (Some(project), Some(run_id), None) => Some(shared.roots.run(project, run_id)?),
        (None, None, Some(_)) => None,
        _ => {
            let message = "a run (project_path and run_id) or hub_model is served";
            return Err(Fault::new("invalid_arguments", message).hint("list_projects shows the runs"));
        }
    };
    let form = match (&input.hub_model, input.form.unwrap_or(FormIn::Merged)) {
        (Some(repo), _) => Form::Hub(repo.clone()),
        (None, FormIn::Merged) => Form::Merged,
        (None, FormIn::Adapter) => Form::Adapter,
        (None, FormIn::Gguf) => Form::Gguf(input.gguf_type.unwrap_or_else(|| "q8_0".into())),
    };
    let usual = match (&run, &input.hub_model) {
        (Some(run), _) => run.id(),
        (None, repo) => repo.clone().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned(),
    };
    let path = |run: crate::runs::RunFolder| run.path().canonicalize().map_err(|e| Fault::io("open", run.path(), &e));
    Ok(ServeRequest {
        run: run.map(path).transpose()?,
        form,
        name: input.name.unwrap_or(usual),
        pools: input.gpu_pools.unwrap_or_default(),
        count: 1,
        image: input.image,
        template: input.template_id,
        env: input.env.unwrap_or_default(),
        disk_gb: 30,
        volume: input.volume_id,
        data_center: input.data_center_id,
        workers: Workers {
            min: Some(0),
            max: Some(within("max_workers", input.max_workers.unwrap_or(1), 1, 100)? as u32),
            idle_timeout: Some(5),
        },
        caps: Caps { max_hours: input.max_hours, max_cost: input.max_cost },
        prompt: input.prompt.unwrap_or_else(|| "Hello! Who are you?".into()),
        max_tokens: 64,
        patience: 1200.0,
    })
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ServedIn {
    /// Only this one: its tag, name or endpoint.
    serving: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ServedOut {
    served: Vec<ServingOut>,
}

/// runpod_list_served
pub(super) struct Served;

impl Tool for Served {
    const NAME: &'static str = "runpod_list_served";
    const TITLE: &'static str = "List served models";
    const ABOUT: &'static str = "Models that runpod_serve_run has served or is serving: how far each is, its endpoint, its first answer.";
    const HINTS: Hints = Hints::LOOK;
    const LANE: Lane = Lane::Cheap;
    type In = ServedIn;
    type Out = ServedOut;

    fn call(input: ServedIn, _: &Shared, _: &Call) -> Result<ServedOut, Fault> {
        let ledger = cloud::Ledger::of_user()?;
        let all = match input.serving {
            Some(which) => vec![find_serving(&ledger, &which)?],
            None => servings(&ledger)?,
        };
        Ok(ServedOut { served: all.iter().map(ServingOut::from).collect() })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EndIn {
    /// Its tag, name or endpoint.
    serving: String,
    /// That the user agreed.
    confirmed: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EndOut {
    success: bool,
    /// What was removed.
    said: Vec<String>,
}

/// runpod_end_serving
pub(super) struct EndServing;

impl Tool for EndServing {
    const NAME: &'static str = "runpod_end_serving";
    const TITLE: &'static str = "Remove a served model";
    const ABOUT: &'static str = "Remove the endpoint of a served model, its files, and the volume that was made for it.";
    const HINTS: Hints = Hints::DESTROY.reaching_out();
    const LANE: Lane = Lane::Wait;
    const ASKS: bool = true;
    type In = EndIn;
    type Out = EndOut;

    fn call(input: EndIn, _: &Shared, call: &Call) -> Result<EndOut, Fault> {
        let service = Cloud::from_env()?;
        let mut serving = find_serving(&service.ledger, &input.serving)?;
        confirm(call, &format!("what serves {} ({}) would be removed", serving.wish.name, serving.tag), input.confirmed)?;
        let mut said = Vec::new();
        end_serving(&service, &mut serving, &mut |word| said.push(word.to_owned()))?;
        Ok(EndOut { success: true, said })
    }
}
