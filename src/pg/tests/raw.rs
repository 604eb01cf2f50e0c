//! A client that speaks bytes: it sends any message, right or wrong, and shows the answers as one line of text each.

use super::fake::TestServer;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub struct Raw {
    pub socket: TcpStream,
    pub process: i32,
    pub secret: i32,
}

pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend((body.len() as i32 + 4).to_be_bytes());
    out.extend(body);
    out
}

pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &text(sql))
}

pub fn parse(name: &str, sql: &str, oids: &[u32]) -> Vec<u8> {
    let mut body = [text(name), text(sql)].concat();
    body.extend((oids.len() as u16).to_be_bytes());
    oids.iter().for_each(|o| body.extend(o.to_be_bytes()));
    message(b'P', &body)
}

pub fn bind(portal: &str, statement: &str, formats: &[i16], values: &[Option<&[u8]>], results: &[i16]) -> Vec<u8> {
    let mut body = [text(portal), text(statement)].concat();
    let codes = |codes: &[i16]| {
        let mut out = (codes.len() as u16).to_be_bytes().to_vec();
        codes.iter().for_each(|c| out.extend(c.to_be_bytes()));
        out
    };
    body.extend(codes(formats));
    body.extend((values.len() as u16).to_be_bytes());
    for value in values {
        body.extend(value.map_or(-1, |v| v.len() as i32).to_be_bytes());
        body.extend(value.unwrap_or_default());
    }
    body.extend(codes(results));
    message(b'B', &body)
}

pub fn describe(target: u8, name: &str) -> Vec<u8> {
    message(b'D', &[vec![target], text(name)].concat())
}

pub fn close(target: u8, name: &str) -> Vec<u8> {
    message(b'C', &[vec![target], text(name)].concat())
}

pub fn execute(portal: &str, limit: i32) -> Vec<u8> {
    message(b'E', &[text(portal), limit.to_be_bytes().to_vec()].concat())
}

pub fn sync() -> Vec<u8> {
    message(b'S', b"")
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

pub fn startup(version: i32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    parameters.iter().for_each(|(k, v)| body.extend([text(k), text(v)].concat()));
    body.push(0);
    [(body.len() as i32 + 4).to_be_bytes().to_vec(), body].concat()
}

impl Raw {
    /// A socket, nothing sent.
    pub fn open(server: &TestServer) -> Raw {
        let socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        Raw { socket, process: 0, secret: 0 }
    }

    /// A session that is ready.
    pub fn connect(server: &TestServer) -> Raw {
        let mut raw = Raw::open(server);
        raw.send(&startup(3 << 16, &[("user", "ann"), ("database", "tidewater")]));
        assert_eq!(raw.answers().last().map(String::as_str), Some("Z I"));
        raw
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// The next message; `None` when the server has closed.
    pub fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.socket.read_exact(&mut head).ok()?;
        let mut body = vec![0; i32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
        self.socket.read_exact(&mut body).ok()?;
        if head[0] == b'K' {
            self.process = i32::from_be_bytes(body[..4].try_into().unwrap());
            self.secret = i32::from_be_bytes(body[4..].try_into().unwrap());
        }
        Some((head[0], body))
    }

    /// Answers up to ReadyForQuery or the end of the connection.
    pub fn answers(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some((kind, body)) = self.next() {
            lines.push(show(kind, &body));
            if kind == b'Z' {
                return lines;
            }
        }
        lines.push("closed".to_string());
        lines
    }

    /// Sends, and shows all answers in one line.
    pub fn ask(&mut self, messages: &[Vec<u8>]) -> String {
        self.send(&messages.concat());
        self.answers().join(" | ")
    }

    /// A cancel request for this session, on a connection of its own, which the server closes without an answer.
    pub fn cancel(&self, server: &TestServer, secret: i32) {
        let mut other = Raw::open(server);
        other.send(&[16, 80_877_102, self.process, secret].map(i32::to_be_bytes).concat());
        assert_eq!(other.socket.read(&mut [0; 1]).unwrap_or(0), 0);
    }
}

/// A message as a reader would write it down.
fn show(kind: u8, body: &[u8]) -> String {
    let texts = || String::from_utf8_lossy(body).trim_end_matches('\0').replace('\0', " ");
    match kind {
        b'C' => format!("C {}", texts()),
        b'Z' => format!("Z {}", texts()),
        b'S' => format!("S {}", texts()),
        b'E' | b'N' => {
            let fields: Vec<&[u8]> = body.split(|b| *b == 0).collect();
            let field = |code: u8| fields.iter().find(|f| f.first() == Some(&code)).map_or(String::new(), |f| String::from_utf8_lossy(&f[1..]).into_owned());
            format!("{} {} {}", field(b'S'), field(b'C'), field(b'M'))
        }
        b'D' => format!("D {}", row(body).join(",")),
        b'T' => format!("T{}", i16::from_be_bytes([body[0], body[1]])),
        b't' => format!("t {}", body[2..].chunks(4).map(|c| u32::from_be_bytes(c.try_into().unwrap()).to_string()).collect::<Vec<_>>().join(",")),
        other => (other as char).to_string(),
    }
}

/// The values of a DataRow; what is no text prints as hex.
fn row(mut body: &[u8]) -> Vec<String> {
    let count = u16::from_be_bytes([body[0], body[1]]);
    body = &body[2..];
    let mut values = Vec::new();
    for _ in 0..count {
        let length = i32::from_be_bytes(body[..4].try_into().unwrap());
        body = &body[4..];
        if length < 0 {
            values.push("null".to_string());
            continue;
        }
        let (value, rest) = body.split_at(length as usize);
        body = rest;
        let plain = value.iter().all(|b| (b' '..0x7f).contains(b));
        values.push(if plain { String::from_utf8_lossy(value).into_owned() } else { value.iter().map(|b| format!("{b:02x}")).collect() });
    }
    assert!(body.is_empty(), "a row is as long as its values");
    values
}
