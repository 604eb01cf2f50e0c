//! The operators, one file each. This is the list; those below the gap are what several of them stand on.

pub mod aggregate;
pub mod blackhole;
pub mod combine;
pub mod constant;
pub mod deliver;
pub mod distinct;
pub mod filter;
pub mod join;
pub mod materialize;
pub mod over;
pub mod processing_time;
pub mod project;
pub mod recursion;
pub mod session;
pub mod temporal_filter;
pub mod top_k;
pub mod union;
pub mod unnest;
pub mod upsert;
pub mod windowed;

#[cfg(test)]
mod tests;

pub(crate) mod consolidate;
pub(crate) mod counts;
pub(crate) mod evaluate;
pub(crate) mod groups;
pub(crate) mod ordered;
