//! Which statements are done at once, whatever they are given: they get threads that long queries never take, so that a server under load can still be asked who
//! is there, and told to stop it.

use super::ast::{Statement, StatementKind};
use super::functions;
use super::types::folded;
use super::walk::{self, Read};
use datafusion::sql::sqlparser::ast::{Expr, FunctionArguments, Query, SetExpr, TableFactor};
use std::ops::ControlFlow;

/// The one relation that brief queries read: it has a row per session.
const SESSIONS: &str = "pg_stat_activity";

/// Settings, transactions, cursors; a SELECT that calls functions about the session or the catalog, over no relation or over the sessions.
pub fn is_brief(statement: &Statement) -> bool {
    match &statement.kind {
        StatementKind::Query(query) => is_brief_query(query),
        StatementKind::Set(_)
        | StatementKind::Reset(_)
        | StatementKind::Show(_)
        | StatementKind::DiscardAll
        | StatementKind::Transaction(_)
        | StatementKind::Close(_)
        | StatementKind::Deallocate(_)
        | StatementKind::Nothing(_) => true,
        _ => false,
    }
}

fn is_brief_query(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let one_relation = select.from.len() <= 1 && select.from.iter().all(|from| from.joins.is_empty());
    if query.with.is_some() || !one_relation {
        return false;
    }
    let mut reader = Brief { queries: 0, brief: true };
    walk::read(query, &mut reader);
    reader.brief
}

struct Brief {
    queries: usize,
    brief: bool,
}

impl Brief {
    fn goes_on_if(&mut self, brief: bool) -> ControlFlow<()> {
        self.brief = brief;
        if brief { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

impl Read for Brief {
    fn query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.queries += 1;
        self.goes_on_if(self.queries == 1)
    }

    fn table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let sessions = |name: &str| name == SESSIONS;
        let TableFactor::Table { name, args: None, .. } = factor else { return self.goes_on_if(false) };
        self.goes_on_if(name.0.last().and_then(|part| part.as_ident()).is_some_and(|ident| sessions(&folded(ident))))
    }

    fn expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = function.name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
        let nothing_given = match &function.args {
            FunctionArguments::None => true,
            FunctionArguments::List(list) => list.args.is_empty(),
            FunctionArguments::Subquery(_) => false,
        };
        self.goes_on_if(nothing_given || functions::catalog::is_one(&name) || ["count", "set_config"].contains(&name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse;

    #[test]
    fn what_may_take_long_is_not_brief() {
        let brief = |sql: &str| is_brief(&parse::parse(sql).unwrap()[0]);
        for sql in [
            "SELECT 1",
            "SELECT pg_cancel_backend(7), now(), current_user",
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE application_name = 'x' AND pid <> pg_backend_pid()",
            "SELECT set_config('a.b', 'c', false)",
            "SHOW ALL",
            "SET x.y = 1",
            "BEGIN",
            "ROLLBACK TO a",
        ] {
            assert!(brief(sql), "{sql}");
        }
        for sql in [
            "SELECT * FROM t",
            "SELECT generate_series(1, 1000000000)",
            "SELECT repeat('x', 100000000)",
            "SELECT (SELECT count(*) FROM t)",
            "SELECT 1 FROM generate_series(1, 5)",
            "SELECT 1 FROM pg_stat_activity a, pg_stat_activity b",
            "SELECT 1 FROM pg_stat_activity a JOIN t ON true",
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r",
            "SELECT 1 UNION SELECT n FROM t",
            "INSERT INTO t VALUES (1)",
            "CREATE TABLE t (a INT)",
        ] {
            assert!(!brief(sql), "{sql}");
        }
    }
}
