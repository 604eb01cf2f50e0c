//! SQL functions of our own: windows, and those where Postgres and DataFusion differ. One file per family; each
//! family gives its functions to the list here.

pub mod aggregate;
pub mod arithmetic;
pub mod array;
mod array_shape;
pub mod asof;
pub mod bytes;
pub mod cast;
pub mod catalog;
pub mod clock;
mod conditional;
pub mod datetime;
mod encoding;
pub mod interval;
pub mod json;
pub mod jsonb_edit;
mod jsonb_rows;
mod like_list;
pub mod lists;
mod make_time;
mod math;
mod number;
mod number_pattern;
mod over;
mod part;
mod pattern;
mod percentile;
mod regression;
pub mod regular;
mod rounding;
pub mod row;
pub mod series;
pub mod session;
pub mod session_window;
pub mod string;
pub(crate) mod table;
pub mod to_jsonb;
pub mod window;
pub mod zone;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use std::sync::Arc;

/// Functions that replace or join DataFusion's.
pub fn scalars() -> Vec<Arc<ScalarUDF>> {
    [
        window::functions(),
        arithmetic::functions(),
        array::functions(),
        array_shape::functions(),
        asof::functions(),
        bytes::functions(),
        clock::functions(),
        conditional::functions(),
        datetime::functions(),
        encoding::functions(),
        json::functions(),
        jsonb_edit::functions(),
        jsonb_rows::functions(),
        like_list::functions(),
        make_time::functions(),
        math::functions(),
        number::functions(),
        number_pattern::functions(),
        part::functions(),
        pattern::functions(),
        regular::functions(),
        rounding::functions(),
        row::functions(),
        series::functions(),
        session::functions(),
        string::functions(),
        to_jsonb::functions(),
        zone::functions(),
    ]
    .concat()
}

/// Aggregates that replace DataFusion's of the same name.
pub fn aggregates() -> Vec<Arc<AggregateUDF>> {
    [vec![lists::array_agg()], aggregate::functions(), percentile::functions(), regression::functions()].concat()
}

/// Window functions that replace DataFusion's of the same name.
pub fn windows() -> Vec<Arc<WindowUDF>> {
    over::functions()
}
