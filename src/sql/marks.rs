//! What `CASE`, `coalesce`, `greatest`, `least` and `nullif` give: where all values are of one type that only their fields' metadata tells (jsonb, oid, arrays of them),
//! the result is of it too. DataFusion hands on the Arrow type alone.

use super::functions::cast;
use super::semantics::cast_expr;
use crate::types::text::{TYPE_KEY, TYPMOD_KEY};
use arrow::datatypes::{Field, FieldRef};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable};
use std::sync::Arc;

/// Types that the Arrow type tells well enough.
const TOLD: [&str; 2] = ["varchar", "uuid"];

/// `expr`, marked as its operands are.
pub fn marked(mut expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let Some(target) = common(operands(&mut expr).iter().map(|e| &**e), schema) else { return Ok(expr) };
    for operand in operands(&mut expr) {
        if is_quoted(operand) && target.metadata().get(TYPE_KEY).is_some_and(|t| t == "jsonb" || t == "json") {
            let cast = Cast { expr: Box::new(std::mem::replace(operand, Expr::Literal(ScalarValue::Null, None))), field: target.clone() };
            *operand = cast_expr(cast, schema)?.data;
        }
    }
    Ok(cast::same(expr, target))
}

fn operands(expr: &mut Expr) -> Vec<&mut Expr> {
    match expr {
        Expr::Case(case) => {
            let branches = case.when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
            branches.chain(case.else_expr.as_deref_mut()).collect()
        }
        Expr::ScalarFunction(call) => match call.func.name() {
            "coalesce" | "greatest" | "least" => call.args.iter_mut().collect(),
            "nullif" => call.args.iter_mut().take(1).collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn is_quoted(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Utf8(_), metadata) if metadata.is_none())
}

/// The field of one type that all have; `None`: they differ, or need no mark.
fn common<'e>(operands: impl Iterator<Item = &'e Expr>, schema: &DFSchema) -> Option<FieldRef> {
    let mut common: Option<Field> = None;
    for operand in operands.filter(|e| !is_quoted(e)) {
        let (_, field) = operand.to_field(schema).ok()?;
        if field.data_type().is_null() {
            continue;
        }
        let mark = field.metadata().get(TYPE_KEY).filter(|mark| !TOLD.contains(&mark.as_str()))?;
        match &mut common {
            None => common = Some(field.as_ref().clone().with_name("").with_nullable(true)),
            Some(first) if first.data_type() != field.data_type() || first.metadata().get(TYPE_KEY) != Some(mark) => return None,
            Some(first) if first.metadata().get(TYPMOD_KEY) != field.metadata().get(TYPMOD_KEY) => {
                first.metadata_mut().remove(TYPMOD_KEY);
            }
            Some(_) => {}
        }
    }
    common.map(Arc::new)
}
