//! Texts: `length`, `substring` by place or by regular expression, `SIMILAR TO`, quoting, and `regexp_split_to_array`.

use super::table::{Overload, Type, function, with_aliases};
use crate::error::{Error, Kind, Result};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, ListBuilder, StringArray, StringBuilder};
use arrow::compute::kernels::regexp::{regexp_is_match, regexp_match};
use arrow::datatypes::Int32Type;
use datafusion::logical_expr::ScalarUDF;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        with_aliases("substring", &["substr"], &SUBSTRING),
        function("tw_similar_to", &SIMILAR_TO),
        function("tw_like_pattern", &LIKE_PATTERN),
        function("length", &LENGTH),
        function("quote_literal", &QUOTE_LITERAL),
        function("quote_ident", &QUOTE_IDENT),
        function("regexp_split_to_array", &SPLIT),
    ]
}

const SUBSTRING: [Overload; 6] = [
    Overload { takes: &[Type::Text, Type::Integer], gives: Type::Text, run: |c| texts(c) },
    Overload { takes: &[Type::Text, Type::Integer, Type::Integer], gives: Type::Text, run: |c| texts(c) },
    Overload { takes: &[Type::Text, Type::Text], gives: Type::Text, run: by_pattern },
    Overload { takes: &[Type::Text, Type::Text, Type::Text], gives: Type::Text, run: refused },
    Overload { takes: &[Type::Bytes, Type::Integer], gives: Type::Bytes, run: bytes },
    Overload { takes: &[Type::Bytes, Type::Integer, Type::Integer], gives: Type::Bytes, run: bytes },
];
const LENGTH: [Overload; 2] = [
    Overload { takes: &[Type::Text], gives: Type::Integer, run: |c| lengths(c[0].as_string::<i32>().iter().map(|t| t.map_or(0, |t| t.chars().count()))) },
    Overload { takes: &[Type::Bytes], gives: Type::Integer, run: |c| lengths(c[0].as_binary::<i32>().iter().map(|b| b.map_or(0, <[u8]>::len))) },
];
const SIMILAR_TO: [Overload; 2] = [
    Overload { takes: &[Type::Text, Type::Text], gives: Type::Boolean, run: similar },
    Overload { takes: &[Type::Text, Type::Text, Type::Text], gives: Type::Boolean, run: similar },
];
const LIKE_PATTERN: [Overload; 1] = [Overload {
    takes: &[Type::Text, Type::Text],
    gives: Type::Text,
    run: |c| {
        let pairs = c[0].as_string::<i32>().iter().zip(c[1].as_string::<i32>());
        Ok(Arc::new(pairs.map(|(pattern, escape)| Some(with_backslashes(pattern?, escape?))).collect::<StringArray>()))
    },
}];
const QUOTE_LITERAL: [Overload; 1] = [Overload { takes: &[Type::Text], gives: Type::Text, run: |c| Ok(map(&c[0], quoted_literal)) }];
const QUOTE_IDENT: [Overload; 1] = [Overload { takes: &[Type::Text], gives: Type::Text, run: |c| Ok(map(&c[0], quoted_ident)) }];
const SPLIT: [Overload; 1] = [Overload { takes: &[Type::Text, Type::Text], gives: Type::Texts, run: split }];

fn lengths(of: impl Iterator<Item = usize>) -> Result<ArrayRef> {
    let too_long = |_| Error::new(Kind::NumericOutOfRange, "integer out of range");
    Ok(Arc::new(Int32Array::from(of.map(|n| i32::try_from(n).map_err(too_long)).collect::<Result<Vec<i32>>>()?)))
}

fn map(column: &ArrayRef, f: impl Fn(&str) -> String) -> ArrayRef {
    Arc::new(column.as_string::<i32>().iter().map(|text| text.map(&f)).collect::<StringArray>())
}

