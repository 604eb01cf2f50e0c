//! What is served: every relation as of one published epoch, and as a table for DataFusion. In reading order: `published` (an epoch), `stored` (the rows of
//! one relation and how they are keyed), `condition` (what a WHERE asks of columns), `ranges` (which keys can satisfy it), `path` (which of a relation's
//! ways to its rows is taken), `provider` (rows for DataFusion).

pub mod condition;
pub mod path;
pub mod provider;
pub mod published;
pub mod ranges;
pub mod stored;
