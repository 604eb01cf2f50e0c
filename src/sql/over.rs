//! Forms around window functions, before binding:
//!
//! | form | becomes |
//! | --- | --- |
//! | `OVER w`, `OVER (w ROWS …)` with `WINDOW w AS (…)` | the window in its place, as DataFusion does only for some of them |
//! | `RANGE INTERVAL '1' HOUR PRECEDING`, `RANGE '1 hour' PRECEDING` | an interval in the one spelling that is read in a frame |
//! | `FETCH FIRST n ROWS WITH TIES` | `QUALIFY rank() OVER (ORDER BY …) <= n`, which a view maintains as a Top-N |

use super::forms::{call, number, string};
use super::functions::table::external;
use super::types::folded;
use super::walk::{self, Rewrite};
use crate::error::{Error, Kind};
use crate::types::text::interval::parse_interval;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{self as logical, LogicalPlan};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, Ident, Interval, LimitClause, NamedWindowDefinition, NamedWindowExpr, OrderBy, OrderByExpr, OrderByKind, Query, Select,
    SelectItem, SetExpr, Value, ValueWithSpan, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};
use std::collections::HashMap;

/// Puts the windows that a query names in the place of their names.
pub(super) fn resolve_windows(query: &mut Query) {
    let order_by = query.order_by.as_mut().map(|order_by| &mut order_by.kind);
    let sorts = match order_by {
        Some(OrderByKind::Expressions(sorts)) => sorts.as_mut_slice(),
        _ => &mut [],
    };
    let mut sorts = sorts.iter_mut().map(|sort| &mut sort.expr).collect::<Vec<_>>();
    resolve_in(&mut query.body, &mut sorts);
}

fn resolve_in(body: &mut SetExpr, sorts: &mut [&mut Expr]) {
    match body {
        SetExpr::Select(select) => resolve(select, sorts),
        SetExpr::SetOperation { left, right, .. } => {
            resolve_in(left, &mut []);
            resolve_in(right, &mut []);
        }
        _ => {}
    }
}

fn resolve(select: &mut Select, sorts: &mut [&mut Expr]) {
    let mut named: HashMap<String, WindowSpec> = HashMap::new();
    for NamedWindowDefinition(name, window) in &select.named_window {
        let spec = match window {
            NamedWindowExpr::NamedWindow(base) => named.get(&folded(base)).cloned(),
            NamedWindowExpr::WindowSpec(spec) => inherited(spec, &named),
        };
        if named.contains_key(&folded(name)) {
            return; // DataFusion refuses it.
        }
        let written = match window {
            NamedWindowExpr::NamedWindow(base) => Some(base),
            NamedWindowExpr::WindowSpec(spec) => spec.window_name.as_ref(),
        };
        named.insert(folded(name), spec.unwrap_or_else(|| unknown(written)));
    }
    let mut windows = NamedWindows { named, depth: 0 };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            walk::rewrite(expr, &mut windows);
        }
    }
    sorts.iter_mut().for_each(|expr| walk::rewrite(*expr, &mut windows));
    select.named_window.clear();
}

/// What `spec` is with what it takes from the window it begins with; `None`: it cannot.
fn inherited(spec: &WindowSpec, named: &HashMap<String, WindowSpec>) -> Option<WindowSpec> {
    let Some(base) = &spec.window_name else { return Some(spec.clone()) };
    let base = named.get(&folded(base))?;
    let overrides = !spec.partition_by.is_empty() || (!spec.order_by.is_empty() && !base.order_by.is_empty()) || base.window_frame.is_some();
    if overrides {
        return None;
    }
    let order_by = if spec.order_by.is_empty() { base.order_by.clone() } else { spec.order_by.clone() };
    Some(WindowSpec { window_name: None, partition_by: base.partition_by.clone(), order_by, window_frame: spec.window_frame.clone() })
}

struct NamedWindows {
    named: HashMap<String, WindowSpec>,
    /// Subqueries entered: the names of a query are not those of the queries in it.
    depth: usize,
}

impl Rewrite for NamedWindows {
    fn enter_query(&mut self, _query: &mut Query) {
        self.depth += 1;
    }

    fn leave_query(&mut self) {
        self.depth -= 1;
    }

    fn expr(&mut self, expr: &mut Expr) {
        let Expr::Function(Function { over: Some(over), .. }) = expr else { return };
        if self.depth > 0 {
            return;
        }
        let found = match over {
            WindowType::NamedWindow(name) => self.named.get(&folded(name)).cloned(),
            WindowType::WindowSpec(spec) => inherited(spec, &self.named),
        };
        let written = match over {
            WindowType::NamedWindow(name) => Some(&*name),
            WindowType::WindowSpec(spec) => spec.window_name.as_ref(),
        };
        *over = WindowType::WindowSpec(found.unwrap_or_else(|| unknown(written)));
    }
}

