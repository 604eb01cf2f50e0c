//! A place in the tokens of one statement: what our own statements are read with. Where sqlparser's grammar serves
//! (expressions, types, queries), a share of the tokens is given to its parser.

use super::dialect::Tidewater;
use super::source::Source;
use crate::error::{Error, Kind, Result};
use crate::sql::ast::{Name, Text};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

/// Nested expressions and queries that the parser enters before it gives up (54001).
const NESTING_LIMIT: usize = 100;

/// What stands for the end of the statement.
const END: TokenWithSpan = TokenWithSpan { token: Token::EOF, span: Span { start: Location { line: 0, column: 0 }, end: Location { line: 0, column: 0 } } };

/// Words that need quotes as names, as in Postgres; only those that would hide a mistake.
const RESERVED: [&str; 40] = [
    "all",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "case",
    "cast",
    "check",
    "column",
    "constraint",
    "create",
    "default",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "intersect",
    "into",
    "limit",
    "not",
    "null",
    "on",
    "or",
    "order",
    "primary",
    "select",
    "table",
    "where",
    "with",
];

/// Whether an unquoted `word` (in lower case) cannot be a name.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// Tokens (no white space) of one statement, and how far it is read.
pub(crate) struct Cursor<'a> {
    pub(crate) source: &'a Source,
    tokens: &'a [TokenWithSpan],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(source: &'a Source, tokens: &'a [TokenWithSpan]) -> Self {
        Cursor { source, tokens, at: 0 }
    }

    pub(crate) fn peek(&self) -> &TokenWithSpan {
        self.peek_nth(0)
    }

    pub(crate) fn peek_nth(&self, n: usize) -> &TokenWithSpan {
        self.tokens.get(self.at + n).unwrap_or(&END)
    }

    pub(crate) fn rest(&self) -> &'a [TokenWithSpan] {
        &self.tokens[self.at.min(self.tokens.len())..]
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    pub(crate) fn advance(&mut self) {
        self.at += 1;
    }

    /// 1-based place of the next token.
    pub(crate) fn position(&self) -> usize {
        self.source.position(self.peek().span.start).unwrap_or(1)
    }

    pub(crate) fn error(&self) -> Error {
        self.source.syntax_error(self.peek())
    }

    pub(crate) fn refused(&self, what: &str) -> Error {
        Error::not_supported(what).at(self.position())
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        is_word(self.peek(), word)
    }

    /// Steps over `words` if they come next, all of them.
    pub(crate) fn words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(i, word)| is_word(self.peek_nth(i), word));
        if found {
            self.at += words.len();
        }
        found
    }

    pub(crate) fn word(&mut self, word: &str) -> bool {
        self.words(&[word])
    }

    pub(crate) fn expect_words(&mut self, words: &[&str]) -> Result<()> {
        for word in words {
            if !self.word(word) {
                return Err(self.error());
            }
        }
        Ok(())
    }

    pub(crate) fn token(&mut self, token: &Token) -> bool {
        let found = self.peek().token == *token;
        if found {
            self.at += 1;
        }
        found
    }

    pub(crate) fn expect(&mut self, token: &Token) -> Result<()> {
        if self.token(token) { Ok(()) } else { Err(self.error()) }
    }

    pub(crate) fn expect_end(&self) -> Result<()> {
        if self.at_end() { Ok(()) } else { Err(self.error()) }
    }

    /// An identifier, folded to lower case unless quoted.
    pub(crate) fn name(&mut self) -> Result<String> {
        let Token::Word(word) = &self.peek().token else { return Err(self.error()) };
        let name = match word.quote_style {
            Some(_) if word.value.is_empty() => {
                return Err(Error::new(Kind::Syntax, "zero-length delimited identifier at or near \"\"\"\"").at(self.position()));
            }
            Some(_) => word.value.clone(),
            None => {
                let folded = word.value.to_lowercase();
                if is_reserved(&folded) {
                    return Err(self.error());
                }
                folded
            }
        };
        self.at += 1;
        Ok(name)
    }

    /// A word that stands for itself, whatever it means elsewhere.
    pub(crate) fn name_of_option(&mut self) -> Result<String> {
        let Token::Word(word) = &self.peek().token else { return Err(self.error()) };
        let name = word.value.to_lowercase();
        self.at += 1;
        Ok(name)
    }

    /// `name`, `schema.name`, or `tidewater.schema.name`.
    pub(crate) fn object_name(&mut self) -> Result<Name> {
        let position = self.position();
        let mut parts = vec![self.name()?];
        while self.token(&Token::Period) {
            parts.push(self.name()?);
        }
        let name = parts.pop().unwrap_or_default();
        let schema = parts.pop();
        match parts.pop() {
            None => Ok(Name { schema, name, position }),
            Some(database) if parts.is_empty() && database == crate::catalog::catalog::DATABASE => Ok(Name { schema, name, position }),
            Some(_) => Err(Error::not_supported("cross-database references are not implemented").at(position)),
        }
    }

    /// `(a, b)`: what `item` reads, at least once.
    pub(crate) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.expect(&Token::LParen)?;
        let mut items = vec![item(self)?];
        while self.token(&Token::Comma) {
            items.push(item(self)?);
        }
        self.expect(&Token::RParen)?;
        Ok(items)
    }

    /// `( … )`: steps over it. Gives the tokens inside.
    pub(crate) fn parenthesized(&mut self) -> Result<&'a [TokenWithSpan]> {
        let rest = self.rest();
        let mut depth = 0usize;
        let end = rest.iter().position(|t| {
            match t.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0
        });
        let Some(end) = end.filter(|end| *end > 0) else { return Err(self.error()) };
        self.at += end + 1;
        Ok(&rest[1..end])
    }

    /// A boolean, as an option's value.
    pub(crate) fn boolean(&mut self) -> Result<bool> {
        let position = self.position();
        let word = match &self.peek().token {
            Token::Number(number, _) => number.clone(),
            Token::Word(word) => word.value.to_lowercase(),
            Token::SingleQuotedString(text) => text.to_lowercase(),
            _ => return Err(self.error()),
        };
        let value = match word.as_str() {
            "true" | "on" | "1" => true,
            "false" | "off" | "0" => false,
            _ => return Err(Error::new(Kind::Syntax, "a Boolean value was expected").at(position)),
        };
        self.at += 1;
        Ok(value)
    }

    pub(crate) fn string(&mut self) -> Result<String> {
        let text = match &self.peek().token {
            Token::SingleQuotedString(s) | Token::EscapedStringLiteral(s) => s.clone(),
            Token::DollarQuotedString(s) => s.value.clone(),
            _ => return Err(self.error()),
        };
        self.at += 1;
        Ok(text)
    }

    /// An expression that ends before a comma or closing parenthesis of its own level, or before one of `stops`.
    pub(crate) fn expression(&mut self, stops: &[&str]) -> Result<Text> {
        let (position, start) = (self.position(), self.at);
        let mut depth = 0usize;
        while !self.at_end() {
            match &self.peek().token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::RParen | Token::RBracket if depth > 0 => depth -= 1,
                Token::RParen | Token::RBracket => break,
                Token::Comma if depth == 0 => break,
                Token::Word(_) if depth == 0 && self.at > start && stops.iter().any(|s| self.is_word(s)) => break,
                _ => {}
            }
            self.at += 1;
        }
        let tokens = &self.tokens[start..self.at];
        if tokens.is_empty() {
            return Err(self.error());
        }
        delegate(self.source, tokens, self.peek(), |p| p.parse_expr())?;
        Ok(Text { sql: self.source.slice(tokens).to_owned(), position })
    }

    /// A type of standard SQL, from the tokens up to `end` (exclusive, counted from here).
    pub(crate) fn standard_type(&mut self) -> Result<ast::DataType> {
        let start = self.at;
        let mut parser = parser(self.rest());
        let data_type = parser.parse_data_type().map_err(|e| translate(self.source, self.rest(), self.peek_nth(self.rest().len()), &parser, e))?;
        self.at = start + parser.index();
        Ok(data_type)
    }
}

fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

fn parser(tokens: &[TokenWithSpan]) -> Parser<'static> {
    Parser::new(&Tidewater).with_recursion_limit(NESTING_LIMIT).with_tokens_with_locations(tokens.to_vec())
}

/// Lets sqlparser read all of `tokens`; `next` stands behind them.
pub(crate) fn delegate<T>(
    source: &Source,
    tokens: &[TokenWithSpan],
    next: &TokenWithSpan,
    read: impl FnOnce(&mut Parser<'static>) -> Result<T, ParserError>,
) -> Result<T> {
    let mut parser = parser(tokens);
    let read = read(&mut parser).map_err(|e| translate(source, tokens, next, &parser, e))?;
    match parser.peek_token() {
        TokenWithSpan { token: Token::EOF, .. } => Ok(read),
        left => Err(source.syntax_error(&left)),
    }
}

/// sqlparser names what it expected and where; Postgres names the token it stumbled over.
fn translate(source: &Source, tokens: &[TokenWithSpan], next: &TokenWithSpan, parser: &Parser<'_>, error: ParserError) -> Error {
    let text = match error {
        ParserError::RecursionLimitExceeded => {
            return Error::new(Kind::TooComplex, "stack depth limit exceeded").with_hint("the statement nests expressions or queries too deeply");
        }
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
    };
    let at = |token: &TokenWithSpan| {
        let error = source.syntax_error(token);
        // Where a rule of the grammar speaks, and not an unexpected token, its words help.
        if text.starts_with("Expected") || text.contains("found:") { error } else { error.with_detail(text.clone()) }
    };
    if let Some(place) = located(&text)
        && let Some(token) = tokens.iter().find(|t| t.span.start == place)
    {
        return at(token);
    }
    if text.contains("found: EOF") {
        return at(next);
    }
    at(tokens.get(parser.index()).unwrap_or(next))
}

/// The place in "… at Line: 3, Column: 14".
fn located(text: &str) -> Option<Location> {
    let (_, place) = text.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}
