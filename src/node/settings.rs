//! A session's settings: the names that clients ask for, with Postgres' defaults. Names of the families that clients of our
//! peers send are kept and answered without meaning; any other unknown name is an error, as in Postgres.

use super::identity::Identity;
use crate::catalog::pg::Setting;
use crate::error::{Error, Kind, Result};
use crate::sql::ast::{ROLE, SESSION_AUTHORIZATION};
use crate::sql::version::{SERVER_VERSION, SERVER_VERSION_NUM};
use std::collections::BTreeMap;

/// How a setting may be set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Any text.
    Any,
    /// Cannot be changed.
    Fixed,
    Boolean,
    /// Milliseconds, shown with their unit.
    Duration,
    /// Only these.
    OneOf(&'static [&'static str]),
    /// One of these, each with its own meaning.
    Choice(&'static [&'static str]),
    TimeZone,
}

/// Name (as shown), default, rule.
const KNOWN: &[(&str, &str, Rule)] = &[
    ("application_name", "", Rule::Any),
    ("background_ddl", "off", Rule::Boolean),
    ("bytea_output", "hex", Rule::OneOf(&["hex"])),
    ("client_encoding", "UTF8", Rule::OneOf(&["UTF8", "UTF-8", "UNICODE"])),
    ("client_min_messages", "notice", Rule::Any),
    ("DateStyle", "ISO, MDY", Rule::Any),
    ("default_table_access_method", "heap", Rule::Any),
    ("default_transaction_deferrable", "off", Rule::Boolean),
    ("default_transaction_isolation", "read committed", Rule::Choice(&["read committed", "read uncommitted", "repeatable read", "serializable"])),
    ("default_transaction_read_only", "off", Rule::Boolean),
    ("extra_float_digits", "1", Rule::Any),
    ("idle_in_transaction_session_timeout", "0", Rule::Duration),
    ("in_hot_standby", "off", Rule::Fixed),
    ("integer_datetimes", "on", Rule::Fixed),
    ("IntervalStyle", "postgres", Rule::OneOf(&["postgres"])),
    ("is_superuser", "on", Rule::Fixed),
    ("jit", "off", Rule::Boolean),
    ("lc_collate", "C", Rule::Fixed),
    ("lc_ctype", "C", Rule::Fixed),
    ("lock_timeout", "0", Rule::Duration),
    ("max_connections", "2000", Rule::Fixed),
    ("max_identifier_length", "63", Rule::Fixed),
    ("max_index_keys", "32", Rule::Fixed),
    ("role", "none", Rule::Fixed),
    ("row_security", "on", Rule::Boolean),
    ("search_path", "\"$user\", public", Rule::Any),
    ("server_encoding", "UTF8", Rule::Fixed),
    ("server_version", SERVER_VERSION, Rule::Fixed),
    ("server_version_num", SERVER_VERSION_NUM, Rule::Fixed),
    ("session_authorization", "tidewater", Rule::Fixed),
    ("standard_conforming_strings", "on", Rule::OneOf(&["on", "true"])),
    ("statement_timeout", "0", Rule::Duration),
    ("TimeZone", "UTC", Rule::TimeZone),
    ("transaction_deferrable", "off", Rule::Boolean),
    ("transaction_isolation", "read committed", Rule::Fixed),
    ("transaction_read_only", "off", Rule::Fixed),
    ("unbounded_state", "notice", Rule::Choice(&["notice", "error", "allow"])),
];

/// Beginnings of names that mean something to a peer.
const FAMILIES: [&str; 11] =
    ["rw_", "streaming_", "batch_", "backfill_", "enable_", "query_mode", "visibility_mode", "query_epoch", "sink_", "source_", "synchronize_seqscans"];

/// Settings that ParameterStatus reports.
const REPORTED: [&str; 12] = [
    "server_version",
    "server_encoding",
    "client_encoding",
    "application_name",
    "is_superuser",
    "session_authorization",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "integer_datetimes",
    "standard_conforming_strings",
    "default_transaction_read_only",
];

/// One session's values.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What start-up asked for: what RESET goes back to. Lower-case names.
    start: BTreeMap<String, String>,
    /// What SET said.
    set: BTreeMap<String, String>,
    /// What SET LOCAL said, until the transaction ends.
    local: BTreeMap<String, String>,
    identity: Identity,
    /// The same of SET LOCAL ROLE.
    local_identity: Option<Identity>,
}

fn known(name: &str) -> Option<&'static (&'static str, &'static str, Rule)> {
    KNOWN.iter().find(|(n, _, _)| n.eq_ignore_ascii_case(name))
}

fn unknown(name: &str) -> Error {
    Error::new(Kind::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))
}

impl Settings {
    /// A start-up parameter, or `-c name=value` of its options.
    pub fn start_with(&mut self, name: &str, value: &str) -> Result<()> {
        let value = checked(name, value)?;
        self.start.insert(name.to_lowercase(), value);
        Ok(())
    }