/// What is not found, or cannot be copied, becomes a name that nothing has: an error, not another window.
fn unknown(name: Option<&Ident>) -> WindowSpec {
    let name = Ident::with_quote('"', name.map_or(String::new(), folded));
    let partition_by = vec![Expr::CompoundIdentifier(vec![Ident::with_quote('"', UNKNOWN_WINDOW), name])];
    WindowSpec { window_name: None, partition_by, order_by: Vec::new(), window_frame: None }
}

/// The relation that a window's name is a column of where there is no such window.
pub(super) const UNKNOWN_WINDOW: &str = "tw window";

/// Bounds of a RANGE frame in the spelling that the planner reads.
pub(super) fn plain_bounds(function: &mut Function) {
    let Some(WindowType::WindowSpec(WindowSpec { window_frame: Some(frame), .. })) = &mut function.over else { return };
    let WindowFrame { units: WindowFrameUnits::Range, start_bound, end_bound } = frame else { return };
    for bound in std::iter::once(start_bound).chain(end_bound) {
        if let WindowFrameBound::Preceding(Some(far)) | WindowFrameBound::Following(Some(far)) = bound
            && let Some(plain) = plain_bound(far)
        {
            **far = plain;
        }
    }
}

fn plain_bound(far: &Expr) -> Option<Expr> {
    let text = match far {
        Expr::Cast { expr, data_type, .. } if data_type.to_string().to_uppercase().starts_with("INTERVAL") => quoted(expr)?,
        other => quoted(other)?,
    };
    // A number of what the column holds; of a time, seconds.
    if text.trim().parse::<f64>().is_ok_and(f64::is_finite) {
        return Some(number(text.trim()));
    }
    let length = parse_interval(text).ok()?;
    let plain = format!("{} months {} days {} nanoseconds", length.months, length.days, length.nanoseconds);
    Some(Expr::Interval(Interval {
        value: Box::new(string(plain)),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    }))
}

fn quoted(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text),
        _ => None,
    }
}

/// Why `WITH TIES` cannot be rewritten; `None`: it can.
pub(super) fn ties_refused(query: &Query) -> Option<(&'static str, &'static str)> {
    let hint = "put the query into FROM: SELECT * FROM (…) AS q ORDER BY … FETCH FIRST n ROWS WITH TIES";
    let Some((select, sorts)) = select_and_sorts(query) else {
        return Some(("FETCH … WITH TIES over DISTINCT, UNION, INTERSECT, EXCEPT or VALUES is not supported", hint));
    };
    if sorts.is_empty() {
        return Some(("WITH TIES cannot be specified without ORDER BY clause", ""));
    }
    if limits(query).is_none() {
        return Some(("FETCH … WITH TIES and its OFFSET must be written as numbers", "write the number"));
    }
    let has_wildcard = select.projection.iter().any(|item| !matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }));
    let by_place = sorts.iter().any(|sort| count(&sort.expr).is_some());
    (has_wildcard && by_place).then_some(("ORDER BY a column's place with * and WITH TIES is not supported", "order by the column's name"))
}

fn select_and_sorts(query: &Query) -> Option<(&Select, &[OrderByExpr])> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let sorts = match &query.order_by {
        None => &[][..],
        Some(OrderBy { kind: OrderByKind::Expressions(sorts), .. }) => sorts,
        Some(_) => return None,
    };
    select.distinct.is_none().then_some((select, sorts))
}

fn count(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) => text.parse().ok(),
        _ => None,
    }
}

/// How many rows are skipped, and how many of the others are fetched.
fn limits(query: &Query) -> Option<(u64, u64)> {
    let fetch = match &query.fetch.as_ref()?.quantity {
        None => 1,
        Some(quantity) => count(quantity)?,
    };
    match &query.limit_clause {
        None => Some((0, fetch)),
        Some(LimitClause::LimitOffset { limit: None, offset, .. }) => offset.as_ref().map_or(Some(0), |o| count(&o.value)).map(|skip| (skip, fetch)),
        Some(_) => None,
    }
}

/// See the module; [`ties_refused`] found nothing against it.
pub(super) fn with_ties(query: &mut Query) {
    let Some((skip, fetch)) = limits(query) else { return };
    let Some((select, sorts)) = select_and_sorts(query) else { return };
    let order_by = sorts.iter().map(|sort| OrderByExpr { expr: of_item(select, &sort.expr), ..sort.clone() }).collect::<Vec<_>>();
    let compare = |name: &str, op: BinaryOperator, limit: u64| {
        let mut ranked = call(name, Vec::new());
        if let Expr::Function(function) = &mut ranked {
            let spec = WindowSpec { window_name: None, partition_by: Vec::new(), order_by: order_by.clone(), window_frame: None };
            function.over = Some(WindowType::WindowSpec(spec));
        }
        Expr::BinaryOp { left: Box::new(ranked), op, right: Box::new(number(&limit.to_string())) }
    };
    // The last row that is fetched stands at this place, and those that tie with it have its rank or less.
    let mut condition = compare("rank", BinaryOperator::LtEq, skip.saturating_add(fetch));
    if skip > 0 {
        let behind = compare("row_number", BinaryOperator::Gt, skip);
        condition = Expr::BinaryOp { left: Box::new(condition), op: BinaryOperator::And, right: Box::new(behind) };
    }
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.qualify = Some(condition);
    }
    query.fetch = None;
    query.limit_clause = None;
}

