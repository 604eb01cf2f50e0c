//! `array_dims` and `array_ndims`: the bounds of an array, which begin at 1, and how many there are. An empty array has none.

use super::table::external;
use crate::error::{Error, Kind};
use crate::sql::types::sql_type;
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Shape {
    /// `array_dims`, else `array_ndims`.
    bounds: bool,
    signature: Signature,
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [true, false].map(|bounds| Arc::new(ScalarUDF::new_from_impl(Shape { bounds, signature: Signature::any(1, Volatility::Immutable) }))).to_vec()
}

impl ScalarUDFImpl for Shape {
    fn name(&self) -> &str {
        if self.bounds { "array_dims" } else { "array_ndims" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::List(_) | DataType::Null] => Ok(if self.bounds { DataType::Utf8 } else { DataType::Int32 }),
            _ => {
                let names: Vec<String> = types.iter().map(|t| sql_type(&Field::new("", t.clone(), true))).collect();
                let error = Error::new(Kind::UndefinedFunction, format!("function {}({}) does not exist", self.name(), names.join(", ")));
                Err(external(error.with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")))
            }
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = matches!(arguments.args[0], ColumnarValue::Scalar(_));
        let arrays = arguments.args[0].to_array(if scalar { 1 } else { arguments.number_rows })?;
        let shapes = (0..arrays.len()).map(|row| lengths(&arrays, row)).map(|lengths| Some(lengths).filter(|l| !l.is_empty()));
        let column: ArrayRef = if self.bounds {
            Arc::new(shapes.map(|s| s.map(|s| s.iter().map(|n| format!("[1:{n}]")).collect::<String>())).collect::<StringArray>())
        } else {
            Arc::new(shapes.map(|s| s.map(|s| s.len() as i32)).collect::<Int32Array>())
        };
        Ok(if scalar { ColumnarValue::Scalar(ScalarValue::try_from_array(&column, 0)?) } else { ColumnarValue::Array(column) })
    }
}

/// The length of each dimension; the first element of a level stands for all.
fn lengths(array: &ArrayRef, row: usize) -> Vec<usize> {
    let Some(lists) = array.as_list_opt::<i32>().filter(|lists| lists.is_valid(row) && lists.value_length(row) > 0) else { return Vec::new() };
    let items = lists.value(row);
    let mut all = vec![items.len()];
    all.extend(lengths(&items, 0));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Builder, ListBuilder};

    #[test]
    fn each_level_is_a_dimension() {
        let mut matrix = ListBuilder::new(ListBuilder::new(Int64Builder::new()));
        for row in [[1, 2], [3, 4], [5, 6]] {
            matrix.values().append_value(row.map(Some));
        }
        matrix.append(true);
        matrix.append(true);
        let matrix = Arc::new(matrix.finish()) as ArrayRef;
        assert_eq!((lengths(&matrix, 0), lengths(&matrix, 1)), (vec![3, 2], vec![]));
    }
}
