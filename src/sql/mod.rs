//! Text -> bound statement: `parse` reads it, `bind` looks its names up and gives a logical plan whose types and
//! results are those of Postgres. What the plan is for (a view, a SELECT, DML) is decided in `node`.

mod aggregate_forms;
mod asof;
pub mod ast;
pub mod bind;
pub mod brief;
mod call_forms;
mod catalog_forms;
pub mod errors;
mod forms;
pub mod functions;
pub mod interrupt;
mod marks;
mod multisets;
pub mod names;
mod numbers;
mod operator_forms;
mod operators;
mod over;
mod parameters;
pub mod parse;
pub mod recursive;
pub mod relations;
pub mod renaming;
pub mod scalar;
pub mod security;
pub mod semantics;
mod set_returning;
pub mod style;
pub mod subqueries;
mod subquery_forms;
pub mod types;
mod using;
pub mod version;
mod walk;
mod whole_rows;
mod zones;
