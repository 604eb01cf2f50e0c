//! Text -> statements. The text is tokenized once and cut at its top-level semicolons; each statement begins with a
//! word that tells which file reads it. Nothing runs if any statement of the text is wrong.
//!
//! No text may hurt the server: depth is bounded before any recursion (54001), and whatever a tree holds that we do not
//! act on is refused (0A000) in `refuse`, never passed over.

mod asof;
mod comment;
mod copy;
mod create_index;
mod create_relation;
mod create_sink;
mod create_table_as;
mod create_view;
mod cursor;
mod cursors;
mod dialect;
mod drop;
mod grants;
mod maintenance;
mod recursion;
mod redact;
mod refuse;
mod rename;
mod roles;
mod schema;
mod settings;
mod show;
mod signs;
pub mod source;
mod subscribe;
mod transaction;
mod types;
mod windows;

use crate::error::{Error, Kind, Result};
use crate::sql::ast::{Statement, StatementKind};
pub(crate) use cursor::is_reserved;
use cursor::{Cursor, delegate};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use dialect::Tidewater;
use source::Source;
use std::sync::Arc;

/// Operators that one expression may chain, all its levels together: trees this deep still fit the stacks they are walked on.
const CHAIN_LIMIT: usize = 3000;

/// The same of arithmetic: DataFusion asks for the type of every operator's operands anew, so to plan such a chain takes the square of its length.
const ARITHMETIC_LIMIT: usize = 1000;

/// Words, signs and literals of one text: what is made of each takes some hundred bytes.
const TOKEN_LIMIT: usize = 2_000_000;

/// Parameters of one statement: Bind counts them in two bytes.
const PARAMETER_LIMIT: u32 = 65_535;

/// All statements of `text`; empty for blanks and comments.
pub fn parse(text: &str) -> Result<Vec<Statement>> {
    if let Some(at) = text.find('\0') {
        return Err(Error::new(Kind::InvalidEncoding, "invalid byte sequence for encoding \"UTF8\": 0x00").at(text[..at].chars().count() + 1));
    }
    check_length(text)?;
    let source = Arc::new(Source::new(text));
    let tokens = tokenize(&source)?;
    tokens.split(|t| t.token == Token::SemiColon).filter(|tokens| !tokens.is_empty()).map(|tokens| statement(&source, tokens)).collect()
}

/// A query that was checked and stored as text.
pub fn query(text: &str) -> Result<Box<ast::Query>> {
    match parse(text)?.pop().map(|s| s.kind) {
        Some(StatementKind::Query(query)) => Ok(query),
        _ => Err(Error::new(Kind::Syntax, "a query was expected")),
    }
}

/// An expression that was checked and stored as text.
pub fn expression(text: &str) -> Result<ast::Expr> {
    let source = Source::new(text);
    let tokens = tokenize(&source)?;
    check_depth(&source, &tokens)?;
    let end = TokenWithSpan::wrap(Token::EOF);
    let expr = delegate(&source, &tokens, &end, |p| p.parse_expr())?;
    Ok(expr)
}

fn tokenize(source: &Source) -> Result<Vec<TokenWithSpan>> {
    let mut tokens = Vec::new();
    let outcome = Tokenizer::new(&Tidewater, source.text()).tokenize_with_location_into_buf(&mut tokens);
    tokens.retain(|t| !matches!(t.token, Token::Whitespace(_)));
    let tokens = signs::split(tokens);
    match outcome {
        Ok(()) => windows::exclusions(source, asof::unify(source, recursion::unify(windows::unify(tokens)))?),
        Err(e) => Err(token_error(source, &e.message, e.location)),
    }
}

/// Postgres' words for text that is not even tokens.
fn token_error(source: &Source, message: &str, location: Location) -> Error {
    let lower = message.to_lowercase();
    let near: String = source.text()[source.byte(location)..].chars().take(60).collect();
    let what = if lower.contains("comment") {
        "unterminated /* comment"
    } else if lower.contains("dollar") {
        "unterminated dollar-quoted string"
    } else if lower.contains("string literal") {
        "unterminated quoted string"
    } else if lower.contains("delimiter") || lower.contains("quoted") || lower.contains("close") {
        "unterminated quoted identifier"
    } else {
        "syntax error"
    };
    let error = Error::new(Kind::Syntax, format!("{what} at or near \"{near}\""));
    match source.position(location) {
        Some(position) => error.at(position),
        None => error,
    }
}

/// Counts, before anything is made of them, what will be tokens: words and numbers, signs, and what stands in quotes as one.
fn check_length(text: &str) -> Result<()> {
    let mut count = 0usize;
    let mut bytes = text.bytes();
    let mut in_word = false;
    while let Some(byte) = bytes.next() {
        let is_word = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        let goes_on = byte.is_ascii_whitespace() || is_word && in_word;
        count += usize::from(!goes_on);
        in_word = is_word;
        if matches!(byte, b'\'' | b'"') {
            bytes.by_ref().find(|b| *b == byte);
        }
    }
    if count <= TOKEN_LIMIT {
        return Ok(());
    }
    let error = Error::new(Kind::ProgramLimit, format!("a statement has more than {TOKEN_LIMIT} words, signs and values"));
    Err(error.with_hint("load rows with COPY … FROM STDIN, or send several statements"))
}

