//! DataFusion's functions over arrays, whose results say what their elements are: `array_agg(oid)` is an `oid[]`, `('{…}'::uuid[])[1]` a uuid.
//!
//! An array's field carries the metadata that its elements would have (`types::text::item_of`), so it is handed on unchanged whether a function takes elements,
//! makes an array of them, or takes one out.

use crate::types::text::{ROW_KEY, TYPE_KEY, TYPMOD_KEY};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_nested::all_default_nested_functions;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Expr, GroupsAccumulator, ReturnFieldArgs, ReversedUDAF, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Functions whose result holds elements of their arguments, or is one.
const NAMES: [&str; 18] = [
    "make_array",
    "array_append",
    "array_prepend",
    "array_concat",
    "array_distinct",
    "array_element",
    "array_except",
    "array_intersect",
    "array_pop_back",
    "array_pop_front",
    "array_remove",
    "array_remove_all",
    "array_replace",
    "array_replace_all",
    "array_reverse",
    "array_slice",
    "array_sort",
    "array_union",
];

static FUNCTIONS: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let of_lists = all_default_nested_functions().into_iter().filter(|f| NAMES.contains(&f.name()));
    of_lists.map(|inner| (inner.name().to_owned(), Arc::new(ScalarUDF::new_from_impl(Marked { inner })))).collect()
});

static ARRAY_AGG: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| Arc::new(AggregateUDF::new_from_impl(Gathered { inner: array_agg_udaf() })));

/// The function of this name that hands on what its elements are, if it is one of those.
pub fn function(name: &str) -> Option<Arc<ScalarUDF>> {
    FUNCTIONS.get(name).cloned()
}

pub fn array_agg() -> Arc<AggregateUDF> {
    ARRAY_AGG.clone()
}

/// `data_type` with the mark of the first argument that has one.
pub(super) fn like<'a>(name: &str, data_type: DataType, arguments: impl IntoIterator<Item = &'a FieldRef>) -> FieldRef {
    let field = Field::new(name, data_type, true);
    let is_mark = |key: &String| [TYPE_KEY, TYPMOD_KEY, ROW_KEY].contains(&key.as_str());
    let marks = |argument: &FieldRef| -> HashMap<String, String> {
        argument.metadata().iter().filter(|(key, _)| is_mark(key)).map(|(k, v)| (k.clone(), element_mark(v))).collect()
    };
    let found = arguments.into_iter().map(marks).find(|m| !m.is_empty()).unwrap_or_default();
    Arc::new(field.with_metadata(found))
}

/// An oid's name is known where it is printed as a value of its own, not as one of many.
fn element_mark(mark: &str) -> String {
    match mark {
        "oidvector" => "oid",
        "int2vector" => "int2",
        reg if reg.starts_with("reg") => "oid",
        other => other,
    }
    .to_owned()
}

/// A function of DataFusion's.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Marked {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Marked {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let fields = arguments.arg_fields;
        let plain = self.inner.return_field_from_args(arguments)?;
        Ok(like(self.name(), plain.data_type().clone(), fields))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(arguments)
    }

    fn simplify(&self, arguments: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(arguments, context)
    }
}

/// `array_agg`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Gathered {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for Gathered {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field(&self, arguments: &[FieldRef]) -> Result<FieldRef> {
        let plain = self.inner.return_field(arguments)?;
        Ok(like(self.name(), plain.data_type().clone(), arguments))
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(arguments)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(arguments)
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(arguments)
    }

    fn with_beneficial_ordering(self: Arc<Self>, beneficial: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let ordered = self.inner.as_ref().clone().with_beneficial_ordering(beneficial)?;
        Ok(ordered.map(|inner| Arc::new(Gathered { inner: Arc::new(inner) }) as Arc<dyn AggregateUDFImpl>))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.inner.reverse_udf() {
            ReversedUDAF::Reversed(inner) => ReversedUDAF::Reversed(Arc::new(AggregateUDF::new_from_impl(Gathered { inner }))),
            other => other,
        }
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }
}
