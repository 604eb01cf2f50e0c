//! How text becomes tokens and which extras the parser accepts: sqlparser's PostgreSQL dialect with a few changes, each
//! with its reason at the method.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use std::any::TypeId;

/// The one dialect of the house.
#[derive(Debug)]
pub struct Tidewater;

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

impl Dialect for Tidewater {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    /// Off: with it the parser reads each argument twice, so that n nested calls take 2^n steps.
    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    /// Off: we have no hints, and a comment must not change a statement.
    fn supports_comment_optimizer_hint(&self) -> bool {
        false
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRES.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        POSTGRES.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        POSTGRES.is_reserved_for_identifier(keyword)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        POSTGRES.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        POSTGRES.get_next_precedence(parser)
    }

    /// `x BETWEEN SYMMETRIC a AND b`, which the parser does not know: in one order or the other. `x IS DISTINCT FROM y AND z`, where it takes `y AND z` for the operand.
    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, _precedence: u8) -> Option<Result<Expr, ParserError>> {
        let words = parser.peek_tokens_ref::<4>().map(|t| if let Token::Word(word) = &t.token { word.keyword } else { Keyword::NoKeyword });
        let skip = |parser: &mut Parser, tokens: usize| (0..tokens).for_each(|_| parser.advance_token());
        match words {
            [Keyword::BETWEEN, Keyword::SYMMETRIC, ..] => {
                skip(parser, 2);
                Some(symmetric(parser, expr, false))
            }
            [Keyword::NOT, Keyword::BETWEEN, Keyword::SYMMETRIC, _] => {
                skip(parser, 3);
                Some(symmetric(parser, expr, true))
            }
            [Keyword::IS, Keyword::DISTINCT, Keyword::FROM, _] => {
                skip(parser, 3);
                Some(operand_of_is(parser).map(|other| Expr::IsDistinctFrom(Box::new(expr.clone()), other)))
            }
            [Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM] => {
                skip(parser, 4);
                Some(operand_of_is(parser).map(|other| Expr::IsNotDistinctFrom(Box::new(expr.clone()), other)))
            }
            _ => None,
        }
    }

    /// A sign binds tighter than `^`: `-2 ^ 2` is 4. Words that end an operand are none: `1 + FROM t` lacks one.
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        const ENDS: [Keyword; 8] =
            [Keyword::FROM, Keyword::WHERE, Keyword::GROUP, Keyword::HAVING, Keyword::ORDER, Keyword::UNION, Keyword::INTERSECT, Keyword::EXCEPT];
        let op = match &parser.peek_token_ref().token {
            Token::Minus => UnaryOperator::Minus,
            Token::Plus => UnaryOperator::Plus,
            Token::Word(word) if word.quote_style.is_none() && ENDS.contains(&word.keyword) => {
                return Some(parser.expected("an expression", parser.peek_token()));
            }
            _ => return None,
        };
        parser.advance_token();
        Some(parser.parse_subexpr(POSTGRES.prec_value(Precedence::AtTz)).map(|expr| Expr::UnaryOp { op, expr: Box::new(expr) }))
    }

    /// So that `?`, `?|` and `?&` are operators, of jsonb.
    fn supports_geometric_types(&self) -> bool {
        true
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRES.prec_value(precedence)
    }

    /// So that `FOR SYSTEM_TIME AS OF` is refused by its name.
    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn allow_extract_single_quotes(&self) -> bool {
        true
    }

    fn supports_explain_with_utility_options(&self) -> bool {
        true
    }

    fn supports_factorial_operator(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn supports_empty_projections(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    fn supports_string_escape_constant(&self) -> bool {
        true
    }

    fn supports_numeric_literal_underscores(&self) -> bool {
        true
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }

    fn supports_notnull_operator(&self) -> bool {
        true
    }

    fn supports_interval_options(&self) -> bool {
        true
    }

    fn supports_insert_table_alias(&self) -> bool {
        true
    }

    fn supports_comma_separated_trim(&self) -> bool {
        true
    }
}

/// What binds tighter than IS.
fn operand_of_is(parser: &mut Parser) -> Result<Box<Expr>, ParserError> {
    parser.parse_subexpr(POSTGRES.prec_value(Precedence::Is)).map(Box::new)
}

fn symmetric(parser: &mut Parser, expr: &Expr, negated: bool) -> Result<Expr, ParserError> {
    let precedence = POSTGRES.prec_value(Precedence::Between);
    let one = parser.parse_subexpr(precedence)?;
    parser.expect_keyword_is(Keyword::AND)?;
    let other = parser.parse_subexpr(precedence)?;
    let between = |low: &Expr, high: &Expr| {
        Box::new(Expr::Between { expr: Box::new(expr.clone()), negated: false, low: Box::new(low.clone()), high: Box::new(high.clone()) })
    };
    let either = Expr::Nested(Box::new(Expr::BinaryOp { left: between(&one, &other), op: BinaryOperator::Or, right: between(&other, &one) }));
    Ok(if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(either) } } else { either })
}
