//! Where a FETCH goes from where its cursor stands.

/// Rows of a FETCH or MOVE; `None`: all that are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward(Option<u64>),
    Backward(Option<u64>),
    /// The row of this number, from 1; below 0 counted from the last one.
    Absolute(i64),
    Relative(i64),
}
