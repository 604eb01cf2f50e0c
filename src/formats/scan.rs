//! Walks the bytes of one JSON text. It validates as it goes and copies nothing that needs no copying: a string
//! without escapes is a slice of the input.
//!
//! Strings are most of the bytes. They are scanned eight at a time: one word tells whether any of its bytes ends the plain run (quote,
//! backslash, control character) or is not ASCII; only strings with such bytes are checked to be UTF-8.

/// Why a record is bad.
#[derive(Debug, PartialEq, Eq)]
pub enum Bad {
    /// The text is no JSON: what was expected, and where.
    Syntax(String),
    /// The text is fine, but a value is not what its column takes.
    Value(String),
}

/// Boxed, so that the way without errors carries one word.
pub type Checked<T> = Result<T, Box<Bad>>;

/// A value that its column does not take.
#[cold]
pub fn bad_value<T>(message: impl Into<String>) -> Checked<T> {
    Err(Box::new(Bad::Value(message.into())))
}

/// How deep values may nest: recursion must end before the stack does.
const MAX_DEPTH: usize = 200;

/// A place in a text.
pub struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

/// A string without its quotes.
pub struct JsonString<'a> {
    /// As written.
    pub raw: &'a [u8],
    /// Whether `raw` holds escapes.
    pub escaped: bool,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Cursor { text, at: 0, depth: 0 }
    }

    /// The next byte; 0 at the end (which is no JSON anywhere outside strings).
    #[inline]
    pub fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    pub fn blanks(&mut self) {
        // JSON made by programs has no blanks: one comparison in the common case.
        while self.peek() <= b' ' && matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == byte && self.at < self.text.len();
        self.at += usize::from(there);
        there
    }

    #[inline]
    pub fn expect(&mut self, byte: u8) -> Checked<()> {
        if self.take(byte) { Ok(()) } else { self.unexpected(&format!("\"{}\"", byte as char)) }
    }

    /// Moves past `bytes` if they come next.
    #[inline]
    pub fn take_all(&mut self, bytes: &[u8]) -> bool {
        let there = self.text[self.at..].starts_with(bytes);
        self.at += if there { bytes.len() } else { 0 };
        there
    }

    pub fn at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// One level deeper; error: too deep.
    pub fn enter(&mut self) -> Checked<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { bad_value(format!("JSON nests deeper than {MAX_DEPTH} levels")) } else { Ok(()) }
    }

    pub fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Error: something else than `expected` comes here.
    #[cold]
    pub fn unexpected<T>(&self, expected: &str) -> Checked<T> {
        let found = match self.text.get(self.at..).filter(|rest| !rest.is_empty()) {
            Some(rest) => format!("found {}", shown(&rest[..rest.len().min(20)])),
            None => "the text ends".to_string(),
        };
        Err(Box::new(Bad::Syntax(format!("invalid JSON at byte {}: expected {expected}, {found}", self.at + 1))))
    }

    /// A string; the cursor is at its opening quote.
    #[inline]
    pub fn string(&mut self) -> Checked<JsonString<'a>> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        let mut ascii = true;
        loop {
            let (run, plain) = plain_run(&self.text[at..]);
            ascii &= plain;
            at += run;
            match self.text.get(at) {
                Some(b'"') => break,
                Some(b'\\') if at + 1 < self.text.len() => {
                    escaped = true;
                    at += 2;
                }
                _ => {
                    self.at = at;
                    return self.unexpected("the rest of a string");
                }
            }
        }
        let raw = &self.text[start..at];
        if !ascii && std::str::from_utf8(raw).is_err() {
            return Err(Box::new(Bad::Syntax(format!("invalid JSON at byte {}: the string is not UTF-8", start + 1))));
        }
        self.at = at + 1;
        Ok(JsonString { raw, escaped })
    }

    /// The text of a number, by JSON's grammar.
    #[inline]
    pub fn number(&mut self) -> Checked<&'a str> {
        let start = self.at;
        self.take(b'-');
        let whole = self.at;
        if self.digits() == 0 || (self.text[whole] == b'0' && self.at > whole + 1) {
            self.at = start;
            return self.unexpected("a number");
        }
        if self.take(b'.') && self.digits() == 0 {
            return self.unexpected("a digit");
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            if self.digits() == 0 {
                return self.unexpected("a digit");
            }
        }
        std::str::from_utf8(&self.text[start..self.at]).or_else(|_| self.unexpected("a number"))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        self.at - start
    }

    /// A whole number that fits, the common case; `None`: it is something else, and the cursor has not moved.
    #[inline]
    pub fn small_integer(&mut self) -> Option<i64> {
        let negative = self.peek() == b'-';
        let start = self.at + usize::from(negative);
        let rest = &self.text[start.min(self.text.len())..];
        let mut value: i64 = 0;
        let mut n = 0;
        // 18 digits always fit.
        while n < 18 && n < rest.len() && rest[n].is_ascii_digit() {
            value = value * 10 + i64::from(rest[n] - b'0');
            n += 1;
        }
        let after = rest.get(n).copied().unwrap_or(0);
        if n == 0 || (rest[0] == b'0' && n > 1) || matches!(after, b'.' | b'e' | b'E' | b'0'..=b'9') {
            return None;
        }
        self.at = start + n;
        Some(if negative { -value } else { value })
    }

    /// Skips one value of any kind, checking its syntax; gives its text.
    pub fn skip(&mut self) -> Checked<&'a [u8]> {
        let start = self.at;
        match self.peek() {
            b'"' => {
                self.string()?;
            }
            b'{' => self.skip_nested(b'}')?,
            b'[' => self.skip_nested(b']')?,
            b't' if self.take_all(b"true") => {}
            b'f' if self.take_all(b"false") => {}
            b'n' if self.take_all(b"null") => {}
            b'-' | b'0'..=b'9' => {
                self.number()?;
            }
            _ => return self.unexpected("a value"),
        }
        Ok(&self.text[start..self.at])
    }

    fn skip_nested(&mut self, close: u8) -> Checked<()> {
        self.enter()?;
        self.at += 1;
        self.blanks();
        if !self.take(close) {
            loop {
                if close == b'}' {
                    if self.peek() != b'"' {
                        return self.unexpected("a field name");
                    }
                    self.string()?;
                    self.blanks();
                    self.expect(b':')?;
                    self.blanks();
                }
                self.skip()?;
                self.blanks();
                if self.take(close) {
                    break;
                }
                self.expect(b',')?;
                self.blanks();
            }
        }
        self.leave();
        Ok(())
    }
}