/// The places from `start` (counted from 1) that lie in a value of `length`, as a range from 0.
fn range(columns: &[ArrayRef], row: usize, length: usize) -> Result<std::ops::Range<usize>> {
    let start = i64::from(columns[1].as_primitive::<Int32Type>().value(row)) - 1;
    let end = match columns.get(2) {
        None => length as i64,
        Some(lengths) => {
            let wanted = i64::from(lengths.as_primitive::<Int32Type>().value(row));
            if wanted < 0 {
                return Err(Error::new(Kind::Substring, "negative substring length not allowed"));
            }
            start + wanted
        }
    };
    let clamp = |place: i64| place.clamp(0, length as i64) as usize;
    Ok(clamp(start)..clamp(end).max(clamp(start)))
}

fn texts(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let values = columns[0].as_string::<i32>();
    let mut out = StringBuilder::with_capacity(values.len(), values.value_data().len());
    for row in 0..values.len() {
        let text = values.value(row);
        if text.is_ascii() {
            out.append_value(&text[range(columns, row, text.len())?]);
            continue;
        }
        let places = range(columns, row, text.chars().count())?;
        out.append_value(text.chars().skip(places.start).take(places.len()).collect::<String>());
    }
    Ok(Arc::new(out.finish()))
}

fn bytes(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let values = columns[0].as_binary::<i32>();
    let cut = (0..values.len()).map(|row| Ok(&values.value(row)[range(columns, row, values.value(row).len())?]));
    Ok(Arc::new(BinaryArray::from_iter_values(cut.collect::<Result<Vec<&[u8]>>>()?)))
}

fn pattern_error(e: arrow::error::ArrowError) -> Error {
    Error::new(Kind::InvalidRegularExpression, "invalid regular expression").with_detail(e.to_string())
}

/// What the first group of the pattern holds, or without groups the pattern itself; NULL without a match.
fn by_pattern(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let matches = regexp_match(&columns[0].as_string::<i32>(), &columns[1].as_string::<i32>(), None).map_err(pattern_error)?;
    let first = matches.as_list::<i32>().iter().map(|groups| {
        let groups = groups?;
        let groups = groups.as_string::<i32>();
        (!groups.is_empty() && groups.is_valid(0)).then(|| groups.value(0).to_owned())
    });
    Ok(Arc::new(first.collect::<StringArray>()))
}

fn refused(_columns: &[ArrayRef]) -> Result<ArrayRef> {
    Err(Error::not_supported("substring(… from … for escape) is not supported").with_hint("use substring(x from 'regular expression')"))
}

fn similar(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let patterns = columns[1].as_string::<i32>();
    let mut translated = Vec::with_capacity(patterns.len());
    for row in 0..patterns.len() {
        let escape = match columns.get(2).map(|c| c.as_string::<i32>().value(row)) {
            None => Some('\\'),
            Some("") => None,
            Some(text) if text.chars().count() == 1 => text.chars().next(),
            Some(_) => return Err(Error::new(Kind::InvalidEscapeSequence, "invalid escape string").with_hint("Escape string must be empty or one character.")),
        };
        translated.push(regular(patterns.value(row), escape));
    }
    let translated = StringArray::from(translated);
    Ok(Arc::new(regexp_is_match(columns[0].as_string::<i32>(), &translated, None::<&StringArray>).map_err(pattern_error)?))
}

/// A pattern of LIKE whose escape character is the backslash.
pub fn with_backslashes(pattern: &str, escape: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            c if escape.starts_with(c) => out.extend(std::iter::once('\\').chain(letters.next())),
            '\\' => out.push_str("\\\\"),
            c => out.push(c),
        }
    }
    out
}

