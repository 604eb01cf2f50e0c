//! Arithmetic as Postgres does it: integers do not wrap (22003), floats do not divide by zero (22012) nor overflow (22003).
//! DataFusion wraps integers and gives infinities. So `+ - * / %` and unary minus over integers and floats become calls of functions
//! that check, in the logical plan: views, ad-hoc SELECTs, constant folding and DML then all compute alike, whichever physical
//! operator the expression ends up in. Names of output columns stay what they were. Decimals are checked by Arrow already.

use super::error::of_arrow;
use crate::error::{Error, Kind};
use crate::types::float::Float;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Datum};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::utils::NamePreserver;
use datafusion::physical_expr_common::datum::apply;
use std::sync::{Arc, LazyLock};

/// The rewrite as an analyzer rule; it belongs behind type coercion.
#[derive(Debug, Default)]
pub struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> DataFusionResult<LogicalPlan> {
        checked(plan)
    }

    fn name(&self) -> &str {
        "checked_arithmetic"
    }
}

/// The plan with checked arithmetic, in subqueries too. `plan` is type-coerced. Doing it twice changes nothing.
pub fn checked(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let mut schema = merge_schema(&node.inputs());
        if let LogicalPlan::TableScan(scan) = &node {
            schema.merge(&scan.projected_schema);
        }
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(checked_expr(expr, &schema)?.update_data(|e| name.restore(e)))
        })?;
        if !node.transformed {
            return Ok(node);
        }
        node.map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(rewritten.data)
}

/// One expression with checked arithmetic over columns of `schema`.
pub fn checked_expr(expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    expr.transform_up(|e| match e {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let function = match op {
                Operator::Plus => &ADD,
                Operator::Minus => &SUBTRACT,
                Operator::Multiply => &MULTIPLY,
                Operator::Divide => &DIVIDE,
                Operator::Modulo => &MODULO,
                _ => return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
            };
            let (l, r) = (type_of(&left, schema)?, type_of(&right, schema)?);
            if l != r || !is_checked(&l) {
                return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            }
            Ok(Transformed::yes(call(function, vec![*left, *right])))
        }
        Expr::Negative(inner) if !matches!(*inner, Expr::Literal(..)) && is_checked(&type_of(&inner, schema)?) => {
            Ok(Transformed::yes(call(&NEGATE, vec![*inner])))
        }
        other => Ok(Transformed::no(other)),
    })
}

/// A call of one of these functions.
fn of(expr: &Expr) -> Option<(&Checked, &[Expr])> {
    let Expr::ScalarFunction(call) = expr else { return None };
    Some((call.func.inner().downcast_ref::<Checked>()?, &call.args))
}

/// The type of `expr`, without asking for its name: DataFusion makes one for every level of a chain.
fn type_of(expr: &Expr, schema: &DFSchema) -> DataFusionResult<DataType> {
    let mut innermost = expr;
    while let Some((_, [first, ..])) = of(innermost) {
        innermost = first;
    }
    innermost.get_type(schema)
}

/// The operator that a function of ours stands for.
pub(crate) fn symbol(function: &str) -> Option<&'static str> {
    Some(match function {
        "tw_add" => "+",
        "tw_subtract" | "tw_negate" => "-",
        "tw_multiply" => "*",
        "tw_divide" => "/",
        "tw_modulo" => "%",
        _ => return None,
    })
}

fn is_checked(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Float32 | DataType::Float64)
}

fn call(function: &Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), args))
}

static ADD: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Checked::udf(Operation::Add));
static SUBTRACT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Checked::udf(Operation::Subtract));
static MULTIPLY: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Checked::udf(Operation::Multiply));
static DIVIDE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Checked::udf(Operation::Divide));
static MODULO: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Checked::udf(Operation::Modulo));
static NEGATE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Checked::udf(Operation::Negate));

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Negate,
}

/// One operation, over one or two operands of equal type, with a result of that type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Operation,
    signature: Signature,
}

impl Checked {
    fn udf(operation: Operation) -> Arc<ScalarUDF> {
        let operands = if operation == Operation::Negate { 1 } else { 2 };
        Arc::new(ScalarUDF::from(Checked { operation, signature: Signature::any(operands, Volatility::Immutable) }))
    }

