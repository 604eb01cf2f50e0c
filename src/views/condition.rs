//! What a WHERE asks of single columns, in a shape that key ranges can be made of. A list of conditions is implied by its filter: every row that passes the filter passes
//! each condition. The filter is still applied to the rows that come, so what is not understood here is passed over.

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, Operator};
use std::fmt;

/// The value a column is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Constant(ScalarValue),
    /// The statement's parameter of this place, from 0.
    Parameter(usize),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    IsNull,
    /// One of these.
    Equals(Vec<Operand>),
    /// Greater, or equal if `inclusive`.
    Above {
        value: Operand,
        inclusive: bool,
    },
    Below {
        value: Operand,
        inclusive: bool,
    },
}

/// `column` counts in the relation.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub column: usize,
    pub test: Test,
}

/// The conditions that `filters`, all of which hold, ask of columns of `schema`.
pub fn conditions<'e>(filters: impl IntoIterator<Item = &'e Expr>, schema: &Schema) -> Vec<Condition> {
    let mut found = Vec::new();
    filters.into_iter().for_each(|f| gather(f, schema, &mut found));
    found
}

fn gather(filter: &Expr, schema: &Schema, found: &mut Vec<Condition>) {
    let mut push = |column, test| found.push(Condition { column, test });
    match filter {
        Expr::Alias(alias) => gather(&alias.expr, schema, found),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            gather(left, schema, found);
            gather(right, schema, found);
        }
        Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) => {
            let mut values = Vec::new();
            if let Some(column) = alternatives(filter, schema, &mut values) {
                push(column, Test::Equals(values));
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if let Some((column, op, value)) = comparison(left, *op, right, schema)
                && let Some(test) = test(op, value)
            {
                push(column, test);
            }
        }
        Expr::InList(list) if !list.negated => {
            let values: Option<Vec<Operand>> = list.list.iter().map(operand).collect();
            if let (Some(column), Some(values)) = (column_of(&list.expr, schema), values) {
                push(column, Test::Equals(values));
            }
        }
        Expr::Between(between) if !between.negated => {
            if let Some(column) = column_of(&between.expr, schema) {
                operand(&between.low).into_iter().for_each(|value| push(column, Test::Above { value, inclusive: true }));
                operand(&between.high).into_iter().for_each(|value| push(column, Test::Below { value, inclusive: true }));
            }
        }
        Expr::IsNull(inner) => column_of(inner, schema).into_iter().for_each(|c| push(c, Test::IsNull)),
        Expr::IsTrue(inner) => gather(inner, schema, found),
        // A boolean column as it stands, or with NOT.
        Expr::Column(_) => column_of(filter, schema).into_iter().for_each(|c| push(c, boolean(true))),
        Expr::Not(inner) if matches!(**inner, Expr::Column(_)) => column_of(inner, schema).into_iter().for_each(|c| push(c, boolean(false))),
        Expr::Like(like) if !like.negated && !like.case_insensitive && like.escape_char.is_none() => {
            if let (Some(column), Some(Operand::Constant(ScalarValue::Utf8(Some(pattern))))) = (column_of(&like.expr, schema), operand(&like.pattern)) {
                let end = pattern.find(['%', '_', '\\']).unwrap_or(pattern.len());
                begins_with(&pattern[..end]).into_iter().for_each(|test| push(column, test));
            }
        }
        _ => {}
    }
}

fn boolean(value: bool) -> Test {
    Test::Equals(vec![Operand::Constant(ScalarValue::Boolean(Some(value)))])
}

/// Texts that begin with `prefix` lie between it and the next text that is no longer.
fn begins_with(prefix: &str) -> Vec<Test> {
    let text = |s: String| Operand::Constant(ScalarValue::Utf8(Some(s)));
    let mut tests = Vec::new();
    if !prefix.is_empty() {
        tests.push(Test::Above { value: text(prefix.to_owned()), inclusive: true });
    }
    let mut head = prefix.to_owned();
    while let Some(last) = head.pop() {
        // Behind the last character before the surrogates come those after them.
        let next = if last == '\u{D7FF}' { Some('\u{E000}') } else { char::from_u32(last as u32 + 1) };
        if let Some(next) = next {
            head.push(next);
            tests.push(Test::Below { value: text(head), inclusive: false });
            break;
        }
    }
    tests
}

fn test(op: Operator, value: Operand) -> Option<Test> {
    Some(match op {
        Operator::Eq => Test::Equals(vec![value]),
        Operator::Gt => Test::Above { value, inclusive: false },
        Operator::GtEq => Test::Above { value, inclusive: true },
        Operator::Lt => Test::Below { value, inclusive: false },
        Operator::LtEq => Test::Below { value, inclusive: true },
        _ => return None,
    })
}

