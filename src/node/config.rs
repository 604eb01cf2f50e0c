//! What the operator of the server decides, and every bound of the engine with its reason.
//!
//! A setting comes, in rising order of strength, from its default, a TOML file (`--config FILE` or
//! `TIDEWATER_CONFIG`), the environment (`TIDEWATER_DATA_DIR`, …) and the command line. An unknown name in the
//! file is an error, an unknown variable is not: container platforms inject variables of their own.

use crate::error::{Error, Kind, Result};
use crate::node::logs::LogFormat;
use crate::pg::auth::is_local;
use crate::pg::tls::TlsFiles;
use crate::state::rocks::RocksOptions;
use clap::{Args, Parser, Subcommand};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "tidewater",
    version,
    about = "A SQL streaming database: materialized views over Kafka, files and tables, always up to date, read with any Postgres client."
)]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the server.
    #[command(after_help = "Every option can also be set by the environment variable named with it, or by its name in a TOML file (data_dir = \"…\").\n\
                            The command line is stronger than the environment, the environment than the file.\n\
                            Logs: TIDEWATER_LOG takes a filter (info, tidewater=debug), TIDEWATER_LOG_FORMAT text or json.")]
    Serve(Flags),
}

/// Options of `serve`; what is not given comes from elsewhere.
#[derive(Debug, Default, Args, Serialize)]
pub struct Flags {
    /// Folder that holds everything; made if it does not exist [TIDEWATER_DATA_DIR; default: ./tidewater-data]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Where Postgres clients connect [TIDEWATER_LISTEN; default: 127.0.0.1:8433]
    #[arg(long, value_name = "ADDR:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Where /healthz, /readyz and /metrics are served [TIDEWATER_HTTP; default: 127.0.0.1:8434]
    #[arg(long, value_name = "ADDR:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Memory the server may use: 512MiB, 4GB [TIDEWATER_MEMORY; default: half of the machine's or container's]
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Worker threads of the engine; may change at every start [TIDEWATER_THREADS; default: all cores]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// How often state is made durable: 500ms, 1s [TIDEWATER_CHECKPOINT_INTERVAL; default: 1s]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_interval: Option<String>,
    /// How long changes of relations are kept for those who resume a subscription: 10m, 1d, 0s for not at all [TIDEWATER_RETAIN_HISTORY; default: 1h]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retain_history: Option<String>,
    /// Who is asked for a password: auto (all but this machine while no role has one), scram (everybody), trust (nobody) [TIDEWATER_AUTH; default: auto]
    #[arg(long, value_name = "WHEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<String>,
    /// The server's certificate (PEM): connections may be encrypted; read again at SIGHUP [TIDEWATER_TLS_CERT]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM) [TIDEWATER_TLS_KEY]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Certificates (PEM) that sign those of clients, which then need no password [TIDEWATER_TLS_CLIENT_CA]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_ca: Option<PathBuf>,
    /// Listen beyond this machine although connections are not encrypted, or nobody is asked for a password [TIDEWATER_INSECURE_LISTEN]
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure_listen: bool,
    /// File that audit events are appended to as JSON lines, beside tidewater.audit_log [TIDEWATER_AUDIT_LOG]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_log: Option<PathBuf>,
    /// Logs as text or json, on standard error [TIDEWATER_LOG_FORMAT; default: text]
    #[arg(long, value_name = "FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<String>,
    /// TOML file with any of these settings [TIDEWATER_CONFIG]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// The settings in force.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    #[serde(default = "default_http")]
    pub http: SocketAddr,
    #[serde(default = "default_memory", deserialize_with = "size")]
    pub memory: u64,
    #[serde(default = "default_threads", deserialize_with = "threads")]
    pub threads: usize,
    #[serde(default = "default_checkpoint_interval", deserialize_with = "duration")]
    pub checkpoint_interval: Duration,
    #[serde(default = "default_retain_history", deserialize_with = "duration")]
    pub retain_history: Duration,
    #[serde(default)]
    pub auth: Auth,
    #[serde(default)]
    pub tls_cert: Option<PathBuf>,
    #[serde(default)]
    pub tls_key: Option<PathBuf>,
    #[serde(default)]
    pub tls_client_ca: Option<PathBuf>,
    #[serde(default)]
    pub insecure_listen: bool,
    #[serde(default)]
    pub audit_log: Option<PathBuf>,
    #[serde(default)]
    pub log_format: LogFormat,
    /// Filter of the logs, as `tracing` reads it.
    #[serde(default = "default_log")]
    pub log: String,
}

