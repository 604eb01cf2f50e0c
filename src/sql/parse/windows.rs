//! Windows in FROM have two spellings, and one of them a clause that no function has. All become calls of functions, in the tokens, so that everything
//! behind knows one spelling and keeps the places of the text. Of a window's frame, what sqlparser does not read is refused here by its name.
//!
//! ```text
//!   TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))   Flink          TUMBLE(t, ts, INTERVAL '10' SECOND)
//!   SESSION(t PARTITION BY k, l, ts, INTERVAL '10 seconds')                       SESSION(t, k, l, ts, INTERVAL '10 seconds')
//! ```

use super::source::Source;
use crate::error::{Error, Result};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

const WINDOWS: [&str; 4] = ["tumble", "hop", "cumulate", "session"];

pub(super) fn unify(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut drop = vec![false; tokens.len()];
    for at in 0..tokens.len() {
        let is_call = |i: usize, names: &[&str]| names.iter().any(|n| is(&tokens, i, n)) && opens(&tokens, i + 1);
        if is_call(at, &["table"]) && is_call(at + 2, &WINDOWS) {
            without_flink(&tokens, at, &mut drop);
        }
        if is_call(at, &["session"])
            && let Some(close) = closing(&tokens, at + 1)
        {
            keys_as_arguments(&mut tokens, at + 1, close, &mut drop);
        }
    }
    let mut dropped = drop.into_iter();
    tokens.into_iter().filter(|_| !dropped.next().unwrap_or(false)).collect()
}

/// `TABLE ( f ( TABLE t , DESCRIPTOR ( c ) …` without `TABLE (` and its `)`, `TABLE`, `DESCRIPTOR (` and its `)`.
fn without_flink(tokens: &[TokenWithSpan], at: usize, drop: &mut [bool]) {
    let Some(close) = closing(tokens, at + 1) else { return };
    [at, at + 1, close].iter().for_each(|&i| drop[i] = true);
    drop[at + 4] = is(tokens, at + 4, "table");
    for i in at + 4..close {
        if is(tokens, i, "descriptor")
            && opens(tokens, i + 1)
            && let Some(end) = closing(tokens, i + 1)
        {
            [i, i + 1, end].iter().for_each(|&i| drop[i] = true);
        }
    }
}

/// `SESSION ( t PARTITION BY k , …` with a comma in the place of PARTITION BY.
fn keys_as_arguments(tokens: &mut [TokenWithSpan], open: usize, close: usize, drop: &mut [bool]) {
    let mut depth = 0usize;
    for i in open..close {
        match tokens[i].token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 1 && is(tokens, i, "partition") && is(tokens, i + 1, "by") {
            tokens[i].token = Token::Comma;
            drop[i + 1] = true;
            return;
        }
    }
}

fn is(tokens: &[TokenWithSpan], at: usize, word: &str) -> bool {
    tokens.get(at).is_some_and(|t| is_word(&t.token, word))
}

fn opens(tokens: &[TokenWithSpan], at: usize) -> bool {
    tokens.get(at).is_some_and(|t| t.token == Token::LParen)
}

/// `EXCLUDE …` behind a frame: NO OTHERS, the default, is left out, the others are refused.
pub(super) fn exclusions(source: &Source, mut tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let mut at = 1;
    while at + 1 < tokens.len() {
        let is = |i: usize, words: &[&str]| tokens.get(i).is_some_and(|t| words.iter().any(|word| is_word(&t.token, word)));
        let behind_frame = is(at, &["exclude"]) && is(at - 1, &["row", "preceding", "following"]);
        if behind_frame && is(at + 1, &["no"]) && is(at + 2, &["others"]) {
            tokens.drain(at..at + 3);
        } else if behind_frame && is(at + 1, &["current", "group", "ties"]) {
            let error = Error::not_supported("EXCLUDE in the frame of a window is not supported")
                .with_hint("compute with the excluded rows, and take their part back: sum(x) OVER (…) - x for EXCLUDE CURRENT ROW");
            return Err(match source.position(tokens[at].span.start) {
                Some(position) => error.at(position),
                None => error,
            });
        }
        at += 1;
    }
    Ok(tokens)
}

pub(super) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// The index of the parenthesis that closes the one at `open`.
pub(super) fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(i);
        }
    }
    None
}
