//! A finished run behind an endpoint; what a run will cost; volumes and templates.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cloud::{IMAGE, confirm, value};
use crate::app::cloud::serve::{
    Form, ServeRequest, Serving, begin_serving, end_serving, find_serving, keep_detached, serve_detached, serve_offer, servings,
};
use crate::app::cloud::{Cloud, RentRequest, offer_for_run};
use crate::app::configure;
use crate::base::error::Fault;
use crate::cloud::{self, Caps, CreateTemplate, OVERHEAD_HOURS, Workers, volume_price_hour};
use crate::mcp::consent::consent;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EstimateIn {
    project_path: String,
    /// A GPU type, or a part of its name that fits one; default: the cheapest that the run fits.
    gpu: Option<String>,
    /// Other hosts instead of the service's own data centres.
    community: Option<bool>,
    /// Container disk; default 30.
    #[schemars(range(min = 1, max = 10_000))]
    disk_gb: Option<u64>,
    /// What a step took there, where it is known.
    step_seconds: Option<f64>,
    max_hours: Option<f64>,
    max_cost: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EstimateOut {
    /// Memory that the run needs on a GPU, rounded up to an offered size.
    needed_bytes: u64,
    /// Hours beside the steps: the pod's start, copying.
    overhead_hours: f64,
    /// For each GPU: steps, seconds, price_hour, storage_hour, hours, total, most; basis says where
    /// seconds come from: measured, given, reckoned (an estimate), unknown.
    costs: Vec<Value>,
    /// The basis of the first in words.
    said: String,
}

/// runpod_estimate_cost
pub(super) struct EstimateCost;

impl Tool for EstimateCost {
    const NAME: &'static str = "runpod_estimate_cost";
    const TITLE: &'static str = "Estimate what a run costs";
    const ABOUT: &'static str = "What a project's run takes and costs on the rented GPUs that it fits: the time of its steps there (measured \
        by an earlier run there, or reckoned) times the price, with disks.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Wait;
    type In = EstimateIn;
    type Out = EstimateOut;

    fn call(input: EstimateIn, shared: &Shared, _: &Call) -> Result<EstimateOut, Fault> {
        let service = Cloud::from_env()?;
        let project = shared.roots.project(&input.project_path)?;
        configure::settings(&project.config, &[], &|config| shared.roots.settings(config))?;
        let mut wish = RentRequest {
            gpu: input.gpu,
            count: 1,
            secure: input.community != Some(true),
            image: Some(IMAGE.into()),
            disk_gb: Some(within("disk_gb", input.disk_gb.unwrap_or(30), 1, 10_000)? as u32),
            caps: Caps { max_hours: input.max_hours, max_cost: input.max_cost },
            ..RentRequest::default()
        };
        let (_, costs) = offer_for_run(&service, &project.config, &[], &mut wish, input.step_seconds)?;
        let said = costs.first().map_or_else(String::new, |c| c.basis.words());
        let costs = costs.iter().map(value).collect::<Result<_, _>>()?;
        Ok(EstimateOut { needed_bytes: wish.memory_bytes, overhead_hours: OVERHEAD_HOURS, costs, said })
    }
}

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

/// What is made or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    CreateVolume,
    DeleteVolume,
    CreateTemplate,
    DeleteTemplate,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ManageIn {
    action: What,
    /// To delete.
    id: Option<String>,
    /// To create: the same name never gives a second one.
    name: Option<String>,
    /// Of a volume: it is paid for by its size until it is deleted.
    #[schemars(range(min = 10, max = 4096))]
    size_gb: Option<u64>,
    /// Of a volume.
    data_center_id: Option<String>,
    /// Of a template.
    image: Option<String>,
    /// Of a template.
    #[schemars(range(min = 1, max = 10_000))]
    disk_gb: Option<u64>,
    /// Of a template, as 22/tcp.
    ports: Option<Vec<String>>,
    /// Of a template.
    env: Option<BTreeMap<String, String>>,
    /// A template for serverless workers instead of pods.
    serverless: Option<bool>,
    /// That the user agreed; not needed to create a template.
    confirmed: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ManageOut {
    success: bool,
    /// The volume or template that is there now; null for one that was deleted.
    #[schemars(with = "serde_json::Map<String, Value>")]
    made: Value,
    /// False where one of this name was there.
    is_new: bool,
}

/// runpod_manage_storage
pub(super) struct Manage;

impl Tool for Manage {
    const NAME: &'static str = "runpod_manage_storage";
    const TITLE: &'static str = "Make or delete a volume or a template";
    const ABOUT: &'static str = "Make or delete a network volume (paid for until it is deleted) or a template. Call it without confirmed to \
        hear the price. runpod_get_account lists them.";
    const HINTS: Hints = Hints::DESTROY.reaching_out();
    const LANE: Lane = Lane::Wait;
    const ASKS: bool = true;
    type In = ManageIn;
    type Out = ManageOut;

    fn call(input: ManageIn, _: &Shared, call: &Call) -> Result<ManageOut, Fault> {
        let service = Cloud::from_env()?;
        let client = &service.client;
        let missing = |what: &str| Fault::new("invalid_arguments", format!("`{what}` is missing")).hint("see the input schema");
        let given = |what: &str, value: &Option<String>| value.clone().ok_or_else(|| missing(what));
        match input.action {
            What::CreateVolume => {
                let (name, center) = (given("name", &input.name)?, given("data_center_id", &input.data_center_id)?);
                let gb = within("size_gb", input.size_gb.ok_or_else(|| missing("size_gb"))?, 10, 4096)? as u32;
                let month = volume_price_hour(gb) * 730.0;
                let words = format!("volume {name} of {gb} GB in {center}: {month:.2} US dollars a month until it is deleted");
                confirm(call, &words, input.confirmed)?;
                let (volume, is_new) = cloud::create_volume(client, &name, gb, &center)?;
                Ok(ManageOut { success: true, made: value(volume)?, is_new })
            }
            What::CreateTemplate => {
                let wish = CreateTemplate {
                    name: given("name", &input.name)?,
                    image: given("image", &input.image)?,
                    args: String::new(),
                    disk: input.disk_gb.map(|gb| within("disk_gb", gb, 1, 10_000)).transpose()?.map(|gb| gb as u32),
                    ports: input.ports.unwrap_or_default(),
                    env: input.env.unwrap_or_default(),
                    serverless: input.serverless == Some(true),
                };
                let (template, is_new) = cloud::create_template(client, &wish)?;
                Ok(ManageOut { success: true, made: value(template)?, is_new })
            }
            What::DeleteVolume => {
                let id = given("id", &input.id)?;
                confirm(call, &format!("volume {id} would be gone with all that is on it"), input.confirmed)?;
                cloud::delete_volume(client, &id)?;
                Ok(ManageOut { success: true, made: Value::Null, is_new: false })
            }
            What::DeleteTemplate => {
                let id = given("id", &input.id)?;
                confirm(call, &format!("template {id} would be gone"), input.confirmed)?;
                cloud::delete_template(client, &id)?;
                Ok(ManageOut { success: true, made: Value::Null, is_new: false })
            }
        }
    }
}
