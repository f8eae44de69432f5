//! Standard input and output: one message a line.
//!
//! The library's own transport keeps silent about lines that are no messages, and a client that made one would wait for
//! ever. Here each is answered. Lines are read by a task of their own, so a line is never lost half-read.

use std::io;
use std::sync::Arc;

use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::service::RoleServer;
use rmcp::transport::Transport;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Mutex, Notify, mpsc};

use super::MOST_MESSAGE_BYTES;
use super::wire::{self, Read};

/// Messages that are read before the first of them is looked at.
const AHEAD: usize = 64;

/// A client at the other end of two pipes.
#[derive(Debug)]
pub(super) struct Pipes<W> {
    incoming: mpsc::Receiver<ClientJsonRpcMessage>,
    out: Arc<Out<W>>,
    greeted: bool,
}

/// Where answers go.
#[derive(Debug)]
struct Out<W> {
    to: Mutex<Option<W>>,
    /// Told once nobody reads them any more.
    broken: Notify,
}

impl<W: AsyncWrite + Send + Unpin + 'static> Pipes<W> {
    pub(super) fn new<R: AsyncRead + Send + Unpin + 'static>(read: R, write: W) -> Self {
        let out = Arc::new(Out { to: Mutex::new(Some(write)), broken: Notify::new() });
        let (sender, incoming) = mpsc::channel(AHEAD);
        tokio::spawn(read_all(BufReader::with_capacity(64 << 10, read), sender, out.clone()));
        Self { incoming, out, greeted: false }
    }
}

impl<W: AsyncWrite + Unpin> Out<W> {
    async fn say(&self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut to = self.to.lock().await;
        let pipe = to.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let said = match pipe.write_all(&line).await {
            Ok(()) => pipe.flush().await,
            Err(e) => Err(e),
        };
        if said.is_err() {
            *to = None;
            self.broken.notify_one();
        }
        said
    }
}

/// Until the client closes its end, or nobody takes messages any more.
async fn read_all<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    mut from: BufReader<R>,
    sender: mpsc::Sender<ClientJsonRpcMessage>,
    out: Arc<Out<W>>,
) {
    let mut line = Vec::new();
    loop {
        let read = match next_line(&mut from, &mut line).await {
            Ok(Some(true)) => wire::read(&line),
            Ok(Some(false)) => wire::too_long(),
            Ok(None) | Err(_) => return,
        };
        let taken = match read {
            Read::Message(message) => sender.send(*message).await.is_ok(),
            Read::Refused(answer) => out.say(&answer).await.is_ok(),
            Read::Nothing => true,
        };
        if !taken {
            return;
        }
    }
}

/// Reads a line; false for one that is too long and was skipped. A last line without an end is none.
async fn next_line<R: AsyncRead + Unpin>(from: &mut BufReader<R>, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    let mut fits = true;
    loop {
        let piece = from.fill_buf().await?;
        if piece.is_empty() {
            return Ok(None);
        }
        let end = piece.iter().position(|b| *b == b'\n');
        let take = end.unwrap_or(piece.len());
        fits &= line.len() + take <= MOST_MESSAGE_BYTES;
        if fits {
            line.extend_from_slice(&piece[..take]);
        } else {
            *line = Vec::new();
        }
        from.consume(end.map_or(take, |end| end + 1));
        if end.is_some() {
            return Ok(Some(fits));
        }
    }
}

impl<W: AsyncWrite + Send + Unpin + 'static> Transport<RoleServer> for Pipes<W> {
    type Error = io::Error;

    fn send(&mut self, item: ServerJsonRpcMessage) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let out = self.out.clone();
        async move { out.say(&item).await }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            let message = tokio::select! {
                () = self.out.broken.notified() => return None,
                message = self.incoming.recv() => message?,
            };
            // What comes before the first request cannot be meant for us, and is no reason to hang up.
            self.greeted |= matches!(message, ClientJsonRpcMessage::Request(_));
            if self.greeted {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.out.to.lock().await.take();
        Ok(())
    }
}
