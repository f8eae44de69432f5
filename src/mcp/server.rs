//! The protocol's requests, each handed to the module that answers it.

use std::sync::{Arc, Mutex, PoisonError};

use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams, CompleteResult, CompletionInfo, ContentBlock,
    ErrorData, GetPromptRequestParams, GetPromptResponse, Implementation, ListPromptsResult, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, MetaObject, PaginatedRequestParams, ProgressNotificationParam, ReadResourceRequestParams,
    ReadResourceResponse, Reference, ResourceUpdatedNotificationParam, ServerCapabilities, ServerConfig, SubscribeRequestParams,
    SubscriptionFilter, UnsubscribeRequestParams,
};
use rmcp::service::{NotificationContext, RequestContext, RoleServer, SubscriptionContext};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::notes::Level;
use super::tool::{Call, Ended, Shared, Tick, fault_json};
use super::watch::{self, MOST_WATCHED, Seen, Watched};
use super::{consent, icon, prompts, resources, tools};
use crate::base::error::Fault;
use crate::train::StopFlag;

/// What an assistant is told about this server.
const INSTRUCTIONS: &str = "Tallow fine-tunes language models on this machine (LoRA, QLoRA, full). The usual way: \
list_projects or generate_fine_tuning_project -> preview_dataset, validate_dataset -> configure_training_run (checks everything, \
predicts memory and time) -> start_training (returns at once; the run goes on in its own process even if this server ends) -> \
wait, get_run -> evaluate_model or compare_models -> generate_text -> export_model. A model is a folder, a Hugging Face id, or \
`embedded`. Runs are named by run_id under their project_path; describe_config explains settings, set_config changes them. Every \
error has a stable code and a hint. Paths must lie below the server's roots; relative ones start from the first root.";

/// A server for one client.
#[derive(Debug, Clone)]
pub(super) struct Server {
    shared: Arc<Shared>,
    watched: Watched,
    level: Level,
}

impl Server {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, watched: Watched::default(), level: Level::default() }
    }
}

impl Server {
    /// A dataset as a resource is what validate_dataset says of it.
    async fn dataset(&self, path: &str, context: RequestContext<RoleServer>) -> Result<Value, Fault> {
        let missing = || Fault::new("unknown_resource", "there is no such resource");
        let row = tools::find("validate_dataset").ok_or_else(missing)?;
        let call = Call { cancelled: StopFlag::default(), ticks: Arc::new(|_| ()), ask: None };
        let (cancelled, asked_to_end) = (call.cancelled.clone(), context.ct.clone());
        let watcher = tokio::spawn(async move {
            asked_to_end.cancelled().await;
            cancelled.request();
        });
        let arguments = json!({ "dataset": path }).as_object().cloned();
        let ended = row.run(self.shared.clone(), arguments, call).await;
        watcher.abort();
        ended.result
    }
}

/// What a call of a tool gives, as the protocol says it. An error is text for the model and an object for programs.
fn answer(ended: Ended) -> CallToolResult {
    let mut meta = serde_json::Map::new();
    if let Some(waited) = &ended.waited {
        meta.insert("tallow/waited".to_owned(), json!({"seconds": waited.time.as_secs_f64(), "reason": waited.reason}));
    }
    let answer = match ended.result {
        Ok(value) => CallToolResult::structured(value),
        Err(fault) => {
            let json = fault_json(&fault);
            meta.insert("tallow/error".to_owned(), json["error"].clone());
            CallToolResult::error(vec![ContentBlock::text(json.to_string())])
        }
    };
    answer.with_meta((!meta.is_empty()).then(|| MetaObject(meta.into_iter().collect())))
}

fn not_found(shared: &Shared, fault: Fault) -> ErrorData {
    let fault = shared.secrets.hide_in_fault(fault);
    ErrorData::resource_not_found(fault.message.clone(), Some(fault_json(&fault)))
}

/// Sends ticks as notifications, where the client gave a token; never one that is not further than the last.
async fn report(context: RequestContext<RoleServer>, mut ticks: mpsc::UnboundedReceiver<Tick>) {
    let token = context.meta.get_progress_token();
    let mut last = f64::NEG_INFINITY;
    while let Some(tick) = ticks.recv().await {
        let Some(token) = token.clone().filter(|_| tick.done > last) else { continue };
        last = tick.done;
        let mut note = ProgressNotificationParam::new(token, tick.done).with_message(tick.message);
        note.total = tick.total;
        if context.peer.notify_progress(note).await.is_err() {
            return;
        }
    }
}