/// Who is asked for a password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// Connections from other machines always, those of this one as soon as a role has a password.
    #[default]
    Auto,
    /// Everybody.
    Scram,
    /// Nobody: any user name is believed.
    Trust,
}

const SETTINGS: [&str; 15] = [
    "data_dir",
    "listen",
    "http",
    "memory",
    "threads",
    "checkpoint_interval",
    "retain_history",
    "auth",
    "tls_cert",
    "tls_key",
    "tls_client_ca",
    "insecure_listen",
    "audit_log",
    "log_format",
    "log",
];

impl Config {
    /// Puts the sources of settings together. The error names the setting and where its value came from.
    pub fn load(flags: &Flags) -> Result<Config> {
        let file = flags.config.clone().or_else(|| std::env::var_os("TIDEWATER_CONFIG").map(PathBuf::from));
        let mut figment = Figment::new();
        if let Some(path) = &file {
            let text = std::fs::read_to_string(path)
                .map_err(|e| Error::new(Kind::ConfigFile, format!("cannot read the configuration file \"{}\": {e}", path.display())))?;
            figment = figment.merge(Toml::string(&text));
        }
        figment = figment.merge(Env::prefixed("TIDEWATER_").only(&SETTINGS)).merge(Serialized::defaults(flags));
        let config: Config = figment.extract().map_err(worded)?;
        config.check()
    }

    fn check(self) -> Result<Config> {
        if self.memory < MEMORY_MIN_BYTES {
            let message = format!("memory = {} is too small", Size(self.memory));
            return Err(Error::new(Kind::ConfigFile, message).with_hint(format!("the server needs {} at least", Size(MEMORY_MIN_BYTES))));
        }
        if self.listen == self.http && self.listen.port() != 0 {
            return Err(Error::new(Kind::ConfigFile, format!("listen and http are both {}", self.listen)).with_hint("give each its own port"));
        }
        self.tls()?;
        if !self.insecure_listen && !is_local(self.listen.ip()) && (self.tls_cert.is_none() || self.auth == Auth::Trust) {
            let what = if self.tls_cert.is_none() { "encryption" } else { "passwords" };
            let message = format!("listen = {} is reached from other machines, without {what}", self.listen);
            return Err(Error::new(Kind::ConfigFile, message).with_hint(match self.tls_cert {
                None => "give --tls-cert and --tls-key, or --insecure-listen if the network is to be trusted",
                Some(_) => "leave --auth trust out, or give --insecure-listen if everybody who reaches the port is to be trusted",
            }));
        }
        if !(CHECKPOINT_INTERVAL_MIN..=CHECKPOINT_INTERVAL_MAX).contains(&self.checkpoint_interval) {
            let message = format!("checkpoint_interval = {} is out of range", humantime::format_duration(self.checkpoint_interval));
            return Err(Error::new(Kind::ConfigFile, message).with_hint("give a duration from 10ms to 1h"));
        }
        Ok(self)
    }
}

