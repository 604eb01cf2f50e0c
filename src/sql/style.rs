//! The session's way to read and write values, for what is bound in its statements: where no time zone is written, its own is meant.
//!
//! It belongs to the task that a statement runs in, for literals are read deep inside rules of DataFusion that know nothing of sessions. What a view was made with is
//! kept with it ([`crate::catalog::object::Object::zone`]).

use crate::types::text::{TextStyle, Zone};
use std::future::Future;

tokio::task_local! {
    static CURRENT: TextStyle;
}

/// Runs `work` with a session's style.
pub fn scope<T>(style: TextStyle, work: impl Future<Output = T>) -> impl Future<Output = T> {
    CURRENT.scope(style, work)
}

/// Runs `work` in a zone.
pub fn within<T>(timezone: Zone, work: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(TextStyle { timezone }, work)
}

/// The style of the scope; UTC outside of one.
pub fn current() -> TextStyle {
    CURRENT.try_with(|style| *style).unwrap_or_default()
}
