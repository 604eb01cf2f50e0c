//! What is remembered: state tables as a write-back cache over an ordered store, checkpoints, the epoch log
//! and table logs.

pub mod checkpoint;
pub mod keyed;
pub mod log;
pub mod memory;
pub mod multiset;
pub mod rocks;
pub mod run;
pub mod store;