/// Bounds of the engine, from the configuration; each is named and reasoned there.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Rows of one epoch, all sources together.
    pub epoch_rows: usize,
    /// Rows of one step of a view that is being built.
    pub build_rows: usize,
    /// Bytes of all rows that operators give out in one step; several times that is needed to make them.
    pub step_bytes: usize,
    pub checkpoint_interval: Duration,
    /// Bytes of operator state in memory, all workers; beyond it clean state is evicted.
    pub state_bytes: usize,
    /// Bytes that operator state may grow by before a checkpoint starts early; at twice that, input waits for the checkpoint under way.
    pub dirty_bytes: usize,
    /// Bytes of uncheckpointed view rows; beyond it a checkpoint starts early.
    pub run_bytes: usize,
    /// Bytes of rows that all sources together may have read ahead, and as much again of undecoded input.
    pub queue_bytes: usize,
    /// Bytes of memory that all readers' queries share.
    pub reader_bytes: usize,
    /// Where queries put what does not fit; emptied at start. `None`: the machine's folder for temporary files.
    pub spill: Option<PathBuf>,
    /// Bytes of such files.
    pub spill_bytes: u64,
    /// Bytes on disk of what one isolated view has still to take in; beyond it, input waits.
    pub isolated_log_bytes: u64,
    /// Where the server keeps small files of its own; `None`: nowhere.
    pub data_dir: Option<PathBuf>,
    /// Where a copy of the audit log goes.
    pub audit_log: Option<PathBuf>,
    /// Bytes of changes that wait for all subscribers together, and a quarter of it for one; who holds more is cut off.
    pub subscription_bytes: usize,
    /// For how long changes of a relation are kept for those who resume, and how many bytes of them on disk.
    pub retain_history: Duration,
    pub history_bytes: u64,
    /// How long a replay waits for a source before it gives up.
    pub replay_timeout: Duration,
}

/// Rows of one epoch: enough to share fixed costs and fold equal keys, few enough to stay under 50 ms.
const EPOCH_ROWS: usize = 64 * 1024;
/// Memory for each row of an epoch: a join makes several kilobytes of state and changes of one.
const EPOCH_ROW_BYTES: usize = 16 << 10;
/// Rows of one step of a building view: what a live view may have to wait for.
const BUILD_ROWS: usize = 64 * 1024;
/// What a checkpoint writes costs its size several times over in buffers, and fresh pages cost more than what is written to them.
const DIRTY_BYTES: usize = 128 << 20;
/// Keeps two cores busy.
const QUEUE_BYTES: usize = 64 << 20;
/// A query that would need more should be written otherwise; the disk is for state.
const SPILL_BYTES: u64 = 16 << 30;
/// Hours of a busy source; a view that is further behind is too dear for this machine.
const ISOLATED_LOG_BYTES: u64 = 16 << 30;
/// Of one relation: who comes back later than that reads its rows as fast as its changes.
const HISTORY_BYTES: u64 = 1 << 30;
/// A source that cannot be read again for so long keeps the server from starting, with a clear error.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(60);

impl Config {
    /// What connections are encrypted with; `None`: they are not. Error: half of it is missing.
    pub fn tls(&self) -> Result<Option<TlsFiles>> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Ok(Some(TlsFiles { certificate: certificate.clone(), key: key.clone(), client_authorities: self.tls_client_ca.clone() }))
            }
            (None, None) if self.tls_client_ca.is_none() => Ok(None),
            _ => Err(Error::new(Kind::ConfigFile, "tls_cert and tls_key belong together, and tls_client_ca to both")),
        }
    }

    fn memory(&self) -> usize {
        usize::try_from(self.memory).unwrap_or(usize::MAX)
    }

    /// An eighth of the memory for RocksDB's cache, a sixteenth for its memtables.
    pub fn rocks_options(&self) -> RocksOptions {
        RocksOptions { block_cache_bytes: self.memory() / 8, write_buffer_bytes: (self.memory() / 16).min(256 << 20), ..RocksOptions::default() }
    }

    /// A quarter of the memory for operator state, a twentieth for rows of views that are not in the store. Both may be exceeded while a checkpoint is under way, which holds a copy
    /// of what it writes: that is another half.
    pub fn limits(&self) -> Limits {
        Limits {
            epoch_rows: EPOCH_ROWS.min(self.memory() / EPOCH_ROW_BYTES),
            build_rows: BUILD_ROWS,
            step_bytes: self.memory() / 16,
            checkpoint_interval: self.checkpoint_interval,
            state_bytes: self.memory() / 4,
            dirty_bytes: (self.memory() / 48).min(DIRTY_BYTES),
            run_bytes: self.memory() / 20,
            queue_bytes: (self.memory() / 16).min(QUEUE_BYTES),
            reader_bytes: self.memory() / 8,
            spill: Some(self.data_dir.join("spill")),
            spill_bytes: SPILL_BYTES,
            isolated_log_bytes: ISOLATED_LOG_BYTES,
            data_dir: Some(self.data_dir.clone()),
            audit_log: self.audit_log.clone(),
            subscription_bytes: self.memory() / 16,
            retain_history: self.retain_history,
            history_bytes: HISTORY_BYTES,
            replay_timeout: REPLAY_TIMEOUT,
        }
    }
}

