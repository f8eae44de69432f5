//! The tools of an MCP server that is started for it and talks on its standard streams. Only the
//! greeting and `tools/list` are sent; nothing that the server says is done.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::ServiceExt;
use rmcp::model::PaginatedRequestParams;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::in_words;
use crate::base::error::Fault;
use crate::data::make_tools::Tool;

/// Most tools that are taken from one server.
pub(super) const MOST_TOOLS: usize = 2000;
/// Most of a server's complaints that are kept for an error.
const MOST_STDERR_BYTES: usize = 2000;

/// The server's name and its tools.
///
/// # Errors
/// A command that does not start, a server that does not answer in time, or tools that are none.
pub(super) fn tools_of(command: &str, patience: Duration) -> Result<(String, Vec<Tool>), Fault> {
    let words = split(command).map_err(|m| Fault::new("usage", format!("`{command}`: {m}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Fault::new("io", format!("cannot start a runtime: {e}")))?;
    let (name, list) = runtime.block_on(async {
        let said = Arc::new(Mutex::new(Vec::new()));
        let mut child = start(command, &words)?;
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(keep(stderr, said.clone()));
        }
        let asked = tokio::time::timeout(patience, ask(&mut child)).await;
        // The child is killed when it is dropped; what it had to say is in `said` by then.
        let _ = child.start_kill();
        let told = |m: String| {
            let said = said.lock().unwrap_or_else(PoisonError::into_inner);
            let said = String::from_utf8_lossy(&said).trim().to_owned();
            let said = if said.is_empty() { String::new() } else { format!("; it wrote: {said}") };
            Fault::new("tool_server", format!("`{command}`: {m}{said}"))
        };
        match asked {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(m)) => Err(told(m).hint("check that the command starts an MCP server on its standard streams")),
            Err(_) => Err(told(format!("no answer within {} s", patience.as_secs()))
                .hint("check that the command starts an MCP server on its standard streams, or wait longer for it")),
        }
    })?;
    Ok((name, in_words(command, &json!(list).to_string())?))
}

fn start(command: &str, words: &[String]) -> Result<Child, Fault> {
    let mut start = Command::new(&words[0]);
    start.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    start.spawn().map_err(|e| {
        Fault::new("tool_server", format!("cannot start `{command}`: {e}")).hint("check the command; it is started without a shell")
    })
}

/// Keeps the first bytes of a stream and reads on, so that the writer is never held up.
async fn keep(mut stream: impl AsyncRead + Unpin, into: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 1024];
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MOST_STDERR_BYTES.saturating_sub(into.len()).min(n);
        into.extend_from_slice(&buffer[..room]);
    }
}

async fn ask(child: &mut Child) -> Result<(String, Vec<Value>), String> {
    let (Some(stdout), Some(stdin)) = (child.stdout.take(), child.stdin.take()) else {
        return Err("its standard streams cannot be had".into());
    };
    let service = ().serve((stdout, stdin)).await.map_err(|e| format!("it does not greet as an MCP server: {e}"))?;
    let name = service.peer_info().and_then(|info| json!(*info)["serverInfo"]["name"].as_str().map(str::to_owned));
    let (mut list, mut cursor) = (Vec::new(), None);
    loop {
        let page = service.list_tools(Some(PaginatedRequestParams::default().with_cursor(cursor))).await;
        let page = page.map_err(|e| format!("tools/list: {e}"))?;
        list.extend(page.tools.iter().map(|t| json!(t)));
        if list.len() > MOST_TOOLS {
            return Err(format!("it lists more than {MOST_TOOLS} tools"));
        }
        match page.next_cursor {
            Some(next) if !page.tools.is_empty() => cursor = Some(next),
            _ => break,
        }
    }
    let _ = service.cancel().await;
    Ok((name.unwrap_or_else(|| "server".into()), list))
}

/// The words of a command: white space separates them, quotes of both kinds keep it.
fn split(command: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match (quote, words.is_empty()) {
        (Some(q), _) => Err(format!("a quote {q} is not closed")),
        (None, true) => Err("the command is empty".into()),
        (None, false) => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn commands_split_at_white_space_outside_quotes() {
        let cases: [(&str, &[&str]); 5] = [
            ("npx -y server /tmp", &["npx", "-y", "server", "/tmp"]),
            ("  a  'b c' \"d 'e'\" ", &["a", "b c", "d 'e'"]),
            ("a ''", &["a", ""]),
            ("a=\"b c\"d", &["a=b cd"]),
            ("C:\\x", &["C:\\x"]),
        ];
        for (command, words) in cases {
            assert_eq!(split(command).unwrap(), words, "{command}");
        }
        assert!(split("a 'b").is_err() && split("  ").is_err());
    }
}
