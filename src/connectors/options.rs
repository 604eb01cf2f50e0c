//! The options of `WITH (…)`: one table per connector, which checks what a person typed, parses it with its
//! units, and is printed by the documentation. A misspelt option that were ignored would show up as wrong data
//! hours later, so every unknown name is an error here, with the nearest right one.

use crate::error::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// What values an option takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptionKind {
    Text,
    /// A whole number, both ends included.
    Integer {
        min: i64,
        max: i64,
    },
    /// A number from 0 up, fractions allowed.
    Rate,
    /// A share from 0 to 1.
    Share,
    Boolean,
    /// `5s`, `1 second`, `500ms`, `2 minutes`.
    Duration,
    /// A duration, or `none`.
    DurationOrNone,
    /// `64MB`, `1 GiB`, or bytes.
    Size,
    Choice(&'static [&'static str]),
}

/// One option, as the documentation shows it.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// A name that ends in `.*` stands for every name with that prefix.
    pub name: &'static str,
    /// Other spellings, known from peers.
    pub aliases: &'static [&'static str],
    pub kind: OptionKind,
    /// As text; empty: no default.
    pub default: &'static str,
    pub help: &'static str,
}

impl OptionSpec {
    pub const fn new(name: &'static str, kind: OptionKind, default: &'static str, help: &'static str) -> Self {
        OptionSpec { name, aliases: &[], kind, default, help }
    }

    pub const fn or(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    fn matches(&self, name: &str) -> bool {
        self.name == name
            || self.aliases.contains(&name)
            || self.name.strip_suffix('*').is_some_and(|prefix| name.starts_with(prefix) && name.len() > prefix.len())
    }
}

/// Options that every source takes; the engine reads them, see [`timing`].
pub const COMMON: &[OptionSpec] = &[
    OptionSpec::new("connector", OptionKind::Text, "", "Which connector reads the source."),
    OptionSpec::new(
        "idle_timeout",
        OptionKind::DurationOrNone,
        "30 seconds",
        "After how long without records a partition that has nothing more to read no longer holds the watermark back; none: never.",
    ),
    OptionSpec::new(
        "max_future_skew",
        OptionKind::DurationOrNone,
        "5 minutes; none for generators and files",
        "A record whose event time is further past the clock becomes a dead letter; none: never.",
    ),
];

/// Options that every sink takes.
pub const SINK_COMMON: &[OptionSpec] = &[OptionSpec::new("connector", OptionKind::Text, "", "Which connector writes the sink.")];

/// Options of sinks that publish; the engine reads them, see [`outbox_limit`].
pub const PRIMARY_KEY: OptionSpec = OptionSpec::new(
    "primary_key",
    OptionKind::Text,
    "what the query is known to be unique in",
    "With FORMAT UPSERT: the columns of the records' key, with commas between them. Two rows must never have the same.",
);
pub const OUTBOX_LIMIT: OptionSpec = OptionSpec::new(
    "outbox.limit",
    OptionKind::Size,
    "1GiB",
    "How much may wait on disk to be published while the other side does not take it; then all input waits.",
);

/// Bytes that may wait to be published.
pub fn outbox_limit(values: &BTreeMap<String, String>) -> u64 {
    values.get(OUTBOX_LIMIT.name).and_then(|text| parse_size(text)).unwrap_or(1 << 30)
}

/// The typed values of one statement's options, all names and values checked.
#[derive(Debug)]
pub struct Options<'a> {
    connector: &'a str,
    specs: &'static [OptionSpec],
    common: &'static [OptionSpec],
    values: &'a BTreeMap<String, String>,
}

impl<'a> Options<'a> {
    /// Options of a source. Error (22023): a name that is in neither table, the same option given twice under two names, or a value of the wrong kind.
    pub fn check(connector: &'a str, specs: &'static [OptionSpec], values: &'a BTreeMap<String, String>) -> Result<Self> {
        Options { connector, specs, common: COMMON, values }.checked()
    }

    /// Likewise of a sink.
    pub fn check_sink(connector: &'a str, specs: &'static [OptionSpec], values: &'a BTreeMap<String, String>) -> Result<Self> {
        Options { connector, specs, common: SINK_COMMON, values }.checked()
    }