    /// `a + (b * c)`, appended: each operand's name on its own would be copied once for every level of a chain.
    fn write_name(&self, args: &[Expr], out: &mut String) {
        let symbol = symbol(self.name()).unwrap_or_default();
        let operand = |e: &Expr, out: &mut String| match e {
            Expr::Column(_) | Expr::Literal(..) | Expr::Cast(_) => out.push_str(&e.schema_name().to_string()),
            other => {
                out.push('(');
                match of(other) {
                    Some((checked, args)) => checked.write_name(args, out),
                    None => out.push_str(&other.schema_name().to_string()),
                }
                out.push(')');
            }
        };
        match args {
            [only] => {
                out.push_str(symbol);
                operand(only, out);
            }
            [left, right] => {
                operand(left, out);
                out.push_str(&format!(" {symbol} "));
                operand(right, out);
            }
            _ => out.push_str(self.name()),
        }
    }

    fn kernel(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        match self.operation {
            Operation::Add => numeric::add(left, right),
            Operation::Subtract => numeric::sub(left, right),
            Operation::Multiply => numeric::mul(left, right),
            Operation::Divide => numeric::div(left, right),
            Operation::Modulo => numeric::rem(left, right),
            Operation::Negate => numeric::neg(left.get().0),
        }
    }

    /// The kernel's result, and what Postgres refuses of it.
    fn compute(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        let result = self.kernel(left, right)?;
        let floats = match result.data_type() {
            DataType::Float32 => self.floats::<Float32Type>(&result, left, right),
            DataType::Float64 => self.floats::<Float64Type>(&result, left, right),
            _ => return Ok(result),
        };
        floats.map_err(|e| ArrowError::ExternalError(Box::new(e)))
    }

    /// Refuses infinite results of finite operands, and division by zero. NaN becomes the one NaN that comparisons know: the processor's own
    /// (of Infinity - Infinity, and of -NaN) has a sign and would be the least of all values. The common case is one pass over the result.
    fn floats<T: ArrowPrimitiveType<Native: Into<f64> + Float>>(&self, result: &ArrayRef, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, Error> {
        let values = result.as_primitive::<T>();
        if values.values().iter().all(|v| (*v).into().is_finite()) {
            return Ok(Arc::clone(result));
        }
        let operand = |side: &dyn Datum, row: usize| -> f64 {
            let (array, scalar) = side.get();
            array.as_primitive::<T>().value(if scalar { 0 } else { row }).into()
        };
        let divides = matches!(self.operation, Operation::Divide | Operation::Modulo);
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            let (value, l, r): (f64, f64, f64) = (values.value(row).into(), operand(left, row), operand(right, row));
            if divides && r == 0.0 && !l.is_nan() {
                return Err(Error::new(Kind::DivisionByZero, "division by zero"));
            }
            if value.is_infinite() && l.is_finite() && r.is_finite() {
                return Err(Error::new(Kind::NumericOutOfRange, "value out of range: overflow"));
            }
        }
        Ok(Arc::new(values.unary::<_, T>(Float::one_nan)))
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Add => "tw_add",
            Operation::Subtract => "tw_subtract",
            Operation::Multiply => "tw_multiply",
            Operation::Divide => "tw_divide",
            Operation::Modulo => "tw_modulo",
            Operation::Negate => "tw_negate",
        }
    }

    fn display_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        self.schema_name(args)
    }

    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        let mut name = String::new();
        self.write_name(args, &mut name);
        Ok(name)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(arg_types[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let failed = |e: DataFusionError| match e {
            DataFusionError::ArrowError(inner, _) => DataFusionError::External(Box::new(of_arrow(*inner))),
            other => other,
        };
        match args.args.as_slice() {
            [only] => apply(only, &ColumnarValue::Scalar(ScalarValue::try_from(&only.data_type())?), |l, _| self.compute(l, l)).map_err(failed),
            [left, right] => apply(left, right, |l, r| self.compute(l, r)).map_err(failed),
            other => Err(DataFusionError::Internal(format!("{} takes two operands, not {}", self.name(), other.len()))),
        }
    }
}
