//! A query string, and how places in it are told: sqlparser counts lines and columns, Postgres' error positions count
//! characters from 1, and slices count bytes.

use crate::error::{Error, Kind};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

/// The text of one simple-query message or one Parse message.
#[derive(Debug)]
pub struct Source {
    text: String,
    /// Per line: bytes and characters before it.
    lines: Vec<(usize, usize)>,
}

impl Source {
    pub fn new(text: &str) -> Source {
        let mut lines = vec![(0, 0)];
        let mut characters = 0;
        for (byte, c) in text.char_indices() {
            characters += 1;
            if c == '\n' {
                lines.push((byte + 1, characters));
            }
        }
        Source { text: text.to_owned(), lines }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Bytes before `location`.
    pub fn byte(&self, location: Location) -> usize {
        let Some((start, _)) = self.line(location) else { return 0 };
        let column = (location.column as usize).saturating_sub(1);
        self.text[start..].char_indices().nth(column).map_or(self.text.len(), |(byte, _)| start + byte)
    }

    /// The character at `location`, counted from 1; `None` for a place that the parser made up.
    pub fn position(&self, location: Location) -> Option<usize> {
        let (_, characters) = self.line(location)?;
        Some(characters + location.column as usize)
    }

    fn line(&self, location: Location) -> Option<(usize, usize)> {
        self.lines.get((location.line as usize).checked_sub(1)?).copied()
    }

    /// The text from the first to the last of `tokens`.
    pub fn slice(&self, tokens: &[TokenWithSpan]) -> &str {
        match (tokens.first(), tokens.last()) {
            (Some(first), Some(last)) => &self.text[self.byte(first.span.start)..self.byte(last.span.end)],
            _ => "",
        }
    }

    /// Postgres' answer to a token that cannot stand where it stands.
    pub fn syntax_error(&self, token: &TokenWithSpan) -> Error {
        if token.token == Token::EOF {
            return Error::new(Kind::Syntax, "syntax error at end of input").at(self.text.chars().count() + 1);
        }
        let near = &self.text[self.byte(token.span.start)..self.byte(token.span.end)];
        let error = Error::new(Kind::Syntax, format!("syntax error at or near \"{near}\""));
        match self.position(token.span.start) {
            Some(position) => error.at(position),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_not_bytes() {
        let source = Source::new("SELECT 'ä',\n  x");
        let x = Location { line: 2, column: 3 };
        assert_eq!(source.position(x), Some(15));
        assert_eq!(&source.text()[source.byte(x)..], "x");
        assert_eq!(source.position(Location { line: 0, column: 0 }), None);
    }
}
