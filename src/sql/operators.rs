//! Operators while an expression is planned: their types are resolved as soon as both sides are known, for DataFusion asks for the
//! type of a whole expression before any rule runs. What is left as it was is resolved by DataFusion's own planners.

use super::functions::json;
use super::functions::table::external;
use super::semantics;
use super::types::sql_type;
use crate::error::{Error, Kind};
use crate::types::text::{self, TYPE_KEY};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, GetFieldAccess, Operator};
use datafusion::sql::sqlparser::ast::{self, BinaryOperator};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let Some(op) = operator(&expr.op) else { return Ok(PlannerResult::Original(expr)) };
        let RawBinaryExpr { op: written, left, right } = expr;
        let (left, right) = (semantics::narrow(left), semantics::narrow(right));
        if let Some(function) = json::operator(op) {
            if is_array(&left, schema) {
                return Ok(PlannerResult::Original(RawBinaryExpr { op: written, left, right }));
            }
            let typed = |e| semantics::expression(e, schema).and_then(|e| document(e.data, schema));
            let (left, right) = (typed(left)?, typed(right)?);
            let document = if op == Operator::ArrowAt { &right } else { &left };
            if !is_jsonb(&left, schema) && !is_jsonb(document, schema) {
                return Err(no_operator(&left, &written, &right, schema));
            }
            return semantics::expression(function.call(vec![left, right]), schema).map(|t| PlannerResult::Planned(t.data));
        }
        if op == Operator::StringConcat && (is_array(&left, schema) || is_array(&right, schema)) {
            // NULL is an array that adds nothing.
            if matches!((&left, &right), (_, Expr::Literal(ScalarValue::Null, _))) {
                return Ok(PlannerResult::Planned(left));
            }
            if matches!((&left, &right), (Expr::Literal(ScalarValue::Null, _), _)) {
                return Ok(PlannerResult::Planned(right));
            }
            let (left, right) = (array_literal(left.clone(), &right, schema)?, array_literal(right, &left, schema)?);
            return Ok(PlannerResult::Original(RawBinaryExpr { op: written, left, right }));
        }
        let binary = BinaryExpr { left: Box::new(left), op, right: Box::new(right) };
        semantics::binary_expr(binary, schema).map(PlannerResult::Planned)
    }

    /// `document['key']` and `document[0]`.
    fn plan_field_access(&self, access: RawFieldAccessExpr, schema: &DFSchema) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let RawFieldAccessExpr { field_access, expr } = access;
        let expr = semantics::expression(expr, schema)?.data;
        let (Some(function), true) = (json::operator(Operator::Arrow), is_jsonb(&expr, schema)) else {
            return Ok(PlannerResult::Original(RawFieldAccessExpr { field_access, expr }));
        };
        let key = match field_access {
            GetFieldAccess::NamedStructField { name } => Expr::Literal(name, None),
            GetFieldAccess::ListIndex { key } => semantics::narrow(*key),
            range => return Ok(PlannerResult::Original(RawFieldAccessExpr { field_access: range, expr })),
        };
        semantics::expression(function.call(vec![expr, key]), schema).map(|t| PlannerResult::Planned(t.data))
    }

    /// NULL beside bytes is one of them: DataFusion knows no type for both.
    fn plan_array_literal(&self, elements: Vec<Expr>, schema: &DFSchema) -> Result<PlannerResult<Vec<Expr>>> {
        let is_bytes = |f: &FieldRef| matches!(f.data_type(), DataType::Binary | DataType::FixedSizeBinary(_));
        let bytes = elements.iter().filter_map(|e| e.to_field(schema).ok()).map(|(_, f)| f).find(is_bytes);
        let Some(bytes) = bytes else { return Ok(PlannerResult::Original(elements)) };
        let typed = |e: Expr| match e {
            Expr::Literal(ScalarValue::Null, _) => Expr::Cast(Cast { expr: Box::new(e), field: bytes.clone() }),
            other => other,
        };
        Ok(PlannerResult::Original(elements.into_iter().map(typed).collect()))
    }
}

fn operator(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Plus => Operator::Plus,
        BinaryOperator::Minus => Operator::Minus,
        BinaryOperator::Multiply => Operator::Multiply,
        BinaryOperator::Divide => Operator::Divide,
        BinaryOperator::Modulo => Operator::Modulo,
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        BinaryOperator::BitwiseAnd => Operator::BitwiseAnd,
        BinaryOperator::BitwiseOr => Operator::BitwiseOr,
        BinaryOperator::PGBitwiseXor => Operator::BitwiseXor,
        BinaryOperator::PGBitwiseShiftLeft => Operator::BitwiseShiftLeft,
        BinaryOperator::PGBitwiseShiftRight => Operator::BitwiseShiftRight,
        BinaryOperator::StringConcat => Operator::StringConcat,
        BinaryOperator::Arrow => Operator::Arrow,
        BinaryOperator::LongArrow => Operator::LongArrow,
        BinaryOperator::HashArrow => Operator::HashArrow,
        BinaryOperator::HashLongArrow => Operator::HashLongArrow,
        BinaryOperator::AtArrow => Operator::AtArrow,
        BinaryOperator::ArrowAt => Operator::ArrowAt,
        _ => return None,
    })
}

fn is_array(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|t| t.is_nested())
}

/// `'{3,4}'` beside an array is one of its type.
fn array_literal(expr: Expr, beside: &Expr, schema: &DFSchema) -> Result<Expr> {
    match &expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) if text.trim_start().starts_with('{') => {
            let (_, field) = beside.to_field(schema)?;
            if field.data_type().is_nested() { semantics::constant(text, &field) } else { Ok(expr) }
        }
        _ => Ok(expr),
    }
}

/// A json as the jsonb whose parts the operators know.
fn document(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let is_json = expr.to_field(schema).is_ok_and(|(_, f)| *f.data_type() == DataType::Utf8 && f.metadata().get(TYPE_KEY).is_some_and(|t| t == "json"));
    if !is_json {
        return Ok(expr);
    }
    let jsonb = crate::sql::types::cast_field(&ast::DataType::JSONB).map_err(external)?;
    semantics::expression(Expr::Cast(Cast { expr: Box::new(expr), field: Arc::new(jsonb) }), schema).map(|t| t.data)
}

/// Whether `expr` is a jsonb and not a text.
pub fn is_jsonb(expr: &Expr, schema: &DFSchema) -> bool {
    expr.to_field(schema).is_ok_and(|(_, field)| !field.data_type().is_nested() && text::is_jsonb(&field))
}

/// `operator does not exist: text -> integer`.
pub fn no_operator(left: &Expr, op: &impl std::fmt::Display, right: &Expr, schema: &DFSchema) -> datafusion::error::DataFusionError {
    let name = |e: &Expr| match e {
        Expr::Literal(ScalarValue::Utf8(_), _) => "unknown".to_owned(),
        other => other.to_field(schema).map_or_else(|_| "unknown".to_owned(), |(_, field)| sql_type(&field)),
    };
    let message = format!("operator does not exist: {} {op} {}", name(left), name(right));
    let hint = "No operator matches the given name and argument types. You might need to add explicit type casts.";
    external(Error::new(Kind::UndefinedFunction, message).with_hint(hint))
}
