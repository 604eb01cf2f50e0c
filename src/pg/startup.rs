//! A connection's first messages, as pgwire reads them: requests for encryption (answered with no), a cancel request, or
//! the start-up message with its parameters. Ours are the bound on a packet, before anything waits for it, and the check
//! of its layout.

use super::frame::{Part, check};
use super::wire::{Stop, Wire};
use crate::error::{Error, Kind, Result};
use bytes::BytesMut;
use pgwire::messages::response::{GssEncResponse, SslResponse};
use pgwire::messages::startup::{NegotiateProtocolVersion, Startup};
use pgwire::messages::{DecodeContext, PgWireFrontendMessage as Message, ProtocolVersion, SslNegotiationMetaMessage as Encryption};
use std::collections::BTreeMap;

/// As Postgres and pgwire bound it.
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
        let packet = packet(wire).await?;
        let version = i32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        match message(packet).map_err(Stop::Fatal)? {
            Some(Message::SslNegotiation(Encryption::PostgresSsl(_))) if !std::mem::replace(&mut ssl_asked, true) => {
                wire.put(&SslResponse::Refuse)?;
                wire.flush().await?;
            }
            Some(Message::SslNegotiation(Encryption::PostgresGss(_))) if !std::mem::replace(&mut gss_asked, true) => {
                wire.put(&GssEncResponse::Refuse)?;
                wire.flush().await?;
            }
            Some(Message::CancelRequest(cancel)) => {
                // Ours have four bytes; what is longer is no key of this server.
                let secret = cancel.secret_key.as_i32().ok_or(Stop::Gone)?;
                return Ok(Request::Cancel { process: cancel.pid, secret });
            }
            Some(Message::Startup(startup)) => return session(wire, startup),
            _ => {
                let message = format!("unsupported frontend protocol {}.{}: server supports 3.0 to 3.0", version >> 16, version & 0xffff);
                return Err(Stop::Fatal(Error::not_supported(message)));
            }
        }
    }
}

/// A length that counts itself, and so many bytes with it: a code of four bytes at least.
async fn packet(wire: &mut Wire) -> Result<BytesMut, Stop> {
    loop {
        if let Some(head) = wire.input.get(..4) {
            let length = i32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            let length = usize::try_from(length).ok().filter(|l| (8..=MAX_STARTUP_BYTES).contains(l));
            let Some(length) = length else { return Err(Stop::Fatal(protocol("invalid length of startup packet"))) };
            if wire.input.len() >= length {
                return Ok(wire.input.split_to(length));
            }
        }
        if wire.read().await? == 0 {
            return Err(Stop::Gone);
        }
    }
}

/// What a packet says; `None` if it is of no version and no request that pgwire knows. pgwire replaces what is no UTF-8
/// and takes a missing end for one, so a start-up message is checked before.
fn message(mut packet: BytesMut) -> Result<Option<Message>> {
    if packet[4..6] == [0, 3] {
        check(&[Part::Bytes(8), Part::Pairs], &packet).map_err(|e| match e.kind() {
            Kind::Protocol => protocol("invalid startup packet layout: expected terminator as last byte"),
            _ => e,
        })?;
    }
    // The version in it says only that a cancel key is read at its whole length.
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_2);
    let mut message = Message::decode(&mut packet, &context);
    if matches!(message, Ok(Some(Message::SslNegotiation(Encryption::None)))) {
        // pgwire looks for requests for encryption first, and asks to be called again for all else.
        context.awaiting_frontend_ssl = false;
        message = Message::decode(&mut packet, &context);
    }
    Ok(message.unwrap_or_default())
}

/// The session that a start-up message asks for. Options of the protocol itself (`_pq_.…`) are set apart: none is known.
fn session(wire: &mut Wire, startup: Startup) -> Result<Request, Stop> {
    let (unknown, parameters): (BTreeMap<_, _>, BTreeMap<_, _>) = startup.parameters.into_iter().partition(|(name, _)| name.starts_with("_pq_."));
    if parameters.get("user").is_none_or(String::is_empty) {
        return Err(Stop::Fatal(protocol("no PostgreSQL user name specified in startup packet")));
    }
    if startup.protocol_number_minor > 0 || !unknown.is_empty() {
        // Only 3.0 is spoken.
        wire.put(&NegotiateProtocolVersion::new(ProtocolVersion::PROTOCOL3_0.into(), unknown.into_keys().collect()))?;
    }
    Ok(Request::Session { parameters })
}

fn protocol(message: &str) -> Error {
    Error::new(Kind::Protocol, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use rand::rngs::StdRng;
    use rand::{Rng, RngExt, SeedableRng};

    fn packet_of(code: i32, body: &[u8]) -> BytesMut {
        let mut packet = BytesMut::from(&(body.len() as i32 + 8).to_be_bytes()[..]);
        packet.extend_from_slice(&code.to_be_bytes());
        packet.extend_from_slice(body);
        packet
    }

    /// What a packet asks for, and what is answered on the way.
    fn ask(packet: BytesMut) -> (Result<Request, Stop>, Vec<u8>) {
        let mut wire = Wire::new(tokio::io::empty(), tokio::io::sink());
        wire.input = packet;
        let request = receive(&mut wire).now_or_never().expect("an empty stream does not wait");
        (request, wire.out)
    }

    fn parameters(body: &[u8]) -> Option<(BTreeMap<String, String>, Vec<u8>)> {
        match ask(packet_of(3 << 16, body)) {
            (Ok(Request::Session { parameters }), out) => Some((parameters, out)),
            _ => None,
        }
    }

    #[test]
    fn parameters_come_in_pairs() {
        let (known, out) = parameters(b"user\0ann\0database\0\0_pq_.x\0on\0\0").unwrap();
        assert_eq!(known, BTreeMap::from([("user".into(), "ann".into()), ("database".into(), String::new())]));
        assert_eq!(out, b"v\0\0\0\x13\0\x03\0\0\0\0\0\x01_pq_.x\0");
        for bad in [&b""[..], b"\0", b"user\0", b"user\0ann", b"user\0ann\0", b"user\0ann\0\0x", b"user\0\xff\0\0", b"database\0x\0\0"] {
            assert!(parameters(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_cancel_request_has_a_key_of_four_bytes() {
        const CANCEL: i32 = 80_877_102;
        let (request, _) = ask(packet_of(CANCEL, &[0, 0, 0, 1, 0, 0, 0, 2]));
        assert!(matches!(request, Ok(Request::Cancel { process: 1, secret: 2 })), "{request:?}");
        for wrong in [&[][..], &[0; 4], &[0; 7], &[0; 9], &[0; 264], &[0; 265]] {
            assert!(ask(packet_of(CANCEL, wrong)).0.is_err());
        }
    }

    #[test]
    fn no_packet_panics() {
        let mut random = StdRng::seed_from_u64(42);
        let codes = [3 << 16, (3 << 16) + 2, 2 << 16, 80_877_102, 80_877_103, 80_877_104];
        for round in 0..100_000 {
            let mut body = b"user\0ann\0database\0x\0\0".to_vec();
            if random.random_bool(0.3) {
                body = vec![0; random.random_range(0..40)];
                random.fill_bytes(&mut body);
            }
            for _ in 0..random.random_range(0..3) {
                let at = random.random_range(0..=body.len());
                if random.random_bool(0.5) { body.truncate(at) } else { body.insert(at, [0, 0xff][random.random_range(0..2)]) }
            }
            let mut packet = packet_of(codes[round % codes.len()], &body);
            if random.random_bool(0.1) {
                packet[random.random_range(0..8)] = random.random();
            }
            let _ = ask(packet);
        }
    }
}
