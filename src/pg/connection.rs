//! One connection, from its admission to its end: the loop over its messages, and the simple query protocol.
//!
//! An error ends the message it arose in. In the extended protocol the messages behind it are skipped up to the next
//! Sync, so that a pipeline does not run on over a hole.

use super::backend::{Execution, Notice, Session};
use super::commands::Answer;
use super::encode::{Format, RowEncoder};
use super::frame::unknown_type;
use super::portal::{Portal, RowStream, row_tag};
use super::prepared::{Prepared, Statements};
use super::reply::{self, Severity};
use super::server::PgStats;
use super::wire::{FLUSH_BYTES, Interrupts, Stop, Wire};
use crate::error::{Error, Kind, Result};
use crate::types::text::{TextStyle, Zone};
use pgwire::messages::PgWireFrontendMessage as Message;
use pgwire::messages::response::EmptyQueryResponse;
use pgwire::messages::startup::{Authentication, BackendKeyData, SecretKey};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

pub struct Connection<'w> {
    pub(super) wire: &'w mut Wire,
    pub(super) session: Box<dyn Session>,
    pub(super) interrupts: Interrupts,
    pub(super) statements: Arc<Statements>,
    pub(super) portals: HashMap<String, Portal>,
    stats: Arc<PgStats>,
    /// Settings as the client knows them.
    reported: HashMap<String, String>,
    skipping_to_sync: bool,
}

