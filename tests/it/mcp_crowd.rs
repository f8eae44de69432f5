//! Many clients over HTTP: sessions that nobody uses, connections that say nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::mcp_client::outcome;
use crate::mcp_http::{HttpClient, HttpServer, TOKEN};
use crate::program::Desk;

/// Resident kilobytes of a process.
fn resident(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn look(client: &mut HttpClient) -> Value {
    let answer = client.request("tools/call", &json!({"name": "list_supported_models", "arguments": {}})).unwrap();
    outcome(&answer).unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn sessions_that_come_and_go_hold_no_memory() {
    let desk = Desk::new();
    let mut server = HttpServer::start(&mut desk.command(&["mcp", "--http", "127.0.0.1:0"]));
    let mut steady = HttpClient::greeted(&server.address).unwrap();
    look(&mut steady);
    let open = |count: usize| {
        for _ in 0..count {
            drop(HttpClient::greeted(&server.address).unwrap());
        }
    };
    open(300);
    let before = resident(server.pid());
    open(1500);
    let after = resident(server.pid());
    assert!(after < before + (32 << 10), "{before} KiB after 300 sessions, {after} KiB after 1800");
    // One that is used stays.
    look(&mut steady);
    assert!(server.is_alive());
}

/// Places are for those who have the token: however many come without it and stay, in whatever way, who has it is served.
#[test]
fn strangers_take_no_place_of_who_has_the_token() {
    let desk = Desk::new();
    let mut server = HttpServer::start(&mut desk.command(&["mcp", "--http", "127.0.0.1:0"]));
    let mut before = HttpClient::greeted(&server.address).unwrap();
    let head = |token: &str, more: &str| {
        let host = &server.address;
        format!("POST /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Length: 400000\r\n{more}")
    };
    let ways = [
        ("nothing at all", String::new()),
        ("wrong token, half a body", head("a-token-of-another-kind", "\r\n{\"jsonrpc\":")),
        ("no token", format!("GET /mcp HTTP/1.1\r\nHost: {}\r\n\r\n", server.address)),
        ("headers without an end", head("a-token-of-another-kind", "X-Long: ")),
        ("another path", format!("GET /else HTTP/1.1\r\nHost: {}\r\n\r\n", server.address)),
    ];
    for (way, said) in &ways {
        let mut strangers = Vec::new();
        for _ in 0..450 {
            let mut stream = TcpStream::connect(&server.address).unwrap();
            // One that was sent away already cannot be written to.
            let _ = stream.write_all(said.as_bytes());
            strangers.push(stream);
        }
        let begun = Instant::now();
        look(&mut HttpClient::greeted(&server.address).unwrap());
        look(&mut before);
        assert!(begun.elapsed() < Duration::from_secs(3), "{way}: {:?}", begun.elapsed());
    }
    assert!(server.is_alive());
}

#[test]
fn origins_of_this_machine_and_any_spelling_of_bearer() {
    let desk = Desk::new();
    let server = HttpServer::start(&mut desk.command(&["mcp", "--http", "127.0.0.1:0"]));
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}})
    .to_string();
    let ask = |header: (&str, &str)| {
        let headers = [header, ("Connection", "close")];
        HttpClient::connect(&server.address).unwrap().post_to("/mcp", &headers, hello.as_bytes()).unwrap().status
    };
    for (name, value, wanted) in [
        ("Origin", "http://localhost:6274", 200),
        ("Origin", "https://127.0.0.1:1", 200),
        ("Origin", "http://[::1]:5173", 200),
        ("Origin", "http://localhost.evil.example:6274", 403),
        ("Origin", "null", 403),
        ("Authorization", "bearer a-token-of-some-length", 200),
        ("Authorization", "BEARER a-token-of-some-length", 200),
        ("Authorization", "Basic a-token-of-some-length", 401),
    ] {
        assert_eq!(ask((name, value)), wanted, "{name}: {value}");
    }
    for (address, token, code) in [("0.0.0.0:0", "short", 2), ("127.0.0.1:99999", "short", 2)] {
        let out = desk.command(&["mcp", "--http", address]).env("TALLOW_MCP_TOKEN", token).output().unwrap();
        assert_eq!(out.status.code(), Some(code), "{address} {token}");
    }
}

/// Who is about to speak is not sent away for those who come after and say nothing.
#[test]
fn a_slow_client_outlasts_silent_ones() {
    let desk = Desk::new();
    let server = HttpServer::start(&mut desk.command(&["mcp", "--http", "127.0.0.1:0"]));
    let mut slow = TcpStream::connect(&server.address).unwrap();
    let head = format!("POST /mcp HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n", server.address);
    slow.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let silent: Vec<TcpStream> = (0..450).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    slow.write_all(b"Content-Length: 2\r\n\r\n{}").unwrap();
    let mut said = [0; 12];
    slow.read_exact(&mut said).unwrap();
    assert_eq!(String::from_utf8_lossy(&said), "HTTP/1.1 400");
    drop(silent);
}
