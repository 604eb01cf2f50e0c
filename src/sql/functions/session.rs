//! Functions about the server and the session. Those that need the session's state (`current_setting`) are replaced by
//! their value before binding, see `sql::names::substitute`; these need none.

use crate::sql::types::sql_type;
use crate::sql::version::VERSION_TEXT;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Version,
    CurrentDatabase,
    PgTypeof,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct About {
    what: What,
    name: &'static str,
    signature: Signature,
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let nullary = || Signature::nullary(Volatility::Immutable);
    let one = || Signature::any(1, Volatility::Immutable);
    [
        (What::Version, "version", nullary()),
        (What::CurrentDatabase, "current_database", nullary()),
        (What::CurrentDatabase, "current_catalog", nullary()),
        (What::PgTypeof, "pg_typeof", one()),
    ]
    .into_iter()
    .map(|(what, name, signature)| Arc::new(ScalarUDF::new_from_impl(About { what, name, signature })))
    .collect()
}

impl ScalarUDFImpl for About {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let text = |s: &str| ScalarValue::Utf8(Some(s.to_owned()));
        let value = match self.what {
            What::Version => text(VERSION_TEXT),
            What::CurrentDatabase => text(crate::catalog::catalog::DATABASE),
            What::PgTypeof => text(&arguments.arg_fields.first().map_or_else(
                || "unknown".to_owned(),
                |f| match f.data_type() {
                    DataType::Null => "unknown".to_owned(),
                    _ => sql_type(f),
                },
            )),
        };
        Ok(ColumnarValue::Scalar(value))
    }
}