/// Error: a parameter that no Bind could give (42P02).
fn check_parameters(source: &Source, tokens: &[TokenWithSpan]) -> Result<()> {
    for token in tokens {
        if let Token::Placeholder(name) = &token.token
            && let Some(number) = name.strip_prefix('$').filter(|n| n.bytes().all(|b| b.is_ascii_digit()))
            && !number.parse::<u32>().is_ok_and(|n| (1..=PARAMETER_LIMIT).contains(&n))
        {
            let error = Error::new(Kind::UndefinedParameter, format!("there is no parameter {name}"));
            return Err(error.at(source.position(token.span.start).unwrap_or(1)));
        }
    }
    Ok(())
}

fn statement(source: &Arc<Source>, tokens: &[TokenWithSpan]) -> Result<Statement> {
    check_depth(source, tokens)?;
    check_parameters(source, tokens)?;
    let mut cursor = Cursor::new(source, tokens);
    let kind = kind(source, &mut cursor)?;
    Ok(Statement { kind, text: redact::text(source, tokens), source: source.clone() })
}

/// One arm per first word.
fn kind(source: &Arc<Source>, c: &mut Cursor<'_>) -> Result<StatementKind> {
    let first = match &c.peek().token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
        Token::LParen => return standard(c),
        _ => return Err(c.error()),
    };
    match first.as_str() {
        "table" => table(c),
        "select" | "with" | "values" | "insert" | "update" | "delete" => standard(c),
        "create" => create(c),
        "alter" => match roles::alter(c)? {
            Some(altered) => Ok(altered),
            None => rename::parse(c)?.map_or_else(|| Err(refuse::statement(c, &first)), Ok),
        },
        "truncate" => maintenance::truncate(c),
        "refresh" => maintenance::refresh(c),
        "drop" => roles::drop(c)?.map_or_else(|| drop::parse(c), Ok),
        "show" => show::parse(c),
        "describe" | "desc" => show::describe(c),
        "explain" => explain(source, c),
        "set" => settings::set(c),
        "reset" => settings::reset(c),
        "flush" => {
            c.advance();
            c.expect_end().map(|()| StatementKind::Flush)
        }
        "discard" | "unlisten" => settings::discard(c),
        "declare" => cursors::declare(source, c),
        "fetch" | "move" => cursors::fetch(c),
        "close" => cursors::close(c),
        "prepare" => cursors::prepare(source, c),
        "execute" => cursors::execute(c),
        "deallocate" => cursors::deallocate(c),
        "copy" => copy::parse(source, c),
        "subscribe" => subscribe::parse(source, c),
        "comment" => comment::parse(c),
        "grant" | "revoke" => grants::parse(c),
        "reassign" => roles::reassign(c),
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => transaction::parse(c),
        _ => Err(refuse::statement(c, &first)),
    }
}

fn create(c: &mut Cursor<'_>) -> Result<StatementKind> {
    if let Some(created) = roles::create(c)? {
        return Ok(created);
    }
    let or_replace = is_ahead(c, 1, &["or", "replace"]);
    let what = if or_replace { 3 } else { 1 };
    let next = |word: &str| is_ahead(c, what, &[word]);
    if next("index") || is_ahead(c, what, &["unique", "index"]) {
        if or_replace {
            return Err(c.error());
        }
        c.advance();
        return create_index::parse(c);
    }
    if next("schema") && !or_replace {
        c.advance();
        return schema::create(c);
    }
    if next("source") || next("table") || create_relation::is_temporary(c, what) || next("view") || next("materialized") || next("sink") {
        if or_replace {
            return Err(c.refused("CREATE OR REPLACE is not supported").with_hint("DROP the object first"));
        }
        c.advance();
        return if c.is_word("source") || c.is_word("table") || create_relation::is_temporary(c, 0) {
            create_relation::parse(c)
        } else if c.is_word("sink") {
            create_sink::parse(c)
        } else {
            create_view::parse(c)
        };
    }
    Err(refuse::create(c))
}

/// `TABLE name …` is `SELECT * FROM name …`.
fn table(c: &Cursor<'_>) -> Result<StatementKind> {
    let Some((first, rest)) = c.rest().split_first() else { return Err(c.error()) };
    let written = |token: Token| TokenWithSpan { token, span: first.span };
    let mut tokens = vec![written(Token::make_keyword("SELECT")), written(Token::Mul), written(Token::make_keyword("FROM"))];
    tokens.extend(rest.iter().cloned());
    standard(&Cursor::new(c.source, &tokens))
}

