//! What PostgreSQL allows in `WITH RECURSIVE`, in its words: one reference in the recursive term, and none where more rows of the query could mean fewer rows
//! of the term (subqueries, optional sides of outer joins, EXCEPT, aggregates).

use super::Form;
use crate::error::{Error, Kind, Result};
use crate::sql::names::function_name;
use crate::sql::parse::source::Source;
use crate::sql::types::folded;
use crate::sql::walk::{self, Read};
use datafusion::sql::sqlparser::ast::{
    Cte, Expr, JoinOperator, ObjectName, Query, Select, SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor, TableWithJoins, Visit, With,
};
use datafusion::sql::sqlparser::tokenizer::Location;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Where a reference stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Allowed,
    OuterJoin,
    Intersect,
    Except,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Allowed => "this place",
            Place::OuterJoin => "an outer join",
            Place::Intersect => "INTERSECT",
            Place::Except => "EXCEPT",
        }
    }
}

/// Error: a query with WITH RECURSIVE anywhere in `tree` that PostgreSQL refuses.
pub fn check(tree: &impl Visit, source: Option<&Source>, is_aggregate: &dyn Fn(&str) -> bool) -> Result<()> {
    let mut queries = Queries { source, is_aggregate, wrong: None, at_head: true };
    walk::read(tree, &mut queries);
    queries.wrong.map_or(Ok(()), Err)
}

struct Queries<'a> {
    source: Option<&'a Source>,
    is_aggregate: &'a dyn Fn(&str) -> bool,
    wrong: Option<Error>,
    /// The next query is the outermost.
    at_head: bool,
}

impl Read for Queries<'_> {
    fn query(&mut self, query: &Query) -> ControlFlow<()> {
        let is_head = std::mem::replace(&mut self.at_head, false);
        let Some(with) = query.with.as_ref().filter(|w| w.recursive) else { return ControlFlow::Continue(()) };
        let checked = match super::mutual::is_mutual(with) {
            true if is_head => return ControlFlow::Continue(()),
            true => {
                Err(Error::not_supported("WITH MUTUALLY RECURSIVE inside of a query is not supported").with_hint("write it at the head, or CREATE VIEW of it"))
            }
            false => with_clause(with, self),
        };
        match checked {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                self.wrong = Some(e);
                ControlFlow::Break(())
            }
        }
    }
}

fn with_clause(with: &With, of: &Queries<'_>) -> Result<()> {
    super::order(with).map_err(|name| {
        let error = Error::not_supported("mutual recursion between WITH items is not implemented")
            .with_hint("write WITH MUTUALLY RECURSIVE name (columns with types) AS (…), …");
        let place = with.cte_tables.iter().find(|c| folded(&c.alias.name) == name).map(|c| c.alias.name.span.start);
        placed(error, place, of.source)
    })?;
    with.cte_tables.iter().try_for_each(|cte| one(cte, of))
}

fn placed(error: Error, place: Option<Location>, source: Option<&Source>) -> Error {
    match place.zip(source).and_then(|(place, source)| source.position(place)) {
        Some(position) => error.at(position),
        None => error,
    }
}

fn one(cte: &Cte, of: &Queries<'_>) -> Result<()> {
    let name = folded(&cte.alias.name);
    if references(cte.query.as_ref(), &name).is_empty() {
        return Ok(());
    }
    let wrong = |message: String, place: Option<Location>| placed(Error::new(Kind::InvalidRecursion, message), place, of.source);
    let Form { base, term } = super::form(&cte.query).ok_or_else(|| {
        let message = format!("recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term");
        wrong(message, Some(cte.alias.name.span.start))
    })?;
    if let Some(place) = references(base, &name).first() {
        return Err(wrong(format!("recursive reference to query \"{name}\" must not appear within its non-recursive term"), Some(*place)));
    }
    let clause = [(cte.query.order_by.is_some(), "ORDER BY"), (cte.query.limit_clause.is_some() || cte.query.fetch.is_some(), "LIMIT")];
    if let Some((_, clause)) = clause.iter().find(|(there, _)| *there) {
        return Err(placed(Error::not_supported(format!("{clause} in a recursive query is not implemented")), Some(cte.alias.name.span.start), of.source));
    }
    let mut term_of = Term { name: &name, of, found: Vec::new() };
    term_of.body(term, Place::Allowed)?;
    let (all, direct) = (references(term, &name), term_of.found);
    if let Some(inner) = all.iter().find(|place| !direct.contains(place)) {
        return Err(wrong(format!("recursive reference to query \"{name}\" must not appear within a subquery"), Some(*inner)));
    }
    match direct.get(1) {
        Some(second) => Err(wrong(format!("recursive reference to query \"{name}\" must not appear more than once"), Some(*second))),
        None => Ok(()),
    }
}

/// The walk through a recursive term, where references may stand.
struct Term<'a> {
    name: &'a str,
    of: &'a Queries<'a>,
    found: Vec<Location>,
}

