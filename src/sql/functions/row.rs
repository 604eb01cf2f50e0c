//! The row of a relation as one value, see [`crate::sql::whole_rows`].

use super::table::external;
use crate::error::Error;
use crate::types::text::ROW_KEY;
use arrow::array::{ArrayRef, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::collections::HashMap;
use std::sync::Arc;

/// The function's name: `tw_row(mark, name, value, …)`.
pub const ROW: &str = "tw_row";

#[derive(Debug, PartialEq, Eq, Hash)]
struct Row {
    signature: Signature,
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::new(ScalarUDF::new_from_impl(Row { signature: Signature::user_defined(Volatility::Immutable) }))]
}

impl ScalarUDFImpl for Row {
    fn name(&self) -> &str {
        ROW
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Err(external(Error::internal("a row was asked for its type without its columns")))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let constant = |place: usize| match arguments.scalar_arguments.get(place) {
            Some(Some(ScalarValue::Utf8(Some(text)))) => Ok(text.clone()),
            _ => Err(external(Error::internal("a row's column has no name"))),
        };
        let mut members = Vec::new();
        for place in (1..arguments.arg_fields.len().saturating_sub(1)).step_by(2) {
            members.push(arguments.arg_fields[place + 1].as_ref().clone().with_name(constant(place)?).with_nullable(true));
        }
        let mark = constant(0)?;
        let marks = if mark.is_empty() { HashMap::new() } else { HashMap::from([(ROW_KEY.to_owned(), mark)]) };
        Ok(Arc::new(Field::new(ROW, DataType::Struct(members.into()), false).with_metadata(marks)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let DataType::Struct(fields) = arguments.return_field.data_type() else { return Err(external(Error::internal("a row is no struct"))) };
        let rows = arguments.number_rows;
        let values = arguments.args.iter().skip(2).step_by(2).map(|value| value.to_array(rows)).collect::<Result<Vec<ArrayRef>>>()?;
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new_with_length(Fields::clone(fields), values, None, rows)?)))
    }
}