/// How many bytes go by before a quote, a backslash or a control character, and whether they are all ASCII.
#[inline]
fn plain_run(text: &[u8]) -> (usize, bool) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // Flags zero bytes; exact for the lowest one, which is all that is used.
    let zeros = |x: u64| x.wrapping_sub(ONES) & !x & HIGHS;
    let mut high = 0u64;
    let mut at = 0;
    for chunk in text.chunks_exact(8) {
        let word = u64::from_le_bytes(chunk.try_into().expect("a chunk has 8 bytes"));
        let stops = zeros(word ^ (ONES * b'"' as u64)) | zeros(word ^ (ONES * b'\\' as u64)) | (word.wrapping_sub(ONES * 0x20) & !word & HIGHS);
        if stops != 0 {
            let before = (stops & stops.wrapping_neg()) - 1;
            high |= word & HIGHS & before;
            return (at + stops.trailing_zeros() as usize / 8, high == 0);
        }
        high |= word & HIGHS;
        at += 8;
    }
    let mut ascii = high == 0;
    while let Some(&byte) = text.get(at) {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            break;
        }
        ascii &= byte < 0x80;
        at += 1;
    }
    (at, ascii)
}

impl<'a> JsonString<'a> {
    /// Appends the string's value to `out`.
    #[inline]
    pub fn append(&self, out: &mut Vec<u8>) -> Checked<()> {
        if !self.escaped {
            out.extend_from_slice(self.raw);
            return Ok(());
        }
        self.unescape(out)
    }