impl<'w> Connection<'w> {
    pub fn new(wire: &'w mut Wire, mut session: Box<dyn Session>, interrupts: Interrupts, stats: Arc<PgStats>) -> Connection<'w> {
        let (statements, portals, reported): (Arc<Statements>, _, _) = Default::default();
        session.lists(statements.clone());
        Connection { wire, session, interrupts, statements, portals, stats, reported, skipping_to_sync: false }
    }

    /// Greets the client and serves it until it leaves or must leave.
    pub async fn run(&mut self, process: i32, secret: i32) -> Stop {
        let mut step = self.greet(process, secret).await;
        loop {
            if let Err(stop) = step {
                return stop;
            }
            step = self.step().await;
        }
    }

    async fn greet(&mut self, process: i32, secret: i32) -> Result<(), Stop> {
        self.wire.put(&Authentication::Ok)?;
        self.report_settings();
        self.wire.put(&BackendKeyData::new(process, SecretKey::I32(secret)))?;
        self.take_notices()?;
        self.ready().await
    }

    /// One message and its answer.
    async fn step(&mut self) -> Result<(), Stop> {
        let frame = match self.idle_timeout() {
            Some(timeout) => match tokio::time::timeout(timeout, self.interrupts.frame(self.wire)).await {
                Ok(frame) => frame?,
                Err(_) => {
                    return Err(Stop::Fatal(Error::new(Kind::IdleInTransaction, "terminating connection due to idle-in-transaction timeout")));
                }
            },
            None => self.interrupts.frame(self.wire).await?,
        };
        let Some(frame) = frame else { return Err(Stop::Gone) };
        let (kind, extended) = (frame.kind(), frame.is_extended());
        if self.skipping_to_sync && !matches!(kind, b'S' | b'X') {
            return Ok(());
        }
        self.interrupts.begin(self.statement_timeout());
        let answered = match frame.message() {
            Ok(message) => self.answer(message).await,
            Err(e) => Err(Stop::Error(e)),
        };
        self.interrupts.end();
        match answered {
            Err(Stop::Error(e)) => {
                self.report_error(&e)?;
                self.skipping_to_sync = extended;
                if extended { self.interrupts.finish(self.wire).await } else { self.ready().await }
            }
            Ok(()) if self.wire.pending() >= FLUSH_BYTES => self.interrupts.finish(self.wire).await,
            other => other,
        }
    }

    async fn answer(&mut self, message: Message) -> Result<(), Stop> {
        match message {
            Message::Query(query) => {
                self.simple_query(&query.query).await?;
                self.ready().await
            }
            Message::Parse(parse) => self.parse(parse).await,
            Message::Bind(bind) => self.bind(bind),
            Message::Describe(describe) => self.describe(describe),
            Message::Execute(execute) => self.execute(&execute.name.unwrap_or_default(), execute.max_rows).await,
            Message::Close(close) => self.close(close),
            Message::Flush(_) => self.interrupts.finish(self.wire).await,
            Message::Sync(_) => {
                self.skipping_to_sync = false;
                self.end_implicit().await?;
                self.ready().await
            }
            Message::Terminate(_) => Err(Stop::Gone),
            // Left over from a COPY that failed.
            Message::CopyData(_) | Message::CopyDone(_) | Message::CopyFail(_) => Ok(()),
            // A password that nobody asked for. The others are not decoded once a session has begun.
            Message::PasswordMessageFamily(_) | Message::SslNegotiation(_) | Message::Startup(_) | Message::CancelRequest(_) | Message::PortalSuspended(_) => {
                Err(unknown_type(b'p').into())
            }
        }
    }

    /// ReadyForQuery: everything before it is sent. Outside a transaction block its portals are over.
    async fn ready(&mut self) -> Result<(), Stop> {
        self.session.rests();
        let status = self.session.transaction_status();
        if status == b'I' {
            self.portals.retain(|_, portal| portal.hold);
        }
        self.wire.put(&reply::ready(status))?;
        self.interrupts.finish(self.wire).await
    }

    fn report_error(&mut self, error: &Error) -> Result<()> {
        self.stats.errors.fetch_add(1, Relaxed);
        self.session.failed();
        self.take_notices()?;
        self.wire.put(&reply::error(Severity::Error, error))
    }

    /// Several statements, one after the other: the answers of those before a failed one are sent.
    async fn simple_query(&mut self, sql: &str) -> Result<(), Stop> {
        self.statements.remove("");
        self.portals.remove("");
        let parsed = self.interrupts.guard(self.wire, self.session.parse(sql)).await?;
        self.take_notices()?;
        if parsed.is_empty() {
            self.wire.put(&EmptyQueryResponse::new())?;
        }
        // Several statements of one message are one transaction.
        let together = parsed.len() > 1;
        if together {
            self.session.begin_implicit();
        }
        for statement in &parsed {
            self.stats.queries.fetch_add(1, Relaxed);
            let in_block = self.session.transaction_status() != b'I';
            let tag = match statement.command() {
                Some(command) => self.run_command(statement, command, &[], Answer::Described).await?,
                None => {
                    let execution = self.interrupts.guard(self.wire, self.session.execute(statement, &[])).await?;
                    self.answer_whole(execution).await?
                }
            };
            self.end_of_block(in_block, &tag);
            self.interrupts.begin_next(self.statement_timeout());
        }
        if together { self.end_implicit().await } else { Ok(()) }
    }

    /// What statements since the last end of a transaction did together becomes true.
    async fn end_implicit(&mut self) -> Result<(), Stop> {
        self.interrupts.guard(self.wire, self.session.end_implicit()).await?;
        Ok(self.take_notices()?)
    }

    /// A statement's whole answer in text, with its description. Gives its tag.
    pub(super) async fn answer_whole(&mut self, execution: Execution) -> Result<String, Stop> {
        self.take_notices()?;
        match execution {
            Execution::Command(tag) => {
                self.complete_command(&tag)?;
                Ok(tag)
            }
            Execution::Rows { columns, stream, tag, .. } => {
                let formats = vec![Format::Text; columns.len()];
                self.wire.put(&reply::row_description(&columns, &formats)?)?;
                let encoder = RowEncoder::new(&columns, &formats, self.style());
                let (_, sent) = RowStream::new(stream, tag).send(self.wire, &mut self.interrupts, &encoder, u64::MAX).await?;
                self.complete_rows(&row_tag(tag, sent), sent)?;
                Ok(tag.to_owned())
            }
            Execution::CopyOut { columns, stream, options } => self.copy_out(&columns, stream, &options).await,
            Execution::CopyIn { relation, columns, options } => self.copy_in(&relation, &columns, &options).await,
        }
    }

    pub(super) fn complete_command(&mut self, tag: &str) -> Result<()> {
        self.take_notices()?;
        if tag == "DISCARD ALL" {
            self.statements.clear();
            self.portals.clear();
        }
        // What these commands change may be a setting that clients watch.
        if matches!(tag, "SET" | "RESET" | "DISCARD ALL" | "COMMIT" | "ROLLBACK") {
            self.report_settings();
        }
        self.wire.put(&reply::command_complete(tag))
    }

    pub(super) fn complete_rows(&mut self, tag: &str, sent: u64) -> Result<()> {
        self.stats.rows.fetch_add(sent, Relaxed);
        self.take_notices()?;
        self.wire.put(&reply::command_complete(tag))
    }

    pub(super) fn count_query(&self) {
        self.stats.queries.fetch_add(1, Relaxed);
    }

    /// A transaction block that has ended takes its portals along; cursors WITH HOLD only if it did not commit.
    pub(super) fn end_of_block(&mut self, was_in_block: bool, tag: &str) {
        if was_in_block && self.session.transaction_status() == b'I' {
            let committed = tag != "ROLLBACK";
            self.portals.retain(|_, portal| {
                portal.held |= portal.hold && committed;
                portal.held
            });
        }
    }

    pub(super) fn take_notices(&mut self) -> Result<()> {
        for notice in self.session.take_notices() {
            match notice {
                Notice::Message { severity, error } => self.wire.put(&reply::notice(severity, &error))?,
                Notice::ParameterStatus { name, value } => self.report_setting(name, value),
            }
        }
        Ok(())
    }

    /// Tells the settings that are new or changed.
    fn report_settings(&mut self) {
        for (name, value) in self.session.reported_settings() {
            if self.reported.get(&name) != Some(&value) {
                self.report_setting(name, value);
            }
        }
    }

    /// A value that is longer than what clients take is not told: they would lose step with the messages.
    fn report_setting(&mut self, name: String, value: String) {
        if let Err(e) = self.wire.put(&reply::parameter_status(&name, &value)) {
            tracing::debug!(setting = name, error = %e, "a setting was not told to the client");
        }
        self.reported.insert(name, value);
    }

    /// How this session's values print and read.
    pub(super) fn style(&self) -> TextStyle {
        let zone = self.session.setting("TimeZone").and_then(|name| Zone::parse(&name).ok());
        TextStyle { timezone: zone.unwrap_or(Zone::Utc) }
    }

    /// How long the client may be silent in an open transaction.
    fn idle_timeout(&self) -> Option<Duration> {
        if self.session.transaction_status() == b'I' {
            return None;
        }
        self.session.setting("idle_in_transaction_session_timeout").and_then(|t| parse_timeout(&t)).filter(|t| !t.is_zero())
    }

    fn statement_timeout(&self) -> Option<Duration> {
        self.session.setting("statement_timeout").and_then(|t| parse_timeout(&t)).filter(|t| !t.is_zero())
    }

    pub(super) fn prepared(&self, name: &str) -> Result<Arc<Prepared>> {
        self.statements.get(name).ok_or_else(|| {
            let message =
                if name.is_empty() { "unnamed prepared statement does not exist".to_string() } else { format!("prepared statement \"{name}\" does not exist") };
            Error::new(Kind::InvalidStatementName, message)
        })
    }
}

/// Milliseconds, or a number with its unit, as SHOW prints it.
fn parse_timeout(text: &str) -> Option<Duration> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    let millis = match text[end..].trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_units() {
        for (text, expected) in [
            ("0", Some(0)),
            ("250", Some(250)),
            ("3s", Some(3000)),
            ("2min", Some(120_000)),
            ("1 h", Some(3_600_000)),
            ("x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parse_timeout(text), expected.map(Duration::from_millis), "{text}");
        }
    }
}