    fn checked(self) -> Result<Self> {
        let Options { connector, values, .. } = self;
        let options = self;
        for (name, value) in values {
            let spec = options.spec(name).ok_or_else(|| options.unknown(name))?;
            check_value(connector, name, spec.kind, value)?;
            if let Some(twin) = std::iter::once(&spec.name).chain(spec.aliases).find(|other| **other != name && values.contains_key(**other)) {
                return Err(Error::new(Kind::InvalidParameter, format!("options \"{name}\" and \"{twin}\" mean the same")).with_hint("keep one of them"));
            }
        }
        Ok(options)
    }

    fn spec(&self, name: &str) -> Option<&'static OptionSpec> {
        self.specs.iter().chain(self.common).find(|s| s.matches(name))
    }

    fn unknown(&self, name: &str) -> Error {
        let known: Vec<&'static str> = self.specs.iter().chain(self.common).flat_map(|s| std::iter::once(s.name).chain(s.aliases.iter().copied())).collect();
        let listed: Vec<&str> = self.specs.iter().chain(self.common).map(|s| s.name).filter(|n| *n != "connector").collect();
        let mut hint = String::new();
        if let Some(nearest) = nearest(name, &known) {
            hint = format!("did you mean \"{nearest}\"? ");
        }
        hint.push_str(&format!("options are {}", listed.join(", ")));
        Error::new(Kind::InvalidParameter, format!("connector \"{}\" has no option \"{name}\"", self.connector)).with_hint(hint)
    }

    /// The value as written, under the option's name or one of its aliases.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        let spec = self.spec(name);
        debug_assert!(spec.is_some(), "option {name} is in no table");
        std::iter::once(name).chain(spec.into_iter().flat_map(|s| s.aliases.iter().copied())).find_map(|n| self.values.get(n)).map(String::as_str)
    }

    /// Error: the option is missing.
    pub fn required(&self, name: &str) -> Result<&'a str> {
        self.text(name).ok_or_else(|| {
            let help = self.spec(name).map_or("", |s| s.help);
            Error::new(Kind::InvalidParameter, format!("connector \"{}\" needs the option \"{name}\"", self.connector))
                .with_hint(help.trim_end_matches('.').to_string())
        })
    }

    pub fn integer(&self, name: &str) -> Result<Option<i64>> {
        self.text(name).map(|v| parse_integer(v).ok_or_else(|| bad(self.connector, name, v, "a whole number"))).transpose()
    }

    /// A rate or a share.
    pub fn number(&self, name: &str) -> Result<Option<f64>> {
        self.text(name).map(|v| parse_number(v).ok_or_else(|| bad(self.connector, name, v, "a number"))).transpose()
    }

    pub fn boolean(&self, name: &str) -> Result<Option<bool>> {
        self.text(name).map(|v| parse_boolean(v).ok_or_else(|| bad(self.connector, name, v, "true or false"))).transpose()
    }

    /// Microseconds.
    pub fn duration(&self, name: &str) -> Result<Option<i64>> {
        self.text(name).map(|v| parse_duration(v).ok_or_else(|| bad(self.connector, name, v, DURATIONS))).transpose()
    }

    /// Lower-cased; one of the listed choices.
    pub fn choice(&self, name: &str) -> Option<String> {
        self.text(name).map(|v| v.trim().to_lowercase())
    }

    /// The options under a prefix such as `properties.`, without it.
    pub fn under(&self, prefix: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let prefix = prefix.to_string();
        self.values.iter().filter_map(move |(name, value)| Some((name.strip_prefix(&prefix)?, value.as_str())))
    }
}

/// What the engine does about event time of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// µs; `None`: partitions never count as idle.
    pub idle_timeout: Option<i64>,
    /// µs; `None`: any time is taken.
    pub max_future_skew: Option<i64>,
}

