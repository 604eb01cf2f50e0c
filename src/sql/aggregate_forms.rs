//! Aggregates that are written with others before binding, in views and SELECTs alike: DISTINCT, FILTER, ORDER BY and OVER go on to the inner one.
//!
//! | form | becomes |
//! | --- | --- |
//! | `jsonb_agg(x)` | `tw_jsonb_array(array_agg(tw_jsonb_value(x)))` |
//! | `jsonb_object_agg(k, v)` | `tw_jsonb_object(array_agg(tw_jsonb_pair(k::text, tw_jsonb_value(v))))` |
//! | `json_agg(x)`, `json_object_agg(k, v)` | the same of `tw_json_…`, whose texts are not canonical |
//! | `json_agg(t)` of a relation `t` | of `t.*`, which the types' rule makes an object of its columns (`functions::to_jsonb`) |
//! | `array_agg(DISTINCT x)`, `string_agg(DISTINCT x, …)` | with `ORDER BY x`, the order in which Postgres finds duplicates |
//! | `approx_count_distinct(x)` | `count(DISTINCT x)`: a sketch cannot take values back |

use super::forms::{call, string};
use super::names::function_name;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments,
    Ident, ObjectName, OrderByExpr, OrderByOptions,
};

/// The call, or what it stands for.
pub(super) fn rewritten(function: Function, is_relation: impl Fn(&Ident) -> bool) -> Expr {
    let (name, arguments) = (function_name(&function.name).unwrap_or_default(), arguments(&function));
    match (name.as_str(), arguments.as_slice()) {
        ("jsonb_agg" | "json_agg", [x]) => {
            let json = name.trim_end_matches("_agg");
            let row = whole_row(x, is_relation);
            let (element, made) = match row {
                Some(row) => (call_of(&format!("tw_{json}_value"), row), if json == "json" { "rows" } else { "array" }),
                None => (call(&format!("tw_{json}_value"), vec![x.clone()]), "array"),
            };
            call(&format!("tw_{json}_{made}"), vec![over(function, "array_agg", element, None)])
        }
        ("jsonb_object_agg" | "json_object_agg", [key, value]) => {
            let json = name.trim_end_matches("_object_agg");
            let data_type = DataType::Text;
            let key = Expr::Cast { kind: CastKind::DoubleColon, expr: Box::new(key.clone()), data_type, array: false, format: None };
            let pair = call(&format!("tw_{json}_pair"), vec![key, call(&format!("tw_{json}_value"), vec![value.clone()])]);
            call(&format!("tw_{json}_object"), vec![over(function, "array_agg", pair, None)])
        }
        ("to_json" | "to_jsonb" | "row_to_json", [x]) => match (whole_row(x, is_relation), fields(x)) {
            (Some(row), _) => call_of(&name, row),
            (None, Some(fields)) => call(if name == "to_jsonb" { "tw_jsonb_row" } else { "tw_json_row" }, fields),
            (None, None) => Expr::Function(function),
        },
        ("approx_count_distinct", [x]) => {
            let x = x.clone();
            over(function, "count", x, Some(DuplicateTreatment::Distinct))
        }
        ("array_agg" | "string_agg", [x, ..]) => ordered(function, x),
        _ => Expr::Function(function),
    }
}

/// `t` as `t.*`.
fn whole_row(argument: &Expr, is_relation: impl Fn(&Ident) -> bool) -> Option<FunctionArgExpr> {
    match argument {
        Expr::Identifier(name) if is_relation(name) => Some(FunctionArgExpr::QualifiedWildcard(ObjectName::from(vec![name.clone()]))),
        _ => None,
    }
}

/// The values of `ROW(a, b)` behind their names, `f1`, `f2`, ….
fn fields(argument: &Expr) -> Option<Vec<Expr>> {
    let values = match argument {
        Expr::Tuple(values) => values.clone(),
        Expr::Function(row) if function_name(&row.name).as_deref() == Some("row") => arguments(row),
        _ => return None,
    };
    Some(values.into_iter().enumerate().flat_map(|(i, value)| [string(format!("f{}", i + 1)), value]).collect())
}

fn call_of(name: &str, argument: FunctionArgExpr) -> Expr {
    match call(name, Vec::new()) {
        Expr::Function(mut function) => {
            if let FunctionArguments::List(list) = &mut function.args {
                list.args = vec![FunctionArg::Unnamed(argument)];
            }
            Expr::Function(function)
        }
        other => other,
    }
}

/// Duplicates are found by sorting, which is the order that remains.
fn ordered(mut function: Function, by: &Expr) -> Expr {
    if let FunctionArguments::List(list) = &mut function.args
        && list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
        && !list.clauses.iter().any(|c| matches!(c, FunctionArgumentClause::OrderBy(_)))
    {
        let options = OrderByOptions { asc: None, nulls_first: None };
        list.clauses.push(FunctionArgumentClause::OrderBy(vec![OrderByExpr { expr: by.clone(), options, with_fill: None }]));
    }
    Expr::Function(function)
}

/// Why a call is not supported, and what to write instead.
pub(super) fn refused(function: &Function) -> Option<(&'static str, &'static str)> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let is_ordered = || list.clauses.iter().any(|c| matches!(c, FunctionArgumentClause::OrderBy(_)));
    match function_name(&function.name)?.as_str() {
        "jsonb_agg" | "jsonb_object_agg" | "json_agg" | "json_object_agg" if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) && is_ordered() => {
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
