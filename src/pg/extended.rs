//! The extended query protocol: Parse, Bind, Describe, Execute, Close.

use super::backend::{Description, Execution, Parameter, ResultColumn};
use super::commands::Answer;
use super::connection::Connection;
use super::decode::decode_parameter;
use super::encode::{Format, RowEncoder};
use super::portal::{Portal, RowStream, Sent, State, row_tag};
use super::prepared::Prepared;
use super::reply;
use super::types;
use super::wire::{Stop, Wire};
use crate::error::{Error, Kind, Result};
use crate::types::direction::Direction;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{Bind, BindComplete, Close, CloseComplete, Describe, Parse, ParseComplete, PortalSuspended, TARGET_TYPE_BYTE_STATEMENT};
use pgwire::messages::response::EmptyQueryResponse;
use std::sync::Arc;

/// Named statements and portals of one connection: a bound on what a client can make it hold.
const MAX_NAMES: usize = 50_000;

impl Connection<'_> {
    pub(super) async fn parse(&mut self, parse: Parse) -> Result<(), Stop> {
        let (name, declared) = (parse.name.unwrap_or_default(), parse.type_oids);
        if !name.is_empty() && self.statements.get(&name).is_some() {
            return Err(Error::new(Kind::DuplicateStatement, format!("prepared statement \"{name}\" already exists")).into());
        }
        bound_names(self.statements.count(), "prepared statements")?;
        self.statements.remove("");
        let mut parsed = self.interrupts.guard(self.wire, self.session.parse(&parse.query)).await?;
        if parsed.len() > 1 {
            return Err(Error::new(Kind::Syntax, "cannot insert multiple commands into a prepared statement").into());
        }
        let statement = parsed.pop();
        let description = match &statement {
            Some(statement) => match statement.command() {
                Some(command) => self.describe_command(command, &declared).await?,
                None => self.interrupts.guard(self.wire, self.session.describe(statement, &declared)).await?,
            },
            None => Description { parameters: declared, columns: None },
        };
        self.take_notices()?;
        self.statements.insert(name, Prepared::new(statement, description, parse.query, false));
        Ok(self.wire.put(&ParseComplete::new())?)
    }

    pub(super) fn bind(&mut self, bind: Bind) -> Result<(), Stop> {
        let statement = bind.statement_name.as_deref().unwrap_or_default();
        let portal = bind.portal_name.clone().unwrap_or_default();
        let prepared = self.prepared(statement)?;
        if !portal.is_empty() && self.portals.contains_key(&portal) {
            return Err(Error::new(Kind::DuplicateCursor, format!("cursor \"{portal}\" already exists")).into());
        }
        bound_names(self.portals.len(), "portals")?;
        let parameters = self.parameters(&prepared.description, &bind)?;
        let columns = prepared.description.columns.as_ref().map_or(0, Vec::len);
        let formats = Format::spread(&bind.result_column_format_codes, columns)?.ok_or_else(|| {
            let given = bind.result_column_format_codes.len();
            Error::new(Kind::Protocol, format!("bind message has {given} result formats but query has {columns} columns"))
        })?;
        self.portals.insert(portal, Portal { prepared, parameters, formats, state: State::Fresh, hold: false, held: false });
        Ok(self.wire.put(&BindComplete::new())?)
    }

    fn parameters(&self, description: &Description, bind: &Bind) -> Result<Vec<Parameter>> {
        let (given, required) = (bind.parameters.len(), description.parameters.len());
        let formats = Format::spread(&bind.parameter_format_codes, given)?.ok_or_else(|| {
            let formats = bind.parameter_format_codes.len();
            Error::new(Kind::Protocol, format!("bind message has {formats} parameter formats but {given} parameters"))
        })?;
        if given != required {
            let name = bind.statement_name.as_deref().unwrap_or_default();
            let message = format!("bind message supplies {given} parameters, but prepared statement \"{name}\" requires {required}");
            return Err(Error::new(Kind::Protocol, message));
        }
        let style = self.style();
        let values = bind.parameters.iter().zip(formats).zip(&description.parameters);
        let decoded = values.map(|((value, format), oid)| Ok(Parameter { oid: *oid, value: decode_parameter(*oid, format, value.as_deref(), &style)? }));
        decoded.collect()
    }

    /// Of a statement also the parameters; in which formats its rows will come is not known yet.
    pub(super) fn describe(&mut self, describe: Describe) -> Result<(), Stop> {
        let name = describe.name.unwrap_or_default();
        if describe.target_type == TARGET_TYPE_BYTE_STATEMENT {
            let prepared = self.prepared(&name)?;
            self.wire.put(&ParameterDescription::new(prepared.description.parameters.clone()))?;
            let formats = vec![Format::Text; prepared.description.columns.as_ref().map_or(0, Vec::len)];
            return Ok(describe_rows(self.wire, &prepared, &formats)?);
        }
        let portal = self.portals.get(&name).ok_or_else(|| no_portal(&name))?;
        Ok(describe_rows(self.wire, &portal.prepared, &portal.formats)?)
    }

    /// Runs a portal up to `limit` rows; no limit is 0 or less. A portal that fails is gone.
    pub(super) async fn execute(&mut self, name: &str, limit: i32) -> Result<(), Stop> {
        let mut portal = self.portals.remove(name).ok_or_else(|| no_portal(name))?;
        let in_block = self.session.transaction_status() != b'I';
        let limit = if limit <= 0 { u64::MAX } else { limit as u64 };
        let mut tag = String::new();
        match std::mem::replace(&mut portal.state, State::Done) {
            State::Fresh => match portal.prepared.statement.clone() {
                None => self.wire.put(&EmptyQueryResponse::new())?,
                Some(statement) => {
                    self.count_query();
                    // What a Sync follows at once is a transaction by itself.
                    if !self.wire.is_next(b'S') {
                        self.session.begin_implicit();
                    }
                    if let Some(command) = statement.command() {
                        tag = self.run_command(&statement, command, &portal.parameters, Answer::Formats(&portal.formats)).await?;
                    } else {
                        let execution = self.interrupts.guard(self.wire, self.session.execute(&statement, &portal.parameters)).await?;
                        self.take_notices()?;
                        (portal.state, tag) = self.begin(&portal.prepared, &portal.formats, execution, limit).await?;
                    }
                }
            },
            State::Open(rows) => {
                let encoder = self.encoder(&portal);
                portal.state = self.fetch(rows, &encoder, limit).await?;
            }
            State::Scroll(mut rows) => {
                let (encoder, count) = (self.encoder(&portal), (limit < u64::MAX).then_some(limit));
                let sent = rows.fetch(self.wire, &mut self.interrupts, Some(&encoder), Direction::Forward(count)).await?;
                portal.state = State::Scroll(rows);
                if sent < limit { self.complete_rows(&row_tag("SELECT", sent), sent)? } else { self.wire.put(&PortalSuspended::new())? }
            }
            State::Drained { tag } => {
                self.complete_rows(&row_tag(tag, 0), 0)?;
                portal.state = State::Drained { tag };
            }
            State::Done => return Err(Error::new(Kind::NotReady, format!("portal \"{name}\" cannot be run")).into()),
        }
        self.portals.insert(name.to_string(), portal);
        self.end_of_block(in_block, &tag);
        Ok(())
    }

    /// What a portal's first Execute brought, and its tag.
    async fn begin(&mut self, prepared: &Prepared, formats: &[Format], execution: Execution, limit: u64) -> Result<(State, String), Stop> {
        match execution {
            Execution::Rows { columns, stream, tag, .. } => {
                check_columns(prepared, &columns)?;
                let encoder = RowEncoder::new(&columns, formats, self.style());
                let state = self.fetch(RowStream::new(stream, tag), &encoder, limit).await?;
                Ok((state, tag.to_owned()))
            }
            other => Ok((State::Done, self.answer_whole(other).await?)),
        }
    }

    pub(super) fn encoder(&self, portal: &Portal) -> RowEncoder {
        RowEncoder::new(portal.prepared.description.columns.as_deref().unwrap_or_default(), &portal.formats, self.style())
    }

    async fn fetch(&mut self, mut rows: RowStream, encoder: &RowEncoder, limit: u64) -> Result<State, Stop> {
        let (end, sent) = rows.send(self.wire, &mut self.interrupts, encoder, limit).await?;
        match end {
            Sent::All => {
                self.complete_rows(&rows.complete_tag(sent), sent)?;
                Ok(State::Drained { tag: rows.tag })
            }
            Sent::Suspended => {
                self.take_notices()?;
                self.wire.put(&PortalSuspended::new())?;
                Ok(State::Open(rows))
            }
        }
    }

    /// Closing what does not exist is no error.
    pub(super) fn close(&mut self, close: Close) -> Result<(), Stop> {
        let name = close.name.unwrap_or_default();
        if close.target_type != TARGET_TYPE_BYTE_STATEMENT {
            self.portals.remove(&name);
        } else if let Some(prepared) = self.statements.remove(&name) {
            self.portals.retain(|_, portal| !Arc::ptr_eq(&portal.prepared, &prepared));
        }
        Ok(self.wire.put(&CloseComplete::new())?)
    }
}

