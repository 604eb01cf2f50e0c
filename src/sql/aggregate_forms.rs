//! Aggregates that are written with others before binding, in views and SELECTs alike: DISTINCT, FILTER, ORDER BY and OVER go on to the inner one.
//!
//! | form | becomes |
//! | --- | --- |
//! | `jsonb_agg(x)` | `tw_jsonb_array(array_agg(tw_jsonb_value(x)))` |
//! | `jsonb_object_agg(k, v)` | `tw_jsonb_object(array_agg(tw_jsonb_pair(k::text, tw_jsonb_value(v))))` |
//! | `approx_count_distinct(x)` | `count(DISTINCT x)`: a sketch cannot take values back |

use super::forms::call;
use super::names::function_name;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments,
    Ident, ObjectName,
};

/// The call, or what it stands for.
pub(super) fn rewritten(function: Function) -> Expr {
    let (name, arguments) = (function_name(&function.name), arguments(&function));
    match (name.as_deref(), arguments.as_slice()) {
        (Some("jsonb_agg"), [x]) => {
            let element = call("tw_jsonb_value", vec![x.clone()]);
            call("tw_jsonb_array", vec![over(function, "array_agg", element, None)])
        }
        (Some("jsonb_object_agg"), [key, value]) => {
            let data_type = DataType::Text;
            let key = Expr::Cast { kind: CastKind::DoubleColon, expr: Box::new(key.clone()), data_type, array: false, format: None };
            let pair = call("tw_jsonb_pair", vec![key, call("tw_jsonb_value", vec![value.clone()])]);
            call("tw_jsonb_object", vec![over(function, "array_agg", pair, None)])
        }
        (Some("approx_count_distinct"), [x]) => {
            let x = x.clone();
            over(function, "count", x, Some(DuplicateTreatment::Distinct))
        }
        _ => Expr::Function(function),
    }
}

/// Why a call is not supported, and what to write instead.
pub(super) fn refused(function: &Function) -> Option<(&'static str, &'static str)> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let is_ordered = || list.clauses.iter().any(|c| matches!(c, FunctionArgumentClause::OrderBy(_)));
    match function_name(&function.name)?.as_str() {
        "json_agg" => Some(("json_agg() is not supported: there is no type json", "use jsonb_agg()")),
        "json_object_agg" => Some(("json_object_agg() is not supported: there is no type json", "use jsonb_object_agg()")),
        "jsonb_agg" | "jsonb_object_agg" if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) && is_ordered() => {
            Some(("DISTINCT with ORDER BY in this aggregate is not supported", "use a subquery with SELECT DISTINCT"))
        }
        _ => None,
    }
}

fn arguments(function: &Function) -> Vec<Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let plain = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    };
    list.args.iter().map(plain).collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// The same call of another aggregate over one argument.
fn over(function: Function, name: &str, argument: Expr, distinct: Option<DuplicateTreatment>) -> Expr {
    let (clauses, duplicate_treatment) = match function.args {
        FunctionArguments::List(list) => (list.clauses, list.duplicate_treatment),
        _ => (Vec::new(), None),
    };
    let args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))];
    let duplicate_treatment = distinct.or(duplicate_treatment);
    let args = FunctionArguments::List(FunctionArgumentList { duplicate_treatment, args, clauses });
    Expr::Function(Function { name: ObjectName::from(vec![Ident::new(name)]), args, ..function })
}
