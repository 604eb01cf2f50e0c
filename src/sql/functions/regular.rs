//! Regular expressions as Postgres writes them: `regexp_match`, `regexp_matches`, `regexp_like`, `regexp_substr`, `regexp_instr`, `regexp_count`, `regexp_replace`.
//!
//! Patterns run on the `regex` crate, whose time grows with the text alone. What Postgres spells in another way is [`translated`]; back references, which
//! cannot be had in such time, are refused.

use super::table::{Overload, Type, external, function};
use crate::error::{Error, Kind, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Int32Type};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility};
use regex::{Captures, Regex, RegexBuilder};
use std::sync::Arc;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let texts = |n: usize| TypeSignature::Exact(vec![DataType::Utf8; n]);
    let signature = Signature::one_of(vec![texts(2), texts(3)], Volatility::Immutable);
    vec![
        Arc::new(ScalarUDF::new_from_impl(Matches { signature })),
        function("regexp_match", &MATCH),
        function("regexp_like", &LIKE),
        function("regexp_substr", &SUBSTR),
        function("regexp_instr", &INSTR),
        function("regexp_count", &COUNT),
        function("regexp_replace", &REPLACE),
    ]
}

use Type::{Integer as I, Text as T};

const MATCH: [Overload; 2] =
    [Overload { takes: &[T, T], gives: Type::Texts, run: first_match }, Overload { takes: &[T, T, T], gives: Type::Texts, run: first_match }];
const LIKE: [Overload; 2] = [Overload { takes: &[T, T], gives: Type::Boolean, run: alike }, Overload { takes: &[T, T, T], gives: Type::Boolean, run: alike }];
const SUBSTR: [Overload; 5] = [
    Overload { takes: &[T, T], gives: T, run: substrings },
    Overload { takes: &[T, T, I], gives: T, run: substrings },
    Overload { takes: &[T, T, I, I], gives: T, run: substrings },
    Overload { takes: &[T, T, I, I, T], gives: T, run: substrings },
    Overload { takes: &[T, T, I, I, T, I], gives: T, run: substrings },
];
const INSTR: [Overload; 6] = [
    Overload { takes: &[T, T], gives: I, run: places },
    Overload { takes: &[T, T, I], gives: I, run: places },
    Overload { takes: &[T, T, I, I], gives: I, run: places },
    Overload { takes: &[T, T, I, I, I], gives: I, run: places },
    Overload { takes: &[T, T, I, I, I, T], gives: I, run: places },
    Overload { takes: &[T, T, I, I, I, T, I], gives: I, run: places },
];
const COUNT: [Overload; 3] = [
    Overload { takes: &[T, T], gives: I, run: counts },
    Overload { takes: &[T, T, I], gives: I, run: counts },
    Overload { takes: &[T, T, I, T], gives: I, run: counts },
];
const REPLACE: [Overload; 5] = [
    Overload { takes: &[T, T, T], gives: T, run: replaced },
    Overload { takes: &[T, T, T, T], gives: T, run: replaced },
    Overload { takes: &[T, T, T, I], gives: T, run: replaced_from },
    Overload { takes: &[T, T, T, I, I], gives: T, run: replaced_from },
    Overload { takes: &[T, T, T, I, I, T], gives: T, run: replaced_from },
];

