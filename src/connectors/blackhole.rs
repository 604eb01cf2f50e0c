//! The sink that keeps nothing: what a query costs, without what its rows would cost to keep.

use super::options::OptionSpec;

pub const OPTIONS: &[OptionSpec] = &[];
