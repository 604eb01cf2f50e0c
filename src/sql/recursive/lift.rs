//! `WITH RECURSIVE` inside of a query is lifted to the head of the statement: its queries get names that nothing else has, before the query that
//! holds it. (It cannot read columns of the queries around it.)

use crate::sql::types::folded;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{Cte, Ident, ObjectName, ObjectNamePart, Query, TableAlias, TableFactor, VisitMut, VisitorMut, With};
use std::ops::ControlFlow;

/// See the module. `WITH MUTUALLY RECURSIVE` stays where it is.
pub fn lift(query: &mut Query) {
    let mut lifted = Lifted { count: 0, found: Vec::new() };
    let mut head = query.with.take();
    let mut ctes = Vec::new();
    let mut recursive = head.as_ref().is_some_and(|w| w.recursive);
    for mut cte in head.as_mut().map(|w| std::mem::take(&mut w.cte_tables)).unwrap_or_default() {
        let _ = VisitMut::visit(cte.query.as_mut(), &mut lifted);
        recursive |= !lifted.found.is_empty();
        ctes.append(&mut lifted.found);
        ctes.push(cte);
    }
    let _ = VisitMut::visit(query, &mut lifted);
    recursive |= !lifted.found.is_empty();
    ctes.append(&mut lifted.found);
    if ctes.is_empty() {
        return;
    }
    let empty = || With { with_token: AttachedToken::empty(), recursive, cte_tables: Vec::new() };
    query.with = Some(With { recursive, cte_tables: ctes, ..head.unwrap_or_else(empty) });
}

struct Lifted {
    count: usize,
    found: Vec<Cte>,
}

impl VisitorMut for Lifted {
    type Break = ();

    /// Innermost first, so that what is lifted holds nothing more to lift.
    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let Some(with) = query.with.take_if(|w| w.recursive && !super::mutual::is_mutual(w)) else { return ControlFlow::Continue(()) };
        let mut ctes = with.cte_tables;
        ctes.iter_mut().for_each(|cte| super::correlated::widen(cte, query));
        for at in 0..ctes.len() {
            let old = folded(&ctes[at].alias.name);
            let new = format!("{old}\u{1}{}", self.count);
            self.count += 1;
            ctes[at].alias.name = Ident::with_quote('"', new.clone());
            let mut renaming = Renaming { old: &old, new: &new };
            ctes.iter_mut().for_each(|cte| {
                let _ = VisitMut::visit(cte.query.as_mut(), &mut renaming);
            });
            let _ = VisitMut::visit(query, &mut renaming);
        }
        self.found.append(&mut ctes);
        ControlFlow::Continue(())
    }
}

struct Renaming<'a> {
    old: &'a str,
    new: &'a str,
}

impl VisitorMut for Renaming<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, .. } = factor
            && let [part] = name.0.as_slice()
            && part.as_ident().is_some_and(|i| folded(i) == self.old)
        {
            *name = ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', self.new))]);
            alias.get_or_insert_with(|| TableAlias { explicit: true, name: Ident::with_quote('"', self.old), columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }
}
