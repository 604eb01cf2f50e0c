//! `COMMENT ON`: what people say of an object or a column, kept with the object.

use super::drop::check_kind;
use super::target::find_relation;
use super::{Context, Outcome};
use crate::error::{Error, Kind, Result};
use crate::sql::ast::{Comment, CommentOn};

pub(super) async fn execute(context: &Context, comment: &Comment) -> Result<Outcome> {
    let (object, number) = match &comment.on {
        CommentOn::Object(kind, name) => {
            let object = find_relation(context, name)?;
            check_kind(&object, *kind, name)?;
            (object, 0)
        }
        CommentOn::Column(name, column) => {
            let object = find_relation(context, name)?;
            let place = object.columns().iter().position(|c| c.name == *column).ok_or_else(|| {
                Error::new(Kind::UndefinedColumn, format!("column \"{column}\" of relation \"{}\" does not exist", object.name)).at(name.position)
            })?;
            (object, place as i32 + 1)
        }
    };
    let mut object = object.as_ref().clone();
    match &comment.text {
        Some(text) => object.comments.insert(number, text.clone()),
        None => object.comments.remove(&number),
    };
    context.check_owner(&object)?;
    context.alter(vec![object]).await?;
    Ok(Outcome::command("COMMENT"))
}