/// What ORDER BY means by a column's place or name.
fn of_item(select: &Select, expr: &Expr) -> Expr {
    let item = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr.clone()),
        _ => None,
    };
    let named = |name: &Ident| {
        select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if folded(alias) == folded(name) => Some(expr.clone()),
            _ => None,
        })
    };
    let found = match (expr, count(expr)) {
        (_, Some(place)) => usize::try_from(place).ok().and_then(|place| select.projection.get(place.checked_sub(1)?)).and_then(item),
        (Expr::Identifier(name), _) => named(name),
        _ => None,
    };
    found.unwrap_or_else(|| expr.clone())
}

/// Error: a window function where there are no rows to look at yet.
pub(super) fn check(plan: &LogicalPlan) -> DataFusionResult<()> {
    let mut refused = None;
    plan.apply_with_subqueries(|node| {
        refused = refusal(node)?;
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    refused.map_or(Ok(()), |error| Err(external(error)))
}

fn refusal(node: &LogicalPlan) -> DataFusionResult<Option<Error>> {
    let windowing = |place: &str| Some(Error::new(Kind::Windowing, format!("window functions are not allowed in {place}")));
    Ok(match node {
        LogicalPlan::Filter(_) if has(node, is_window)? => windowing("WHERE"),
        LogicalPlan::Join(_) if has(node, is_window)? => windowing("JOIN conditions"),
        LogicalPlan::Aggregate(_) if has(node, is_window)? => windowing("GROUP BY or in aggregate functions"),
        _ => None,
    })
}

fn has(node: &LogicalPlan, is: fn(&logical::Expr) -> bool) -> DataFusionResult<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found = found || expr.exists(|e| Ok(is(e)))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn is_window(expr: &logical::Expr) -> bool {
    matches!(expr, logical::Expr::WindowFunction(_))
}

#[cfg(test)]
mod tests {
    use crate::sql::forms::rewrite;
    use crate::sql::parse;

    fn of(text: &str) -> String {
        let mut query = parse::query(text).unwrap();
        rewrite(&mut query);
        query.to_string()
    }

    #[test]
    fn windows_stand_in_the_place_of_their_names() {
        let named =
            "SELECT 1 + sum(x) OVER w, max(x) OVER (v ROWS 2 PRECEDING) FROM t WINDOW w AS (PARTITION BY g), v AS (w ORDER BY x) ORDER BY min(x) OVER w";
        let plain =
            "SELECT 1 + sum(x) OVER (PARTITION BY g), max(x) OVER (PARTITION BY g ORDER BY x ROWS 2 PRECEDING) FROM t ORDER BY min(x) OVER (PARTITION BY g)";
        assert_eq!(of(named), of(plain));
        assert!(of("SELECT sum(x) OVER nothing FROM t").contains("\"tw window\".\"nothing\""));
        let inner = "SELECT (SELECT sum(y) OVER w FROM u WINDOW w AS (ORDER BY y)), sum(x) OVER w FROM t WINDOW w AS (ORDER BY x)";
        assert!(of(inner).contains("sum(y) OVER (ORDER BY y)"), "{}", of(inner));
    }

    #[test]
    fn intervals_in_frames_have_one_spelling() {
        let plain = "RANGE BETWEEN INTERVAL '0 months 0 days 5000000000 nanoseconds' PRECEDING AND CURRENT ROW";
        for bound in ["INTERVAL '5 seconds'", "INTERVAL '5' SECOND", "'00:00:05'"] {
            let text = of(&format!("SELECT sum(x) OVER (ORDER BY t RANGE BETWEEN {bound} PRECEDING AND CURRENT ROW) FROM s"));
            assert!(text.contains(plain), "{text}");
        }
        assert!(of("SELECT sum(x) OVER (ORDER BY t RANGE '5' PRECEDING) FROM s").contains("RANGE 5 PRECEDING"));
    }

    #[test]
    fn ties_are_ranks() {
        assert_eq!(
            of("SELECT a AS x, b FROM t ORDER BY x DESC, 2 OFFSET 1 FETCH FIRST 3 ROWS WITH TIES"),
            "SELECT a AS x, b FROM t QUALIFY rank() OVER (ORDER BY a DESC, b) <= 4 AND row_number() OVER (ORDER BY a DESC, b) > 1 ORDER BY x DESC, 2"
        );
    }
}
