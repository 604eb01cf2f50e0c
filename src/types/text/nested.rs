//! Texts inside texts: elements of arrays, `{1,NULL,"a b"}`, and fields of records, `(1,"a b",)`.

use crate::error::{Error, Kind, Result};

/// Appends an element of an array, quoted if it would read as something else.
pub fn write_element(text: &[u8], out: &mut Vec<u8>) {
    let special = |b: &u8| matches!(b, b'{' | b'}' | b',' | b'"' | b'\\') || is_blank(*b);
    if text.is_empty() || text.eq_ignore_ascii_case(b"null") || text.iter().any(special) {
        quote(text, out, |byte| if matches!(byte, b'"' | b'\\') { Some(b'\\') } else { None });
    } else {
        out.extend_from_slice(text);
    }
}

/// Appends a field of a record; quotes and backslashes are doubled.
pub fn write_field(text: &[u8], out: &mut Vec<u8>) {
    let special = |b: &u8| matches!(b, b'(' | b')' | b',' | b'"' | b'\\') || is_blank(*b);
    if text.is_empty() || text.iter().any(special) {
        quote(text, out, |byte| if matches!(byte, b'"' | b'\\') { Some(byte) } else { None });
    } else {
        out.extend_from_slice(text);
    }
}

fn quote(text: &[u8], out: &mut Vec<u8>, escape: impl Fn(u8) -> Option<u8>) {
    out.push(b'"');
    for byte in text {
        out.extend(escape(*byte));
        out.push(*byte);
    }
    out.push(b'"');
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// One element of an array literal, as far as its own level goes.
#[derive(Debug, PartialEq)]
pub enum Element {
    Null,
    Text(String),
    /// A literal of the next dimension, with its braces.
    Nested(String),
}

/// Takes an array literal apart, one level.
pub fn split_array(text: &str) -> Result<Vec<Element>> {
    let malformed = |detail: &str| Error::new(Kind::InvalidText, format!("malformed array literal: \"{text}\"")).with_detail(detail);
    let body = without_bounds(text.trim()).ok_or_else(|| malformed("Array value must start with \"{\" or dimension information."))?;
    let mut chars = Chars { rest: body };
    if chars.next() != Some('{') {
        return Err(malformed("Array value must start with \"{\" or dimension information."));
    }
    let mut elements = Vec::new();
    chars.blanks();
    if chars.rest.starts_with('}') {
        chars.next();
    } else {
        loop {
            elements.push(chars.element().ok_or_else(|| malformed("Unexpected array element."))?);
            chars.blanks();
            match chars.next() {
                Some(',') => {}
                Some('}') => break,
                Some(_) => return Err(malformed("Unexpected array element.")),
                None => return Err(malformed("Unexpected end of input.")),
            }
        }
    }
    if chars.rest.is_empty() { Ok(elements) } else { Err(malformed("Junk after closing right brace.")) }
}

/// `[1:3][0:1]={…}`: bounds are read and dropped, for arrays begin at 1 here.
fn without_bounds(text: &str) -> Option<&str> {
    if !text.starts_with('[') {
        return Some(text);
    }
    let (bounds, body) = text.split_once('=')?;
    bounds.trim_end().strip_suffix(']')?.bytes().all(|b| matches!(b, b'[' | b']' | b':' | b'-' | b'+' | b'0'..=b'9' | b' ')).then(|| body.trim_start())
}

struct Chars<'a> {
    rest: &'a str,
}