/// The pattern in the crate's words: `\y \m \M \Y \Z` and `[[:<:]]` are boundaries.
pub fn translated(pattern: &str) -> String {
    let pattern = pattern.replace("[[:<:]]", "\\m").replace("[[:>:]]", "\\M");
    let mut out = String::with_capacity(pattern.len());
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('y') => out.push_str("\\b"),
            Some('Y') => out.push_str("\\B"),
            Some('m') => out.push_str("\\b{start}"),
            Some('M') => out.push_str("\\b{end}"),
            Some('Z') => out.push_str("\\z"),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

/// What a flag string asks for; `global`: `g`, which not every function takes.
fn compiled(pattern: &str, flags: &str) -> Result<(Regex, bool)> {
    let (mut case, mut global, mut lines, mut dot, mut blanks) = (false, false, false, true, false);
    for flag in flags.chars() {
        match flag {
            'g' => global = true,
            'i' => case = true,
            'c' => case = false,
            'n' | 'm' => (lines, dot) = (true, false),
            's' => (lines, dot) = (false, true),
            'p' => dot = false,
            'w' => lines = true,
            'x' => blanks = true,
            't' => blanks = false,
            other => return Err(Error::new(Kind::InvalidParameter, format!("invalid regular expression option: \"{other}\""))),
        }
    }
    let mut builder = RegexBuilder::new(&translated(pattern));
    let built = builder.case_insensitive(case).multi_line(lines).dot_matches_new_line(dot).ignore_whitespace(blanks).build();
    Ok((built.map_err(|e| invalid(&e.to_string()))?, global))
}

/// The crate's answer to a pattern that it cannot run.
pub fn invalid(message: &str) -> Error {
    let reason = message.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or("it cannot be read").to_owned();
    if reason.contains("not supported") {
        return Error::not_supported(format!("in regular expressions {reason}"))
            .with_hint("back references and look-around cannot be had in time that grows with the text alone");
    }
    Error::new(Kind::InvalidRegularExpression, format!("invalid regular expression: {reason}"))
}

/// The arguments of a call, with the pattern that was read last.
struct Call<'c> {
    columns: &'c [ArrayRef],
    known: Option<(String, String, Arc<Regex>, bool)>,
}

impl<'c> Call<'c> {
    fn new(columns: &'c [ArrayRef]) -> Self {
        Call { columns, known: None }
    }

    fn text(&self, column: usize, row: usize) -> &'c str {
        self.columns[column].as_string::<i32>().value(row)
    }

    /// A number, if there is such an argument. Error: it is less than `least`.
    fn number(&self, column: usize, row: usize, otherwise: i32, least: i32, name: &str) -> Result<usize> {
        let value = self.columns.get(column).map_or(otherwise, |c| c.as_primitive::<Int32Type>().value(row));
        let wrong = || Error::new(Kind::InvalidParameter, format!("invalid value for parameter \"{name}\": {value}"));
        usize::try_from(value).ok().filter(|_| value >= least).ok_or_else(wrong)
    }

    /// Shared, for a copy of an expression has memory of its own.
    fn regex(&mut self, row: usize, flags: Option<usize>) -> Result<(Arc<Regex>, bool)> {
        let (pattern, flags) = (self.text(1, row), flags.filter(|c| *c < self.columns.len()).map_or("", |c| self.text(c, row)));
        if let Some((_, _, regex, global)) = self.known.as_ref().filter(|(p, f, ..)| p == pattern && f == flags) {
            return Ok((Arc::clone(regex), *global));
        }
        let (regex, global) = compiled(pattern, flags)?;
        let regex = Arc::new(regex);
        self.known = Some((pattern.to_owned(), flags.to_owned(), Arc::clone(&regex), global));
        Ok((regex, global))
    }

    /// The text from a character counted from 1, and how many bytes and characters stand before it.
    fn from(&self, start: usize, row: usize) -> Option<(&'c str, usize)> {
        let text = self.text(0, row);
        let at = text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(start - 1)?;
        Some((&text[at..], at))
    }
}

/// Whether each text matches its pattern.
pub(super) fn matches(columns: &[ArrayRef], flags: &str) -> Result<BooleanArray> {
    let (texts, patterns) = (columns[0].as_string::<i32>(), columns[1].as_string::<i32>());
    let mut known: Option<(&str, Regex)> = None;
    let one = |(text, pattern): (Option<&str>, Option<_>)| {
        let Some((text, pattern)) = text.zip(pattern) else { return Ok(None) };
        let regex = match known.take() {
            Some((of, regex)) if of == pattern => regex,
            _ => compiled(pattern, flags)?.0,
        };
        let found = regex.is_match(text);
        known = Some((pattern, regex));
        Ok(Some(found))
    };
    texts.iter().zip(patterns.iter()).map(one).collect()
}

