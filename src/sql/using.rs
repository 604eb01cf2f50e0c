//! `a FULL JOIN b USING (k)`: the one column `k` is that of either side, `coalesce(a.k, b.k)`, where the planner would take the left one's. So the
//! mentions of `k` in the query that has the join are written out; `a.k` and `b.k` stay what they are.

use super::types::folded;
use super::walk::{self, Rewrite};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExceptSelectItem, Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableFactor, WildcardAdditionalOptions,
};

/// A column that a full join merged, and the relations that have it.
struct Merged {
    column: Ident,
    relations: Vec<Ident>,
}

/// Writes out the merged columns of every SELECT of `body`.
pub(super) fn rewrite(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            if let Some((merged, relations)) = merged(select).filter(|(merged, _)| !merged.is_empty()) {
                chain(select, &merged);
                write_out(select, merged, &relations);
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            rewrite(left);
            rewrite(right);
        }
        _ => {}
    }
}

/// Whether the SELECT has a full join whose merged columns cannot be told from its text.
pub(super) fn is_unclear(select: &Select) -> bool {
    let full = |select: &Select| select.from.iter().flat_map(|t| &t.joins).any(|j| matches!(&j.join_operator, JoinOperator::FullOuter(c) if is_merging(c)));
    full(select) && merged(select).is_none()
}

fn is_merging(constraint: &JoinConstraint) -> bool {
    matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural)
}

/// The merged columns, and all relations in FROM. `None`: they are not known from the text.
fn merged(select: &Select) -> Option<(Vec<Merged>, Vec<Ident>)> {
    let (mut all, mut relations): (Vec<Merged>, Vec<Ident>) = (Vec::new(), Vec::new());
    for table in &select.from {
        let mut before = vec![name(&table.relation)?];
        for join in &table.joins {
            let right = name(&join.relation)?;
            match &join.join_operator {
                JoinOperator::FullOuter(JoinConstraint::Using(columns)) => {
                    for column in columns {
                        let column = column.0.last()?.as_ident()?.clone();
                        match all.iter_mut().find(|m| folded(&m.column) == folded(&column)) {
                            Some(known) if known.relations.len() == before.len() => known.relations.push(right.clone()),
                            Some(_) => return None,
                            None if before.len() == 1 => all.push(Merged { column, relations: vec![before[0].clone(), right.clone()] }),
                            None => return None,
                        }
                    }
                }
                JoinOperator::FullOuter(JoinConstraint::Natural) => return None,
                // A column that is merged again by another kind of join.
                JoinOperator::Join(c)
                | JoinOperator::Inner(c)
                | JoinOperator::Left(c)
                | JoinOperator::LeftOuter(c)
                | JoinOperator::Right(c)
                | JoinOperator::RightOuter(c)
                    if is_merging(c) && !all.is_empty() =>
                {
                    return None;
                }
                _ => {}
            }
            before.push(right);
        }
        relations.extend(before);
    }
    Some((all, relations))
}

fn name(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { name, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

impl Merged {
    fn value(&self) -> Expr {
        let columns = self.relations.iter().map(|r| Expr::CompoundIdentifier(vec![r.clone(), self.column.clone()])).collect();
        super::forms::call("coalesce", columns)
    }

    fn is(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::Identifier(ident) if folded(ident) == folded(&self.column))
    }
}

fn write_out(select: &mut Select, merged: Vec<Merged>, relations: &[Ident]) {
    let mut items = Vec::new();
    for item in std::mem::take(&mut select.projection) {
        match item {
            SelectItem::Wildcard(_) => {
                items.extend(merged.iter().map(|m| SelectItem::ExprWithAlias { expr: m.value(), alias: m.column.clone() }));
                items.extend(relations.iter().map(|relation| rest(relation, &merged)));
            }
            SelectItem::UnnamedExpr(expr) => items.push(match merged.iter().find(|m| m.is(&expr)) {
                Some(m) => SelectItem::ExprWithAlias { expr: m.value(), alias: m.column.clone() },
                None => SelectItem::UnnamedExpr(expr),
            }),
            other => items.push(other),
        }
    }
    select.projection = items;
    let mut mentions = Mentions { merged: &merged, depth: 0 };
    let mut each = |expr: &mut Expr| walk::rewrite(expr, &mut mentions);
    for item in &mut select.projection {
        if let SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr) = item {
            each(expr);
        }
    }
    select.selection.iter_mut().chain(&mut select.having).for_each(&mut each);
    if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
        keys.iter_mut().for_each(each);
    }
}

/// The third relation is joined on what the first two have: `coalesce(a.k, b.k) = c.k`.
fn chain(select: &mut Select, merged: &[Merged]) {
    for table in &mut select.from {
        for join in &mut table.joins {
            let JoinOperator::FullOuter(JoinConstraint::Using(columns)) = &join.join_operator else { continue };
            let Some(right) = name(&join.relation) else { continue };
            let known = |m: &&Merged| columns.iter().any(|c| c.0.last().and_then(|p| p.as_ident()).is_some_and(|i| folded(i) == folded(&m.column)));
            let mut conditions = Vec::new();
            for one in merged.iter().filter(known) {
                let place = one.relations.iter().position(|r| *r == right).unwrap_or_default();
                if place > 1 {
                    let before = Merged { column: one.column.clone(), relations: one.relations[..place].to_vec() };
                    let own = Expr::CompoundIdentifier(vec![right.clone(), one.column.clone()]);
                    conditions.push(Expr::BinaryOp { left: Box::new(before.value()), op: BinaryOperator::Eq, right: Box::new(own) });
                }
            }
            let and = |left, right| Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) };
            if let Some(on) = conditions.into_iter().reduce(and) {
                join.join_operator = JoinOperator::FullOuter(JoinConstraint::On(on));
            }
        }
    }
}

/// `relation.*` without its merged columns.
fn rest(relation: &Ident, merged: &[Merged]) -> SelectItem {
    let mut own = merged.iter().filter(|m| m.relations.contains(relation)).map(|m| m.column.clone());
    let except = own.next().map(|first| ExceptSelectItem { first_element: first, additional_elements: own.collect() });
    let options = WildcardAdditionalOptions { opt_except: except, ..Default::default() };
    SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![relation.clone()])), options)
}

struct Mentions<'m> {
    merged: &'m [Merged],
    /// Subqueries entered: the name may be another's there.
    depth: usize,
}

impl Rewrite for Mentions<'_> {
    fn enter_query(&mut self, _query: &mut Query) {
        self.depth += 1;
    }

    fn leave_query(&mut self) {
        self.depth -= 1;
    }

    fn expr(&mut self, expr: &mut Expr) {
        if self.depth == 0
            && let Some(merged) = self.merged.iter().find(|m| m.is(expr))
        {
            *expr = merged.value();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::forms::tests::rewritten;

    #[test]
    fn a_full_join_merges_its_columns() {
        for (form, becomes) in [
            (
                "SELECT k, a.k AS own FROM a FULL JOIN b USING (k) WHERE k > 1",
                "SELECT coalesce(a.k, b.k) AS k, a.k AS own FROM a FULL JOIN b USING(k) WHERE coalesce(a.k, b.k) > 1",
            ),
            ("SELECT * FROM a x FULL JOIN b USING (k)", "SELECT coalesce(x.k, b.k) AS k, x.* EXCEPT (k), b.* EXCEPT (k) FROM a x FULL JOIN b USING(k)"),
            ("SELECT k FROM a LEFT JOIN b USING (k)", "SELECT k FROM a LEFT JOIN b USING(k)"),
        ] {
            assert_eq!(rewritten(form), becomes, "{form}");
        }
    }
}