    /// The role that connected.
    pub fn authorize(&mut self, identity: Identity) {
        self.identity = identity;
    }

    /// Whose rights the session has.
    pub fn identity(&self) -> &Identity {
        self.local_identity.as_ref().unwrap_or(&self.identity)
    }

    /// Other rights; `local`: until the transaction ends.
    pub fn take_on(&mut self, identity: Identity, local: bool) {
        if local {
            self.local_identity = Some(identity);
        } else {
            (self.identity, self.local_identity) = (identity, None);
        }
    }

    /// `None`: back to the default. Gives the name as shown.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<String> {
        let Some(value) = value else {
            self.reset(name)?;
            return Ok(shown_name(name));
        };
        let value = checked(name, value)?;
        self.local.remove(&name.to_lowercase());
        self.set.insert(name.to_lowercase(), value);
        Ok(shown_name(name))
    }

    /// The same until the transaction ends.
    pub fn set_local(&mut self, name: &str, value: Option<&str>) -> Result<String> {
        let default = || self.start.get(&name.to_lowercase()).cloned().or_else(|| known(name).map(|k| k.1.to_owned())).unwrap_or_default();
        let value = match value {
            Some(value) => checked(name, value)?,
            None => checked_name(name).map(|_| default())?,
        };
        self.local.insert(name.to_lowercase(), value);
        Ok(shown_name(name))
    }

    /// What the transaction under way is.
    pub fn show_transaction(&mut self, isolation: &str, read_only: bool) {
        let read_only = if read_only { "on" } else { "off" };
        for (name, value) in [("transaction_isolation", isolation), ("transaction_read_only", read_only)] {
            self.local.insert(name.into(), value.into());
        }
    }

    pub fn has_local(&self) -> bool {
        !self.local.is_empty() || self.local_identity.is_some()
    }

    /// The transaction is over.
    pub fn end_local(&mut self) {
        self.local.clear();
        self.local_identity = None;
    }

    pub fn reset(&mut self, name: &str) -> Result<()> {
        checked_name(name)?;
        let name = name.to_lowercase();
        self.set.remove(&name);
        self.local.remove(&name);
        Ok(())
    }

    pub fn reset_all(&mut self) {
        self.set.clear();
        self.local.clear();
    }

    /// Error: no such setting.
    pub fn show(&self, name: &str) -> Result<String> {
        self.get(name).ok_or_else(|| unknown(name))
    }

    /// `current_setting(name, missing_ok)`.
    pub fn current(&self, name: &str, missing_ok: bool) -> Result<Option<String>> {
        if missing_ok { Ok(self.get(name)) } else { self.show(name).map(Some) }
    }

    pub fn get(&self, name: &str) -> Option<String> {
        let lower = name.to_lowercase();
        let identity = self.identity();
        match lower.as_str() {
            SESSION_AUTHORIZATION => return Some(identity.session.name.clone()),
            ROLE => return Some(identity.role.as_ref().map_or("none", |r| r.name.as_str()).to_owned()),
            "is_superuser" => return Some(if identity.superuser { "on" } else { "off" }.to_owned()),
            _ => {}
        }
        let said = [&self.local, &self.set, &self.start].into_iter().find_map(|values| values.get(&lower)).cloned();
        // Outside of a transaction, what one would be.
        let said = said.or_else(|| self.get(lower.strip_prefix("transaction_").map(|mode| format!("default_transaction_{mode}"))?.as_str()));
        said.or_else(|| known(name).map(|(_, default, _)| (*default).to_owned()))
    }

    /// Of a boolean one.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).as_deref() == Some("on")
    }

    /// Name and value of all.
    pub fn all(&self) -> Vec<(String, String)> {
        let mut all: BTreeMap<String, String> = KNOWN.iter().map(|(name, _, _)| ((*name).to_owned(), self.get(name).unwrap_or_default())).collect();
        for name in self.set.keys() {
            all.entry(shown_name(name)).or_insert_with(|| self.get(name).unwrap_or_default());
        }
        all.into_iter().collect()
    }

    /// As `pg_settings` tells them.
    pub fn facts(&self) -> Vec<Setting> {
        let fact = |(name, value): (String, String)| {
            let (_, default, rule) = known(&name).copied().unwrap_or(("", "", Rule::Any));
            let (value_type, choices): (_, &[&str]) = match rule {
                Rule::Boolean => ("bool", &[]),
                Rule::OneOf(choices) | Rule::Choice(choices) => ("enum", choices),
                Rule::Duration => ("integer", &[]),
                Rule::Any | Rule::Fixed | Rule::TimeZone => ("string", &[]),
            };
            Setting {
                default: default.to_owned(),
                unit: (rule == Rule::Duration).then_some("ms"),
                category: "Client Connection Defaults",
                description: "",
                context: if rule == Rule::Fixed { "internal" } else { "user" },
                value_type,
                choices: choices.iter().map(|c| (*c).to_owned()).collect(),
                value: if rule == Rule::Duration { milliseconds(&value).map_or(value, |n| n.to_string()) } else { value },
                name,
            }
        };
        self.all().into_iter().map(fact).collect()
    }

    /// Those that clients are told of.
    pub fn reported(&self) -> Vec<(String, String)> {
        REPORTED.iter().map(|name| ((*name).to_owned(), self.get(name).unwrap_or_default())).collect()
    }
}

