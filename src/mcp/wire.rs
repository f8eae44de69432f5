//! Bytes of a client as a message of the protocol, or as the error that it is answered with.

use rmcp::model::{ClientJsonRpcMessage, ClientRequest, JsonRpcRequest};
use serde_json::{Value, json};

use super::MOST_MESSAGE_BYTES;

/// What some bytes are.
#[derive(Debug)]
pub(super) enum Read {
    /// A message.
    Message(Box<ClientJsonRpcMessage>),
    /// Nothing that waits for an answer: an empty line, a notification that is not known, an answer to nothing.
    Nothing,
    /// No message; this is the answer.
    Refused(Value),
}

/// Codes of JSON-RPC.
const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const INVALID_PARAMS: i64 = -32602;
const METHOD_NOT_FOUND: i64 = -32601;

/// Methods that this server answers.
const METHODS: [&str; 15] = [
    "initialize",
    "ping",
    "server/discover",
    "completion/complete",
    "logging/setLevel",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "subscriptions/listen",
    "tools/call",
    "tools/list",
];

/// Those of them that the protocol has no more since 2026-07-28, whose requests name their version themselves.
const REMOVED: [&str; 5] = ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];

/// Whether a request is of a version of the protocol without [`REMOVED`].
fn is_stateless(object: &serde_json::Map<String, Value>) -> bool {
    let version = object.get("params").and_then(|p| p["_meta"]["io.modelcontextprotocol/protocolVersion"].as_str());
    version.is_some_and(|v| v >= "2026-07-28")
}

/// Whether an answer says that there is no such method.
pub(super) fn is_no_method(answer: &Value) -> bool {
    answer["error"]["code"] == METHOD_NOT_FOUND
}

/// An answer; the protocol leaves the id out where none could be read.
fn refuse(id: Option<&Value>, code: i64, message: &str) -> Read {
    let mut answer = json!({"jsonrpc": "2.0", "error": {"code": code, "message": message}});
    if let Some(id) = id {
        answer["id"] = id.clone();
    }
    Read::Refused(answer)
}

/// A message that is longer than may be.
pub(super) fn too_long() -> Read {
    refuse(None, INVALID_REQUEST, &format!("the message is longer than {MOST_MESSAGE_BYTES} bytes"))
}

/// Reads one message.
pub(super) fn read(bytes: &[u8]) -> Read {
    // Some programs put a byte order mark before their text.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii();
    if bytes.is_empty() {
        return Read::Nothing;
    }
    match serde_json::from_slice(bytes) {
        // A request whose params do not fit its method is one of no known method to the library.
        Ok(ClientJsonRpcMessage::Request(JsonRpcRequest { request: ClientRequest::CustomRequest(r), .. }))
            if METHODS.contains(&&*r.method) => {}
        Ok(message) => return Read::Message(Box::new(message)),
        Err(_) => {}
    }
    match serde_json::from_slice(bytes) {
        Ok(value) => why_not(&value),
        Err(e) => match serde_json::from_slice::<Envelope>(bytes) {
            // JSON that is too deep, or with a number that no machine number holds: whoever asked hears that by its id.
            Ok(Envelope { id: Some(id), method: Some(_) }) if is_id(&id) => refuse(Some(&id), PARSE_ERROR, &format!("{e}")),
            _ => refuse(None, PARSE_ERROR, &format!("this is no JSON: {e}")),
        },
    }
}

/// What is read of a request whose params cannot be: the values of other fields are passed over.
#[derive(serde::Deserialize)]
struct Envelope {
    id: Option<Value>,
    method: Option<String>,
}

fn is_id(id: &Value) -> bool {
    id.is_string() || id.is_i64() || id.is_u64()
}

