//! Identifiers as Postgres writes them into a text, and as it reads them from one.

use super::statics::keywords;
use crate::error::{Error, Kind, Result};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;

/// Words that mean something else when they are not quoted.
static RESERVED: LazyLock<HashSet<&'static str>> = LazyLock::new(|| keywords().filter(|k| k.category != 'U').map(|k| k.word).collect());

/// quote_ident(): in quotes only if it has to be.
pub fn quoted(name: &str) -> Cow<'_, str> {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let plain = begins && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain && !RESERVED.contains(name) { Cow::Borrowed(name) } else { Cow::Owned(format!("\"{}\"", name.replace('"', "\"\""))) }
}

/// `schema.name`, each in quotes if it has to be.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(name))
}

/// The parts of a name with dots: folded, or as they stand in quotes. Error: it is no name.
pub fn split(text: &str) -> Result<Vec<String>> {
    parts(text, '.')
}

/// The names of a list with commas.
pub fn split_list(text: &str) -> Result<Vec<String>> {
    parts(text, ',')
}

fn parts(text: &str, between: char) -> Result<Vec<String>> {
    let invalid = || Error::new(Kind::Syntax, "invalid name syntax");
    let mut parts = Vec::new();
    let mut rest = text.trim_start();
    loop {
        let part;
        if let Some(inside) = rest.strip_prefix('"') {
            let (name, behind) = until_quote(inside).ok_or_else(invalid)?;
            (part, rest) = (name, behind);
        } else {
            let end = rest.find(|c: char| c == between || c.is_ascii_whitespace()).unwrap_or(rest.len());
            part = rest[..end].to_lowercase();
            rest = &rest[end..];
        }
        if part.is_empty() {
            return Err(invalid());
        }
        parts.push(part);
        rest = rest.trim_start();
        match rest.strip_prefix(between) {
            Some(next) => rest = next.trim_start(),
            None if rest.is_empty() => return Ok(parts),
            None => return Err(invalid()),
        }
    }
}

/// What stands before the closing quote, and what behind it; a doubled quote is one.
pub fn until_quote(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PostgreSQL 15 answers to quote_ident().
    #[test]
    fn names_are_quoted_when_they_have_to_be() {
        for plain in ["a", "_a", "value", "name", "text"] {
            assert_eq!(quoted(plain), plain);
        }
        for (name, quotes) in [("A", "\"A\""), ("a b", "\"a b\""), ("order", "\"order\""), ("x$", "\"x$\""), ("1a", "\"1a\""), ("é", "\"é\"")] {
            assert_eq!(quoted(name), quotes);
        }
        for word in ["int", "table", "user", "select", "between", "none", "char"] {
            assert_eq!(quoted(word), format!("\"{word}\""));
        }
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(quoted(""), "\"\"");
    }

    #[test]
    fn names_with_dots_come_apart() {
        assert_eq!(split(" Shop . \"It\"\"em\" ").unwrap(), ["shop", "It\"em"]);
        for wrong in ["", "t t", "\"t", "a.", ".a", "a..b", "\"\""] {
            assert_eq!(split(wrong).unwrap_err().message(), "invalid name syntax", "{wrong}");
        }
    }
}
