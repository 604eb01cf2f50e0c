//! What sqlparser reads and we do not act on. Every part of a tree that nothing behind looks at is named here, so that
//! a clause is refused and never passed over.

use super::cursor::{Cursor, is_reserved};
use super::source::Source;
use crate::error::{Error, Kind, Result};
use crate::sql::aggregate_forms;
use crate::sql::call_forms;
use crate::sql::catalog_forms;
use crate::sql::over::ties_refused;
use crate::sql::walk::{self, Read};
use datafusion::sql::sqlparser::ast::{self, Expr, SelectFlavor, SetExpr, Spanned, Statement, TableFactor, Visit};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use std::ops::ControlFlow;

/// First words of statements that Postgres or our peers have.
const KNOWN: [&str; 16] = [
    "alter",
    "analyze",
    "call",
    "checkpoint",
    "cluster",
    "do",
    "grant",
    "import",
    "listen",
    "load",
    "lock",
    "merge",
    "notify",
    "revoke",
    "subscribe",
    "vacuum",
];

/// The answer to a statement that begins with `first`.
pub(super) fn statement(c: &Cursor<'_>, first: &str) -> Error {
    if !KNOWN.contains(&first) {
        return c.error();
    }
    c.refused(&format!("{} is not supported", first.to_uppercase()))
}

/// The answer to `CREATE` of something we do not have.
pub(super) fn create(c: &mut Cursor<'_>) -> Error {
    named_kind(c, "CREATE")
}

/// The answer to `DROP` of something we do not have.
pub(super) fn drop(c: &mut Cursor<'_>) -> Error {
    named_kind(c, "DROP")
}

fn named_kind(c: &mut Cursor<'_>, verb: &str) -> Error {
    const KINDS: [&str; 21] = [
        "aggregate",
        "cast",
        "connection",
        "database",
        "domain",
        "extension",
        "function",
        "global",
        "local",
        "operator",
        "or",
        "policy",
        "procedure",
        "role",
        "schema",
        "secret",
        "sequence",
        "sink",
        "subscription",
        "temp",
        "temporary",
    ];
    c.word("create");
    match KINDS.iter().chain(&["type", "trigger", "user", "unlogged", "publication", "recursive"]).find(|kind| c.is_word(kind)) {
        Some(kind) => c.refused(&format!("{verb} {} is not supported", kind.to_uppercase())),
        None => c.error(),
    }
}

/// Error: the statement holds something that nothing behind acts on.
pub(super) fn unsupported_parts(source: &Source, statement: &Statement) -> Result<()> {
    let dml = match statement {
        Statement::Insert(insert) => insert_parts(insert),
        Statement::Update(update) => update_parts(update),
        Statement::Delete(delete) => delete_parts(delete),
        _ => None,
    };
    if let Some(what) = dml {
        return Err(refusal(what));
    }
    walk(source, statement)
}

/// The same for a query alone.
pub(super) fn query(source: &Source, query: &ast::Query) -> Result<()> {
    walk(source, query)
}

fn walk(source: &Source, tree: &impl Visit) -> Result<()> {
    let mut parts = Parts { source, refused: None };
    walk::read(tree, &mut parts);
    parts.refused.map_or(Ok(()), Err)
}

fn refusal(what: &str) -> Error {
    Error::not_supported(format!("{what} is not supported"))
}

fn insert_parts(i: &ast::Insert) -> Option<&'static str> {
    [
        (i.or.is_some() || i.ignore || i.replace_into, "INSERT OR …"),
        (i.overwrite, "INSERT OVERWRITE"),
        (!i.assignments.is_empty(), "INSERT … SET"),
        (i.partitioned.is_some() || !i.after_columns.is_empty(), "INSERT … PARTITION"),
        (i.output.is_some(), "OUTPUT"),
        (i.priority.is_some(), "an INSERT priority"),
        (i.insert_alias.is_some(), "a row alias in INSERT"),
        (i.settings.is_some() || i.format_clause.is_some(), "SETTINGS or FORMAT"),
        (i.multi_table_insert_type.is_some() || !i.multi_table_into_clauses.is_empty(), "INSERT into several tables"),
        (matches!(&i.on, Some(ast::OnInsert::DuplicateKeyUpdate(_))), "ON DUPLICATE KEY UPDATE"),
    ]
    .into_iter()
    .find_map(|(present, what)| present.then_some(what))
}

