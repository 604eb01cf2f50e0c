//! Text -> bound statement: `parse` reads it, `bind` looks its names up and gives a logical plan whose types and
//! results are those of Postgres. What the plan is for (a view, a SELECT, DML) is decided in `node`.

pub mod ast;
pub mod bind;
pub mod errors;
mod forms;
pub mod functions;
pub mod names;
mod operators;
pub mod parse;
pub mod relations;
pub mod scalar;
pub mod semantics;
pub mod types;
pub mod version;
mod walk;
