//! Sessions over HTTP: as many as fit, and none for longer than somebody uses it.
//!
//! The library keeps a session until it has been idle for a while, however many there are. Here their number is limited
//! too: the next one takes the place of the one that was used least, those that were only opened before all others. A
//! client whose session is gone is told so (404) and opens a new one, as the protocol wants it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_core::Stream;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::common::server_side_http::{ServerSseMessage, SessionId};
use rmcp::transport::streamable_http_server::session::SessionManager;
use rmcp::transport::streamable_http_server::session::local::{LocalSessionManager, LocalSessionManagerError};

/// Sessions at once.
const MOST_SESSIONS: usize = 128;
/// How long a session is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(1800);

/// How a session was used.
#[derive(Debug, Clone, Copy)]
struct Use {
    requests: u64,
    last: Instant,
}

#[derive(Debug)]
pub(super) struct Sessions {
    inner: LocalSessionManager,
    uses: Mutex<HashMap<SessionId, Use>>,
}

type Result<T> = std::result::Result<T, LocalSessionManagerError>;

impl Sessions {
    pub(super) fn new() -> Self {
        let mut inner = LocalSessionManager::default();
        inner.session_config.keep_alive = Some(IDLE);
        Self { inner, uses: Mutex::default() }
    }

    fn used(&self, id: &SessionId) {
        if let Some(entry) = self.uses.lock().unwrap_or_else(PoisonError::into_inner).get_mut(id) {
            *entry = Use { requests: entry.requests + 1, last: Instant::now() };
        }
    }

    /// Makes room for one more; the sessions that have to go for it.
    fn crowded_out(&self) -> Vec<SessionId> {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let excess = (uses.len() + 1).saturating_sub(MOST_SESSIONS);
        let gone = least_used(&uses, excess);
        uses.retain(|id, _| !gone.contains(id));
        gone
    }
}

/// Those that were only opened go first, then those that were used longest ago.
fn least_used<K: Clone + std::hash::Hash + Eq>(uses: &HashMap<K, Use>, count: usize) -> Vec<K> {
    // Opening a session takes two messages of the client.
    const OPENING: u64 = 2;
    let mut all: Vec<(&K, &Use)> = uses.iter().collect();
    all.sort_by_key(|(_, u)| (u.requests > OPENING, u.last));
    all.into_iter().take(count).map(|(id, _)| id.clone()).collect()
}

impl SessionManager for Sessions {
    type Error = LocalSessionManagerError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport)> {
        for id in self.crowded_out() {
            // It may have ended by itself meanwhile.
            let _ = self.inner.close_session(&id).await;
        }
        let (id, transport) = self.inner.create_session().await?;
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), Use { requests: 0, last: Instant::now() });
        Ok((id, transport))
    }

    async fn initialize_session(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<ServerJsonRpcMessage> {
        self.used(id);
        self.inner.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool> {
        self.inner.has_session(id).await
    }

    async fn close_session(&self, id: &SessionId) -> Result<()> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.inner.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        self.used(id);
        self.inner.create_stream(id, message).await
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<()> {
        self.used(id);
        self.inner.accept_message(id, message).await
    }

    async fn create_standalone_stream(&self, id: &SessionId) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        self.used(id);
        self.inner.create_standalone_stream(id).await
    }

    async fn resume(&self, id: &SessionId, last_event_id: String) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        self.used(id);
        self.inner.resume(id, last_event_id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_that_were_only_opened_go_first() {
        let now = Instant::now();
        let entry = |requests, seconds| Use { requests, last: now - Duration::from_secs(seconds) };
        let all = HashMap::from([("busy", entry(50, 1)), ("old", entry(50, 100)), ("opened", entry(2, 5)), ("just opened", entry(1, 0))]);
        assert_eq!(least_used(&all, 0), [""; 0]);
        assert_eq!(least_used(&all, 3), ["opened", "just opened", "old"]);
    }
}
