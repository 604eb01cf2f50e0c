//! Conditions of joins in time, as scalar functions that they become in ON:
//!
//! | function | says of the join |
//! | --- | --- |
//! | `tw_asof(condition)` | ASOF: the comparison in it chooses the nearest right row |
//! | `tw_version_at(time)` | `FOR SYSTEM_TIME AS OF time`: the newest right row by its event time that is not later |
//!
//! The planner takes them out (`plan/asof`), for views and for batches; nothing computes them.

use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

pub const ASOF: &str = "tw_asof";
pub const VERSION_AT: &str = "tw_version_at";

#[derive(Debug, PartialEq, Eq, Hash)]
struct Mark {
    name: &'static str,
    signature: Signature,
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [(ASOF, Signature::exact(vec![DataType::Boolean], Volatility::Immutable)), (VERSION_AT, Signature::any(1, Volatility::Immutable))]
        .map(|(name, signature)| Arc::new(ScalarUDF::new_from_impl(Mark { name, signature })))
        .to_vec()
}

impl ScalarUDFImpl for Mark {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("{}() is part of a join", self.name)
    }
}
