//! What clients send: frames off the byte stream, and their bodies as messages.
//!
//! A frame is cut off by its length first, and its body is then read with every count and length checked against what
//! is there. So a malformed body is an error of that message (08P01), behind which the stream goes on in step; only a
//! wrong type byte or length, after which nobody knows where the next message begins, ends the connection. Texts must
//! be UTF-8 (22021). These checks are why the bodies are read here and not by pgwire, whose readers panic on a Bind
//! that claims more than it has and replace bytes that are no UTF-8.

use crate::error::{Error, Kind, Result};
use bytes::{Buf, Bytes, BytesMut};

/// The largest message a client may send: a bound on what one connection can make the server hold.
pub const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// A message of an established connection.
#[derive(Debug, PartialEq)]
pub enum Message {
    Query(String),
    Parse {
        name: String,
        sql: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe(Target),
    Execute {
        portal: String,
        limit: i32,
    },
    Close(Target),
    Flush,
    Sync,
    Terminate,
    /// CopyData, CopyDone or CopyFail outside a COPY: left over from one that failed, to be ignored.
    LeftoverCopy,
    FunctionCall,
}

#[derive(Debug, PartialEq)]
pub struct Bind {
    pub portal: String,
    pub statement: String,
    pub parameter_formats: Vec<i16>,
    pub parameters: Vec<Option<Bytes>>,
    pub result_formats: Vec<i16>,
}

/// What Describe and Close name.
#[derive(Debug, PartialEq)]
pub enum Target {
    Statement(String),
    Portal(String),
}

/// A message's type byte and body, cut off the stream.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    body: Bytes,
}

impl Frame {
    /// The next frame, if it is there as a whole. An error means that the stream cannot be followed any more.
    pub fn take(input: &mut BytesMut) -> Result<Option<Frame>> {
        let Some((kind, length)) = input.first().zip(input.get(1..5)) else { return Ok(None) };
        if !b"QPBDECHSXdcfFp".contains(kind) {
            return Err(protocol(format!("invalid frontend message type {kind}")));
        }
        let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        let body = usize::try_from(length).ok().and_then(|l| l.checked_sub(4)).filter(|l| *l <= MAX_MESSAGE_BYTES);
        let Some(body) = body else { return Err(protocol(format!("invalid message length {length}"))) };
        if input.len() < body + 5 {
            return Ok(None);
        }
        let kind = *kind;
        input.advance(5);
        Ok(Some(Frame { kind, body: input.split_to(body).freeze() }))
    }

    /// Whether an error in it makes the server skip to the next Sync.
    pub fn is_extended(&self) -> bool {
        matches!(self.kind, b'P' | b'B' | b'D' | b'E' | b'C' | b'H')
    }

    pub fn message(self) -> Result<Message> {
        let mut body = Body { rest: self.body };
        let message = match self.kind {
            b'Q' => Message::Query(body.text()?),
            b'P' => Message::Parse { name: body.text()?, sql: body.text()?, types: body.list(4, |b| b.get_u32())? },
            b'B' => Message::Bind(body.bind()?),
            b'D' => Message::Describe(body.target("DESCRIBE")?),
            b'E' => Message::Execute { portal: body.text()?, limit: body.number()? },
            b'C' => Message::Close(body.target("CLOSE")?),
            b'H' => Message::Flush,
            b'S' => Message::Sync,
            b'X' => return Ok(Message::Terminate),
            b'd' | b'c' | b'f' => return Ok(Message::LeftoverCopy),
            b'F' => return Ok(Message::FunctionCall),
            other => return Err(protocol(format!("invalid frontend message type {other}"))),
        };
        if body.rest.is_empty() { Ok(message) } else { Err(protocol("invalid message format")) }
    }
}

fn protocol(message: impl Into<String>) -> Error {
    Error::new(Kind::Protocol, message)
}

/// A message body that is being read from its front.
struct Body {
    rest: Bytes,
}

impl Body {
    fn need(&self, bytes: usize) -> Result<()> {
        if self.rest.len() >= bytes { Ok(()) } else { Err(protocol("insufficient data left in message")) }
    }