/// `column op value`, whichever side the column stands on.
fn comparison(left: &Expr, op: Operator, right: &Expr, schema: &Schema) -> Option<(usize, Operator, Operand)> {
    if let (Some(column), Some(value)) = (column_of(left, schema), operand(right)) {
        return Some((column, op, value));
    }
    Some((column_of(right, schema)?, op.swap()?, operand(left)?))
}

/// `c = 1 OR c = 2 OR c IN (3, 4)`: the one column of all branches.
fn alternatives(filter: &Expr, schema: &Schema, values: &mut Vec<Operand>) -> Option<usize> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let column = alternatives(left, schema, values)?;
            (alternatives(right, schema, values)? == column).then_some(column)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let (column, _, value) = comparison(left, Operator::Eq, right, schema)?;
            values.push(value);
            Some(column)
        }
        Expr::InList(list) if !list.negated => {
            for value in &list.list {
                values.push(operand(value)?);
            }
            column_of(&list.expr, schema)
        }
        _ => None,
    }
}

/// A column, also under a cast that keeps every value and their order.
fn column_of(expr: &Expr, schema: &Schema) -> Option<usize> {
    match expr {
        Expr::Column(column) => schema.index_of(&column.name).ok(),
        Expr::Cast(Cast { expr, field }) => {
            let column = column_of(expr, schema)?;
            is_widening(schema.field(column).data_type(), field.data_type()).then_some(column)
        }
        Expr::Alias(alias) => column_of(&alias.expr, schema),
        _ => None,
    }
}