fn update_parts(u: &ast::Update) -> Option<&'static str> {
    [
        (u.or.is_some(), "UPDATE OR …"),
        (u.output.is_some(), "OUTPUT"),
        (!u.order_by.is_empty() || u.limit.is_some(), "ORDER BY or LIMIT in UPDATE"),
        (!u.table.joins.is_empty(), "a join as the target of UPDATE"),
        (matches!(&u.from, Some(ast::UpdateTableFromKind::BeforeSet(_))), "FROM before SET"),
    ]
    .into_iter()
    .find_map(|(present, what)| present.then_some(what))
}

fn delete_parts(d: &ast::Delete) -> Option<&'static str> {
    [
        (!d.tables.is_empty(), "DELETE of several tables"),
        (d.output.is_some(), "OUTPUT"),
        (!d.order_by.is_empty() || d.limit.is_some(), "ORDER BY or LIMIT in DELETE"),
    ]
    .into_iter()
    .find_map(|(present, what)| present.then_some(what))
}

struct Parts<'a> {
    source: &'a Source,
    refused: Option<Error>,
}

impl Parts<'_> {
    /// sqlparser takes `FROM WHERE` for a relation.
    fn reserved_name(&mut self, name: &ast::ObjectName) -> ControlFlow<()> {
        match name.0.as_slice() {
            [ast::ObjectNamePart::Identifier(ident)] if ident.quote_style.is_none() && is_reserved(&ident.value.to_lowercase()) => {
                self.refused = Some(self.source.syntax_error(&TokenWithSpan { token: Token::make_word(&ident.value, None), span: ident.span }));
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn joins_in_time(&mut self, table: &ast::TableWithJoins) -> ControlFlow<()> {
        let Some((what, hint, at)) = crate::sql::asof::refused(table) else { return ControlFlow::Continue(()) };
        self.refuse_with(refusal(what).with_hint(hint), at)
    }

    fn refuse(&mut self, what: &str, at: &impl Spanned) -> ControlFlow<()> {
        self.refuse_with(refusal(what), at)
    }

    fn refuse_with(&mut self, error: Error, at: &impl Spanned) -> ControlFlow<()> {
        self.refused = Some(match self.source.position(at.span().start) {
            Some(position) => error.at(position),
            None => error,
        });
        ControlFlow::Break(())
    }
}

impl Read for Parts<'_> {
    fn query(&mut self, q: &ast::Query) -> ControlFlow<()> {
        if !q.locks.is_empty() {
            return self.refuse("FOR UPDATE or FOR SHARE", q);
        }
        if q.for_clause.is_some() || q.settings.is_some() || q.format_clause.is_some() || !q.pipe_operators.is_empty() {
            return self.refuse("this clause of SELECT", q);
        }
        if q.fetch.as_ref().is_some_and(|f| f.percent) {
            return self.refuse("FETCH … PERCENT", q);
        }
        if q.fetch.as_ref().is_some_and(|f| f.with_ties)
            && let Some((message, hint)) = ties_refused(q)
        {
            let kind = if hint.is_empty() { Kind::Syntax } else { Kind::NotSupported };
            let error = Error::new(kind, message);
            return self.refuse_with(if hint.is_empty() { error } else { error.with_hint(hint) }, q);
        }
        let limit_by = matches!(&q.limit_clause, Some(ast::LimitClause::LimitOffset { limit_by, .. }) if !limit_by.is_empty());
        if limit_by || matches!(&q.limit_clause, Some(ast::LimitClause::OffsetCommaLimit { .. })) {
            return self.refuse("this form of LIMIT", q);
        }
        set_expr(self, &q.body)
    }

    fn table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, with_hints, partitions, json_path, sample, index_hints, .. } => {
                self.reserved_name(name)?;
                if sample.is_some() {
                    return self.refuse("TABLESAMPLE", factor);
                }
                if !with_hints.is_empty() || !partitions.is_empty() || json_path.is_some() || !index_hints.is_empty() {
                    return self.refuse("a hint on a table", factor);
                }
                ControlFlow::Continue(())
            }
            TableFactor::Derived { sample: Some(_), .. } => self.refuse("TABLESAMPLE", factor),
            TableFactor::NestedJoin { table_with_joins, .. } => self.joins_in_time(table_with_joins),
            TableFactor::TableFunction { .. }
            | TableFactor::JsonTable { .. }
            | TableFactor::OpenJsonTable { .. }
            | TableFactor::Pivot { .. }
            | TableFactor::Unpivot { .. }
            | TableFactor::MatchRecognize { .. }
            | TableFactor::XmlTable { .. }
            | TableFactor::SemanticView { .. } => self.refuse("this item in FROM", factor),
            _ => ControlFlow::Continue(()),
        }
    }

    fn expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Collate { collation, .. } => match catalog_forms::other_collation(collation) {
                Some(name) => self.refuse_with(
                    Error::new(Kind::UndefinedObject, format!("collation \"{name}\" for encoding \"UTF8\" does not exist"))
                        .with_hint("texts are compared byte by byte, as the collations \"default\", \"C\" and \"POSIX\" say"),
                    expr,
                ),
                None => ControlFlow::Continue(()),
            },
            Expr::Prior(_) | Expr::MatchAgainst { .. } | Expr::OuterJoin(_) | Expr::Prefixed { .. } => self.refuse("this expression", expr),
            Expr::Function(f) if aggregate_forms::refused(f).is_some() => {
                let (message, hint) = aggregate_forms::refused(f).unwrap_or_default();
                self.refuse_with(Error::not_supported(message).with_hint(hint), expr)
            }
            Expr::Function(f) if call_forms::refused(f).is_some() => {
                let (message, hint) = call_forms::refused(f).unwrap_or_default();
                self.refuse_with(Error::not_supported(message).with_hint(hint), expr)
            }
            Expr::Function(f) if f.within_group.len() > 1 => self.refuse("WITHIN GROUP over several columns", expr),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn set_expr(parts: &mut Parts<'_>, body: &SetExpr) -> ControlFlow<()> {
    match body {
        SetExpr::Select(s) => {
            let odd = s.top.is_some()
                || s.exclude.is_some()
                || !s.lateral_views.is_empty()
                || s.prewhere.is_some()
                || !s.connect_by.is_empty()
                || !s.cluster_by.is_empty()
                || !s.distribute_by.is_empty()
                || !s.sort_by.is_empty()
                || s.qualify.is_some()
                || s.value_table_mode.is_some()
                || s.select_modifiers.is_some()
                || !matches!(s.flavor, SelectFlavor::Standard);
            s.from.iter().try_for_each(|table| parts.joins_in_time(table))?;
            if crate::sql::using::is_unclear(s) {
                let error = refusal("this full join over columns of the same name").with_hint("write ON, and coalesce(a.k, b.k) for the column");
                return parts.refuse_with(error, s.as_ref());
            }
            if s.into.is_some() {
                return parts.refuse("SELECT INTO", s.as_ref());
            }
            if odd { parts.refuse("this clause of SELECT", s.as_ref()) } else { ControlFlow::Continue(()) }
        }
        SetExpr::SetOperation { left, right, .. } => {
            set_expr(parts, left)?;
            set_expr(parts, right)
        }
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => parts.refuse("a data-modifying statement in WITH", body),
        SetExpr::Table(_) => parts.refuse("TABLE as a query", body),
        SetExpr::Query(_) | SetExpr::Values(_) => ControlFlow::Continue(()),
    }
}