/// `formats` has one entry per column.
fn describe_rows(wire: &mut Wire, prepared: &Prepared, formats: &[Format]) -> Result<()> {
    match &prepared.description.columns {
        Some(columns) => wire.put(&reply::row_description(columns, formats)?),
        None => wire.put(&NoData::new()),
    }
}

pub(super) fn bound_names(count: usize, what: &str) -> Result<()> {
    if count < MAX_NAMES { Ok(()) } else { Err(Error::new(Kind::TooComplex, format!("a connection may have {MAX_NAMES} {what}"))) }
}

fn no_portal(name: &str) -> Error {
    Error::new(Kind::InvalidCursorName, format!("portal \"{name}\" does not exist"))
}

/// The client reads rows by what Describe told it, which may be older than the relations are.
fn check_columns(prepared: &Prepared, columns: &[ResultColumn]) -> Result<()> {
    let described = prepared.description.columns.as_deref().unwrap_or_default();
    let same = described.len() == columns.len()
        && described.iter().zip(columns).all(|(a, b)| matches!((types::oid_of(&a.field), types::oid_of(&b.field)), (Ok(a), Ok(b)) if a == b));
    if same { Ok(()) } else { Err(Error::new(Kind::StalePlan, "cached plan must not change result type").with_hint("prepare the statement again")) }
}
