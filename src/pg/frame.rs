//! What clients send: frames off the byte stream, checked, then decoded by pgwire.
//!
//! pgwire's decoders trust what they read. A count or a length that claims more than is there panics (see the tests
//! below), a text without its zero byte reads as empty, bytes that are no UTF-8 are replaced, and what is left over
//! stays in the buffer and becomes the next message's head. So two steps stand before them:
//!
//! 1. [`Frame::take`] cuts a message off by its length, which is bounded before anything waits for it. A wrong type byte
//!    or length, after which nobody knows where the next message begins, ends the connection.
//! 2. [`check`] walks the body along the [`Part`]s that its type is made of; it takes nothing out. An error is one of that
//!    message (08P01, or 22021 for text that is not UTF-8), behind which the stream goes on in step.

use crate::error::{Error, Kind, Result};
use bytes::BytesMut;
use pgwire::messages::{DecodeContext, PgWireFrontendMessage, ProtocolVersion};

/// The largest message a client may send: a bound on what one connection can make the server hold.
pub const MAX_MESSAGE_BYTES: usize = 256 << 20;
/// The same for messages that carry a name at most, as Postgres and pgwire bound them.
const MAX_SMALL_MESSAGE_BYTES: usize = 10_000;

/// A message as it came, cut off the stream.
#[derive(Debug)]
pub struct Frame {
    bytes: BytesMut,
}

impl Frame {
    /// The next frame, if it is there as a whole. An error means that the stream cannot be followed any more.
    pub fn take(input: &mut BytesMut) -> Result<Option<Frame>> {
        let Some((kind, length)) = input.first().zip(input.get(1..5)) else { return Ok(None) };
        let max = max_length(*kind).ok_or_else(|| unknown_type(*kind))?;
        let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        let valid = usize::try_from(length).ok().filter(|l| (4..=max).contains(l));
        let length = valid.ok_or_else(|| protocol(format!("invalid message length {length}")))?;
        Ok((input.len() > length).then(|| Frame { bytes: input.split_to(length + 1) }))
    }

    pub fn kind(&self) -> u8 {
        self.bytes[0]
    }

    /// Whether an error in it makes the server skip to the next Sync.
    pub fn is_extended(&self) -> bool {
        matches!(self.kind(), b'P' | b'B' | b'D' | b'E' | b'C' | b'H')
    }

    pub fn message(mut self) -> Result<PgWireFrontendMessage> {
        // pgwire does not know this message.
        if self.kind() == b'F' {
            return Err(Error::not_supported("function calls over the fastpath protocol are not supported"));
        }
        if let Some(shape) = shape(self.kind()) {
            check(shape, &self.bytes[5..])?;
        }
        let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
        (context.awaiting_frontend_ssl, context.awaiting_frontend_startup) = (false, false);
        let message = PgWireFrontendMessage::decode(&mut self.bytes, &context);
        message.map_err(|e| malformed().caused_by(e))?.ok_or_else(malformed)
    }
}

/// The largest length of a message of that type, if there is such a type.
fn max_length(kind: u8) -> Option<usize> {
    match kind {
        b'Q' | b'P' | b'B' | b'F' | b'd' => Some(MAX_MESSAGE_BYTES),
        b'D' | b'E' | b'C' | b'H' | b'S' | b'X' | b'c' | b'f' | b'p' => Some(MAX_SMALL_MESSAGE_BYTES),
        _ => None,
    }
}

/// What a body of that type is made of; `None` where pgwire reads nothing that could be missing.
fn shape(kind: u8) -> Option<&'static [Part]> {
    use Part::{Bytes, List, Target, Text, Values};
    Some(match kind {
        b'Q' => &[Text],
        b'P' => &[Text, Text, List(4)],
        b'B' => &[Text, Text, List(2), Values, List(2)],
        b'D' => &[Target("DESCRIBE"), Text],
        b'C' => &[Target("CLOSE"), Text],
        b'E' => &[Text, Bytes(4)],
        b'H' | b'S' => &[],
        _ => return None,
    })
}