impl Term<'_> {
    fn body(&mut self, body: &SetExpr, place: Place) -> Result<()> {
        match body {
            SetExpr::Select(select) => self.select(select, place),
            SetExpr::Query(query) => self.query(query, place),
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let all = matches!(set_quantifier, SetQuantifier::All);
                let (l, r) = match op {
                    SetOperator::Intersect if all => (Place::Intersect, Place::Intersect),
                    SetOperator::Except | SetOperator::Minus => (if all { Place::Except } else { place }, Place::Except),
                    _ => (place, place),
                };
                self.body(left, l)?;
                self.body(right, r)
            }
            _ => Ok(()),
        }
    }

    fn query(&mut self, query: &Query, place: Place) -> Result<()> {
        for cte in query.with.iter().flat_map(|w| &w.cte_tables) {
            self.query(&cte.query, place)?;
        }
        self.body(&query.body, place)
    }

    fn select(&mut self, select: &Select, place: Place) -> Result<()> {
        let before = self.found.len();
        select.from.iter().try_for_each(|t| self.joined(t, place))?;
        let own = select.from.iter().flat_map(|t| std::iter::once(&t.relation).chain(t.joins.iter().map(|j| &j.relation)));
        if self.found.len() > before && own.into_iter().any(|f| self.is_reference(f)) {
            self.refuse_aggregates(select)?;
        }
        Ok(())
    }

    fn joined(&mut self, table: &TableWithJoins, place: Place) -> Result<()> {
        use JoinOperator as J;
        // All that stands left of the last join that makes it optional is optional.
        let optional_upto = table.joins.iter().rposition(|j| matches!(j.join_operator, J::Right(_) | J::RightOuter(_) | J::FullOuter(_)));
        let at = |i: usize, own: bool| if own || optional_upto.is_some_and(|last| i <= last) { Place::OuterJoin } else { place };
        self.factor(&table.relation, at(0, false))?;
        for (i, join) in table.joins.iter().enumerate() {
            let own = matches!(join.join_operator, J::Left(_) | J::LeftOuter(_) | J::FullOuter(_));
            self.factor(&join.relation, at(i + 1, own))?;
        }
        Ok(())
    }

    fn is_reference(&self, factor: &TableFactor) -> bool {
        matches!(factor, TableFactor::Table { name, .. } if is(name, self.name))
    }

    fn factor(&mut self, factor: &TableFactor, place: Place) -> Result<()> {
        match factor {
            TableFactor::Table { name, .. } if is(name, self.name) => {
                let at = name.span().start;
                if place != Place::Allowed {
                    let message = format!("recursive reference to query \"{}\" must not appear within {}", self.name, place.name());
                    return Err(placed(Error::new(Kind::InvalidRecursion, message), Some(at), self.of.source));
                }
                self.found.push(at);
                Ok(())
            }
            TableFactor::Derived { subquery, .. } => self.query(subquery, place),
            TableFactor::NestedJoin { table_with_joins, .. } => self.joined(table_with_joins, place),
            _ => Ok(()),
        }
    }

    fn refuse_aggregates(&self, select: &Select) -> Result<()> {
        let mut plain = select.clone();
        plain.from.clear();
        let mut aggregates = Aggregates { is_aggregate: self.of.is_aggregate, found: Vec::new(), nested: Vec::new() };
        walk::read(&plain, &mut aggregates);
        let own = aggregates.found.into_iter().find(|place| !aggregates.nested.contains(place));
        match own {
            None => Ok(()),
            Some(place) => {
                let message = "aggregate functions are not allowed in a recursive query's recursive term";
                Err(placed(Error::new(Kind::InvalidRecursion, message), Some(place), self.of.source))
            }
        }
    }
}

/// Where aggregates are called; those of subqueries are also in `nested`.
struct Aggregates<'a> {
    is_aggregate: &'a dyn Fn(&str) -> bool,
    found: Vec<Location>,
    nested: Vec<Location>,
}

impl Read for Aggregates<'_> {
    fn query(&mut self, query: &Query) -> ControlFlow<()> {
        let mut inner = Aggregates { is_aggregate: self.is_aggregate, found: Vec::new(), nested: Vec::new() };
        walk::read(query.body.as_ref(), &mut inner);
        self.nested.append(&mut inner.found);
        ControlFlow::Continue(())
    }

    fn expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(f) = expr
            && f.over.is_none()
            && function_name(&f.name).is_some_and(|n| (self.is_aggregate)(&n))
        {
            self.found.push(f.name.span().start);
        }
        ControlFlow::Continue(())
    }
}

fn is(relation: &ObjectName, name: &str) -> bool {
    matches!(relation.0.as_slice(), [part] if part.as_ident().is_some_and(|i| folded(i) == name))
}

/// Where `name` is read in `tree`, in order.
pub(super) fn references(tree: &impl Visit, name: &str) -> Vec<Location> {
    let mut found = Names { name, found: Vec::new() };
    walk::read(tree, &mut found);
    found.found
}

struct Names<'a> {
    name: &'a str,
    found: Vec<Location>,
}

impl Read for Names<'_> {
    fn relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if is(relation, self.name) {
            self.found.push(relation.span().start);
        }
        ControlFlow::Continue(())
    }
}

/// All names without a schema that `tree` reads.
pub(super) fn names_read(tree: &impl Visit) -> HashSet<String> {
    let mut all = AllNames(HashSet::new());
    walk::read(tree, &mut all);
    all.0
}

struct AllNames(HashSet<String>);

impl Read for AllNames {
    fn relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if let [part] = relation.0.as_slice() {
            self.0.extend(part.as_ident().map(folded));
        }
        ControlFlow::Continue(())
    }
}