impl Chars<'_> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii() && is_blank(c as u8));
    }

    fn element(&mut self) -> Option<Element> {
        self.blanks();
        match self.rest.chars().next()? {
            '{' => self.nested().map(Element::Nested),
            '"' => self.quoted().map(Element::Text),
            _ => {
                let (text, escaped) = self.bare()?;
                Some(if !escaped && text.eq_ignore_ascii_case("null") { Element::Null } else { Element::Text(text) })
            }
        }
    }

    /// Up to the brace that closes the one it stands on; quotes inside are skipped over.
    fn nested(&mut self) -> Option<String> {
        let (mut depth, mut in_quotes, mut escaped) = (0usize, false, false);
        for (i, c) in self.rest.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_quotes = !in_quotes,
                '{' if !in_quotes => depth += 1,
                '}' if !in_quotes => {
                    depth -= 1;
                    if depth == 0 {
                        let (whole, rest) = self.rest.split_at(i + 1);
                        self.rest = rest;
                        return Some(whole.to_string());
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// A quoted text, in which a backslash takes the next character as it is.
    fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        self.next();
        loop {
            match self.next()? {
                '\\' => text.push(self.next()?),
                '"' => return Some(text),
                c => text.push(c),
            }
        }
    }

    /// An unquoted text up to its delimiter, without the blanks behind it; tells whether anything was escaped.
    fn bare(&mut self) -> Option<(String, bool)> {
        let (mut text, mut kept, mut escaped) = (String::new(), 0, false);
        loop {
            match self.rest.chars().next()? {
                ',' | '}' => break,
                '{' | '"' => return None,
                '\\' => {
                    self.next();
                    text.push(self.next()?);
                    (escaped, kept) = (true, text.len());
                }
                c => {
                    self.next();
                    text.push(c);
                    if !(c.is_ascii() && is_blank(c as u8)) {
                        kept = text.len();
                    }
                }
            }
        }
        text.truncate(kept);
        if text.is_empty() && !escaped { None } else { Some((text, escaped)) }
    }
}

/// Takes a record literal apart: an empty field is NULL, `""` is an empty text.
pub fn split_record(text: &str) -> Result<Vec<Option<String>>> {
    let malformed = |detail: &str| Error::new(Kind::InvalidText, format!("malformed record literal: \"{text}\"")).with_detail(detail);
    let mut chars = Chars { rest: text.trim() };
    if chars.next() != Some('(') {
        return Err(malformed("Missing left parenthesis."));
    }
    let mut fields = vec![None::<String>];
    loop {
        let last = fields.len() - 1;
        let Some(c) = chars.next() else { return Err(malformed("Unexpected end of input.")) };
        match c {
            ')' => break,
            ',' => fields.push(None),
            '"' => record_quoted(&mut chars, fields[last].get_or_insert_default()).ok_or_else(|| malformed("Unexpected end of input."))?,
            '\\' => match chars.next() {
                Some(c) => fields[last].get_or_insert_default().push(c),
                None => return Err(malformed("Unexpected end of input.")),
            },
            c => fields[last].get_or_insert_default().push(c),
        }
    }
    if chars.rest.is_empty() { Ok(fields) } else { Err(malformed("Junk after right parenthesis.")) }
}

/// The rest of a quoted stretch of a field: `""` is a quote, a backslash takes the next character as it is.
fn record_quoted(chars: &mut Chars<'_>, field: &mut String) -> Option<()> {
    loop {
        match chars.next()? {
            '"' if chars.rest.starts_with('"') => {
                chars.next();
                field.push('"');
            }
            '"' => return Some(()),
            '\\' => field.push(chars.next()?),
            c => field.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(t: &str) -> Element {
        Element::Text(t.to_string())
    }

    #[test]
    fn elements_are_quoted_when_they_must_be() {
        for (plain, quoted) in [("a", "a"), ("", "\"\""), ("NULL", "\"NULL\""), ("a b", "\"a b\""), ("a\"\\", "\"a\\\"\\\\\""), ("{x}", "\"{x}\""), ("é", "é")]
        {
            let mut out = Vec::new();
            write_element(plain.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), quoted);
        }
        for (plain, quoted) in [("a", "a"), ("", "\"\""), ("a\"b", "\"a\"\"b\""), ("(x)", "\"(x)\""), ("null", "null")] {
            let mut out = Vec::new();
            write_field(plain.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), quoted);
        }
    }

    #[test]
    fn array_literals_come_apart() {
        assert_eq!(split_array("{}").unwrap(), []);
        assert_eq!(split_array(" { 1 , null, \"null\", \"a\\\"b,\" , a b } ").unwrap(), [text("1"), Element::Null, text("null"), text("a\"b,"), text("a b")]);
        assert_eq!(split_array("{{1,\"}\"},{}}").unwrap(), [Element::Nested("{1,\"}\"}".into()), Element::Nested("{}".into())]);
        assert_eq!(split_array("[0:1]={1,2}").unwrap(), [text("1"), text("2")]);
        for bad in ["", "1", "{", "{1", "{1,}", "{,1}", "{1}x", "{a\"b\"}", "{\"a\"b}", "{\"a", "{{1}", "[1:2={1}", "{\\"] {
            assert_eq!(split_array(bad).unwrap_err().message(), format!("malformed array literal: \"{bad}\""), "{bad}");
        }
    }

    #[test]
    fn record_literals_come_apart() {
        let fields = |t: &str| split_record(t).unwrap();
        assert_eq!(fields("(1,\"a \"\"b\",)"), [Some("1".into()), Some("a \"b".into()), None]);
        assert_eq!(fields("(\"\")"), [Some(String::new())]);
        assert_eq!(fields("()"), [None]);
        for bad in ["", "1", "(", "(1", "(1)x", "(\"a", "(\\"] {
            assert_eq!(split_record(bad).unwrap_err().message(), format!("malformed record literal: \"{bad}\""));
        }
    }
}
