//! `TRUNCATE`, which is DELETE of all rows of several tables at once, and `REFRESH MATERIALIZED VIEW`, after which a view shows, as it always does, all that was
//! accepted before.

use super::atomic::atomically;
use super::target::find_relation;
use super::{Context, Outcome, change};
use crate::catalog::object::Body;
use crate::error::{Error, Kind, Result};
use crate::sql::ast::{Name, StatementKind};
use crate::sql::parse;
use std::sync::Arc;

pub(super) async fn truncate(context: &Context, names: &[Name]) -> Result<Outcome> {
    let emptied = |context: Context| async move {
        for name in names {
            let table = find_relation(&context, name)?;
            if !matches!(table.body, Body::Table(_)) {
                return Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is not a table", name.name)).at(name.position));
            }
            let name = Name { schema: Some(table.schema.clone()), ..name.clone() };
            for statement in parse::parse(&format!("DELETE FROM {}", name.quoted()))? {
                let statement = Arc::new(statement);
                if let StatementKind::Delete(delete) = &statement.kind {
                    change::delete(&context, &statement, delete, &[]).await?;
                }
            }
        }
        Ok(())
    };
    let ((), written) = atomically(context, emptied).await?;
    Ok(Outcome { written, ..Outcome::command("TRUNCATE TABLE") })
}

pub(super) async fn refresh(context: &Context, name: &Name) -> Result<Outcome> {
    let view = find_relation(context, name)?;
    if !matches!(view.body, Body::MaterializedView(_)) {
        return Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is not a materialized view", name.name)).at(name.position));
    }
    context.check_owner(&view)?;
    context.engine.flush().await?;
    Ok(Outcome::command("REFRESH MATERIALIZED VIEW"))
}
