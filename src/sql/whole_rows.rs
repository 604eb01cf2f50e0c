//! A relation's name in the place of a value is its row: `SELECT o FROM orders o`, `array_agg(o)`. As in Postgres a column of that name comes first, so this is
//! tried when binding has not found one. The name becomes `tw_row(type, 'id', o.id, …)`, a struct that knows which relation's row it is.

use super::bind::{Inside, Names};
use super::forms::{call, string};
use super::functions::row::ROW;
use super::types::folded;
use super::walk::{self, Rewrite};
use crate::error::Result;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr, TableFactor};

/// The name without a relation that was found to be no column.
pub(super) fn missing(error: &DataFusionError) -> Option<&str> {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => missing(inner),
        DataFusionError::Collection(all) => all.first().and_then(missing),
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::FieldNotFound { field, .. } => match field.as_ref() {
                Column { relation: None, name, .. } => Some(name),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// Has `name` mean the row of the relation that is called so, if one is. `columns`: those of a query in FROM.
pub(super) fn rewrite(
    query: &mut Query,
    name: &str,
    names: &dyn Names,
    within: Option<Inside<'_>>,
    columns: &dyn Fn(&Query) -> Option<Vec<String>>,
) -> Result<bool> {
    let mut rows = Rows { name, names, within, columns, inside: Vec::new(), failed: None, changed: false };
    walk::rewrite(query, &mut rows);
    rows.failed.map_or(Ok(rows.changed), Err)
}

struct Rows<'a> {
    name: &'a str,
    names: &'a dyn Names,
    /// The view that the query is of.
    within: Option<Inside<'a>>,
    columns: &'a dyn Fn(&Query) -> Option<Vec<String>>,
    /// Of the queries around, the innermost last: the row that the name stands for in them.
    inside: Vec<Option<Expr>>,
    failed: Option<crate::error::Error>,
    changed: bool,
}

impl Rows<'_> {
    fn row(&self, factor: &TableFactor) -> Result<Option<Expr>> {
        let (alias, (mark, columns)) = match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(folded).collect();
                let Some((table, schema)) = parts.split_last() else { return Ok(None) };
                let called = alias.as_ref().map_or_else(|| table.clone(), |a| folded(&a.name));
                let renamed = alias.as_ref().is_some_and(|a| !a.columns.is_empty());
                if called != self.name || renamed {
                    return Ok(None);
                }
                let Some(columns) = self.names.columns(schema.last().map(String::as_str), table, self.within)? else { return Ok(None) };
                let mark = self.names.row_type(schema.last().map(String::as_str), table).map_or_else(String::new, |(row, array)| format!("{row},{array}"));
                (called, (mark, columns))
            }
            TableFactor::Derived { subquery, alias: Some(alias), .. } if folded(&alias.name) == self.name && alias.columns.is_empty() => {
                let Some(columns) = (self.columns)(subquery) else { return Ok(None) };
                (self.name.to_owned(), (String::new(), columns))
            }
            _ => return Ok(None),
        };
        let quoted = |name: &str| Ident::with_quote('"', name);
        let pairs = columns.iter().flat_map(|c| [string(c.clone()), Expr::CompoundIdentifier(vec![quoted(&alias), quoted(c)])]);
        Ok(Some(call(ROW, std::iter::once(string(mark)).chain(pairs).collect())))
    }
}

impl Rewrite for Rows<'_> {
    fn enter_query(&mut self, query: &mut Query) {
        let mut found = None;
        if let SetExpr::Select(select) = query.body.as_mut() {
            for factor in select.from.iter().flat_map(|t| std::iter::once(&t.relation).chain(t.joins.iter().map(|j| &j.relation))) {
                match self.row(factor) {
                    Ok(row) => found = found.or(row),
                    Err(e) => self.failed = Some(e),
                }
            }
            // The column is called as the row was.
            for item in select.projection.iter_mut().filter(|_| found.is_some()) {
                if let SelectItem::UnnamedExpr(Expr::Identifier(ident)) = item
                    && folded(ident) == self.name
                {
                    let (expr, alias) = (Expr::Identifier(ident.clone()), ident.clone());
                    *item = SelectItem::ExprWithAlias { expr, alias };
                }
            }
        }
        self.inside.push(found);
    }

    fn leave_query(&mut self) {
        self.inside.pop();
    }

    fn expr(&mut self, expr: &mut Expr) {
        if matches!(expr, Expr::Identifier(ident) if folded(ident) == self.name)
            && let Some(row) = self.inside.iter().rev().find_map(Option::as_ref)
        {
            *expr = row.clone();
            self.changed = true;
        }
    }
}
