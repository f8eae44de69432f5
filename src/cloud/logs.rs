//! A pod's log as server-sent events.

use std::io::{BufRead, BufReader};

use serde::{Deserialize, Serialize};

use super::client::{Client, segment};
use crate::base::error::Fault;

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// `container` or `system`.
    pub source: String,
    /// What was written.
    pub line: String,
    /// When, UTC.
    pub ts: String,
}

/// Times that a stream which broke off without a line is opened again.
const EMPTY_TRIES: u32 = 3;
/// Longest line of a stream that is read, in bytes.
const MOST_LINE: u64 = 1 << 20;

/// Hands each line of a pod's log to `each` until it says no, or until the stream has ended: with
/// `follow` a stream that breaks off is opened again behind its last event, so no line comes twice.
///
/// # Errors
/// When the service refuses, or the stream cannot be had again.
pub fn follow_logs(client: &Client, pod: &str, tail: u32, follow: bool, each: &mut dyn FnMut(&LogLine) -> bool) -> Result<(), Fault> {
    let mut last: Option<String> = None;
    let mut empty = 0;
    loop {
        // Behind a known event everything is wanted; the service sends at most 5000 lines again.
        let path = format!("/v2/pods/{}/logs?tail={}", segment(pod), if last.is_some() { 5000 } else { tail.min(5000) });
        let before = last.clone();
        let reader = client.stream(&path, last.as_deref(), None)?;
        let ended = events(reader, &mut |id, line| {
            // The service's ids are times: an event that was seen may come again.
            if id.is_some() && id == before.as_deref() {
                return true;
            }
            if let Some(id) = id {
                last = Some(id.to_owned());
            }
            each(line)
        });
        if !ended || !follow {
            return Ok(());
        }
        empty = if last == before { empty + 1 } else { 0 };
        if empty >= EMPTY_TRIES {
            return Ok(());
        }
        client.sleep(1.0);
    }
}

/// The newest lines, without waiting for more: the service keeps its stream open, so reading ends
/// at the first pause.
///
/// # Errors
/// When the service refuses.
pub fn recent_logs(client: &Client, pod: &str, lines: u32, each: &mut dyn FnMut(&LogLine) -> bool) -> Result<(), Fault> {
    let path = format!("/v2/pods/{}/logs?tail={}", segment(pod), lines.min(5000));
    // A pause ends the reading by an error of the stream, which `events` takes for its end.
    events(client.brief_stream(&path)?, &mut |_, line| each(line));
    Ok(())
}

/// Reads events until the stream ends (true), or `each` says no (false). What is no event is passed
/// over.
fn events(reader: impl std::io::Read, each: &mut dyn FnMut(Option<&str>, &LogLine) -> bool) -> bool {
    use std::io::Read;
    let mut reader = BufReader::new(reader);
    let (mut id, mut data) = (None::<String>, String::new());
    loop {
        crate::base::cancel::checkpoint();
        let mut bytes = Vec::new();
        let read = reader.by_ref().take(MOST_LINE).read_until(b'\n', &mut bytes);
        let ended = read.as_ref().map_or(true, |n| *n == 0);
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() || ended {
            let line = serde_json::from_str::<LogLine>(&data);
            data.clear();
            if let Ok(line) = line
                && !each(id.as_deref(), &line)
            {
                return false;
            }
            if ended {
                return true;
            }
            continue;
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => id = Some(value.to_owned()),
            "data" => data += value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, most: usize) -> Vec<(Option<String>, String)> {
        let mut seen = Vec::new();
        events(text.as_bytes(), &mut |id, line| {
            seen.push((id.map(str::to_owned), line.line.clone()));
            seen.len() < most
        });
        seen
    }

    #[test]
    fn events_are_read_as_they_are_written() {
        let event = |id: &str, line: &str| format!("id: {id}\ndata: {{\"ts\":\"t\",\"source\":\"container\",\"line\":\"{line}\"}}\n\n");
        let text = format!(": hello\n\n{}data: no json\n\n{}", event("1", "a"), event("2", "b").replace('\n', "\r\n"));
        assert_eq!(read(&text, 9), [(Some("1".into()), "a".into()), (Some("2".into()), "b".into())]);
        assert_eq!(read(&text, 1).len(), 1);
        // The last event may come without its empty line.
        assert_eq!(read(text.trim_end(), 9).len(), 2);
        assert_eq!(read("", 9), []);
    }
}