    /// The value as text; `scratch` takes it if it has to be copied.
    pub fn text<'b>(&self, scratch: &'b mut Vec<u8>) -> Checked<&'b str>
    where
        'a: 'b,
    {
        let bytes: &'b [u8] = if self.escaped {
            scratch.clear();
            self.unescape(scratch)?;
            scratch
        } else {
            self.raw
        };
        // It was checked when it was scanned, and escapes add whole characters.
        std::str::from_utf8(bytes).or_else(|_| bad_value("the string is not UTF-8"))
    }

    fn unescape(&self, out: &mut Vec<u8>) -> Checked<()> {
        let mut rest = self.raw;
        while let Some(stop) = memchr::memchr(b'\\', rest) {
            out.extend_from_slice(&rest[..stop]);
            let code = rest[stop + 1];
            rest = &rest[stop + 2..];
            let byte = match code {
                b'"' | b'\\' | b'/' => code,
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'u' => {
                    let (character, left) = unicode(rest)?;
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    rest = left;
                    continue;
                }
                _ => return Err(Box::new(Bad::Syntax(format!("invalid JSON: unknown escape {}", shown(&[b'\\', code]))))),
            };
            out.push(byte);
        }
        out.extend_from_slice(rest);
        Ok(())
    }
}

/// The character of `\uXXXX` (or of a pair of them), whose digits begin `text`; gives what follows.
fn unicode(text: &[u8]) -> Checked<(char, &[u8])> {
    let wrong = || Box::new(Bad::Syntax("invalid JSON: a \\u escape is not a character".to_string()));
    let hex = |text: &[u8]| -> Option<u32> {
        let digits = text.get(..4)?;
        digits.iter().try_fold(0, |sum, d| Some(sum * 16 + (*d as char).to_digit(16)?))
    };
    let first = hex(text).ok_or_else(wrong)?;
    let rest = &text[4..];
    let (code, rest) = match first {
        0 => return bad_value("\\u0000 cannot be kept in text"),
        0xd800..=0xdbff => {
            let low = rest.strip_prefix(b"\\u").and_then(hex).filter(|low| (0xdc00..=0xdfff).contains(low)).ok_or_else(wrong)?;
            (0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00), &rest[6..])
        }
        _ => (first, rest),
    };
    Ok((char::from_u32(code).ok_or_else(wrong)?, rest))
}

/// Bytes as a short text for messages.
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<String, String> {
        let mut out = Vec::new();
        let worded = |e: Box<Bad>| match *e {
            Bad::Syntax(m) | Bad::Value(m) => m,
        };
        Cursor::new(text.as_bytes()).string().and_then(|s| s.append(&mut out)).map_err(worded)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn strings_of_every_length_end_where_they_end() {
        for length in 0..40 {
            for stop in ["\"", "\\\"x\"", "\\n\""] {
                let text = format!("\"{}{stop} trailing\"", "é".repeat(length % 3) + &"a".repeat(length));
                assert!(value(&text).unwrap().starts_with(&"é".repeat(length % 3)), "{text}");
            }
            assert!(value(&format!("\"{}\u{1}\"", "a".repeat(length))).is_err());
            assert!(value(&format!("\"{}", "a".repeat(length))).is_err());
        }
    }

    #[test]
    fn escapes_become_characters() {
        assert_eq!(value(r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z""#).unwrap(), "a\"\\/\u{8}\u{c}\n\r\té😀z");
        for bad in [r#""\x""#, r#""\u12""#, r#""\ud83d""#, r#""\ud83dx""#, r#""\udc00""#, r#""\u0000""#, r#""\"#] {
            assert!(value(bad).is_err(), "{bad}");
        }
        assert!(Cursor::new(b"\"\xff\xfe\"").string().is_err());
    }

    #[test]
    fn skipping_checks_syntax_and_depth() {
        for good in ["null", "-1.5e+3", "[]", "{}", r#"{"a":[1,{"b":"]"}],"c":null}"#, "[ 1 , 2 ]"] {
            assert_eq!(Cursor::new(good.as_bytes()).skip().unwrap(), good.as_bytes());
        }
        for bad in ["", "nul", "01", "1.", "1e", "-", "[1,]", "{\"a\"}", "{a:1}", "[1 2]", &"[".repeat(100_000)] {
            let mut cursor = Cursor::new(bad.as_bytes());
            assert!(cursor.skip().is_err(), "{bad}");
        }
    }
}
