//! jsonb as text in one canonical form: the very text that Postgres prints for a jsonb.
//!
//! Keys are ordered by length, then by bytes; of equal keys the last one stays; numbers are numerics (`1e2` is `100`,
//! `1.50` keeps its scale); strings hold no escape that is not needed; one space follows `:` and `,`. Equal values
//! thus have equal bytes, so that jsonb groups, joins and compares for equality as the text it is kept as.

use crate::error::{Error, Kind, Result};

/// Nesting that a document may have: recursion must end before the stack does.
const MAX_DEPTH: usize = 500;
/// Digits that a number may have before its point, and after it (Postgres's own bounds for numeric).
const MAX_WHOLE_DIGITS: i64 = 131_072;
const MAX_FRACTION_DIGITS: i64 = 16_383;

/// Reads any JSON text and appends its canonical form.
pub fn canonical_json(text: &str, out: &mut String) -> Result<()> {
    let start = out.len();
    let mut parser = Parser { text, at: 0, depth: 0 };
    let done = parser.value(out).and_then(|()| {
        parser.blanks();
        if parser.at == text.len() { Ok(()) } else { Err(parser.unexpected()) }
    });
    if done.is_err() {
        out.truncate(start);
    }
    done
}

/// Checks that a text is JSON (type json keeps its text as written).
pub fn check_json(text: &str) -> Result<()> {
    canonical_json(text, &mut String::new())
}

/// Prints a jsonb value: canonical text goes through as it is, compact text gets its spaces.
pub fn write_jsonb(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let (mut in_string, mut escaped, mut copied) = (false, false, 0);
    for (i, byte) in bytes.iter().enumerate() {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
        } else if *byte == b'"' {
            in_string = true;
        } else if matches!(byte, b':' | b',') && bytes.get(i + 1) != Some(&b' ') {
            out.extend_from_slice(&bytes[copied..=i]);
            out.push(b' ');
            copied = i + 1;
        }
    }
    out.extend_from_slice(&bytes[copied..]);
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn value(&mut self, out: &mut String) -> Result<()> {
        self.blanks();
        match self.peek() {
            Some(b'{') => self.nested(out, Self::object),
            Some(b'[') => self.nested(out, Self::array),
            Some(b'"') => {
                let text = self.string()?;
                write_string(&text, out);
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => self.number(out),
            _ => self.word(out),
        }
    }

    fn nested(&mut self, out: &mut String, body: fn(&mut Self, &mut String) -> Result<()>) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::new(Kind::TooComplex, "stack depth limit exceeded").with_detail(format!("JSON may nest {MAX_DEPTH} levels deep.")));
        }
        self.at += 1;
        body(self, out)?;
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self, out: &mut String) -> Result<()> {
        let mut fields: Vec<(String, String)> = Vec::new();
        self.blanks();
        if !self.take(b'}') {
            loop {
                self.blanks();
                if self.peek() != Some(b'"') {
                    return Err(self.unexpected());
                }
                let key = self.string()?;
                self.blanks();
                self.expect(b':')?;
                let mut value = String::new();
                self.value(&mut value)?;
                fields.push((key, value));
                self.blanks();
                if self.take(b'}') {
                    break;
                }
                self.expect(b',')?;
            }
        }
        // The sort is stable, so the last of equal keys is the last in the text.
        fields.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes())));
        out.push('{');
        let mut first = true;
        for (i, (key, value)) in fields.iter().enumerate() {
            if fields.get(i + 1).is_some_and(|(next, _)| next == key) {
                continue;
            }
            if !first {
                out.push_str(", ");
            }
            first = false;
            write_string(key, out);
            out.push_str(": ");
            out.push_str(value);
        }
        out.push('}');
        Ok(())
    }

    fn array(&mut self, out: &mut String) -> Result<()> {
        out.push('[');
        self.blanks();
        if !self.take(b']') {
            loop {
                self.value(out)?;
                self.blanks();
                if self.take(b']') {
                    break;
                }
                self.expect(b',')?;
                out.push_str(", ");
            }
        }
        out.push(']');
        Ok(())
    }

    fn word(&mut self, out: &mut String) -> Result<()> {
        for word in ["true", "false", "null"] {
            if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                out.push_str(word);
                return Ok(());
            }
        }
        Err(self.unexpected())
    }

    /// `-12.5e3` as a numeric prints it.
    fn number(&mut self, out: &mut String) -> Result<()> {
        let negative = self.take(b'-');
        let whole = self.digits();
        let fraction = if self.take(b'.') { Some(self.digits()) } else { None };
        let mut exponent = 0i64;
        if self.take(b'e') || self.take(b'E') {
            let minus = !self.take(b'+') && self.take(b'-');
            let digits = self.digits();
            if digits.is_empty() {
                return Err(self.unexpected());
            }
            let size = digits.parse::<i64>().unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
            exponent = if minus { -size } else { size };
        }
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) || fraction.is_some_and(str::is_empty) {
            return Err(self.unexpected());
        }
        write_number(negative, whole, fraction.unwrap_or(""), exponent, out)
    }

    fn digits(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let digits = &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())];
        self.at += digits.len();
        digits
    }

    fn string(&mut self) -> Result<String> {
        let mut out = String::new();
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let Some(stop) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') else { return Err(self.unexpected_end()) };
            out.push_str(&rest[..stop]);
            self.at += stop + 1;
            match rest.as_bytes()[stop] {
                b'"' => return Ok(out),
                b'\\' => out.push(self.escape()?),
                _ => return Err(self.invalid("Control characters inside a string must be escaped.")),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let Some(byte) = self.peek() else { return Err(self.unexpected_end()) };
        let at = self.at;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => byte as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => {
                self.at = at; // never stand inside a character
                return Err(self.invalid("An escape sequence is not known."));
            }
        })
    }

    fn unicode(&mut self) -> Result<char> {
        let code = self.hex4()?;
        let code = match code {
            0 => return Err(Error::new(Kind::NotSupported, "unsupported Unicode escape sequence").with_detail("\\u0000 cannot be converted to text.")),
            0xd800..=0xdbff if self.text.as_bytes()[self.at..].starts_with(b"\\u") => {
                self.at += 2;
                let low = self.hex4()?;
                if !(0xdc00..=0xdfff).contains(&low) {
                    return Err(self.invalid("Unicode low surrogate must follow a high surrogate."));
                }
                0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)
            }
            _ => code,
        };
        char::from_u32(code).ok_or_else(|| self.invalid("Unicode low surrogate must follow a high surrogate."))
    }

    fn hex4(&mut self) -> Result<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| (b as char).to_digit(16));
            let Some(digit) = digit else { return Err(self.invalid("\"\\u\" must be followed by four hexadecimal digits.")) };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.take(byte) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> Error {
        match self.text.get(self.at..).and_then(|rest| rest.split(|c: char| c.is_whitespace() || "{}[],:".contains(c)).find(|t| !t.is_empty())) {
            Some(token) => self.invalid(&format!("Token \"{token}\" is invalid.")),
            None => self.unexpected_end(),
        }
    }

    fn unexpected_end(&self) -> Error {
        self.invalid("The input string ended unexpectedly.")
    }

    fn invalid(&self, detail: &str) -> Error {
        Error::new(Kind::InvalidText, "invalid input syntax for type json").with_detail(detail)
    }
}

