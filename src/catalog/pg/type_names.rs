//! Names of types as SQL writes them, from text: `int`, `character varying(20)`, `timestamp(3) with time zone`, `pg_catalog.text`, `"Own"[]`.

use super::facts::Facts;
use super::lookup::in_schemas;
use super::names::{Path, type_in};
use super::oids;
use super::quoting::until_quote;
use super::types;
use crate::error::{Error, Kind, Result};

/// A name that is taken apart.
#[derive(Debug, PartialEq)]
pub struct TypeName {
    /// As written, folded; `integer` and its like are the names of pg_type in pg_catalog.
    names: Vec<String>,
    modifiers: Vec<i64>,
    is_array: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// Not quoted: folded.
    Word(String),
    Quoted(String),
    Number(i64),
    Sign(char),
}

struct Cursor {
    tokens: Vec<Token>,
    at: usize,
}

/// Error: it is no name of a type, whether there is one or not (42601).
pub fn parse(text: &str) -> Result<TypeName> {
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        return Err(Error::new(Kind::Syntax, format!("invalid type name \"{text}\"")));
    }
    let mut cursor = Cursor { tokens, at: 0 };
    let (names, modifiers) = cursor.named()?;
    let is_array = cursor.array()?;
    if cursor.at < cursor.tokens.len() {
        return Err(cursor.error());
    }
    Ok(TypeName { names, modifiers, is_array })
}

/// The modifier that a type's name has; -1: none.
pub fn modifier(text: &str) -> i32 {
    // Most names have none, and need no second look.
    if !text.contains('(') {
        return -1;
    }
    parse(text).map_or(-1, |name| name.modifier())
}

fn system(name: &str) -> Vec<String> {
    vec!["pg_catalog".to_owned(), name.to_owned()]
}

impl TypeName {
    /// The type's OID. Error: there is none (42704), or it takes no modifier.
    pub fn resolve(&self, facts: &Facts, path: &Path) -> Result<u32> {
        let found = in_schemas(facts, &self.names, path, |namespace, name| type_in(facts, namespace, name))?;
        let oid = found.ok_or_else(|| self.undefined())?;
        let takes_modifier = matches!(oid, oids::VARCHAR | oids::BPCHAR | oids::NUMERIC | oids::TIME | oids::TIMESTAMP | oids::TIMESTAMPTZ | oids::INTERVAL);
        if !self.modifiers.is_empty() && !takes_modifier {
            let message = format!("type modifier is not allowed for type \"{}\"", self.written());
            return Err(Error::new(Kind::Syntax, message));
        }
        if !self.is_array {
            return Ok(oid);
        }
        // An array of arrays is an array.
        match types::by_oid(oid) {
            Some(t) if t.is_array() => Ok(oid),
            Some(t) if t.array != 0 => Ok(t.array),
            Some(_) => Err(self.undefined()),
            None => Ok(super::classes::by_type(facts, oid).map_or(oid, |class| class.row_array)),
        }
    }

    fn written(&self) -> String {
        match self.names.as_slice() {
            [schema, name] if schema == "pg_catalog" => name.clone(),
            names => names.join("."),
        }
    }

    fn undefined(&self) -> Error {
        let brackets = if self.is_array { "[]" } else { "" };
        Error::new(Kind::UndefinedObject, format!("type \"{}{brackets}\" does not exist", self.names.join(".")))
    }

