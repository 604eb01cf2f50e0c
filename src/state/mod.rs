//! What is remembered: state tables as a write-back cache over an ordered store, checkpoints, the epoch log
//! and table logs.

mod arena;
mod buffers;
mod changes;
pub mod checkpoint;
pub mod committed;
mod extent;
pub mod fault;
pub mod history;
pub mod kept;
pub mod keyed;
pub mod log;
pub mod memory;
pub mod multiset;
mod paged;
pub mod rocks;
mod rowset;
pub mod run;
mod slots;
pub mod store;