fn alike(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (mut call, rows) = (Call::new(columns), 0..columns[0].len());
    let like = |row: usize| Ok(call.regex(row, Some(2))?.0.is_match(columns[0].as_string::<i32>().value(row)));
    Ok(Arc::new(BooleanArray::from(rows.map(like).collect::<Result<Vec<bool>>>()?)))
}

/// The groups of the first match, or the match itself.
fn first_match(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (mut call, rows) = (Call::new(columns), 0..columns[0].len());
    let mut out = ListBuilder::new(StringBuilder::new());
    for row in rows {
        let (regex, global) = call.regex(row, Some(2))?;
        if global {
            let error = Error::new(Kind::InvalidParameter, "regexp_match() does not support the \"global\" option");
            return Err(error.with_hint("Use the regexp_matches function instead."));
        }
        let found = regex.captures(call.text(0, row));
        if let Some(found) = &found {
            append_groups(found, out.values());
        }
        out.append(found.is_some());
    }
    Ok(Arc::new(out.finish()))
}

fn append_groups(found: &Captures<'_>, out: &mut StringBuilder) {
    let groups = if found.len() > 1 { 1..found.len() } else { 0..1 };
    groups.for_each(|group| out.append_option(found.get(group).map(|part| part.as_str())));
}

fn substrings(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (mut call, rows) = (Call::new(columns), 0..columns[0].len());
    let substring = |row: usize| {
        let (start, n) = (call.number(2, row, 1, 1, "start")?, call.number(3, row, 1, 1, "n")?);
        let group = call.number(5, row, 0, 0, "subexpr")?;
        let (regex, _) = call.regex(row, Some(4))?;
        let found = call.from(start, row).and_then(|(text, _)| regex.captures_iter(text).nth(n - 1));
        Ok(found.and_then(|found| found.get(group).map(|part| part.as_str().to_owned())))
    };
    Ok(Arc::new(rows.map(substring).collect::<Result<StringArray>>()?))
}

fn places(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (mut call, rows) = (Call::new(columns), 0..columns[0].len());
    let place = |row: usize| {
        let (start, n) = (call.number(2, row, 1, 1, "start")?, call.number(3, row, 1, 1, "n")?);
        let (end, group) = (call.number(4, row, 0, 0, "endoption")?, call.number(6, row, 0, 0, "subexpr")?);
        let (regex, _) = call.regex(row, Some(5))?;
        let Some((text, before)) = call.from(start, row) else { return Ok(0) };
        let found = regex.captures_iter(text).nth(n - 1).and_then(|found| found.get(group));
        let at = found.map(|part| before + if end == 1 { part.end() } else { part.start() });
        Ok(at.map_or(0, |at| call.text(0, row)[..at].chars().count() as i32 + 1))
    };
    Ok(Arc::new(Int32Array::from(rows.map(place).collect::<Result<Vec<i32>>>()?)))
}

fn counts(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (mut call, rows) = (Call::new(columns), 0..columns[0].len());
    let count = |row: usize| {
        let start = call.number(2, row, 1, 1, "start")?;
        let (regex, _) = call.regex(row, Some(3))?;
        Ok(call.from(start, row).map_or(0, |(text, _)| regex.find_iter(text).count() as i32))
    };
    Ok(Arc::new(Int32Array::from(rows.map(count).collect::<Result<Vec<i32>>>()?)))
}