    fn modifier(&self) -> i32 {
        let number = |place: usize| self.modifiers.get(place).and_then(|m| i32::try_from(*m).ok());
        let Some(first) = number(0) else { return -1 };
        match self.names.last().map(String::as_str) {
            Some("varchar" | "bpchar") => first.saturating_add(4),
            Some("numeric") if (1..=1000).contains(&first) => ((first << 16) | (number(1).unwrap_or(0) & 0x7ff)) + 4,
            Some("time" | "timestamp" | "timestamptz") => first.min(6),
            Some("interval") => (0x7fff << 16) | first.min(6),
            _ => -1,
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if let Some(inside) = rest.strip_prefix('"') {
            let (name, behind) =
                until_quote(inside).ok_or_else(|| Error::new(Kind::Syntax, format!("unterminated quoted identifier at or near \"{rest}\"")))?;
            tokens.push(Token::Quoted(name));
            rest = behind;
        } else if first.is_ascii_digit() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            tokens.push(Token::Number(rest[..end].parse().unwrap_or(i64::MAX)));
            rest = &rest[end..];
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_lowercase()));
            rest = &rest[end..];
        } else {
            tokens.push(Token::Sign(first));
            rest = &rest[first.len_utf8()..];
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

impl Cursor {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead)
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(0), Some(Token::Word(w)) if w == word);
        self.at += usize::from(found);
        found
    }

    fn sign(&mut self, sign: char) -> bool {
        let found = self.peek(0) == Some(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    fn error(&self) -> Error {
        let near = match self.peek(0) {
            None => return Error::new(Kind::Syntax, "syntax error at end of input"),
            Some(Token::Word(w) | Token::Quoted(w)) => w.clone(),
            Some(Token::Number(n)) => n.to_string(),
            Some(Token::Sign(c)) => c.to_string(),
        };
        Error::new(Kind::Syntax, format!("syntax error at or near \"{near}\""))
    }

    /// Name and modifiers. The names of the SQL standard are words of the language: with a schema or in quotes they are names like others.
    fn named(&mut self) -> Result<(Vec<String>, Vec<i64>)> {
        let Some(Token::Word(word)) = self.peek(0).cloned() else { return self.plain() };
        if self.peek(1) == Some(&Token::Sign('.')) {
            return self.plain();
        }
        let simple = match word.as_str() {
            "int" | "integer" => "int4",
            "smallint" => "int2",
            "bigint" => "int8",
            "real" => "float4",
            "boolean" => "bool",
            _ => return self.compound(&word),
        };
        self.at += 1;
        Ok((system(simple), Vec::new()))
    }

    fn compound(&mut self, word: &str) -> Result<(Vec<String>, Vec<i64>)> {
        self.at += 1;
        let name = match word {
            "decimal" | "dec" | "numeric" => "numeric",
            "varchar" => "varchar",
            "character" | "char" | "nchar" => self.characters(),
            "national" if self.word("character") || self.word("char") => self.characters(),
            "double" if self.word("precision") => return Ok((system("float8"), Vec::new())),
            "float" => return self.float(),
            "bit" if self.word("varying") => "varbit",
            "bit" => "bit",
            "interval" => {
                self.interval_fields();
                "interval"
            }
            "time" | "timestamp" => return self.time(word == "time"),
            _ => {
                self.at -= 1;
                return self.plain();
            }
        };
        Ok((system(name), self.modifiers()?))
    }

    fn characters(&mut self) -> &'static str {
        if self.word("varying") { "varchar" } else { "bpchar" }
    }

    fn float(&mut self) -> Result<(Vec<String>, Vec<i64>)> {
        let invalid = |what: &str| Err(Error::new(Kind::InvalidParameter, format!("precision for type float must be {what}")));
        match self.modifiers()?.first() {
            None | Some(25..=53) => Ok((system("float8"), Vec::new())),
            Some(1..=24) => Ok((system("float4"), Vec::new())),
            Some(..=0) => invalid("at least 1 bit"),
            Some(_) => invalid("less than 54 bits"),
        }
    }

    fn time(&mut self, is_time: bool) -> Result<(Vec<String>, Vec<i64>)> {
        let modifiers = self.modifiers()?;
        let with_zone = self.word("with");
        if (with_zone || self.word("without")) && !(self.word("time") && self.word("zone")) {
            return Err(self.error());
        }
        let name = match (is_time, with_zone) {
            (true, false) => "time",
            (true, true) => "timetz",
            (false, false) => "timestamp",
            (false, true) => "timestamptz",
        };
        Ok((system(name), modifiers))
    }

    /// `day to second`: what an interval is cut to; it does not change the type.
    fn interval_fields(&mut self) {
        let field = |c: &mut Cursor| ["year", "month", "day", "hour", "minute", "second"].iter().any(|f| c.word(f));
        if field(self) && self.word("to") {
            field(self);
        }
    }

    fn plain(&mut self) -> Result<(Vec<String>, Vec<i64>)> {
        let mut names = Vec::new();
        loop {
            match self.peek(0) {
                Some(Token::Word(name) | Token::Quoted(name)) => names.push(name.clone()),
                _ => return Err(self.error()),
            }
            self.at += 1;
            if !self.sign('.') {
                return Ok((names, self.modifiers()?));
            }
        }
    }

    fn modifiers(&mut self) -> Result<Vec<i64>> {
        let mut modifiers = Vec::new();
        if !self.sign('(') {
            return Ok(modifiers);
        }
        loop {
            match self.peek(0) {
                Some(Token::Number(n)) => modifiers.push(*n),
                _ => return Err(self.error()),
            }
            self.at += 1;
            if self.sign(')') {
                return Ok(modifiers);
            }
            if !self.sign(',') {
                return Err(self.error());
            }
        }
    }

    /// `[]`, `[3][]`, `array`, `array[3]`.
    fn array(&mut self) -> Result<bool> {
        let mut is_array = self.word("array");
        while self.sign('[') {
            is_array = true;
            if matches!(self.peek(0), Some(Token::Number(_))) {
                self.at += 1;
            }
            if !self.sign(']') {
                return Err(self.error());
            }
        }
        Ok(is_array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_type_has_a_modifier() {
        for (text, expected) in [
            ("numeric(12,2)", 786_438),
            ("numeric(5)", (5 << 16) + 4),
            ("character varying(20)", 24),
            ("character varying(3)[]", 7),
            ("timestamp(3) without time zone", 3),
            ("bigint", -1),
            ("struct<a numeric(1,1)>", -1),
        ] {
            assert_eq!(modifier(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_told_where_it_ends_to_be_one() {
        for (text, message) in [
            ("", "invalid type name \"\""),
            ("int int", "syntax error at or near \"int\""),
            ("int4(", "syntax error at end of input"),
            ("int4[", "syntax error at end of input"),
            ("timestamp with", "syntax error at end of input"),
            ("a.", "syntax error at end of input"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.message(), error.sqlstate()), (message, "42601"), "{text}");
        }
    }
}
