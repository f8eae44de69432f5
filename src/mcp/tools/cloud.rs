//! Rented GPUs: look, rent, act, read logs, see the account.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::cloud::{self as use_cases, Cloud, Offer, RentRequest};
use crate::base::error::Fault;
use crate::cloud::{self, Action, Caps, PodStatus};
use crate::mcp::consent::consent;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};

/// Image of a pod where none is named.
pub(super) const IMAGE: &str = "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404";

pub(super) fn value(of: impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(of).map_err(|e| Fault::new("internal", e.to_string()))
}

/// Refuses with a question, unless it was answered in the arguments, or whoever can be asked agrees.
pub(super) fn confirm(call: &Call, what: &str, confirmed: Option<bool>) -> Result<(), Fault> {
    if confirmed == Some(true) {
        return Ok(());
    }
    consent(call, Fault::new("confirmation_needed", what).hint("ask the user, then call again with confirmed: true"))
}

/// US dollars an hour that are agreed to: as the arguments say, or what is offered where whoever can be
/// asked agrees.
pub(super) fn agreed(call: &Call, offer: &Offer, said: Option<f64>) -> Result<f64, Fault> {
    match use_cases::agree(offer, said) {
        Ok(()) => Ok(said.unwrap_or(0.0)),
        Err(refused) => consent(call, refused).map(|()| offer.estimate.price_hour),
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GpusIn {
    /// GPUs in one pod; default 1.
    #[schemars(range(min = 1, max = 16))]
    count: Option<u64>,
    /// Other hosts instead of the service's own data centres.
    community: Option<bool>,
    /// Only GPUs that this project's run fits, the cheapest first.
    project_path: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct GpusOut {
    /// Memory that the run needs on a GPU, rounded up to an offered size.
    needed_bytes: Option<u64>,
    /// Each with memory in GB, US dollars an hour, and how many are free.
    gpus: Vec<Value>,
}

/// runpod_list_gpu_types
pub(super) struct Gpus;

impl Tool for Gpus {
    const NAME: &'static str = "runpod_list_gpu_types";
    const TITLE: &'static str = "List rentable GPUs";
    const ABOUT: &'static str =
        "GPU types of RunPod with memory, price and how many are free; with project_path only those that its run fits.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Wait;
    type In = GpusIn;
    type Out = GpusOut;

    fn call(input: GpusIn, shared: &Shared, _: &Call) -> Result<GpusOut, Fault> {
        let service = Cloud::from_env()?;
        let (count, secure) = (within("count", input.count.unwrap_or(1), 1, 16)? as u32, input.community != Some(true));
        let types = cloud::gpu_types(&service.client, count, secure)?;
        let Some(path) = input.project_path else {
            return Ok(GpusOut { needed_bytes: None, gpus: types.iter().map(value).collect::<Result<_, _>>()? });
        };
        let project = shared.roots.project(&path)?;
        let settings = crate::app::configure::settings(&project.config, &[], &|config| shared.roots.settings(config))?;
        drop(settings);
        let (bytes, _) = use_cases::memory_for(&service, &project.config, &[], count, secure)?;
        let fits = cloud::cheapest(&types, bytes, count, secure);
        Ok(GpusOut { needed_bytes: Some(bytes), gpus: fits.iter().map(value).collect::<Result<_, _>>()? })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PodsIn {
    /// Only this pod.
    pod_id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PodsOut {
    /// Each with status, allowed actions, GPU, US dollars an hour and how to reach it by SSH.
    pods: Vec<Value>,
}

/// runpod_list_pods
pub(super) struct Pods;

impl Tool for Pods {
    const NAME: &'static str = "runpod_list_pods";
    const TITLE: &'static str = "List rented pods";
    const ABOUT: &'static str = "The account's pods, or one of them.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Wait;
    type In = PodsIn;
    type Out = PodsOut;

    fn call(input: PodsIn, _: &Shared, _: &Call) -> Result<PodsOut, Fault> {
        let service = Cloud::from_env()?;
        let pods = match input.pod_id {
            Some(id) => vec![cloud::get(&service.client, &id)?],
            None => cloud::list(&service.client)?,
        };
        Ok(PodsOut { pods: pods.iter().map(value).collect::<Result<_, _>>()? })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateIn {
    /// A GPU type, or a part of its name that fits one; default: the cheapest with memory_gb.
    gpu: Option<String>,
    /// Default 16.
    #[schemars(range(min = 1, max = 10_000))]
    memory_gb: Option<u64>,
    /// GPUs; default 1.
    #[schemars(range(min = 1, max = 16))]
    count: Option<u64>,
    /// Other hosts instead of the service's own data centres.
    community: Option<bool>,
    /// Container image; default one with CUDA and SSH.
    image: Option<String>,
    /// A template instead of an image.
    template_id: Option<String>,
    /// Preferred data centres.
    data_center_ids: Option<Vec<String>>,
    /// Variables of the container.
    env: Option<BTreeMap<String, String>>,
    /// Container disk; default 30.
    #[schemars(range(min = 1, max = 10_000))]
    disk_gb: Option<u64>,
    /// A network volume, mounted at /workspace.
    volume_id: Option<String>,
    /// As 22/tcp.
    ports: Option<Vec<String>>,
    /// The pod stops itself after so many hours.
    max_hours: Option<f64>,
    /// The pod stops itself after so many US dollars.
    max_cost: Option<f64>,
    /// Most US dollars an hour that the user has agreed to. Without it nothing is rented, and the
    /// price is told.
    agreed_price_hour: Option<f64>,
    /// The same tag never gives a second pod: name one to be able to repeat the call.
    tag: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CreateOut {
    success: bool,
    tag: String,
    /// As the service describes it.
    #[schemars(with = "serde_json::Map<String, Value>")]
    pod: Value,
    /// US dollars: price_hour, and most where a cap is set.
    #[schemars(with = "serde_json::Map<String, Value>")]
    estimate: Value,
    /// GPU types that could not be had.
    refused: Vec<String>,
}

/// runpod_create_pod
pub(super) struct Create;

impl Tool for Create {
    const NAME: &'static str = "runpod_create_pod";
    const TITLE: &'static str = "Rent a pod";
    const ABOUT: &'static str = "Rent a pod: it costs money until it is terminated. Call it without agreed_price_hour to hear the price, ask \
        the user, then call it with the price that was agreed to.";
    const HINTS: Hints = Hints::MAKE.reaching_out();
    const LANE: Lane = Lane::Wait;
    const ASKS: bool = true;
    type In = CreateIn;
    type Out = CreateOut;

    fn call(input: CreateIn, _: &Shared, call: &Call) -> Result<CreateOut, Fault> {
        let service = Cloud::from_env()?;
        if input.tag.as_ref().is_some_and(|t| t.is_empty() || t.len() > 40 || !t.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')) {
            return Err(Fault::new("invalid_arguments", "`tag` is not a plain word").hint("use up to 40 letters, digits and -"));
        }
        let image = if input.template_id.is_some() { input.image } else { Some(input.image.unwrap_or_else(|| IMAGE.into())) };
        let wish = RentRequest {
            gpu: input.gpu,
            memory_bytes: within("memory_gb", input.memory_gb.unwrap_or(16), 1, 10_000)? * 1_000_000_000,
            count: within("count", input.count.unwrap_or(1), 1, 16)? as u32,
            secure: input.community != Some(true),
            image,
            template: input.template_id,
            disk_gb: Some(within("disk_gb", input.disk_gb.unwrap_or(30), 1, 10_000)? as u32),
            volume: input.volume_id,
            ports: input.ports.unwrap_or_default(),
            data_centers: input.data_center_ids.unwrap_or_default(),
            env: input.env.unwrap_or_default(),
            caps: Caps { max_hours: input.max_hours, max_cost: input.max_cost },
            tag: input.tag,
            ..RentRequest::default()
        };
        let offer = use_cases::offer(&service, &wish)?;
        let rented = use_cases::take(&service, &wish, &offer, agreed(call, &offer, input.agreed_price_hour)?)?;
        let (pod, estimate) = (value(&rented.pod)?, value(rented.estimate)?);
        Ok(CreateOut { success: true, tag: rented.tag, pod, estimate, refused: rented.refused })
    }
}

/// What is done with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Act {
    Start,
    Stop,
    Restart,
    Terminate,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ActIn {
    pod_id: String,
    action: Act,
    /// For start (it costs money) and terminate (its disk is lost): that the user agreed.
    confirmed: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ActOut {
    success: bool,
    /// Null once it is terminated.
    #[schemars(with = "serde_json::Map<String, Value>")]
    pod: Value,
}

/// runpod_pod_action
pub(super) struct PodAction;

impl Tool for PodAction {
    const NAME: &'static str = "runpod_pod_action";
    const TITLE: &'static str = "Start, stop, restart or terminate a pod";
    const ABOUT: &'static str =
        "Start, stop, restart or terminate a pod. A stopped pod's disk is still paid for; a terminated one is gone.";
    const HINTS: Hints = Hints::DESTROY.reaching_out();
    const LANE: Lane = Lane::Wait;
    const ASKS: bool = true;
    type In = ActIn;
    type Out = ActOut;

    fn call(input: ActIn, _: &Shared, call: &Call) -> Result<ActOut, Fault> {
        let service = Cloud::from_env()?;
        if matches!(input.action, Act::Start | Act::Terminate) && input.confirmed != Some(true) {
            let pod = cloud::get(&service.client, &input.pod_id)?;
            let what = match input.action {
                Act::Start => "costs money again",
                _ if pod.status == PodStatus::Running => "is running, and its disk would be lost",
                _ => "would lose its disk",
            };
            confirm(call, &format!("pod {} ({}) {what}", pod.id, pod.name), None)?;
        }
        let pod = match input.action {
            Act::Terminate => {
                use_cases::release(&service, &input.pod_id)?;
                Value::Null
            }
            Act::Start => value(cloud::act(&service.client, &input.pod_id, Action::Start)?)?,
            Act::Stop => value(cloud::act(&service.client, &input.pod_id, Action::Stop)?)?,
            Act::Restart => value(cloud::act(&service.client, &input.pod_id, Action::Restart)?)?,
        };
        Ok(ActOut { success: true, pod })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsIn {
    pod_id: String,
    /// Lines from its end; default 100.
    #[schemars(range(min = 1, max = 1000))]
    lines: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LogsOut {
    lines: Vec<String>,
}

/// runpod_get_pod_logs
pub(super) struct Logs;

impl Tool for Logs {
    const NAME: &'static str = "runpod_get_pod_logs";
    const TITLE: &'static str = "Read a pod's log";
    const ABOUT: &'static str = "The newest lines of a pod's log.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Wait;
    type In = LogsIn;
    type Out = LogsOut;

    fn call(input: LogsIn, _: &Shared, _: &Call) -> Result<LogsOut, Fault> {
        let service = Cloud::from_env()?;
        let most = within("lines", input.lines.unwrap_or(100), 1, 1000)? as usize;
        let mut lines = Vec::new();
        cloud::recent_logs(&service.client, &input.pod_id, most as u32, &mut |l| {
            lines.push(format!("{} {}", l.ts, l.line));
            lines.len() < most
        })?;
        Ok(LogsOut { lines })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountIn {
    /// Days of bills; default 7.
    #[schemars(range(min = 1, max = 366))]
    days: Option<u64>,
    /// Bills of this pod alone.
    pod_id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AccountOut {
    /// US dollars left, spend an hour, limit.
    #[schemars(with = "serde_json::Map<String, Value>")]
    balance: Value,
    /// By day and pod, with their sum.
    #[schemars(with = "serde_json::Map<String, Value>")]
    bills: Value,
    endpoints_total: f64,
    volumes_total: f64,
    /// All of it, US dollars.
    total: f64,
    /// Pods rented from here: hours, expected, billed.
    billed_here: Vec<Value>,
    volumes: Vec<Value>,
    templates: Vec<Value>,
    /// What was rented from this machine and has not ended.
    rented_here: Vec<Value>,
}

/// runpod_get_account
pub(super) struct AccountTool;

impl Tool for AccountTool {
    const NAME: &'static str = "runpod_get_account";
    const TITLE: &'static str = "See balance, bills, volumes and templates";
    const ABOUT: &'static str = "Balance and spend, pod bills, network volumes, templates, and what was rented from this machine.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Wait;
    type In = AccountIn;
    type Out = AccountOut;

    fn call(input: AccountIn, _: &Shared, _: &Call) -> Result<AccountOut, Fault> {
        let service = Cloud::from_env()?;
        let days = within("days", input.days.unwrap_or(7), 1, 366)? as u32;
        let told = use_cases::account(&service, days, input.pod_id.as_deref())?;
        Ok(AccountOut {
            balance: value(told.balance)?,
            bills: value(&told.bills)?,
            endpoints_total: told.endpoints_total,
            volumes_total: told.volumes_total,
            total: told.total,
            billed_here: told.billed_here.iter().map(value).collect::<Result<_, _>>()?,
            volumes: told.volumes.iter().map(value).collect::<Result<_, _>>()?,
            templates: told.templates.iter().map(value).collect::<Result<_, _>>()?,
            rented_here: told.rented_here.iter().map(|e| json!({"tag": e.tag, "pod_id": e.pod_id, "since": e.created_at})).collect(),
        })
    }
}
