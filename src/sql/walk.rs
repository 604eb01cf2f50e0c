//! Walks over a statement's tree. sqlparser's walk is generic over its visitor, and every type of visitor has the whole grammar compiled
//! once more: five of them were 18 % of this library's machine code. So there is one that reads and one that rewrites, and what is done
//! at each node goes through a trait object.

use datafusion::sql::sqlparser::ast::{Expr, ObjectName, Query, TableFactor, Visit, VisitMut, Visitor, VisitorMut};
use std::ops::ControlFlow;

/// Looks at a tree, each node before what is in it; `Break` ends the walk. What was found stays with the reader.
pub trait Read {
    fn query(&mut self, _query: &Query) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn relation(&mut self, _name: &ObjectName) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn table_factor(&mut self, _factor: &TableFactor) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn expr(&mut self, _expr: &Expr) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Changes a tree: queries and items of FROM before what is in them, expressions behind it.
pub trait Rewrite {
    fn enter_query(&mut self, _query: &mut Query) {}

    fn leave_query(&mut self) {}

    fn table_factor(&mut self, _factor: &mut TableFactor) {}

    fn expr(&mut self, _expr: &mut Expr) {}
}

pub fn read(tree: &impl Visit, reader: &mut dyn Read) {
    let _: ControlFlow<()> = tree.visit(&mut Reading(reader));
}

pub fn rewrite(tree: &mut impl VisitMut, rewriter: &mut dyn Rewrite) {
    let _: ControlFlow<()> = tree.visit(&mut Rewriting(rewriter));
}

struct Reading<'a>(&'a mut dyn Read);

impl Visitor for Reading<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.0.query(query)
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        self.0.relation(name)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.0.table_factor(factor)
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.0.expr(expr)
    }
}

struct Rewriting<'a>(&'a mut dyn Rewrite);

impl VisitorMut for Rewriting<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.0.enter_query(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.0.leave_query();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.0.table_factor(factor);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.0.expr(expr);
        ControlFlow::Continue(())
    }
}
