//! SQL functions of our own: windows, and those where Postgres and DataFusion differ. One file per family; each
//! family gives its functions to the list here.

pub mod aggregate;
pub mod arithmetic;
pub mod cast;
pub mod clock;
pub mod session;
pub mod window;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use std::sync::Arc;

/// Functions that replace or join DataFusion's.
pub fn scalars() -> Vec<Arc<ScalarUDF>> {
    [window::functions(), arithmetic::functions(), clock::functions(), session::functions()].concat()
}

/// Aggregates that replace DataFusion's of the same name.
pub fn aggregates() -> Vec<Arc<AggregateUDF>> {
    aggregate::functions()
}