/// Figment's error as one line in our words.
fn worded(error: figment::Error) -> Error {
    let setting = error.path.join(".");
    let reason = error.kind.to_string();
    let origin = error.metadata.as_ref().map(|m| m.name.to_string()).unwrap_or_default();
    let place = if origin.contains("environment") {
        format!(" (from the environment, TIDEWATER_{})", setting.to_uppercase())
    } else if origin.contains("TOML") {
        " (from the configuration file)".to_string()
    } else {
        String::new()
    };
    let message = match &error.kind {
        figment::error::Kind::UnknownField(name, _) => {
            let nearest = SETTINGS.iter().min_by_key(|s| strsim::levenshtein(s, name)).expect("the list is not empty");
            return Error::new(Kind::ConfigFile, format!("unknown setting \"{name}\"{place}")).with_hint(format!("did you mean \"{nearest}\"?"));
        }
        _ if setting.is_empty() => format!("invalid configuration{place}: {}", reason.replace('\n', " ")),
        _ => format!("invalid value for setting \"{setting}\"{place}: {}", reason.replace('\n', " ")),
    };
    Error::new(Kind::ConfigFile, message)
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("./tidewater-data")
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8433))
}

fn default_http() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8434))
}

fn default_memory() -> u64 {
    (available_memory() / 2).max(MEMORY_MIN_BYTES)
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX)
}

fn default_checkpoint_interval() -> Duration {
    Duration::from_secs(1)
}

fn default_retain_history() -> Duration {
    Duration::from_secs(3600)
}

fn default_log() -> String {
    "info".to_string()
}

/// The machine's memory, or the container's if that is less.
fn available_memory() -> u64 {
    const UNKNOWN: u64 = 2 << 30;
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    });
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let container = limits.iter().filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()).min();
    machine.into_iter().chain(container).min().unwrap_or(UNKNOWN)
}

/// A number of bytes as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let number: f64 = text[..end].parse().map_err(|_| format!("\"{text}\" is not a size; write for instance 512MiB or 4GB"))?;
        let factor: u64 = match text[end..].trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "kb" => 1_000,
            "m" | "mib" => 1 << 20,
            "mb" => 1_000_000,
            "g" | "gib" => 1 << 30,
            "gb" => 1_000_000_000,
            "t" | "tib" => 1 << 40,
            "tb" => 1_000_000_000_000,
            unit => return Err(format!("\"{unit}\" is not a unit of size; units are B, kB, MB, GB, TB and KiB, MiB, GiB, TiB")),
        };
        Ok(Size((number * factor as f64) as u64))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// A value that the file or the environment may give as a number or as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    match NumberOrText::deserialize(from)? {
        NumberOrText::Number(bytes) => Ok(bytes),
        NumberOrText::Text(text) => text.parse::<Size>().map(|s| s.0).map_err(D::Error::custom),
    }
}

fn threads<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    match NumberOrText::deserialize(from)? {
        NumberOrText::Number(n) if (1..=THREADS_MAX as u64).contains(&n) => Ok(n as usize),
        NumberOrText::Number(n) => Err(D::Error::custom(format!("{n} is not between 1 and {THREADS_MAX}"))),
        NumberOrText::Text(text) => Err(D::Error::custom(format!("\"{text}\" is not a number of threads"))),
    }
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    match NumberOrText::deserialize(from)? {
        NumberOrText::Number(n) => Err(D::Error::custom(format!("{n} has no unit; write for instance {n}ms or {n}s"))),
        NumberOrText::Text(text) => {
            humantime::parse_duration(text.trim()).map_err(|_| D::Error::custom(format!("\"{text}\" is not a duration; write for instance 500ms or 1s")))
        }
    }
}

// Bounds. Rooms below `node` get these as arguments; here stand their values and reasons, together.