fn write_number(negative: bool, whole: &str, fraction: &str, exponent: i64, out: &mut String) -> Result<()> {
    let digits = [whole, fraction].concat();
    let zero = digits.bytes().all(|d| d == b'0');
    let scale = (fraction.len() as i64 - exponent).max(0);
    let point = whole.len() as i64 + exponent;
    if scale > MAX_FRACTION_DIGITS || (!zero && point > MAX_WHOLE_DIGITS) {
        return Err(Error::new(Kind::NumericOutOfRange, "value overflows numeric format"));
    }
    if negative && !zero {
        out.push('-');
    }
    let digit = |i: i64| usize::try_from(i).ok().and_then(|i| digits.as_bytes().get(i)).map_or('0', |d| *d as char);
    let first = if zero { point } else { (0..point).find(|i| digit(*i) != '0').unwrap_or(point) };
    if first >= point {
        out.push('0');
    }
    out.extend((first..point).map(digit));
    if scale > 0 {
        out.push('.');
        out.extend((point..point + scale).map(digit));
    }
    Ok(())
}

/// Appends a JSON string.
pub fn write_string(text: &str, out: &mut String) {
    use std::fmt::Write;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32); // writing to a String cannot fail
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        let mut out = String::new();
        match canonical_json(text, &mut out) {
            Ok(()) => out,
            Err(e) => format!("{} {}", e.sqlstate(), e.message()),
        }
    }

    #[test]
    fn equal_values_have_equal_text() {
        let cases = [
            (r#" {"b":[1,2],"a":1} "#, r#"{"a": 1, "b": [1, 2]}"#),
            (r#"{"bb":1,"c":2,"a":3,"a":4}"#, r#"{"a": 4, "c": 2, "bb": 1}"#),
            ("[ ]", "[]"),
            ("{ }", "{}"),
            ("1e2", "100"),
            ("1.50", "1.50"),
            ("-1.5e-3", "-0.0015"),
            ("12.345e1", "123.45"),
            ("12.345e5", "1234500"),
            ("-0", "0"),
            ("0.00", "0.00"),
            ("0e5", "0"),
            ("0.001", "0.001"),
            (r#""a\u00e9\n\/\"\u0001""#, "\"aé\\n/\\\"\\u0001\""),
            (r#""\ud83d\ude00""#, "\"😀\""),
            ("[true,false,null]", "[true, false, null]"),
            ("", "22P02 invalid input syntax for type json"),
            ("{", "22P02 invalid input syntax for type json"),
            ("{\"a\"}", "22P02 invalid input syntax for type json"),
            ("[1,]", "22P02 invalid input syntax for type json"),
            ("01", "22P02 invalid input syntax for type json"),
            ("1.", "22P02 invalid input syntax for type json"),
            ("\"\\x\"", "22P02 invalid input syntax for type json"),
            ("\"\\é\"", "22P02 invalid input syntax for type json"),
            ("\"\\ud83d\"", "22P02 invalid input syntax for type json"),
            ("\"a\nb\"", "22P02 invalid input syntax for type json"),
            ("nul", "22P02 invalid input syntax for type json"),
            ("1 2", "22P02 invalid input syntax for type json"),
            ("1e9999999999999999999", "22003 value overflows numeric format"),
            ("1e-9999999999999999999", "22003 value overflows numeric format"),
        ];
        for (text, expected) in cases {
            assert_eq!(canonical(text), expected, "{text}");
            if !expected.starts_with("22") {
                assert_eq!(canonical(expected), expected, "canonical form is canonical");
            }
        }
        assert_eq!(canonical(&"[".repeat(100_000)), "54001 stack depth limit exceeded");
    }

    #[test]
    fn printing_adds_the_spaces_that_compact_text_lacks() {
        for (text, expected) in [(r#"{"a":1,"b:,":"x,\"y:z"}"#, r#"{"a": 1, "b:,": "x,\"y:z"}"#), (r#"{"a": [1, 2]}"#, r#"{"a": [1, 2]}"#)] {
            let mut out = Vec::new();
            write_jsonb(text, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
