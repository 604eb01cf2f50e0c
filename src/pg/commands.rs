//! Statements about names that live in a connection: cursors, which are portals, and prepared statements.

use super::backend::{Command, Description, Execution, Parameter, Parsed};
use super::connection::Connection;
use super::encode::{Format, RowEncoder};
use super::extended::bound_names;
use super::portal::{Portal, Prepared, RowStream, Sent, State, row_tag};
use super::reply;
use super::wire::Stop;
use crate::error::{Error, Kind, Result};
use std::sync::Arc;
use std::time::Duration;

/// How rows go to the client.
#[derive(Clone, Copy)]
pub enum Answer<'a> {
    /// In text, behind their description.
    Described,
    /// In these formats; they were described before.
    Formats(&'a [Format]),
}

impl Connection<'_> {
    /// What Parse says of such a statement.
    pub(super) async fn describe_command(&mut self, command: &Command, declared: &[u32]) -> Result<Description, Stop> {
        let columns = match command {
            // A cursor's query may have parameters.
            Command::Declare { query, .. } => {
                let described = self.interrupts.guard(self.wire, self.session.describe(query, declared)).await?;
                return Ok(Description { columns: None, ..described });
            }
            Command::Fetch { name, moves: false, .. } => self.cursor(name)?.prepared.description.columns.clone(),
            Command::Execute { name } => self.prepared(name)?.description.columns.clone(),
            _ => None,
        };
        Ok(Description { parameters: Vec::new(), columns })
    }

    /// Runs it and answers. Gives the tag.
    pub(super) async fn run_command(
        &mut self,
        statement: &Arc<dyn Parsed>,
        command: &Command,
        parameters: &[Parameter],
        answer: Answer<'_>,
    ) -> Result<String, Stop> {
        self.session.check_not_failed()?;
        let tag = match command {
            Command::Declare { name, hold, binary, query } => self.declare(name, *hold, *binary, query, parameters).await?,
            Command::Fetch { name, count, moves, timeout } => {
                return self.fetch_cursor(name, count.unwrap_or(u64::MAX), *moves, *timeout, answer).await;
            }
            Command::Execute { name } => return self.execute_prepared(statement, name, answer).await,
            Command::Prepare { name, types, statement } => self.prepare(name, types, statement).await?,
            Command::Close(Some(name)) => {
                self.cursor(name)?;
                self.portals.remove(name);
                "CLOSE CURSOR"
            }
            Command::Close(None) => {
                self.portals.clear();
                "CLOSE CURSOR ALL"
            }
            Command::Deallocate(Some(name)) => {
                self.prepared(name)?;
                self.statements.remove(name);
                "DEALLOCATE"
            }
            Command::Deallocate(None) => {
                self.statements.clear();
                "DEALLOCATE ALL"
            }
        };
        self.complete_command(tag)?;
        Ok(tag.to_owned())
    }

    fn cursor(&self, name: &str) -> Result<&Portal> {
        self.portals.get(name).ok_or_else(|| Error::new(Kind::InvalidCursorName, format!("cursor \"{name}\" does not exist")))
    }

    async fn declare(&mut self, name: &str, hold: bool, binary: bool, query: &Arc<dyn Parsed>, parameters: &[Parameter]) -> Result<&'static str, Stop> {
        if !hold && self.session.transaction_status() == b'I' {
            return Err(Error::new(Kind::NoActiveTransaction, "DECLARE CURSOR can only be used in transaction blocks").into());
        }
        if self.portals.contains_key(name) {
            return Err(Error::new(Kind::DuplicateCursor, format!("cursor \"{name}\" already exists")).into());
        }
        bound_names(self.portals.len(), "portals")?;
        let execution = self.interrupts.guard(self.wire, self.session.execute(query, parameters)).await?;
        let Execution::Rows { columns, stream, tag, .. } = execution else { return Err(Error::internal("a cursor's query gives no rows").into()) };
        let formats = vec![if binary { Format::Binary } else { Format::Text }; columns.len()];
        let description = Description { parameters: Vec::new(), columns: Some(columns) };
        let prepared = Arc::new(Prepared { statement: Some(query.clone()), description });
        let state = State::Open(RowStream::new(stream, tag));
        let held = hold && self.session.transaction_status() == b'I';
        self.portals.insert(name.to_owned(), Portal { prepared, parameters: Vec::new(), formats, state, hold, held });
        Ok("DECLARE CURSOR")
    }

    async fn fetch_cursor(&mut self, name: &str, count: u64, moves: bool, timeout: Option<Duration>, answer: Answer<'_>) -> Result<String, Stop> {
        self.cursor(name)?;
        let Some(mut portal) = self.portals.remove(name) else { return Err(Error::internal("a cursor is gone").into()) };
        let columns = portal.prepared.description.columns.clone().unwrap_or_default();
        let formats = match answer {
            Answer::Described => portal.formats.clone(),
            Answer::Formats(formats) => formats.to_vec(),
        };
        if !moves && matches!(answer, Answer::Described) {
            self.wire.put(&reply::row_description(&columns, &formats)?)?;
        }
        let mut fetched = 0;
        if let State::Open(mut rows) = std::mem::replace(&mut portal.state, State::Done) {
            let encoder = RowEncoder::new(&columns, &formats, self.style());
            let patience = rows.patience(timeout);
            let (end, sent) = if moves {
                rows.skip(self.wire, &mut self.interrupts, count, patience).await?
            } else {
                rows.send_patiently(self.wire, &mut self.interrupts, &encoder, count, patience).await?
            };
            fetched = sent;
            portal.state = if end == Sent::All { State::Drained { tag: rows.tag } } else { State::Open(rows) };
        }
        self.portals.insert(name.to_owned(), portal);
        let tag = if moves { "MOVE" } else { "FETCH" };
        self.complete_rows(&row_tag(tag, fetched), if moves { 0 } else { fetched })?;
        Ok(tag.to_owned())
    }

    async fn prepare(&mut self, name: &str, types: &[u32], statement: &Arc<dyn Parsed>) -> Result<&'static str, Stop> {
        if self.statements.contains_key(name) {
            return Err(Error::new(Kind::DuplicateStatement, format!("prepared statement \"{name}\" already exists")).into());
        }
        bound_names(self.statements.len(), "prepared statements")?;
        let description = self.interrupts.guard(self.wire, self.session.describe(statement, types)).await?;
        self.statements.insert(name.to_owned(), Arc::new(Prepared { statement: Some(statement.clone()), description }));
        Ok("PREPARE")
    }

    async fn execute_prepared(&mut self, call: &Arc<dyn Parsed>, name: &str, answer: Answer<'_>) -> Result<String, Stop> {
        let prepared = self.prepared(name)?;
        let Some(statement) = prepared.statement.clone() else { return Err(Error::internal("an empty statement was prepared").into()) };
        let oids = &prepared.description.parameters;
        let parameters = self.interrupts.guard(self.wire, self.session.arguments(call, oids)).await?;
        let execution = self.interrupts.guard(self.wire, self.session.execute(&statement, &parameters)).await?;
        match (execution, answer) {
            (Execution::Rows { columns, stream, tag, .. }, Answer::Formats(formats)) => {
                self.take_notices()?;
                let encoder = RowEncoder::new(&columns, formats, self.style());
                let (_, sent) = RowStream::new(stream, tag).send(self.wire, &mut self.interrupts, &encoder, u64::MAX).await?;
                self.complete_rows(&row_tag(tag, sent), sent)?;
                Ok(tag.to_owned())
            }
            (execution, _) => self.answer_whole(execution).await,
        }
    }
}
