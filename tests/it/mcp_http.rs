//! A small client of `tallow mcp --http`: one kept connection, plain requests, answers as JSON or as an event stream.

use std::io::{BufRead, BufReader, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// Bearer token of the servers here.
pub const TOKEN: &str = "a-token-of-some-length";

/// A server on a port of its own.
pub struct HttpServer {
    child: Child,
    pub address: String,
}

impl HttpServer {
    /// Starts `tallow mcp --http` by this command, to which nothing has been added yet but its arguments.
    pub fn start(command: &mut Command) -> Self {
        command.env("TALLOW_MCP_TOKEN", TOKEN).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("serving on http://").unwrap().strip_suffix("/mcp").unwrap().to_owned();
        Self { child, address }
    }

    /// Its process.
    #[allow(dead_code, reason = "for the load bench")]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a server answered.
pub struct Answer {
    pub status: u16,
    pub session: Option<String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The message with an id, or the only one: the body itself, or the last of an event stream.
    pub fn message(&self) -> Option<Value> {
        let text = String::from_utf8_lossy(&self.body);
        let of_stream = text.lines().filter_map(|line| line.strip_prefix("data:")).filter_map(|data| serde_json::from_str(data).ok());
        let messages: Vec<Value> = of_stream.collect();
        messages.into_iter().rev().find(|m| m.get("method").is_none()).or_else(|| serde_json::from_str(&text).ok())
    }
}

/// A connection, with a session once it is greeted.
pub struct HttpClient {
    stream: BufReader<TcpStream>,
    address: String,
    session: Option<String>,
    next_id: u64,
}

impl HttpClient {
    pub fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { stream: BufReader::new(stream), address: address.to_owned(), session: None, next_id: 1 })
    }

    /// Past the handshake of the older era.
    pub fn greeted(address: &str) -> Result<Self> {
        let mut client = Self::connect(address)?;
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}).to_string();
        client.session = client.post(&[], body.as_bytes())?.session;
        client.post(&[], json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string().as_bytes())?;
        Ok(client)
    }

    /// Posts a body as it is.
    pub fn post(&mut self, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        self.post_to("/mcp", headers, body)
    }

    pub fn post_to(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let mut head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        head += "Accept: application/json, text/event-stream\r\n";
        let own = [("Host", self.address.clone()), ("Authorization", format!("Bearer {TOKEN}"))];
        for (name, value) in own.iter().filter(|(name, _)| !headers.iter().any(|(n, _)| n == name)) {
            head += &format!("{name}: {value}\r\n");
        }
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        if let Some(session) = &self.session {
            head += &format!("Mcp-Session-Id: {session}\r\nMcp-Protocol-Version: 2025-11-25\r\n");
        }
        head += "\r\n";
        self.ask(&head, body).or_else(|e| match e.kind() {
            // A connection that nobody used for a while is closed; another one takes its place.
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe if self.session.is_some() => {
                self.stream = Self::connect(&self.address)?.stream;
                self.ask(&head, body)
            }
            _ => Err(e),
        })
    }

    fn ask(&mut self, head: &str, body: &[u8]) -> Result<Answer> {
        let stream = self.stream.get_mut();
        // A server that has seen enough may close before all is written; its answer can still be read.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).and_then(|()| stream.flush());
        self.answer()
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn answer(&mut self) -> Result<Answer> {
        let bad = || std::io::Error::from(ErrorKind::InvalidData);
        let status = self.line()?.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(bad)?;
        let (mut length, mut chunked, mut session) = (0, false, None);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().map_err(|_| bad())?,
                "transfer-encoding" => chunked = value == "chunked",
                "mcp-session-id" => session = Some(value.to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        if !chunked {
            self.stream.read_exact(&mut body)?;
        }
        while chunked {
            let size = usize::from_str_radix(&self.line()?, 16).map_err(|_| bad())?;
            let begin = body.len();
            body.resize(begin + size, 0);
            self.stream.read_exact(&mut body[begin..])?;
            self.line()?;
            chunked = size > 0;
        }
        Ok(Answer { status, session, body })
    }

    pub fn request(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.next_id += 1;
        let body = json!({"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params}).to_string();
        let answer = self.post(&[], body.as_bytes())?;
        answer.message().ok_or_else(|| std::io::Error::other(format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body))))
    }
}