/// A part of a message's body.
#[derive(Clone, Copy)]
pub enum Part {
    /// UTF-8 up to a zero byte.
    Text,
    /// So many bytes.
    Bytes(usize),
    /// A count of two bytes, then so many items of a fixed size.
    List(usize),
    /// A count of two bytes, then so many values: a length and its bytes, or -1 for NULL.
    Values,
    /// S for a statement, P for a portal; with the message's name.
    Target(&'static str),
    /// Pairs of texts, then a zero byte.
    Pairs,
}

/// Whether a body is made of these parts, and of nothing else.
pub fn check(parts: &[Part], body: &[u8]) -> Result<()> {
    let rest = parts.iter().try_fold(body, |rest, part| part.skip(rest))?;
    if rest.is_empty() { Ok(()) } else { Err(malformed()) }
}

impl Part {
    /// What is behind it.
    fn skip(self, body: &[u8]) -> Result<&[u8]> {
        match self {
            Part::Text => Ok(text(body)?.1),
            Part::Bytes(count) => Ok(split(body, count)?.1),
            Part::List(item_bytes) => {
                let (items, rest) = count(body)?;
                Part::Bytes(items * item_bytes).skip(rest)
            }
            Part::Values => {
                let (values, mut rest) = count(body)?;
                for _ in 0..values {
                    rest = value(rest)?;
                }
                Ok(rest)
            }
            Part::Target(message) => match split(body, 1)? {
                (b"S" | b"P", rest) => Ok(rest),
                (other, _) => Err(protocol(format!("invalid {message} message subtype {}", other[0]))),
            },
            Part::Pairs => {
                let (mut name, mut rest) = text(body)?;
                while !name.is_empty() {
                    (name, rest) = text(text(rest)?.1)?;
                }
                Ok(rest)
            }
        }
    }
}

fn split(body: &[u8], at: usize) -> Result<(&[u8], &[u8])> {
    body.split_at_checked(at).ok_or_else(|| protocol("insufficient data left in message"))
}

fn text(body: &[u8]) -> Result<(&str, &[u8])> {
    let end = memchr::memchr(0, body).ok_or_else(|| protocol("invalid string in message"))?;
    Ok((utf8(&body[..end])?, &body[end + 1..]))
}

fn count(body: &[u8]) -> Result<(usize, &[u8])> {
    let (count, rest) = split(body, 2)?;
    Ok((u16::from_be_bytes([count[0], count[1]]) as usize, rest))
}

fn value(body: &[u8]) -> Result<&[u8]> {
    let (length, rest) = split(body, 4)?;
    match i32::from_be_bytes([length[0], length[1], length[2], length[3]]) {
        -1 => Ok(rest),
        // A negative one is none that could be there.
        length => Part::Bytes(usize::try_from(length).unwrap_or(usize::MAX)).skip(rest),
    }
}

fn protocol(message: impl Into<String>) -> Error {
    Error::new(Kind::Protocol, message)
}

fn malformed() -> Error {
    protocol("invalid message format")
}

/// A message that is of no type, or out of place.
pub fn unknown_type(kind: u8) -> Error {
    protocol(format!("invalid frontend message type {kind}"))
}

/// Text as a client sent it, which must be UTF-8.
pub fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        let wrong: Vec<String> = bytes[at..].iter().take(e.error_len().unwrap_or(1)).map(|b| format!("0x{b:02x}")).collect();
        Error::new(Kind::InvalidEncoding, format!("invalid byte sequence for encoding \"UTF8\": {}", wrong.join(" ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use pgwire::messages::Message;
    use pgwire::messages::extendedquery::{Bind, Close, Describe, Execute, Parse};
    use pgwire::messages::simplequery::Query;
    use rand::rngs::StdRng;
    use rand::{Rng, RngExt, SeedableRng};

    fn frame(kind: u8, body: &[u8]) -> Frame {
        let mut bytes = BytesMut::from(&[kind][..]);
        bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        bytes.extend_from_slice(body);
        Frame { bytes }
    }

    #[test]
    fn frames_come_whole_and_wrong_ones_end_the_stream() {
        let mut input = BytesMut::from(&b"Q\0\0\0\x06a\0S\0\0"[..]);
        let PgWireFrontendMessage::Query(query) = Frame::take(&mut input).unwrap().unwrap().message().unwrap() else { panic!("no query") };
        assert_eq!(query, Query::new("a".into()));
        assert!(Frame::take(&mut input).unwrap().is_none());
        assert_eq!(&input[..], b"S\0\0");
        for bad in [&b"z\0\0\0\x04"[..], b"S\0\0\0\x03", b"S\xff\xff\xff\xff", b"Q\x7f\xff\xff\xff", b"Q\x10\0\0\x01", b"D\0\0\x27\x11", b"p\0\0\x27\x11"] {
            assert_eq!(Frame::take(&mut BytesMut::from(bad)).unwrap_err().sqlstate(), "08P01");
        }
        for good in [&b"Q\x10\0\0\0"[..], b"D\0\0\x27\x10"] {
            assert!(Frame::take(&mut BytesMut::from(good)).unwrap().is_none(), "only the length is there yet");
        }
    }

    #[test]
    fn limits_are_within_those_of_pgwire() {
        for max in [Query::max_message_length(), Parse::max_message_length(), Bind::max_message_length()] {
            assert!(MAX_MESSAGE_BYTES <= max);
        }
        for max in [Describe::max_message_length(), Close::max_message_length(), Execute::max_message_length()] {
            assert_eq!(MAX_SMALL_MESSAGE_BYTES, max);
        }
    }

    const BIND: &[u8] = b"p\0s\0\0\x01\0\x01\0\x02\xff\xff\xff\xff\0\0\0\x02hi\0\0";

    #[test]
    fn bodies_are_read_within_their_bounds() {
        let PgWireFrontendMessage::Bind(bind) = frame(b'B', BIND).message().unwrap() else { panic!("no bind") };
        let parameters = vec![None, Some(Bytes::from_static(b"hi"))];
        assert_eq!(bind, Bind::new(Some("p".into()), Some("s".into()), vec![1], parameters, vec![]));
        for end in 0..BIND.len() {
            assert_eq!(frame(b'B', &BIND[..end]).message().unwrap_err().sqlstate(), "08P01");
        }
        assert!(frame(b'P', b"\0select\0\xff\xff").message().is_err());
        assert!(frame(b'S', b"x").message().is_err());
        assert!(frame(b'D', b"Xa\0").message().is_err());
        let e = frame(b'Q', b"select '\xff'\0").message().unwrap_err();
        assert_eq!((e.sqlstate(), e.message()), ("22021", "invalid byte sequence for encoding \"UTF8\": 0xff"));
        assert_eq!(frame(b'F', b"\0\0\0\0").message().unwrap_err().sqlstate(), "0A000");
    }

    /// The reason for `check`: once this fails, pgwire checks for itself.
    #[test]
    fn without_the_check_pgwire_panics() {
        for (kind, body) in [(b'P', &b"\0\0\xff\xff"[..]), (b'B', b"\0\0\0\0\0\x01\0\0\x10\0abc"), (b'E', b"\0\0"), (b'D', b"")] {
            assert!(frame(kind, body).message().is_err());
            let mut bytes = frame(kind, body).bytes;
            let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
            (context.awaiting_frontend_ssl, context.awaiting_frontend_startup) = (false, false);
            let decoded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| PgWireFrontendMessage::decode(&mut bytes, &context).is_ok()));
            assert!(decoded.is_err(), "{}", kind as char);
        }
    }

    /// Random and damaged bodies: a message is refused, or pgwire has read every byte of it for what it is.
    #[test]
    fn no_body_panics_and_what_is_taken_is_what_was_sent() {
        let bodies: &[(u8, &[u8])] = &[
            (b'Q', b"select 1\0"),
            (b'P', b"s\0select $1\0\0\x02\0\0\0\x17\0\0\0\x19"),
            (b'B', BIND),
            (b'B', b"\0\0\0\0\0\0\0\x02\0\0\0\x01"),
            (b'D', b"Sname\0"),
            (b'C', b"P\0"),
            (b'E', b"\0\0\0\0\x05"),
            (b'S', b""),
            (b'H', b""),
            (b'X', b""),
            (b'd', b"1,2\n"),
            (b'c', b""),
            (b'f', b"why\0"),
            (b'p', b"secret\0"),
        ];
        let mut random = StdRng::seed_from_u64(42);
        let mut taken = 0;
        for round in 0..200_000 {
            let (kind, body) = bodies[round % bodies.len()];
            let mut body = body.to_vec();
            if random.random_bool(0.2) {
                body = vec![0; random.random_range(0..40)];
                random.fill_bytes(&mut body);
            }
            for _ in 0..random.random_range(0..4) {
                let at = random.random_range(0..=body.len());
                match random.random_range(0..4) {
                    0 => body.truncate(at),
                    1 => body.insert(at, [0, 1, 2, 0x7f, 0xff][random.random_range(0..5)]),
                    2 if at < body.len() => body[at] = random.random(),
                    _ if at < body.len() => body[at] ^= 0x80,
                    _ => {}
                }
            }
            let sent = frame(kind, &body).bytes;
            let mut stream = sent.clone();
            stream.extend_from_slice(b"S\0\0\0\x04");
            let message = Frame::take(&mut stream).unwrap().unwrap().message();
            assert_eq!(&stream[..], b"S\0\0\0\x04", "the stream goes on in step");
            match message {
                Ok(message) if shape(kind).is_some() => {
                    let mut encoded = BytesMut::new();
                    message.encode(&mut encoded).unwrap();
                    assert_eq!(encoded, sent);
                    taken += 1;
                }
                Ok(_) => {}
                Err(e) => assert!(["08P01", "22021"].contains(&e.sqlstate()), "{e}"),
            }
        }
        assert!(taken > 10_000, "{taken}");
    }
}