fn is_ahead(c: &Cursor<'_>, n: usize, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(i, word)| matches!(&c.peek_nth(n + i).token, Token::Word(w) if w.value.eq_ignore_ascii_case(word)))
}

/// What sqlparser's grammar serves: queries and DML.
fn standard(c: &Cursor<'_>) -> Result<StatementKind> {
    let end = c.peek_nth(c.rest().len());
    let statement = delegate(c.source, c.rest(), end, |p| p.parse_statement())?;
    refuse::unsupported_parts(c.source, &statement)?;
    match statement {
        ast::Statement::Query(query) => Ok(StatementKind::Query(query)),
        ast::Statement::Insert(insert) => Ok(StatementKind::Insert(Box::new(insert))),
        ast::Statement::Update(update) => Ok(StatementKind::Update(Box::new(update))),
        ast::Statement::Delete(delete) => Ok(StatementKind::Delete(Box::new(delete))),
        _ => Err(c.error()),
    }
}

/// `EXPLAIN [VERBOSE] [(STATE)] statement`.
fn explain(source: &Arc<Source>, c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.advance();
    if c.is_word("analyze") || c.is_word("analyse") {
        return Err(c.refused("EXPLAIN ANALYZE is not supported"));
    }
    c.word("verbose");
    if is_ahead(c, 1, &["state"]) && c.peek().token == Token::LParen && c.peek_nth(2).token == Token::RParen {
        return explain_state(source, c);
    }
    if c.peek().token == Token::LParen
        && matches!(&c.peek_nth(1).token, Token::Word(w) if !matches!(w.value.to_lowercase().as_str(), "select" | "with" | "values"))
    {
        return Err(c
            .refused("options of EXPLAIN are not supported")
            .with_hint("write EXPLAIN, then the statement; or EXPLAIN (STATE) CREATE MATERIALIZED VIEW …"));
    }
    let inner = statement(source, c.rest())?;
    match &inner.kind {
        StatementKind::Query(_) | StatementKind::CreateView(_) | StatementKind::Insert(_) | StatementKind::Update(_) | StatementKind::Delete(_) => {
            Ok(StatementKind::Explain(Box::new(inner)))
        }
        _ => Err(Error::not_supported("EXPLAIN of this statement is not supported").with_hint("EXPLAIN takes a query or CREATE MATERIALIZED VIEW")),
    }
}

/// `EXPLAIN (STATE) CREATE MATERIALIZED VIEW …`: the cursor stands at the parenthesis.
fn explain_state(source: &Arc<Source>, c: &mut Cursor<'_>) -> Result<StatementKind> {
    (0..3).for_each(|_| c.advance());
    let inner = statement(source, c.rest())?;
    match &inner.kind {
        StatementKind::CreateView(create) if create.materialized => Ok(StatementKind::ExplainState(Box::new(inner))),
        _ => Err(Error::not_supported("EXPLAIN (STATE) of this statement is not supported").with_hint("EXPLAIN (STATE) takes CREATE MATERIALIZED VIEW")),
    }
}

/// Counts the operators that could nest, before anything recurses: per parenthesis level since its last comma, summed over the open levels.
fn check_depth(source: &Source, tokens: &[TokenWithSpan]) -> Result<()> {
    let mut levels = vec![0usize];
    let (mut total, mut arithmetic) = (0usize, 0usize);
    for token in tokens {
        match &token.token {
            Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod | Token::StringConcat => arithmetic += 1,
            Token::Comma => arithmetic = 0,
            Token::Word(word) if matches!(word.value.to_ascii_lowercase().as_str(), "and" | "or" | "from" | "where" | "select" | "when" | "then") => {
                arithmetic = 0
            }
            _ => {}
        }
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                levels.push(1);
                total += 1;
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                if levels.len() > 1 {
                    total -= levels.pop().unwrap_or_default();
                }
            }
            Token::Comma => {
                if let Some(level) = levels.last_mut() {
                    total -= std::mem::take(level);
                }
            }
            // Operators chain; of words only those that do.
            Token::Word(word)
                if !matches!(
                    word.value.to_ascii_lowercase().as_str(),
                    "and" | "or" | "not" | "is" | "union" | "except" | "intersect" | "join" | "case" | "like" | "in" | "at"
                ) => {}
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Period | Token::Placeholder(_) => {}
            _ => {
                if let Some(level) = levels.last_mut() {
                    *level += 1;
                    total += 1;
                }
            }
        }
        let limit = if arithmetic > ARITHMETIC_LIMIT { ARITHMETIC_LIMIT } else { CHAIN_LIMIT };
        if total > CHAIN_LIMIT || arithmetic > ARITHMETIC_LIMIT {
            return Err(Error::new(Kind::TooComplex, "stack depth limit exceeded")
                .with_hint(format!("an expression chains more than {limit} operators; use IN, VALUES or a table instead"))
                .at(source.position(token.span.start).unwrap_or(1)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