/// The common options' values. `replays_history`: the source's answer of that name.
pub fn timing(connector: &str, values: &BTreeMap<String, String>, replays_history: bool) -> Result<Timing> {
    let read = |name: &str, default: Option<i64>| -> Result<Option<i64>> {
        match values.get(name).map(|v| v.trim()) {
            None => Ok(default),
            Some(v) if is_none(v) => Ok(None),
            Some(v) => parse_duration(v).map(Some).ok_or_else(|| bad(connector, name, v, DURATIONS)),
        }
    };
    let skew = if replays_history { None } else { Some(300_000_000) };
    Ok(Timing { idle_timeout: read("idle_timeout", Some(30_000_000))?, max_future_skew: read("max_future_skew", skew)? })
}

/// The known name that a misspelt one most likely means.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let score = |k: &str| strsim::damerau_levenshtein(&name.to_lowercase(), k);
    known.iter().copied().map(|k| (score(k), k)).filter(|(d, k)| *d <= 1 + k.len() / 3).min().map(|(_, k)| k)
}

const DURATIONS: &str = "a duration such as '5s', '500ms' or '2 minutes'";

fn check_value(connector: &str, name: &str, kind: OptionKind, value: &str) -> Result<()> {
    let wrong = |expected: &str| Err(bad(connector, name, value, expected));
    match kind {
        OptionKind::Text => Ok(()),
        OptionKind::Integer { min, max } => match parse_integer(value) {
            Some(v) if (min..=max).contains(&v) => Ok(()),
            _ if max == i64::MAX => wrong(&format!("a whole number from {min} up")),
            _ => wrong(&format!("a whole number from {min} to {max}")),
        },
        OptionKind::Rate => parse_number(value).filter(|v| *v >= 0.0).map_or_else(|| wrong("a number from 0 up"), |_| Ok(())),
        OptionKind::Share => parse_number(value).filter(|v| (0.0..=1.0).contains(v)).map_or_else(|| wrong("a share from 0 to 1"), |_| Ok(())),
        OptionKind::Boolean => parse_boolean(value).map_or_else(|| wrong("true or false"), |_| Ok(())),
        OptionKind::Duration => parse_duration(value).map_or_else(|| wrong(DURATIONS), |_| Ok(())),
        OptionKind::DurationOrNone if is_none(value) => Ok(()),
        OptionKind::DurationOrNone => parse_duration(value).map_or_else(|| wrong(&format!("{DURATIONS}, or none")), |_| Ok(())),
        OptionKind::Size => parse_size(value).map_or_else(|| wrong("a size such as '64MB' or '1 GiB'"), |_| Ok(())),
        OptionKind::Choice(choices) if choices.contains(&value.trim().to_lowercase().as_str()) => Ok(()),
        OptionKind::Choice(choices) => wrong(&format!("one of {}", choices.join(", "))),
    }
}

fn bad(connector: &str, name: &str, value: &str, expected: &str) -> Error {
    Error::new(Kind::InvalidParameter, format!("option \"{name}\" of connector \"{connector}\" cannot be \"{value}\""))
        .with_hint(format!("it takes {expected}"))
}

fn is_none(value: &str) -> bool {
    matches!(value.trim().to_lowercase().as_str(), "none" | "off")
}

fn parse_integer(value: &str) -> Option<i64> {
    value.trim().replace('_', "").parse().ok()
}

fn parse_number(value: &str) -> Option<f64> {
    value.trim().replace('_', "").parse::<f64>().ok().filter(|v| v.is_finite())
}

