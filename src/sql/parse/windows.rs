//! Flink spells windows `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))`, RisingWave `TUMBLE(t, ts, INTERVAL
//! '10 seconds')`. The first is turned into the second in the tokens, so that everything behind knows one spelling and
//! keeps the places of the text.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// `TABLE ( f ( TABLE t , DESCRIPTOR ( c ) …` without `TABLE (` and its `)`, `TABLE`, `DESCRIPTOR (` and its `)`; f is TUMBLE or HOP.
pub(super) fn unify(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut drop = vec![false; tokens.len()];
    for at in 0..tokens.len() {
        let is = |i: usize, word: &str| tokens.get(at + i).is_some_and(|t| is_word(&t.token, word));
        let opens = |i: usize| tokens.get(at + i).is_some_and(|t| t.token == Token::LParen);
        if is(0, "table") && opens(1) && (is(2, "tumble") || is(2, "hop")) && opens(3) {
            let Some(close) = closing(&tokens, at + 1) else { continue };
            [at, at + 1, close].iter().for_each(|&i| drop[i] = true);
            drop[at + 4] = is(4, "table");
            for i in at + 4..close {
                if is_word(&tokens[i].token, "descriptor")
                    && tokens[i + 1].token == Token::LParen
                    && let Some(end) = closing(&tokens, i + 1)
                {
                    [i, i + 1, end].iter().for_each(|&i| drop[i] = true);
                }
            }
        }
    }
    let mut dropped = drop.into_iter();
    tokens.into_iter().filter(|_| !dropped.next().unwrap_or(false)).collect()
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// The index of the parenthesis that closes the one at `open`.
fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
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
