//! Statements run here: one file per statement. Each binds against the catalog of this moment, checks, and asks the
//! engine for what it needs; none knows how the engine works.

mod assign;
mod change;
mod conflict;
mod create_index;
mod create_relation;
mod create_sink;
mod create_view;
mod drop;
mod explain;
mod explain_state;
mod insert;
pub mod lookup;
pub mod replan;
mod returning;
mod scope;
mod select;
mod show;
mod target;
#[cfg(test)]
mod tests;

pub use select::{Results, Shape};

use crate::error::{Error, Result};
use crate::node::engine_api::Engine;
use crate::node::pool::Pool;
use crate::node::settings::Settings;
use crate::sql::ast::{Statement, StatementKind};
use crate::sql::bind::Binder;
use crate::types::ids::TableId;
use crate::types::time::Epoch;
use arrow::datatypes::FieldRef;
use datafusion::common::ScalarValue;
use std::sync::Arc;

/// What a statement runs with. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub engine: Arc<dyn Engine>,
    pub binder: Arc<Binder>,
    pub pool: Arc<Pool>,
    pub settings: Arc<Settings>,
    /// The session's last write: what it reads must show it.
    pub wait_for: Option<Epoch>,
    /// The statement's time, µs.
    pub now: i64,
}

/// What a statement gives.
pub struct Outcome {
    pub answer: Answer,
    pub notices: Vec<Error>,
    /// The epoch that shows what it wrote.
    pub written: Option<Epoch>,
}

pub enum Answer {
    Rows(Results),
    /// The complete tag.
    Command(String),
}

impl Outcome {
    fn command(tag: impl Into<String>) -> Outcome {
        Outcome { answer: Answer::Command(tag.into()), notices: Vec::new(), written: None }
    }

    fn rows(results: Results) -> Outcome {
        Outcome { answer: Answer::Rows(results), notices: Vec::new(), written: None }
    }

    fn notice(mut self, notice: Error) -> Outcome {
        self.notices.push(notice);
        self
    }
}

/// Numbers of state tables for a planner, which cannot fail on its own: [`StateTables::finish`] tells afterwards.
struct StateTables<'a> {
    engine: &'a dyn Engine,
    handed: Vec<TableId>,
    failed: Option<Error>,
}

impl<'a> StateTables<'a> {
    fn new(context: &'a Context) -> Self {
        StateTables { engine: context.engine.as_ref(), handed: Vec::new(), failed: None }
    }

    fn next(&mut self) -> TableId {
        let id = self.engine.allocate_table().unwrap_or_else(|e| {
            self.failed = Some(e);
            TableId(0)
        });
        self.handed.push(id);
        id
    }

    fn finish(self) -> Result<Vec<TableId>> {
        self.failed.map_or(Ok(self.handed), Err)
    }
}

/// Runs one statement. One arm per statement; those that only change the session never come here.
pub async fn execute(context: Context, statement: Arc<Statement>, parameters: Vec<ScalarValue>) -> Result<Outcome> {
    match &statement.kind {
        StatementKind::Query(query) => select::execute(&context, &statement, query, &parameters).await,
        StatementKind::Insert(insert) => insert::execute(&context, &statement, insert, &parameters).await,
        StatementKind::Update(update) => change::update(&context, &statement, update, &parameters).await,
        StatementKind::Delete(delete) => change::delete(&context, &statement, delete, &parameters).await,
        StatementKind::CreateRelation(create) => create_relation::execute(&context, &statement, create).await,
        StatementKind::CreateView(create) => create_view::execute(&context, &statement, create).await,
        StatementKind::CreateIndex(create) => create_index::execute(&context, &statement, create).await,
        StatementKind::CreateSink(create) => create_sink::execute(&context, &statement, create).await,
        StatementKind::Drop(drop) => drop::execute(&context, drop).await,
        StatementKind::Explain(inner) => explain::execute(&context, inner).await,
        StatementKind::ExplainState(inner) => explain_state::execute(&context, inner).await,
        StatementKind::Show(show) => show::execute(&context, show),
        StatementKind::Describe(name) => show::columns(&context, name),
        StatementKind::Flush => {
            context.engine.flush().await?;
            Ok(Outcome::command("FLUSH"))
        }
        StatementKind::Set(_) | StatementKind::Reset(_) | StatementKind::DiscardAll | StatementKind::EndTransaction(_) | StatementKind::Nothing(_) => {
            Err(Error::internal("a statement of the session came to the engine"))
        }
    }
}

/// Types of parameters and result columns, without running anything.
pub async fn describe(context: Context, statement: Arc<Statement>, declared: Vec<Option<FieldRef>>) -> Result<Shape> {
    match &statement.kind {
        StatementKind::Query(query) => select::describe(&context, &statement, query, &declared),
        StatementKind::Insert(insert) => insert::describe(&context, &statement, insert, &declared),
        StatementKind::Update(update) => change::describe_update(&context, &statement, update, &declared),
        StatementKind::Delete(delete) => change::describe_delete(&context, &statement, delete, &declared),
        StatementKind::Explain(_) => Ok(Shape::fixed(explain::shape())),
        StatementKind::ExplainState(_) => Ok(Shape::fixed(explain_state::shape())),
        StatementKind::Show(show) => Ok(Shape::fixed(show::shape(show))),
        StatementKind::Describe(_) => Ok(Shape::fixed(show::column_shape())),
        _ => Ok(Shape::default()),
    }
}