/// Below this, RocksDB's block cache and memtables leave nothing to the engine.
pub const MEMORY_MIN_BYTES: u64 = 64 << 20;
/// Virtual nodes are shared out among threads; with fewer than four each the shares grow uneven.
pub const THREADS_MAX: usize = 64;
/// An epoch is put into the queue of each, which takes about a millisecond for so many.
pub const SUBSCRIPTIONS_MAX: usize = 5000;
/// A checkpoint syncs the disk: more often than this only that would be measured.
pub const CHECKPOINT_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// The epoch log since the last checkpoint is replayed at a restart: an hour of it is no quick start any more.
pub const CHECKPOINT_INTERVAL_MAX: Duration = Duration::from_secs(3600);

const _: () = assert!(THREADS_MAX * 4 <= crate::types::ids::VIRTUAL_NODES);

#[cfg(test)]
mod tests {
    use super::*;

    fn from_toml(text: &str) -> Result<Config> {
        Figment::new().merge(Toml::string(text)).extract::<Config>().map_err(worded)?.check()
    }

    #[test]
    fn defaults_are_those_of_the_readme() {
        let config = from_toml("").unwrap();
        assert_eq!(config.data_dir, PathBuf::from("./tidewater-data"));
        assert_eq!(config.listen.to_string(), "127.0.0.1:8433");
        assert_eq!(config.http.to_string(), "127.0.0.1:8434");
        assert_eq!((config.checkpoint_interval, config.retain_history), (Duration::from_secs(1), Duration::from_secs(3600)));
        assert!(config.memory >= MEMORY_MIN_BYTES && config.threads >= 1);
    }

    #[test]
    fn a_file_may_set_all() {
        let config = from_toml(
            "memory = \"512MiB\"\nthreads = 2\ncheckpoint_interval = \"250ms\"\nretain_history = \"0s\"\nlisten = \"0.0.0.0:5432\"\nauth = \"trust\"\ninsecure_listen = true\nlog_format = \"json\"",
        )
        .unwrap();
        assert_eq!(config.memory, 512 << 20);
        assert_eq!(config.threads, 2);
        assert_eq!((config.checkpoint_interval, config.retain_history), (Duration::from_millis(250), Duration::ZERO));
        assert_eq!((config.auth, config.log_format), (Auth::Trust, LogFormat::Json));
    }

    #[test]
    fn wrong_settings_are_named_in_one_line() {
        for (text, expected) in [
            ("memroy = 1", "unknown setting \"memroy\""),
            ("memory = \"much\"", "setting \"memory\""),
            ("memory = \"1MiB\"", "memory = 1MiB is too small"),
            ("auth = \"nobody\"", "setting \"auth\""),
            ("listen = \"0.0.0.0:5432\"", "is reached from other machines, without encryption"),
            ("listen = \"0.0.0.0:5432\"\nauth = \"trust\"\ntls_cert = \"a\"\ntls_key = \"b\"", "is reached from other machines, without passwords"),
            ("tls_cert = \"a\"", "tls_cert and tls_key belong together"),
            ("threads = 0", "0 is not between 1 and 64"),
            ("checkpoint_interval = 5", "5 has no unit"),
            ("checkpoint_interval = \"1ms\"", "out of range"),
            ("listen = \"nowhere\"", "setting \"listen\""),
            ("listen = \"127.0.0.1:9\"\nhttp = \"127.0.0.1:9\"", "listen and http are both"),
        ] {
            let message = from_toml(text).unwrap_err().to_string();
            assert!(message.contains(expected) && !message.contains('\n'), "{text}: {message}");
        }
    }

    #[test]
    fn sizes_are_read_and_printed() {
        for (text, bytes) in [("512MiB", 512u64 << 20), ("1.5 GiB", 3 << 29), ("4GB", 4_000_000_000), ("100", 100), ("64k", 64 << 10)] {
            assert_eq!(text.parse::<Size>().unwrap().0, bytes, "{text}");
        }
        assert!("".parse::<Size>().is_err() && "12 parsecs".parse::<Size>().is_err());
        assert_eq!(Size(512 << 20).to_string(), "512MiB");
    }
}