impl ServerHandler for Server {
    #[allow(deprecated, reason = "clients of the older era set a log level")]
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_resources_subscribe()
            .enable_prompts()
            .enable_completions()
            .enable_logging()
            .build();
        let me = Implementation::new("tallow", env!("CARGO_PKG_VERSION"))
            .with_title("Tallow")
            .with_description("Fine-tune language models on this machine")
            .with_icons(vec![icon::tallow()]);
        ServerConfig::new(capabilities).with_server_info(me).with_instructions(INSTRUCTIONS)
    }

    fn get_tool(&self, name: &str) -> Option<rmcp::model::Tool> {
        Some(self.shared.choice.find(name)?.ok()?.description())
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.shared.choice.tools().map(|row| row.description()).collect()))
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let row = match self.shared.choice.find(&request.name) {
            Some(Ok(row)) => row,
            Some(Err(fault)) => return Ok(CallToolResponse::Complete(answer(Ended { result: Err(fault), waited: None }))),
            None => {
                let name: String = request.name.chars().take(100).collect();
                return Err(ErrorData::invalid_params(format!("there is no tool `{name}`"), None));
            }
        };
        let (sender, received) = mpsc::unbounded_channel();
        // Nobody may be listening.
        let ticks = Arc::new(move |tick| drop(sender.send(tick)));
        let call = Call { cancelled: StopFlag::default(), ticks, ask: consent::asker(&context) };
        let (cancelled, asked_to_end) = (call.cancelled.clone(), context.ct.clone());
        let started = std::time::Instant::now();
        let teller = self.level.teller(&context);
        let reporter = tokio::spawn(report(context, received));
        // The work is told, and waited for: when the client hears of the end, there is nothing going on any more.
        let watcher = tokio::spawn(async move {
            asked_to_end.cancelled().await;
            cancelled.request();
        });
        let ended = row.run(self.shared.clone(), request.arguments, call).await;
        watcher.abort();
        // The last notification goes out before the answer.
        let _ = reporter.await;
        let outcome = ended.result.as_ref().map_or_else(|f| f.code, |_| "ok");
        let took = started.elapsed().as_millis() as u64;
        self.shared.log.line(&format!("{} {outcome} {took} ms", row.name));
        teller.ended(row.name, outcome, took).await;
        Ok(CallToolResponse::Complete(answer(ended)))
    }

    #[allow(deprecated, reason = "clients of the older era call it")]
    async fn set_level(&self, request: rmcp::model::SetLevelRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.level.set(&request);
        Ok(())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let shared = self.shared.clone();
        let all = blocking(move || Ok(resources::list(&shared))).await?;
        Ok(ListResourcesResult::with_all_items(all))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let shared = self.shared.clone();
        if let Some(path) = resources::dataset_path(&request.uri) {
            let read = self.dataset(&path, context).await.map_err(|f| not_found(&shared, f))?;
            return Ok(ReadResourceResponse::Complete(resources::of_json(&shared, &request.uri, &read)));
        }
        let read = move || resources::read(&shared, &request.uri).map_err(|f| not_found(&shared, f));
        Ok(ReadResourceResponse::Complete(blocking(read).await?))
    }

    /// Sessions of the older era are told of new runs, and of those that they watch.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let (shared, watched, peer) = (self.shared.clone(), self.watched.clone(), context.peer);
        tokio::spawn(async move {
            let mut seen = Seen::default();
            while !peer.is_transport_closed() {
                let (looked, news) = watch::next(&shared, seen, true, &watched).await;
                seen = looked;
                let mut sent = if news.list { peer.notify_resource_list_changed().await.is_ok() } else { true };
                for uri in news.updated {
                    sent &= peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await.is_ok();
                }
                if !sent {
                    return;
                }
            }
        });
    }

    async fn subscribe(&self, request: SubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        let (shared, uri) = (self.shared.clone(), request.uri.clone());
        // Only what can be read can be watched; datasets do not tell of changes.
        if resources::dataset_path(&uri).is_none() {
            let read = move || resources::read(&shared, &uri).map_err(|f| not_found(&shared, f));
            blocking(read).await?;
        }
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.len() >= MOST_WATCHED {
            return Err(ErrorData::invalid_params("too many resources are watched", None));
        }
        watched.insert(request.uri);
        Ok(())
    }

    async fn unsubscribe(&self, request: UnsubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).remove(&request.uri);
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        let mut accepted = requested.clone();
        if let Some(uris) = &mut accepted.resource_subscriptions {
            uris.truncate(MOST_WATCHED);
        }
        Some(accepted)
    }

    /// The same for a subscription of the newer era.
    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let accepted = context.accepted().clone();
        let uris = accepted.resource_subscriptions.clone().unwrap_or_default();
        let watched: Watched = Arc::new(Mutex::new(uris.into_iter().collect()));
        let with_list = accepted.resources_list_changed == Some(true);
        let mut seen = Seen::default();
        loop {
            let (looked, news) = tokio::select! {
                () = context.cancelled() => return Ok(()),
                next = watch::next(&self.shared, std::mem::take(&mut seen), with_list, &watched) => next,
            };
            seen = looked;
            let sink = context.sink();
            let mut sent = if news.list { sink.notify_resource_list_changed().await.is_ok() } else { true };
            for uri in news.updated {
                sent &= sink.notify_resource_updated(uri).await.is_ok();
            }
            if !sent {
                return Ok(());
            }
        }
    }

    async fn list_prompts(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(prompts::list()))
    }

    async fn get_prompt(&self, request: GetPromptRequestParams, _: RequestContext<RoleServer>) -> Result<GetPromptResponse, ErrorData> {
        let shared = self.shared.clone();
        let arguments = request.arguments.unwrap_or_default();
        let get = move || {
            prompts::get(&shared, &request.name, &arguments).map_err(|f| {
                let fault = shared.secrets.hide_in_fault(f);
                ErrorData::invalid_params(fault.message.clone(), Some(fault_json(&fault)))
            })
        };
        Ok(GetPromptResponse::Complete(blocking(get).await?))
    }

    async fn complete(&self, request: CompleteRequestParams, _: RequestContext<RoleServer>) -> Result<CompleteResult, ErrorData> {
        let shared = self.shared.clone();
        let given = request.context.and_then(|c| c.arguments).unwrap_or_default();
        let of_prompt = matches!(&request.r#ref, Reference::Prompt(_));
        let argument = request.argument;
        let mut values = blocking(move || Ok(resources::complete(&shared, &argument.name, &argument.value, &given, of_prompt))).await?;
        values.truncate(CompletionInfo::MAX_VALUES);
        let info = CompletionInfo::with_all_values(values).map_err(|e| ErrorData::internal_error(e, None))?;
        Ok(CompleteResult::new(info))
    }
}

/// Something that reads files, off the threads that serve.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, ErrorData> + Send + 'static) -> Result<T, ErrorData> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(ErrorData::internal_error(format!("this broke down: {e}"), None)))
}
