//! Text -> bound statement.
