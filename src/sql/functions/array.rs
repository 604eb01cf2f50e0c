//! Arrays of all rows of a subquery, and what is made of them.
//!
//! `tw_array((SELECT …))` stands for `ARRAY(SELECT …)` until the subquery has become a join (`sql/subqueries`); `tw_only` and `tw_or_empty` are what is left then.

use super::lists;
use super::table::external;
use crate::error::{Error, Kind};
use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array, new_null_array};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

/// The function that `ARRAY(SELECT …)` is written as.
pub const OF_SUBQUERY: &str = "tw_array";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Which {
    OfSubquery,
    Only,
    OrEmpty,
    Like,
    Element,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OverArray {
    which: Which,
    signature: Signature,
}

fn function(which: Which) -> Arc<ScalarUDF> {
    let signature = match which {
        Which::Like => Signature::user_defined(Volatility::Immutable),
        Which::Element => Signature::any(2, Volatility::Immutable),
        _ => Signature::any(1, Volatility::Immutable),
    };
    Arc::new(ScalarUDF::new_from_impl(OverArray { which, signature }))
}

/// `tw_array_like(a, x)`: `a`, which is an array of the type of `x`. For `x = ANY($1)`, where nothing else says what `$1` is.
pub const LIKE: &str = "tw_array_like";

/// `tw_vector_element(v, n)`: an element of a vector of the catalog, the first of which has number 0.
pub fn vector_element() -> Arc<ScalarUDF> {
    function(Which::Element)
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![function(Which::OfSubquery), only(), or_empty(), function(Which::Like)]
}

/// The only element, NULL of none. Error: there are more (21000).
pub fn only() -> Arc<ScalarUDF> {
    function(Which::Only)
}

/// The array, empty instead of NULL.
pub fn or_empty() -> Arc<ScalarUDF> {
    function(Which::OrEmpty)
}

impl ScalarUDFImpl for OverArray {
    fn name(&self) -> &str {
        match self.which {
            Which::OfSubquery => OF_SUBQUERY,
            Which::Only => "tw_only",
            Which::OrEmpty => "tw_or_empty",
            Which::Like => LIKE,
            Which::Element => "tw_vector_element",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [_, item] = arguments else { return Err(external(Error::internal("an array and a value"))) };
        Ok(vec![DataType::List(Arc::new(Field::new("item", item.clone(), true))), item.clone()])
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Err(external(Error::internal(format!("the type of {} depends on fields", self.name()))))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let field = &arguments.arg_fields[0];
        let data_type = match (self.which, field.data_type()) {
            (Which::OfSubquery, item) => DataType::List(Arc::new(Field::new("item", item.clone(), true))),
            (Which::Only | Which::Element, DataType::List(item)) => item.data_type().clone(),
            (Which::Like, _) => DataType::List(Arc::new(Field::new("item", arguments.arg_fields[1].data_type().clone(), true))),
            (_, other) => other.clone(),
        };
        let marked = if self.which == Which::Like { &arguments.arg_fields[1] } else { field };
        Ok(lists::like(self.name(), data_type, [marked]))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if self.which == Which::Like {
            return Ok(arguments.args[0].clone());
        }
        if self.which == Which::Element {
            let rows = arguments.number_rows;
            let (vectors, places) = (arguments.args[0].to_array(rows)?, cast(&arguments.args[1].to_array(rows)?, &DataType::Int64)?);
            let places = places.as_primitive::<Int64Type>();
            let Some(lists) = vectors.as_list_opt::<i32>() else { return Err(external(Error::internal("a vector is no list"))) };
            let offsets = lists.value_offsets();
            let place = |row: usize| {
                let at = usize::try_from(places.is_valid(row).then(|| places.value(row))?).ok()?;
                let there = lists.is_valid(row) && at < lists.value_length(row) as usize;
                there.then(|| (offsets[row] as usize + at) as u32)
            };
            let indices: UInt32Array = (0..rows).map(place).collect();
            return Ok(ColumnarValue::Array(take(lists.values(), &indices, None)?));
        }
        let scalar = matches!(arguments.args[0], ColumnarValue::Scalar(_));
        let column = arguments.args[0].to_array(if scalar { 1 } else { arguments.number_rows })?;
        let result = match (self.which, column.as_list_opt::<i32>()) {
            (Which::Only, Some(lists)) => only_elements(lists).map_err(external)?,
            (Which::OrEmpty, Some(lists)) => Arc::new(filled(lists)?) as ArrayRef,
            (Which::Only, None) if column.data_type().is_null() => new_null_array(arguments.return_field.data_type(), column.len()),
            _ => return Err(external(Error::not_supported("a subquery in this place of an array is not supported").with_hint("write it as a join"))),
        };
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

fn only_elements(lists: &ListArray) -> crate::error::Result<ArrayRef> {
    let place = |row: usize| -> crate::error::Result<Option<u32>> {
        match if lists.is_null(row) { 0 } else { lists.value_length(row) } {
            0 => Ok(None),
            1 => Ok(Some(lists.value_offsets()[row] as u32)),
            _ => Err(Error::new(Kind::CardinalityViolation, "more than one row returned by a subquery used as an expression")),
        }
    };
    let places = (0..lists.len()).map(place).collect::<crate::error::Result<UInt32Array>>()?;
    Ok(take(lists.values(), &places, None)?)
}

/// The offsets of a NULL list may span elements; an empty one's do not.
fn filled(lists: &ListArray) -> Result<ListArray> {
    if lists.null_count() == 0 {
        return Ok(lists.clone());
    }
    let DataType::List(item) = lists.data_type() else { return Ok(lists.clone()) };
    let kept = (0..lists.len()).filter(|row| lists.is_valid(*row));
    let places: UInt32Array = kept.clone().flat_map(|row| lists.value_offsets()[row]..lists.value_offsets()[row + 1]).map(|place| place as u32).collect();
    let lengths = (0..lists.len()).map(|row| if lists.is_valid(row) { lists.value_length(row) as usize } else { 0 });
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
    Ok(ListArray::try_new(Arc::clone(item), OffsetBuffer::new(ScalarBuffer::from(offsets.to_vec())), take(lists.values(), &places, None)?, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;
    use arrow::datatypes::Int32Type;

    fn lists(of: &[Option<&[i32]>]) -> ListArray {
        ListArray::from_iter_primitive::<Int32Type, _, _>(of.iter().map(|l| l.map(|l| l.iter().map(|v| Some(*v)))))
    }

    #[test]
    fn one_element_is_the_value_and_more_are_an_error() {
        let result = only_elements(&lists(&[Some(&[7]), None, Some(&[])])).unwrap();
        assert_eq!(result.as_ref(), &Int32Array::from(vec![Some(7), None, None]));
        assert_eq!(only_elements(&lists(&[Some(&[1, 2])])).unwrap_err().sqlstate(), "21000");
    }

    #[test]
    fn a_null_array_becomes_empty() {
        assert_eq!(filled(&lists(&[Some(&[1, 2]), None, Some(&[3])])).unwrap(), lists(&[Some(&[1, 2]), Some(&[]), Some(&[3])]));
    }
}
