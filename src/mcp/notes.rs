//! Log messages to a client, from the level that it asked for. The newest revision of the protocol advises against them
//! and has the level in each request; older clients set it once.
#![allow(deprecated, reason = "clients of the older era use it")]

use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{LoggingLevel, LoggingMessageNotificationParam, SetLevelRequestParams};
use rmcp::service::{Peer, RequestContext, RoleServer};
use serde_json::json;

/// What a client wants to hear; nothing until it says so.
#[derive(Debug, Clone, Default)]
pub(super) struct Level(Arc<Mutex<Option<LoggingLevel>>>);

/// A call's teller.
#[derive(Debug)]
pub(super) struct Teller {
    peer: Peer<RoleServer>,
    least: Option<LoggingLevel>,
}

impl Level {
    pub(super) fn set(&self, wish: &SetLevelRequestParams) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(wish.level);
    }

    /// For one call; what the call itself asks for goes before what was set.
    pub(super) fn teller(&self, context: &RequestContext<RoleServer>) -> Teller {
        let set = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Teller { peer: context.peer.clone(), least: context.meta.log_level().or(set) }
    }
}

impl Teller {
    /// How a call ended: `info`, or `warning` with the error's code.
    pub(super) async fn ended(&self, tool: &str, outcome: &str, milliseconds: u64) {
        let level = if outcome == "ok" { LoggingLevel::Info } else { LoggingLevel::Warning };
        if self.least.is_none_or(|least| (level as u8) < least as u8) {
            return;
        }
        let mut note = LoggingMessageNotificationParam::new(level, json!({"tool": tool, "outcome": outcome, "milliseconds": milliseconds}));
        note.logger = Some("calls".into());
        // A client that is gone hears nothing.
        let _ = self.peer.notify_logging_message(note).await;
    }
}