fn shown_name(name: &str) -> String {
    known(name).map_or_else(|| name.to_lowercase(), |(n, _, _)| (*n).to_owned())
}

fn checked_name(name: &str) -> Result<Rule> {
    if let Some((_, _, rule)) = known(name) {
        return Ok(*rule);
    }
    let lower = name.to_lowercase();
    // A name with a dot is a custom one: Postgres keeps it too.
    if lower.contains('.') || FAMILIES.iter().any(|f| lower.starts_with(f)) { Ok(Rule::Any) } else { Err(unknown(name)) }
}

/// `on` and its other spellings.
pub fn boolean(value: &str) -> Option<bool> {
    match value.to_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Some(true),
        "off" | "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// The value as it is shown.
fn checked(name: &str, value: &str) -> Result<String> {
    let invalid = || Error::new(Kind::InvalidParameter, format!("invalid value for parameter \"{}\": \"{value}\"", shown_name(name)));
    match checked_name(name)? {
        Rule::Any => Ok(value.to_owned()),
        Rule::Fixed => Err(Error::new(Kind::InvalidParameter, format!("parameter \"{}\" cannot be changed", shown_name(name)))),
        Rule::Boolean => boolean(value).map(|on| if on { "on" } else { "off" }.to_owned()).ok_or_else(invalid),
        // Postgres reads letters and digits of an encoding's name only: some clients send quotes around it.
        Rule::OneOf(allowed) if name.eq_ignore_ascii_case("client_encoding") => {
            let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
            if ["utf8", "unicode"].contains(&plain.to_lowercase().as_str()) { Ok(allowed[0].to_owned()) } else { Err(invalid().with_hint("it is UTF8")) }
        }
        Rule::OneOf(allowed) => match allowed.iter().find(|a| a.eq_ignore_ascii_case(value.trim())) {
            Some(_) => Ok(allowed[0].to_owned()),
            None => Err(invalid().with_hint(format!("it is {}", allowed[0]))),
        },
        Rule::Choice(allowed) => match allowed.iter().find(|a| a.eq_ignore_ascii_case(value.trim())) {
            Some(choice) => Ok((*choice).to_owned()),
            None => Err(invalid().with_hint(format!("it is one of {}", allowed.join(", ")))),
        },
        Rule::Duration => duration(value).ok_or_else(invalid),
        Rule::TimeZone => match crate::types::text::Zone::parse(value) {
            Ok(_) => Ok(if value.eq_ignore_ascii_case("default") { "UTC".into() } else { value.to_owned() }),
            Err(_) => Err(invalid()),
        },
    }
}

/// Units of a duration, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// `3000`, `3s`, `5min`.
fn milliseconds(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let number: u64 = value[..digits].parse().ok()?;
    let unit = value[digits..].trim();
    let factor = if unit.is_empty() { 1 } else { UNITS.iter().find(|(u, _)| *u == unit)?.1 };
    number.checked_mul(factor)
}

/// The same as Postgres shows it: in the largest unit that divides it.
fn duration(value: &str) -> Option<String> {
    let millis = milliseconds(value)?;
    if millis == 0 {
        return Some("0".into());
    }
    let (unit, factor) = UNITS.iter().find(|(_, factor)| millis % factor == 0)?;
    Some(format!("{}{unit}", millis / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_answer_as_postgres() {
        let mut settings = Settings::default();
        assert_eq!(settings.show("datestyle").unwrap(), "ISO, MDY");
        assert_eq!(settings.set("statement_timeout", Some("3000")).unwrap(), "statement_timeout");
        assert_eq!(settings.show("STATEMENT_TIMEOUT").unwrap(), "3s");
        settings.reset("statement_timeout").unwrap();
        assert_eq!(settings.show("statement_timeout").unwrap(), "0");
        assert_eq!(settings.set("nonsense", Some("1")).unwrap_err().sqlstate(), "42704");
        assert_eq!(settings.show("nonsense").unwrap_err().sqlstate(), "42704");
        assert_eq!(settings.set("server_version", Some("1")).unwrap_err().sqlstate(), "22023");
        settings.set("rw_implicit_flush", Some("true")).unwrap();
        assert_eq!(settings.show("rw_implicit_flush").unwrap(), "true");
        assert_eq!(settings.set("TimeZone", Some("nowhere/else")).unwrap_err().sqlstate(), "22023");
        assert_eq!(settings.set("timezone", Some("Europe/Berlin")).unwrap(), "TimeZone");
    }
}
