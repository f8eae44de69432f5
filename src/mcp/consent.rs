//! Asks whoever sits before the client whether something that costs money or deletes may be done.
//!
//! Clients of the older era that offer elicitation show the question themselves. For all others the
//! call is refused with the question, and goes through with the argument that says the answer.

use std::sync::Arc;

use rmcp::model::{ClientResult, ElicitRequest, ElicitRequestParams, ElicitationAction, ElicitationSchema, ServerRequest};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::json;

use super::tool::Call;
use crate::base::error::Fault;

/// Asks a question: whether it was agreed to; `None` where nobody could be asked.
pub(super) type Ask = Arc<dyn Fn(&str) -> Option<bool> + Send + Sync>;

/// How the client of a call is asked; `None` where it offers nothing for it.
pub(super) fn asker(context: &RequestContext<RoleServer>) -> Option<Ask> {
    let peer = context.peer.clone();
    let offered = peer.peer_info()?.capabilities.elicitation.clone()?;
    // Without a word about its kinds, forms are meant.
    if offered.form.is_none() && offered.url.is_some() {
        return None;
    }
    let runtime = tokio::runtime::Handle::current();
    Some(Arc::new(move |question: &str| {
        let properties = json!({ "agree": { "type": "boolean", "title": "I agree" } });
        let schema = json!({ "type": "object", "properties": properties, "required": ["agree"] });
        let requested_schema: ElicitationSchema = serde_json::from_value(schema).ok()?;
        let params = ElicitRequestParams::FormElicitationParams { meta: None, message: question.to_owned(), requested_schema };
        let request = ServerRequest::ElicitRequest(ElicitRequest::new(params));
        // A client of the newer era takes no questions: then nobody was asked.
        match runtime.block_on(peer.send_request(request)).ok()? {
            ClientResult::ElicitResult(said) => {
                let agreed = said.content.as_ref().is_some_and(|c| c["agree"] == true);
                Some(said.action == ElicitationAction::Accept && agreed)
            }
            _ => None,
        }
    }))
}

/// Turns a refusal for want of an agreement into one, where whoever can be asked agrees.
///
/// # Errors
/// The refusal itself where nobody can be asked, and every other fault; `declined` where the answer is no.
pub(super) fn consent(call: &Call, refused: Fault) -> Result<(), Fault> {
    if refused.code != "confirmation_needed" {
        return Err(refused);
    }
    match call.asks(&refused.message) {
        Some(true) => Ok(()),
        Some(false) => Err(Fault::new("declined", "the user does not agree; nothing was done").hint("ask what they want instead")),
        None => Err(refused),
    }
}
