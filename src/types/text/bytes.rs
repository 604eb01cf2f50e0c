//! Booleans, bytea and uuid.

use super::{invalid_syntax, trim};
use crate::error::{Error, Kind, Result};

const HEX: &[u8; 16] = b"0123456789abcdef";

pub fn write_bool(value: bool, out: &mut Vec<u8>) {
    out.push(if value { b't' } else { b'f' });
}

/// Any beginning of true, false, yes, no, on, off that leaves no doubt, or 1 or 0.
pub fn parse_bool(text: &str) -> Result<bool> {
    let word = trim(text).to_ascii_lowercase();
    let begins = |full: &str, at_least: usize| word.len() >= at_least && full.starts_with(&word);
    if begins("true", 1) || begins("yes", 1) || word == "on" || word == "1" {
        Ok(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0" {
        Ok(false)
    } else {
        Err(invalid_syntax(Kind::InvalidText, "boolean", text))
    }
}

pub fn write_bytea(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\x");
    write_hex(value, out);
}

fn write_hex(value: &[u8], out: &mut Vec<u8>) {
    out.reserve(value.len() * 2);
    for byte in value {
        out.push(HEX[(byte >> 4) as usize]);
        out.push(HEX[(byte & 15) as usize]);
    }
}

/// The hex form `\x00ff`, or the escape form (`\000`, `\\`, anything else as it is).
pub fn parse_bytea(text: &str) -> Result<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(hex) => parse_hex(hex),
        None => parse_escaped(text.as_bytes()).ok_or_else(|| Error::new(Kind::InvalidText, "invalid input syntax for type bytea")),
    }
}

fn parse_hex(hex: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(hex.len() / 2);
    let mut high = None;
    for c in hex.chars() {
        if high.is_none() && (c.is_ascii_whitespace()) {
            continue;
        }
        let Some(digit) = c.to_digit(16) else {
            return Err(Error::new(Kind::InvalidParameter, format!("invalid hexadecimal digit: \"{c}\"")));
        };
        match high.take() {
            None => high = Some(digit),
            Some(first) => out.push((first * 16 + digit) as u8),
        }
    }
    if high.is_some() {
        return Err(Error::new(Kind::InvalidParameter, "invalid hexadecimal data: odd number of digits"));
    }
    Ok(out)
}

fn parse_escaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                out.push(b'\\');
                tail
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                tail
            }
            (b'\\', _) => return None,
            (byte, tail) => {
                out.push(*byte);
                tail
            }
        };
    }
    Some(out)
}

/// `a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11`; a slice that is not 16 bytes long prints as plain hex.
pub fn write_uuid(value: &[u8], out: &mut Vec<u8>) {
    if value.len() != 16 {
        return write_hex(value, out);
    }
    for (i, part) in [&value[0..4], &value[4..6], &value[6..8], &value[8..10], &value[10..16]].into_iter().enumerate() {
        if i > 0 {
            out.push(b'-');
        }
        write_hex(part, out);
    }
}

/// 32 hex digits in either case, with a hyphen after any group of four, braces around allowed.
pub fn parse_uuid(text: &str) -> Result<[u8; 16]> {
    let invalid = || invalid_syntax(Kind::InvalidText, "uuid", text);
    let bare = trim(text);
    let bare = bare.strip_prefix('{').and_then(|s| s.strip_suffix('}')).unwrap_or(bare);
    let mut value = [0u8; 16];
    let mut digits = 0;
    let mut after_hyphen = true;
    for c in bare.chars() {
        if c == '-' && digits % 4 == 0 && !after_hyphen {
            after_hyphen = true;
            continue;
        }
        let digit = c.to_digit(16).filter(|_| digits < 32).ok_or_else(invalid)?;
        value[digits / 2] = value[digits / 2] * 16 + digit as u8;
        digits += 1;
        after_hyphen = false;
    }
    if digits == 32 && !after_hyphen { Ok(value) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(write: fn(&[u8], &mut Vec<u8>), value: &[u8]) -> String {
        let mut out = Vec::new();
        write(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn booleans() {
        for text in ["t", "TRUE", " tr ", "y", "yes", "on", "1"] {
            assert!(parse_bool(text).unwrap(), "{text}");
        }
        for text in ["f", "False", "n", "no", "of", "off", "0"] {
            assert!(!parse_bool(text).unwrap(), "{text}");
        }
        for text in ["", "o", "2", "yesno", "truee"] {
            assert_eq!(parse_bool(text).unwrap_err().message(), format!("invalid input syntax for type boolean: \"{text}\""));
        }
    }

    #[test]
    fn bytea_in_both_forms() {
        assert_eq!(print(write_bytea, &[0, 255, 16]), "\\x00ff10");
        assert_eq!(parse_bytea("\\x00 FF").unwrap(), [0, 255]);
        assert_eq!(parse_bytea("a\\000\\\\é").unwrap(), [b'a', 0, b'\\', 0xc3, 0xa9]);
        assert_eq!(parse_bytea("\\x0").unwrap_err().message(), "invalid hexadecimal data: odd number of digits");
        assert_eq!(parse_bytea("\\xzz").unwrap_err().message(), "invalid hexadecimal digit: \"z\"");
        assert_eq!(parse_bytea("\\9").unwrap_err().sqlstate(), "22P02");
    }

    #[test]
    fn uuids() {
        let text = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        let value = parse_uuid(text).unwrap();
        assert_eq!(print(write_uuid, &value), text);
        assert_eq!(parse_uuid("{A0EEBC999C0B4EF8BB6D6BB9BD380A11}").unwrap(), value);
        assert_eq!(parse_uuid("a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11").unwrap(), value);
        for text in ["", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", "a0eebc99--9c0b4ef8bb6d6bb9bd380a11", "a0eebc999c0b4ef8bb6d6bb9bd380a11a", "é"] {
            assert_eq!(parse_uuid(text).unwrap_err().message(), format!("invalid input syntax for type uuid: \"{text}\""));
        }
    }
}
