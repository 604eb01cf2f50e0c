//! What is served: every relation as of one published epoch, and as a table for DataFusion.

pub mod provider;
pub mod published;