/// JSON that is no message.
fn why_not(value: &Value) -> Read {
    let Some(object) = value.as_object() else {
        let what = if value.is_array() { "a batch: send its messages one by one" } else { "no object" };
        return refuse(None, INVALID_REQUEST, &format!("a message is a JSON object; this is {what}"));
    };
    let id = object.get("id").filter(|id| is_id(id));
    let method = object.get("method").and_then(Value::as_str);
    match (method, object.get("id")) {
        // Answers are not answered, or two programs could go on for ever.
        _ if object.contains_key("result") || object.contains_key("error") => Read::Nothing,
        _ if object.get("jsonrpc") != Some(&json!("2.0")) => refuse(id, INVALID_REQUEST, "`jsonrpc` must be \"2.0\""),
        (None, _) => refuse(id, INVALID_REQUEST, "`method` must be a string"),
        // A notification has no answer, whatever is wrong with it.
        (Some(_), None) => Read::Nothing,
        (Some(_), Some(_)) if id.is_none() => refuse(None, INVALID_REQUEST, "`id` must be a string or an integer"),
        (Some(method), _) if object.get("params").is_some_and(|p| !p.is_object()) => {
            refuse(id, INVALID_PARAMS, &format!("the params of {} must be an object", shown(method)))
        }
        (Some(method), _) if METHODS.contains(&method) && !(REMOVED.contains(&method) && is_stateless(object)) => {
            refuse(id, INVALID_PARAMS, &format!("the params of {} are not what this method takes", shown(method)))
        }
        (Some(method), _) => refuse(id, METHOD_NOT_FOUND, &format!("there is no method {}", shown(method))),
    }
}

/// A word of the client, short enough for a message.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(100).collect();
    format!("`{}`", short.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &[u8]) -> (i64, Option<Value>) {
        match read(text) {
            Read::Refused(answer) => (answer["error"]["code"].as_i64().unwrap(), answer.get("id").cloned()),
            other => panic!("{}: {other:?}", String::from_utf8_lossy(text)),
        }
    }

    #[test]
    fn a_number_out_of_range_is_answered_by_the_requests_id() {
        for number in ["1e400".to_owned(), "-1e999".into(), format!("1{}e400", "0".repeat(330))] {
            for id in ["7", "\"a\""] {
                let text = format!(
                    r#"{{"jsonrpc": "2.0", "params": {{"name": "wait", "arguments": {{"a": [{number}]}}}}, "method": "tools/call", "id": {id}}}"#
                );
                assert_eq!(refused(text.as_bytes()), (PARSE_ERROR, Some(serde_json::from_str(id).unwrap())), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_message_is_told_so() {
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        for (text, code, id) in [
            (b"x".as_slice(), PARSE_ERROR, None),
            (b"{", PARSE_ERROR, None),
            (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", PARSE_ERROR, None),
            (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"x\":NaN}}", PARSE_ERROR, None),
            (deep.as_bytes(), PARSE_ERROR, None),
            (b"[]", INVALID_REQUEST, None),
            (b"null", INVALID_REQUEST, None),
            (b"{\"id\":7,\"method\":\"ping\"}", INVALID_REQUEST, Some(json!(7))),
            (b"{\"jsonrpc\":\"2.0\",\"id\":\"a\"}", INVALID_REQUEST, Some(json!("a"))),
            (b"{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}", INVALID_REQUEST, None),
            (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":[1]}", INVALID_PARAMS, Some(json!(1))),
            (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":1}}", INVALID_PARAMS, Some(json!(1))),
            (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{}}", INVALID_PARAMS, Some(json!(1))),
        ] {
            assert_eq!(refused(text), (code, id), "{}", String::from_utf8_lossy(&text[..text.len().min(80)]));
        }
    }

    #[test]
    fn a_method_is_gone_where_the_version_has_it_no_more() {
        for (method, version, code) in [
            ("initialize", "2026-07-28", METHOD_NOT_FOUND),
            ("logging/setLevel", "2026-07-28", METHOD_NOT_FOUND),
            ("resources/subscribe", "2026-07-28", METHOD_NOT_FOUND),
            ("resources/subscribe", "2025-11-25", INVALID_PARAMS),
            ("tools/call", "2026-07-28", INVALID_PARAMS),
        ] {
            let meta = json!({"io.modelcontextprotocol/protocolVersion": version});
            let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": meta}}).to_string();
            assert_eq!(refused(text.as_bytes()), (code, Some(json!(1))), "{method} {version}");
        }
    }

    #[test]
    fn messages_and_what_waits_for_nothing() {
        assert!(matches!(read(b"\xEF\xBB\xBF{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r"), Read::Message(_)));
        for text in [
            "",
            " \r",
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":3}",
            "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":\"x\"}}",
        ] {
            assert!(matches!(read(text.as_bytes()), Read::Nothing), "{text}");
        }
    }
}
