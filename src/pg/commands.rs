//! Statements about names that live in a connection: cursors, which are portals, and prepared statements.

use super::backend::{Command, Description, Execution, Parameter, Parsed};
use super::connection::Connection;
use super::encode::{Format, RowEncoder};
use super::extended::bound_names;
use super::portal::{Portal, RowStream, Sent, State, row_tag};
use super::prepared::Prepared;
use super::reply;
use super::scroll::Scroll;
use super::wire::Stop;
use crate::error::{Error, Kind, Result};
use crate::types::direction::Direction;
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
            Command::Declare { name, hold, binary, scroll, query } => {
                self.declare(name, *hold, query, parameters).await?;
                self.shape(name, *binary, *scroll)
            }
            Command::Fetch { name, direction, moves, timeout } => return self.fetch_cursor(name, *direction, *moves, *timeout, answer).await,
            Command::Execute { name } => return self.execute_prepared(statement, name, answer).await,
            Command::Prepare { name, types, statement: inner } => self.prepare(name, types, inner, statement.text()).await?,
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

    async fn declare(&mut self, name: &str, hold: bool, query: &Arc<dyn Parsed>, parameters: &[Parameter]) -> Result<(), Stop> {
        if !hold && self.session.transaction_status() == b'I' {
            return Err(Error::new(Kind::NoActiveTransaction, "DECLARE CURSOR can only be used in transaction blocks").into());
        }
        if self.portals.contains_key(name) {
            return Err(Error::new(Kind::DuplicateCursor, format!("cursor \"{name}\" already exists")).into());
        }
        bound_names(self.portals.len(), "portals")?;
        let execution = self.interrupts.guard(self.wire, self.session.execute(query, parameters)).await?;
        let Execution::Rows { columns, stream, tag, .. } = execution else { return Err(Error::internal("a cursor's query gives no rows").into()) };
        let formats = vec![Format::Text; columns.len()];
        let description = Description { parameters: Vec::new(), columns: Some(columns) };
        let prepared = Arc::new(Prepared::new(Some(query.clone()), description, query.text().to_owned(), true));
        let state = State::Open(RowStream::new(stream, tag));
        let held = hold && self.session.transaction_status() == b'I';
        self.portals.insert(name.to_owned(), Portal { prepared, parameters: Vec::new(), formats, state, hold, held });
        Ok(())
    }

    /// What DECLARE says of how the cursor's rows are had.
    fn shape(&mut self, name: &str, binary: bool, scroll: bool) -> &'static str {
        if let Some(portal) = self.portals.get_mut(name) {
            if binary {
                portal.formats.fill(Format::Binary);
            }
            portal.state = match std::mem::replace(&mut portal.state, State::Done) {
                State::Open(rows) if scroll => State::Scroll(Box::new(Scroll::new(rows))),
                other => other,
            };
        }
        "DECLARE CURSOR"
    }

    async fn fetch_cursor(&mut self, name: &str, direction: Direction, moves: bool, timeout: Option<Duration>, answer: Answer<'_>) -> Result<String, Stop> {
        let cursor = self.cursor(name)?;
        if !matches!((&cursor.state, direction), (State::Scroll(_), _) | (_, Direction::Forward(None | Some(1..)))) {
            let error = Error::new(Kind::NotReady, "cursor can only scan forward");
            return Err(error.with_hint("Declare it with SCROLL option to enable backward scan.").into());
        }
        let Some(mut portal) = self.portals.remove(name) else { return Err(Error::internal("a cursor is gone").into()) };
        let columns = portal.prepared.description.columns.clone().unwrap_or_default();
        let formats = match answer {
            Answer::Described => portal.formats.clone(),
            Answer::Formats(formats) => formats.to_vec(),
        };
        if !moves && matches!(answer, Answer::Described) {
            self.wire.put(&reply::row_description(&columns, &formats)?)?;
        }
        let encoder = RowEncoder::new(&columns, &formats, self.style());
        let to = Some(&encoder).filter(|_| !moves);
        let (state, fetched) = self.fetch_rows(std::mem::replace(&mut portal.state, State::Done), direction, timeout, to).await?;
        portal.state = state;
        self.portals.insert(name.to_owned(), portal);
        let tag = if moves { "MOVE" } else { "FETCH" };
        self.complete_rows(&row_tag(tag, fetched), if moves { 0 } else { fetched })?;
        Ok(tag.to_owned())
    }

    /// Rows of a cursor, unless `to` is none; what it is then, and how many rows were on the way.
    async fn fetch_rows(&mut self, state: State, direction: Direction, timeout: Option<Duration>, to: Option<&RowEncoder>) -> Result<(State, u64), Stop> {
        match state {
            State::Scroll(mut rows) => {
                let fetched = rows.fetch(self.wire, &mut self.interrupts, to, direction).await?;
                Ok((State::Scroll(rows), fetched))
            }
            State::Open(mut rows) => {
                let count = if let Direction::Forward(Some(count)) = direction { count } else { u64::MAX };
                let patience = rows.patience(timeout);
                let (end, fetched) = match to {
                    Some(encoder) => rows.send_patiently(self.wire, &mut self.interrupts, encoder, count, patience).await?,
                    None => rows.skip(self.wire, &mut self.interrupts, count, patience).await?,
                };
                Ok((if end == Sent::All { State::Drained { tag: rows.tag } } else { State::Open(rows) }, fetched))
            }
            other => Ok((other, 0)),
        }
    }

    async fn prepare(&mut self, name: &str, types: &[u32], statement: &Arc<dyn Parsed>, text: &str) -> Result<&'static str, Stop> {
        if self.statements.get(name).is_some() {
            return Err(Error::new(Kind::DuplicateStatement, format!("prepared statement \"{name}\" already exists")).into());
        }
        bound_names(self.statements.count(), "prepared statements")?;
        let description = self.interrupts.guard(self.wire, self.session.describe(statement, types)).await?;
        self.statements.insert(name.to_owned(), Prepared::new(Some(statement.clone()), description, text.to_owned(), true));
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
