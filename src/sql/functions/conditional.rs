//! `coalesce` that takes quoted literals beside values of any type: `coalesce(ts, '2024-01-01')`. DataFusion's own does the work.

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Coalesce {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let signature = Signature::user_defined(Volatility::Immutable);
    vec![Arc::new(ScalarUDF::new_from_impl(Coalesce { inner: datafusion::functions::core::coalesce(), signature }))]
}

/// The types with `other` in the place of texts that stand beside it: quoted literals, or an error that is found when they are read.
fn without_texts(types: &[DataType]) -> Vec<DataType> {
    let is_text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match types.iter().find(|t| !is_text(t) && !t.is_null()) {
        Some(other) => types.iter().map(|t| if is_text(t) { other.clone() } else { t.clone() }).collect(),
        None => types.to_vec(),
    }
}

impl ScalarUDFImpl for Coalesce {
    fn name(&self) -> &str {
        "coalesce"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(self.coerce_types(types)?.into_iter().next().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn simplify(&self, arguments: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(arguments, info)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(arguments)
    }

    fn conditional_arguments<'a>(&self, arguments: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(arguments)
    }

    fn short_circuits(&self) -> bool {
        true
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(&without_texts(types))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_literal_takes_the_type_beside_it() {
        assert_eq!(without_texts(&[DataType::Date32, DataType::Utf8]), [DataType::Date32, DataType::Date32]);
        assert_eq!(without_texts(&[DataType::Null, DataType::Utf8]), [DataType::Null, DataType::Utf8]);
    }
}