fn parse_boolean(value: &str) -> Option<bool> {
    match value.trim().to_lowercase().as_str() {
        "true" | "t" | "on" | "yes" | "1" => Some(true),
        "false" | "f" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// A number and its unit, apart: `1.5 hours` -> (1.5, "hours").
fn with_unit(value: &str) -> Option<(f64, String)> {
    let value = value.trim();
    let split = value.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(value.len());
    let number = parse_number(&value[..split]).filter(|v| *v >= 0.0)?;
    Some((number, value[split..].trim().to_lowercase()))
}

/// Microseconds of `5s`, `1 second`, `500ms`, `00` is not taken: a bare number has no unit, so it could mean anything.
pub fn parse_duration(value: &str) -> Option<i64> {
    let (number, unit) = with_unit(value)?;
    let micros = match unit.as_str() {
        "us" | "µs" | "microsecond" | "microseconds" => 1.0,
        "ms" | "msec" | "millisecond" | "milliseconds" => 1e3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1e6,
        "m" | "min" | "mins" | "minute" | "minutes" => 60e6,
        "h" | "hr" | "hour" | "hours" => 3600e6,
        "d" | "day" | "days" => 86_400e6,
        "w" | "week" | "weeks" => 7.0 * 86_400e6,
        "" if number == 0.0 => 1.0,
        _ => return None,
    };
    Some(number * micros).filter(|v| *v < 9e18).map(|v| v.round() as i64)
}

/// Bytes of `64MB`, `1 GiB`, `1024`; `kB`, `MB`, `GB` are powers of 1024, as in Postgres' settings.
pub fn parse_size(value: &str) -> Option<u64> {
    let (number, unit) = with_unit(value)?;
    let bytes = match unit.as_str() {
        "" | "b" | "byte" | "bytes" => 1.0,
        "k" | "kb" | "kib" => 1024.0,
        "m" | "mb" | "mib" => 1024.0 * 1024.0,
        "g" | "gb" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tb" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number * bytes).filter(|v| *v < 9e18).map(|v| v as u64)
}

/// Microseconds as the standard library's duration.
pub fn micros(value: i64) -> Duration {
    Duration::from_micros(u64::try_from(value).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: &[OptionSpec] = &[
        OptionSpec::new("scan.startup.mode", OptionKind::Choice(&["earliest", "latest"]), "earliest", "Where to begin."),
        OptionSpec::new("rows", OptionKind::Integer { min: 0, max: i64::MAX }, "", "How many.").or(&["number_of_rows"]),
        OptionSpec::new("properties.*", OptionKind::Text, "", "Passed on."),
    ];

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn a_misspelt_option_names_the_nearest_and_lists_all() {
        let error = Options::check("kafka", SPECS, &values(&[("scan.startup.mod", "earliest")])).unwrap_err();
        assert_eq!(error.sqlstate(), "22023");
        assert_eq!(error.message(), "connector \"kafka\" has no option \"scan.startup.mod\"");
        assert!(error.hint().unwrap().starts_with("did you mean \"scan.startup.mode\"? options are scan.startup.mode, rows"), "{error}");
    }

    #[test]
    fn values_are_checked_by_kind() {
        for (name, value) in [("scan.startup.mode", "newest"), ("rows", "-1"), ("rows", "many"), ("idle_timeout", "5")] {
            let error = Options::check("kafka", SPECS, &values(&[(name, value)])).unwrap_err();
            assert!(error.message().contains(name) && error.hint().unwrap().starts_with("it takes "), "{error}");
        }
        let given = values(&[("number_of_rows", "1_000"), ("properties.client.id", "x"), ("idle_timeout", "none")]);
        let options = Options::check("kafka", SPECS, &given).unwrap();
        assert_eq!(options.integer("rows").unwrap(), Some(1000));
        assert_eq!(options.under("properties.").collect::<Vec<_>>(), [("client.id", "x")]);
        assert!(Options::check("kafka", SPECS, &values(&[("rows", "1"), ("number_of_rows", "1")])).is_err());
    }

    #[test]
    fn durations_and_sizes_have_units() {
        for (text, micros) in [("5s", 5_000_000), ("1 second", 1_000_000), ("500ms", 500_000), ("1.5 hours", 5_400_000_000), ("0", 0)] {
            assert_eq!(parse_duration(text), Some(micros), "{text}");
        }
        assert_eq!((parse_duration("5"), parse_duration("-1s"), parse_duration("s")), (None, None, None));
        assert_eq!((parse_size("64MB"), parse_size("1 GiB"), parse_size("10")), (Some(64 << 20), Some(1 << 30), Some(10)));
    }

    #[test]
    fn generators_may_look_ahead_of_the_clock() {
        assert_eq!(timing("nexmark", &values(&[]), true).unwrap(), Timing { idle_timeout: Some(30_000_000), max_future_skew: None });
        let given = values(&[("max_future_skew", "1 day"), ("idle_timeout", "none")]);
        assert_eq!(timing("kafka", &given, false).unwrap(), Timing { idle_timeout: None, max_future_skew: Some(86_400_000_000) });
    }
}