/// A constant, also as it is cast where the filter is applied, or a parameter, also under a cast that keeps its values.
fn operand(expr: &Expr) -> Option<Operand> {
    match expr {
        Expr::Literal(value, _) => Some(Operand::Constant(value.clone())),
        Expr::Placeholder(placeholder) => placeholder.id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1).map(Operand::Parameter),
        Expr::Alias(alias) => operand(&alias.expr),
        Expr::Cast(Cast { expr, field }) => match (operand(expr)?, expr.as_ref()) {
            (Operand::Constant(value), _) => value.cast_to(field.data_type()).ok().map(Operand::Constant),
            (Operand::Parameter(n), Expr::Placeholder(placeholder)) => {
                let from = placeholder.field.as_ref()?.data_type();
                is_widening(from, field.data_type()).then_some(Operand::Parameter(n))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether every value of `from` is one of `to`, in the same order.
fn is_widening(from: &DataType, to: &DataType) -> bool {
    use DataType as D;
    let digits = |t: &DataType| match t {
        D::Int16 => Some((5, 0)),
        D::Int32 => Some((10, 0)),
        D::Int64 => Some((19, 0)),
        D::Decimal128(precision, scale) | D::Decimal256(precision, scale) => Some((i32::from(*precision) - i32::from(*scale), i32::from(*scale))),
        _ => None,
    };
    match (from, to) {
        _ if from == to => true,
        (D::Int16, D::Int32 | D::Int64) | (D::Int32, D::Int64) => true,
        (_, D::Decimal128(..) | D::Decimal256(..)) => match (digits(from), digits(to)) {
            (Some((whole, behind)), Some((to_whole, to_behind))) => whole <= to_whole && behind <= to_behind,
            _ => false,
        },
        _ => false,
    }
}

impl Operand {
    /// The value as one of `data_type`; `None` where no value of the type equals it, or it is not known which does.
    pub fn resolved(&self, data_type: &DataType, parameters: &[ScalarValue]) -> Option<ScalarValue> {
        let value = match self {
            Operand::Constant(value) => value,
            Operand::Parameter(n) => parameters.get(*n)?,
        };
        if value.is_null() {
            return ScalarValue::try_from(data_type).ok();
        }
        let from = value.data_type();
        if from == *data_type || same_instants(&from, data_type) {
            return value.cast_to(data_type).ok();
        }
        if !is_widening(&from, data_type) && !is_widening(data_type, &from) {
            return None;
        }
        let narrow = value.cast_to(data_type).ok()?;
        (narrow.cast_to(&from).ok()? == *value).then_some(narrow)
    }
}

/// Times of one unit that differ in the name of UTC.
fn same_instants(a: &DataType, b: &DataType) -> bool {
    matches!((a, b), (DataType::Timestamp(TimeUnit::Microsecond, Some(_)), DataType::Timestamp(TimeUnit::Microsecond, Some(_))))
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Constant(ScalarValue::Utf8(Some(text))) => write!(f, "'{}'", text.replace('\'', "''")),
            Operand::Constant(value) if value.data_type().is_temporal() && !value.is_null() => {
                let text = value.to_array().map_err(|_| fmt::Error)?;
                write!(f, "'{}'", arrow::util::display::array_value_to_string(&text, 0).map_err(|_| fmt::Error)?)
            }
            Operand::Constant(value) => write!(f, "{value}"),
            Operand::Parameter(n) => write!(f, "${}", n + 1),
        }
    }
}

impl Condition {
    /// As text over the columns of `schema`.
    pub fn shown(&self, schema: &Schema) -> String {
        let name = schema.field(self.column).name();
        match &self.test {
            Test::IsNull => format!("{name} IS NULL"),
            Test::Equals(values) if values.len() == 1 => format!("{name} = {}", values[0]),
            Test::Equals(values) => format!("{name} IN ({})", values.iter().map(Operand::to_string).collect::<Vec<_>>().join(", ")),
            Test::Above { value, inclusive } => format!("{name} >{} {value}", if *inclusive { "=" } else { "" }),
            Test::Below { value, inclusive } => format!("{name} <{} {value}", if *inclusive { "=" } else { "" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;
    use datafusion::logical_expr::{cast, col, lit};

    fn shown(filter: Expr) -> String {
        let schema = Schema::new(vec![
            Field::new("k", DataType::Int32, true),
            Field::new("s", DataType::Utf8, true),
            Field::new("b", DataType::Boolean, true),
            Field::new("d", DataType::Decimal128(10, 2), true),
        ]);
        conditions([&filter], &schema).iter().map(|c| c.shown(&schema)).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn filters_say_what_they_ask_of_columns() {
        assert_eq!(shown(col("k").eq(lit(5)).and(lit("x").lt(col("s")))), "k = 5; s > 'x'");
        assert_eq!(shown(col("k").eq(lit(5)).or(lit(6).eq(col("k"))).or(col("k").in_list(vec![lit(7)], false))), "k IN (5, 6, 7)");
        assert_eq!(shown(col("k").between(lit(1), lit(2)).and(col("b")).and(!col("b"))), "k >= 1; k <= 2; b = true; b = false");
        assert_eq!(shown(cast(col("k"), DataType::Int64).gt_eq(lit(3i64))), "k >= 3");
        assert_eq!(shown(col("s").is_null()), "s IS NULL");
        assert_eq!(shown(col("s").like(lit("it's%"))), "s >= 'it''s'; s < 'it''t'");
        assert_eq!(shown(col("s").like(lit("a\u{D7FF}_"))), "s >= 'a\u{D7FF}'; s < 'a\u{E000}'");
    }

    #[test]
    fn what_asks_nothing_of_one_column_is_passed_over() {
        for filter in [
            col("k").eq(lit(5)).or(col("s").eq(lit("x"))),
            col("k").eq(lit(5)).or(col("k").gt(lit(7))),
            col("k").not_eq(lit(5)),
            col("k").in_list(vec![lit(1)], true),
            cast(col("d"), DataType::Int32).eq(lit(1)),
            cast(col("k"), DataType::Int16).eq(lit(1i16)),
            (col("k") + lit(1)).eq(lit(2)),
            col("s").like(lit("%x")),
        ] {
            assert_eq!(shown(filter.clone()), "", "{filter}");
        }
    }

    #[test]
    fn values_are_taken_for_those_of_the_column_only_if_they_are_equal() {
        let resolved = |value: ScalarValue, to: &DataType| Operand::Constant(value).resolved(to, &[]);
        assert_eq!(resolved(ScalarValue::Int64(Some(7)), &DataType::Int32), Some(ScalarValue::Int32(Some(7))));
        assert_eq!(resolved(ScalarValue::Int64(Some(1 << 40)), &DataType::Int32), None);
        assert_eq!(resolved(ScalarValue::Decimal128(Some(75), 3, 1), &DataType::Int32), None);
        assert_eq!(resolved(ScalarValue::Decimal128(Some(70), 12, 1), &DataType::Int32), Some(ScalarValue::Int32(Some(7))));
        assert_eq!(resolved(ScalarValue::Float64(Some(7.0)), &DataType::Int32), None);
        assert_eq!(resolved(ScalarValue::Int64(None), &DataType::Int32), Some(ScalarValue::Int32(None)));
        assert_eq!(Operand::Parameter(1).resolved(&DataType::Int32, &[]), None);
    }
}
