//! Window functions: `ROW_NUMBER() OVER (…) <= k` is a Top-N per partition. Others are refused.

use super::refuse;
use crate::error::{Error, Result};
use crate::plan::node::{Planner, Stream};
use datafusion::logical_expr::{self as logical, Expr};

impl Planner<'_> {
    pub(super) fn window(&mut self, node: &logical::Window) -> Result<Stream> {
        let _ = node;
        Err(refused())
    }

    /// `predicate` over the output of a Window node.
    pub(super) fn ranked(&mut self, predicate: &Expr, node: &logical::Window) -> Result<Stream> {
        let _ = (predicate, node);
        Err(refused())
    }
}

fn refused() -> Error {
    refuse(
        "window functions cannot be maintained incrementally yet, except for the first rows of each partition",
        "write SELECT … FROM (SELECT …, ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) AS n FROM …) WHERE n <= 10",
    )
}
