//! Types in column definitions: those of standard SQL by sqlparser, `struct<a int, b varchar>` by us, for its dialect
//! of Postgres has none.

use super::cursor::Cursor;
use crate::error::Result;
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType, Ident, StructBracketKind, StructField};
use datafusion::sql::sqlparser::tokenizer::Token;

/// Closing angle brackets: `>>` closes two levels.
struct Closing {
    /// One level of a `>>` is used up.
    half: bool,
}

pub(super) fn data_type(c: &mut Cursor<'_>) -> Result<DataType> {
    let mut closing = Closing { half: false };
    let data_type = any_type(c, &mut closing)?;
    if closing.half { Err(c.error()) } else { Ok(data_type) }
}

fn any_type(c: &mut Cursor<'_>, closing: &mut Closing) -> Result<DataType> {
    if !(c.is_word("struct") && c.peek_nth(1).token == Token::Lt) {
        return c.standard_type();
    }
    c.advance();
    c.advance();
    let mut fields = Vec::new();
    loop {
        let field_name = Some(Ident::with_quote('"', c.name()?));
        let field_type = any_type(c, closing)?;
        fields.push(StructField { field_name, field_type, options: None });
        if closing.half || !c.token(&Token::Comma) {
            break;
        }
    }
    if closing.half {
        closing.half = false;
        c.advance();
    } else if c.peek().token == Token::ShiftRight {
        closing.half = true;
    } else {
        c.expect(&Token::Gt)?;
    }
    let mut data_type = DataType::Struct(fields, StructBracketKind::AngleBrackets);
    while !closing.half && c.peek().token == Token::LBracket && c.peek_nth(1).token == Token::RBracket {
        c.advance();
        c.advance();
        data_type = DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(data_type), None));
    }
    Ok(data_type)
}
