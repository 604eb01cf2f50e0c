//! A connection's first messages: requests for encryption (answered with no), a cancel request, or the start-up message
//! with its parameters.

use super::message::utf8;
use super::reply;
use super::wire::{Stop, Wire};
use crate::error::{Error, Kind};
use bytes::{Buf, Bytes};
use std::collections::BTreeMap;

const SSL_REQUEST: i32 = 80_877_103;
const GSSENC_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
/// As Postgres bounds it.
const MAX_STARTUP_BYTES: usize = 10_000;

/// What the client came for.
#[derive(Debug)]
pub enum Request {
    Session { parameters: BTreeMap<String, String> },
    Cancel { process: i32, secret: i32 },
}

/// Reads up to the start-up message; a request for a newer protocol is answered on the way.
pub async fn receive(wire: &mut Wire) -> Result<Request, Stop> {
    let (mut ssl_asked, mut gss_asked) = (false, false);
    loop {
        let mut packet = packet(wire).await?;
        match packet.get_i32() {
            SSL_REQUEST if !std::mem::replace(&mut ssl_asked, true) => refuse_encryption(wire).await?,
            GSSENC_REQUEST if !std::mem::replace(&mut gss_asked, true) => refuse_encryption(wire).await?,
            CANCEL_REQUEST if packet.len() == 8 => return Ok(Request::Cancel { process: packet.get_i32(), secret: packet.get_i32() }),
            version if version >> 16 == 3 => {
                let (parameters, unknown_options) = parameters(packet)?;
                if version & 0xffff > 0 || !unknown_options.is_empty() {
                    reply::negotiate_version(&mut wire.out, &unknown_options);
                }
                return Ok(Request::Session { parameters });
            }
            version => {
                let message = format!("unsupported frontend protocol {}.{}: server supports 3.0 to 3.0", version >> 16, version & 0xffff);
                return Err(Stop::Fatal(Error::not_supported(message)));
            }
        }
    }
}

async fn refuse_encryption(wire: &mut Wire) -> Result<(), Stop> {
    wire.out.push(b'N');
    wire.flush().await
}

/// A length that counts itself, and so many bytes less four: a code of four bytes at least.
async fn packet(wire: &mut Wire) -> Result<Bytes, Stop> {
    loop {
        if let Some(head) = wire.input.get(..4) {
            let length = i32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            let length = usize::try_from(length).ok().filter(|l| (8..=MAX_STARTUP_BYTES).contains(l));
            let Some(length) = length else {
                return Err(Stop::Fatal(Error::new(Kind::Protocol, "invalid length of startup packet")));
            };
            if wire.input.len() >= length {
                let mut packet = wire.input.split_to(length).freeze();
                packet.advance(4);
                return Ok(packet);
            }
        }
        if wire.read().await? == 0 {
            return Err(Stop::Gone);
        }
    }
}

/// Pairs of zero-terminated texts, then a zero. Options of the protocol itself (`_pq_.…`) are set apart: none is known.
fn parameters(packet: Bytes) -> Result<(BTreeMap<String, String>, Vec<String>), Stop> {
    let invalid = || Stop::Fatal(Error::new(Kind::Protocol, "invalid startup packet layout: expected terminator as last byte"));
    let body = packet.strip_suffix(&[0]).ok_or_else(invalid)?;
    let mut texts = body.split(|b| *b == 0).map(|t| utf8(t).map(str::to_string).map_err(Stop::Fatal));
    let (mut known, mut unknown) = (BTreeMap::new(), Vec::new());
    while let Some(name) = texts.next().transpose()? {
        if name.is_empty() {
            break;
        }
        let value = texts.next().ok_or_else(invalid)??;
        if name.starts_with("_pq_.") {
            unknown.push(name);
        } else {
            known.insert(name, value);
        }
    }
    if known.get("user").is_none_or(String::is_empty) {
        return Err(Stop::Fatal(Error::new(Kind::Protocol, "no PostgreSQL user name specified in startup packet")));
    }
    Ok((known, unknown))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &'static [u8]) -> Option<(BTreeMap<String, String>, Vec<String>)> {
        parameters(Bytes::from_static(body)).ok()
    }

    #[test]
    fn parameters_come_in_pairs() {
        let (known, unknown) = read(b"user\0ann\0database\0\0_pq_.x\0on\0\0").unwrap();
        assert_eq!(known, BTreeMap::from([("user".into(), "ann".into()), ("database".into(), String::new())]));
        assert_eq!(unknown, ["_pq_.x"]);
        for bad in [&b""[..], b"\0", b"user\0", b"user\0ann", b"user\0\xff\0\0", b"database\0x\0\0"] {
            assert!(parameters(Bytes::from_static(bad)).is_err(), "{bad:?}");
        }
    }
}