    /// Text up to a zero byte.
    fn text(&mut self) -> Result<String> {
        let end = memchr::memchr(0, &self.rest).ok_or_else(|| protocol("invalid string in message"))?;
        let text = utf8(&self.rest[..end])?.to_string();
        self.rest.advance(end + 1);
        Ok(text)
    }

    fn number(&mut self) -> Result<i32> {
        self.need(4)?;
        Ok(self.rest.get_i32())
    }

    /// A count of two bytes, then so many items of a fixed size.
    fn list<T>(&mut self, item_bytes: usize, read: impl Fn(&mut Bytes) -> T) -> Result<Vec<T>> {
        self.need(2)?;
        let count = self.rest.get_u16() as usize;
        self.need(count * item_bytes)?;
        Ok((0..count).map(|_| read(&mut self.rest)).collect())
    }

    fn bind(&mut self) -> Result<Bind> {
        let (portal, statement) = (self.text()?, self.text()?);
        let parameter_formats = self.list(2, |b| b.get_i16())?;
        self.need(2)?;
        let count = self.rest.get_u16();
        let parameters = (0..count).map(|_| self.value()).collect::<Result<_>>()?;
        Ok(Bind { portal, statement, parameter_formats, parameters, result_formats: self.list(2, |b| b.get_i16())? })
    }

    /// A length and so many bytes, or -1 for NULL.
    fn value(&mut self) -> Result<Option<Bytes>> {
        match self.number()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| protocol("insufficient data left in message"))?;
                self.need(length)?;
                Ok(Some(self.rest.split_to(length)))
            }
        }
    }

    fn target(&mut self, message: &str) -> Result<Target> {
        self.need(1)?;
        match self.rest.get_u8() {
            b'S' => Ok(Target::Statement(self.text()?)),
            b'P' => Ok(Target::Portal(self.text()?)),
            other => Err(protocol(format!("invalid {message} message subtype {other}"))),
        }
    }
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

    fn frame(kind: u8, body: &[u8]) -> Frame {
        Frame { kind, body: Bytes::copy_from_slice(body) }
    }

    #[test]
    fn frames_come_whole_and_wrong_ones_end_the_stream() {
        let mut input = BytesMut::from(&b"Q\0\0\0\x06a\0S\0\0"[..]);
        assert_eq!(Frame::take(&mut input).unwrap().unwrap().message().unwrap(), Message::Query("a".into()));
        assert!(Frame::take(&mut input).unwrap().is_none());
        assert_eq!(&input[..], b"S\0\0");
        for bad in [&b"z\0\0\0\x04"[..], b"S\0\0\0\x03", b"S\xff\xff\xff\xff", b"Q\x7f\xff\xff\xff"] {
            assert_eq!(Frame::take(&mut BytesMut::from(bad)).unwrap_err().sqlstate(), "08P01");
        }
    }

    #[test]
    fn bodies_are_read_within_their_bounds() {
        let bind = b"p\0s\0\0\x01\0\x01\0\x02\xff\xff\xff\xff\0\0\0\x02hi\0\0";
        let expected = Bind {
            portal: "p".into(),
            statement: "s".into(),
            parameter_formats: vec![1],
            parameters: vec![None, Some(Bytes::from_static(b"hi"))],
            result_formats: vec![],
        };
        assert_eq!(frame(b'B', bind).message().unwrap(), Message::Bind(expected));
        for end in 0..bind.len() {
            assert_eq!(frame(b'B', &bind[..end]).message().unwrap_err().sqlstate(), "08P01");
        }
        assert!(frame(b'P', b"\0select\0\xff\xff").message().is_err());
        assert!(frame(b'S', b"x").message().is_err());
        assert!(frame(b'D', b"Xa\0").message().is_err());
        let e = frame(b'Q', b"select '\xff'\0").message().unwrap_err();
        assert_eq!((e.sqlstate(), e.message()), ("22021", "invalid byte sequence for encoding \"UTF8\": 0xff"));
    }
}
