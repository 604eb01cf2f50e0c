//! What parameters are of that neither the client nor the planner says.

use super::functions::catalog::reg_of;
use super::types;
use super::walk::{self, Read};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::sql::sqlparser::ast::{self, Value};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// `$1::integer`, wherever it stands, also where the planner needs no value for it.
pub(super) fn cast_types(query: &ast::Query) -> HashMap<String, FieldRef> {
    struct Casts(HashMap<String, FieldRef>);
    impl Read for Casts {
        fn expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
            if let ast::Expr::Cast { expr, data_type, .. } = expr
                && let ast::Expr::Value(value) = expr.as_ref()
                && let Value::Placeholder(name) = &value.value
                && let Ok(field) = types::cast_field(data_type)
                // The name of a thing is written as a text.
                && reg_of(&field).is_none()
            {
                self.0.entry(name.clone()).or_insert_with(|| Arc::new(field));
            }
            ControlFlow::Continue(())
        }
    }
    let mut casts = Casts(HashMap::new());
    walk::read(query, &mut casts);
    casts.0
}

/// Parameters that are alternatives to values: `coalesce($1, 5)`, `CASE WHEN $1 THEN …`.
pub(super) fn beside_others(expr: &Expr, schema: &DFSchema) -> Vec<(String, FieldRef)> {
    let (alternatives, conditions): (Vec<&Expr>, Vec<&Expr>) = match expr {
        Expr::ScalarFunction(call) if ["coalesce", "nullif", "greatest", "least"].contains(&call.func.name()) => (call.args.iter().collect(), Vec::new()),
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref()).chain(case.else_expr.as_deref());
            let conditions = case.when_then_expr.iter().filter(|_| case.expr.is_none()).map(|(when, _)| when.as_ref());
            (results.collect(), conditions.collect())
        }
        _ => return Vec::new(),
    };
    let number = |e: &Expr| if let Expr::Placeholder(placeholder) = e { Some(placeholder.id.clone()) } else { None };
    let typed = |e: &&Expr| match e {
        Expr::Placeholder(_) | Expr::Literal(ScalarValue::Null | ScalarValue::Utf8(_), _) => None,
        // A whole number is an integer if it fits.
        Expr::Literal(ScalarValue::Int64(Some(n)), _) if i32::try_from(*n).is_ok() => Some(Arc::new(Field::new("", DataType::Int32, true))),
        e => e.to_field(schema).ok().map(|(_, field)| field).filter(|f| !f.data_type().is_null()),
    };
    let of_others = alternatives.iter().find_map(typed);
    let boolean: FieldRef = Arc::new(Field::new("", DataType::Boolean, true));
    let as_conditions = conditions.into_iter().filter_map(number).map(|id| (id, boolean.clone()));
    as_conditions.chain(alternatives.iter().filter_map(|e| Some((number(e)?, of_others.clone()?)))).collect()
}