/// `regexp_replace(text, pattern, replacement [, flags])`
fn replaced(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (mut call, rows) = (Call::new(columns), 0..columns[0].len());
    let mut out = StringBuilder::with_capacity(columns[0].len(), columns[0].as_string::<i32>().value_data().len());
    for row in rows {
        let (regex, global) = call.regex(row, Some(3))?;
        let replacement = call.text(2, row);
        out.append_value(regex.replacen(call.text(0, row), usize::from(!global), |found: &Captures<'_>| expanded(replacement, found)));
    }
    Ok(Arc::new(out.finish()))
}

/// `regexp_replace(text, pattern, replacement, start [, n [, flags]])`: the n-th match from there, all of them for 0.
fn replaced_from(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (mut call, rows) = (Call::new(columns), 0..columns[0].len());
    let replace = |row: usize| {
        let (start, n) = (call.number(3, row, 1, 1, "start")?, call.number(4, row, 1, 0, "n")?);
        let (regex, _) = call.regex(row, Some(5))?;
        let (whole, replacement) = (call.text(0, row), call.text(2, row));
        let Some((text, before)) = call.from(start, row) else { return Ok(whole.to_owned()) };
        let mut seen = 0;
        let made = regex.replace_all(text, |found: &Captures<'_>| {
            seen += 1;
            if n == 0 || seen == n { expanded(replacement, found) } else { found[0].to_owned() }
        });
        Ok(format!("{}{made}", &whole[..before]))
    };
    Ok(Arc::new(StringArray::from(rows.map(replace).collect::<Result<Vec<String>>>()?)))
}

/// `\1` is a group, `\&` the match, `\\` a backslash.
fn expanded(replacement: &str, found: &Captures<'_>) -> String {
    let mut out = String::with_capacity(replacement.len());
    let mut letters = replacement.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        let group = |n: usize| found.get(n).map_or("", |part| part.as_str());
        match letters.next() {
            Some('&') => out.push_str(group(0)),
            Some(digit @ '1'..='9') => out.push_str(group(digit as usize - '0' as usize)),
            Some('\\') | None => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
        }
    }
    out
}

/// `tw_regexp_matches(text, pattern [, flags])`: the groups of each match, of the first alone without `g`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Matches {
    signature: Signature,
}

impl ScalarUDFImpl for Matches {
    fn name(&self) -> &str {
        "tw_regexp_matches"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        let groups = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
        Ok(DataType::List(Arc::new(Field::new("item", groups, true))))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let scalar = arguments.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { arguments.number_rows };
        let columns = arguments.args.iter().map(|a| a.to_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        let lists = all_matches(&columns).map_err(external)?;
        Ok(if scalar { ColumnarValue::Scalar(ScalarValue::try_from_array(&lists, 0)?) } else { ColumnarValue::Array(lists) })
    }
}

fn all_matches(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (mut call, rows) = (Call::new(columns), 0..columns[0].len());
    let mut out = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
    for row in rows {
        if columns.iter().all(|c| c.is_valid(row)) {
            let (regex, global) = call.regex(row, Some(2))?;
            for found in regex.captures_iter(call.text(0, row)).take(if global { usize::MAX } else { 1 }) {
                append_groups(&found, out.values().values());
                out.values().append(true);
            }
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_replacements_are_those_of_postgres() {
        assert_eq!(translated(r"\mfoo\M|[[:<:]]a\\m"), r"\b{start}foo\b{end}|\b{start}a\\m");
        let (regex, global) = compiled("(B)(.)", "gi").unwrap();
        assert!(global);
        let found = regex.captures("abc").unwrap();
        assert_eq!(expanded(r"[\2\1\&\\]", &found), r"[cbbc\]");
        assert_eq!(compiled("(", "").unwrap_err().sqlstate(), "2201B");
        assert_eq!(compiled(r"(a)\1", "").unwrap_err().sqlstate(), "0A000");
        assert_eq!(compiled("a", "z").unwrap_err().message(), "invalid regular expression option: \"z\"");
    }

    #[test]
    fn the_nth_match_is_replaced_from_a_character_on() {
        let text = |t: &str| Arc::new(StringArray::from(vec![t])) as ArrayRef;
        let number = |n: i32| Arc::new(Int32Array::from(vec![n])) as ArrayRef;
        let made = replaced_from(&[text("äaaaa"), text("a"), text("X"), number(3), number(2)]).unwrap();
        assert_eq!(made.as_string::<i32>().value(0), "äaaXa");
        let place = places(&[text("äabab"), text("b"), number(1), number(2)]).unwrap();
        assert_eq!(place.as_primitive::<Int32Type>().value(0), 5);
    }
}