/// A pattern of SIMILAR TO as a regular expression over the whole text.
fn regular(pattern: &str, escape: Option<char>) -> String {
    let mut out = String::from("^(?s:");
    let (mut escaped, mut in_class) = (false, false);
    for c in pattern.chars() {
        if escaped {
            if !c.is_alphanumeric() {
                out.push('\\');
            }
            out.push(c);
            escaped = false;
            continue;
        }
        match c {
            _ if Some(c) == escape => escaped = true,
            ']' if in_class => {
                in_class = false;
                out.push(c);
            }
            _ if in_class => out.push(c),
            '[' => {
                in_class = true;
                out.push(c);
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '.' | '^' | '$' | '\\' => out.extend(['\\', c]),
            '(' => out.push_str("(?:"),
            other => out.push(other),
        }
    }
    out.push_str(")$");
    out
}

fn quoted_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

fn quoted_ident(text: &str) -> String {
    let mut bytes = text.bytes();
    let plain = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_') && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain && !crate::sql::parse::is_reserved(text) { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

fn split(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (texts, patterns) = (columns[0].as_string::<i32>(), columns[1].as_string::<i32>());
    let mut out = ListBuilder::new(StringBuilder::new());
    for row in 0..texts.len() {
        let (mut rest, pattern) = (texts.value(row), patterns.value(row));
        while let Some((before, after)) = split_once(rest, pattern)? {
            out.values().append_value(before);
            rest = after;
        }
        out.values().append_value(rest);
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

/// `text` around the first match: the shortest start, the match, and the rest.
fn split_once<'t>(text: &'t str, pattern: &str) -> Result<Option<(&'t str, &'t str)>> {
    let whole = StringArray::from(vec![format!("(?s)^(.*?)((?:{pattern}))(.*)$")]);
    let matches = regexp_match(&StringArray::from(vec![text]), &whole, None).map_err(pattern_error)?;
    let matches = matches.as_list::<i32>();
    if text.is_empty() || matches.is_null(0) {
        return Ok(None);
    }
    let groups = matches.value(0);
    let groups = groups.as_string::<i32>();
    let (before, found) = (groups.value(0).len(), groups.value(1).len());
    if before + found == 0 {
        // An empty match splits between characters.
        let first = text.chars().next().map_or(0, char::len_utf8);
        return Ok((first < text.len()).then(|| (&text[..first], &text[first..])));
    }
    Ok(Some((&text[..before], &text[before + found..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(text: &str) -> ArrayRef {
        Arc::new(StringArray::from(vec![text]))
    }

    #[test]
    fn a_substring_is_counted_from_one_in_characters() {
        let cut = |text: &str, start: i32, length: Option<i32>| {
            let mut columns = vec![column(text), Arc::new(Int32Array::from(vec![start])) as ArrayRef];
            columns.extend(length.map(|l| Arc::new(Int32Array::from(vec![l])) as ArrayRef));
            texts(&columns).map(|c| c.as_string::<i32>().value(0).to_owned())
        };
        assert_eq!(cut("abc", 2, None).unwrap(), "bc");
        assert_eq!(cut("äbc", -1, Some(3)).unwrap(), "ä");
        assert_eq!(cut("abc", 2, Some(i32::MAX)).unwrap(), "bc");
        assert_eq!(cut("abc", i32::MIN, Some(5)).unwrap(), "");
        assert_eq!(cut("abc", 1, Some(-1)).unwrap_err().sqlstate(), "22011");
    }

    #[test]
    fn patterns_find_their_first_group() {
        let found =
            |text: &str, pattern: &str| by_pattern(&[column(text), column(pattern)]).map(|c| c.as_string::<i32>().iter().next().flatten().map(str::to_owned));
        assert_eq!(found("foobar", "o(.)b").unwrap().as_deref(), Some("o"));
        assert_eq!(found("foobar", "o.b").unwrap().as_deref(), Some("oob"));
        assert_eq!(found("foobar", "z").unwrap(), None);
        assert_eq!(found("a", "(").unwrap_err().sqlstate(), "2201B");
    }

    #[test]
    fn similar_to_matches_the_whole_text() {
        let matches = |text: &str, pattern: &str| similar(&[column(text), column(pattern)]).unwrap().as_boolean().value(0);
        assert!(matches("abc", "(a|b)%"));
        assert!(!matches("abc", "(b|c)%"));
        assert!(matches("a.c", "a.c") && !matches("abc", "a.c"));
        assert!(matches("a%c", "a\\%c") && !matches("abc", "a\\%c"));
    }

    #[test]
    fn texts_are_quoted_and_split() {
        assert_eq!(quoted_literal("it's"), "'it''s'");
        assert_eq!((quoted_ident("ab_1").as_str(), quoted_ident("A b").as_str(), quoted_ident("select").as_str()), ("ab_1", "\"A b\"", "\"select\""));
        let split = split(&[column("a1b2"), column("[0-9]")]).unwrap();
        assert_eq!(split.as_list::<i32>().value(0).as_string::<i32>(), &StringArray::from(vec!["a", "b", ""]));
    }
}
