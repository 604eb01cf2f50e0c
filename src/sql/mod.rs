//! Text -> bound statement.

pub mod ast;
pub mod parse;
