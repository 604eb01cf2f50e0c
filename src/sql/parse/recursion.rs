//! `WITH MUTUALLY RECURSIVE [(ERROR AT RECURSION LIMIT n)]`, Materialize's, as a `WITH RECURSIVE` whose first query bears a name that no one can write. Done in
//! the tokens, so that what is behind knows one form and keeps the places of the text.

use crate::sql::recursive::mutual::{Beyond, mark};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// Tokens with the mark in the place of MUTUALLY and its limit; what is no such clause stays as it is.
pub(super) fn unify(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut unified = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if !words(&tokens[at..], &["with", "mutually", "recursive"]) {
            unified.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let (beyond, limit, taken) = limit(&tokens[at + 3..]).unwrap_or((Beyond::Error, None, 0));
        let span = tokens[at + 1].span;
        let token = |token: Token| TokenWithSpan { token, span };
        unified.extend([tokens[at].clone(), tokens[at + 2].clone()]);
        unified.extend([token(Token::make_word(&mark(beyond, limit), Some('"'))), token(Token::make_keyword("AS")), token(Token::LParen)]);
        unified.extend([token(Token::make_keyword("SELECT")), token(Token::Number("1".into(), false)), token(Token::RParen), token(Token::Comma)]);
        at += 3 + taken;
    }
    unified
}

/// `([ERROR AT | RETURN AT] RECURSION LIMIT n)`, and how many tokens that is.
fn limit(tokens: &[TokenWithSpan]) -> Option<(Beyond, Option<u64>, usize)> {
    let inner = tokens.strip_prefix(&[])?;
    if inner.first()?.token != Token::LParen {
        return None;
    }
    let (beyond, words_before) = match () {
        () if words(&inner[1..], &["return", "at"]) => (Beyond::Return, 2),
        () if words(&inner[1..], &["error", "at"]) => (Beyond::Error, 2),
        () => (Beyond::Error, 0),
    };
    let number = 1 + words_before + 2;
    if !words(&inner[1 + words_before..], &["recursion", "limit"]) || inner.get(number + 1)?.token != Token::RParen {
        return None;
    }
    let Token::Number(text, _) = &inner.get(number)?.token else { return None };
    Some((beyond, Some(text.parse().ok().filter(|n| *n > 0)?), number + 2))
}

fn words(tokens: &[TokenWithSpan], expected: &[&str]) -> bool {
    let is = |token: &TokenWithSpan, word: &str| matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
    tokens.len() >= expected.len() && tokens.iter().zip(expected).all(|(token, word)| is(token, word))
}
