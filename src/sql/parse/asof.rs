//! ASOF joins have several spellings. In the tokens they become the one that sqlparser reads, with what it does not know in the match condition:
//!
//! ```text
//!   a ASOF LEFT JOIN b MATCH_CONDITION (m) ON c       ASOF JOIN b MATCH_CONDITION (tw_asof_left(m)) ON c
//!   a LEFT ASOF JOIN b MATCH_CONDITION (m) ON c       the same
//!   a ASOF JOIN b ON c AND m                          ASOF JOIN b MATCH_CONDITION (TRUE) ON c AND m
//! ```

use super::source::Source;
use super::windows::{closing, is_word};
use crate::error::{Error, Result};
use crate::sql::asof::LEFT;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// What is done to the tokens: which are left out, and what comes in before others.
struct Edits {
    dropped: Vec<bool>,
    inserted: Vec<(usize, Vec<Token>)>,
}

pub(super) fn unify(source: &Source, tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let is = |at: usize, words: &[&str]| tokens.get(at).is_some_and(|t| words.iter().any(|w| is_word(&t.token, w)));
    let mut edits = Edits { dropped: vec![false; tokens.len()], inserted: Vec::new() };
    for at in (1..tokens.len()).filter(|at| is(*at, &["asof"])) {
        // The kind of the join stands before ASOF or behind it.
        let before = at - 1 - usize::from(is(at - 1, &["outer"]));
        let kinds = ["left", "right", "full", "inner"];
        let behind = (at + 1..).take_while(|i| is(*i, &kinds) || *i > at + 1 && is(*i, &["outer"])).last().unwrap_or(at);
        if !is(behind + 1, &["join"]) {
            continue;
        }
        let kind = if is(before, &kinds) { Some(before) } else { (behind > at).then_some(at + 1) };
        if let Some(kind) = kind.filter(|kind| is(*kind, &["right", "full"])) {
            let error = Error::not_supported("a RIGHT or FULL ASOF JOIN is not supported").with_hint("write b ASOF LEFT JOIN a, with the sides exchanged");
            return Err(match source.position(tokens[kind].span.start) {
                Some(position) => error.at(position),
                None => error,
            });
        }
        if is(before, &kinds) {
            (before..at).for_each(|i| edits.dropped[i] = true);
        }
        (at + 1..=behind).for_each(|i| edits.dropped[i] = true);
        condition(&tokens, behind + 2, kind.is_some_and(|kind| is(kind, &["left"])), &mut edits);
    }
    Ok(edits.applied(tokens))
}

/// The condition of the join whose right side begins at `from`.
fn condition(tokens: &[TokenWithSpan], from: usize, is_left: bool, edits: &mut Edits) {
    let opening = || if is_left { vec![Token::make_word(LEFT, None), Token::LParen] } else { Vec::new() };
    let mut at = from;
    while let Some(token) = tokens.get(at) {
        match &token.token {
            Token::LParen => match closing(tokens, at) {
                Some(close) => at = close,
                None => return,
            },
            Token::RParen => return,
            word if is_word(word, "match_condition") => {
                if let (true, Some(close)) = (is_left, closing(tokens, at + 1).filter(|close| *close > at + 1)) {
                    edits.inserted.push((at + 2, opening()));
                    edits.inserted.push((close, vec![Token::RParen]));
                }
                return;
            }
            word if is_word(word, "on") || is_word(word, "using") => {
                let mut inserted = vec![Token::make_keyword("MATCH_CONDITION"), Token::LParen];
                inserted.extend(opening());
                inserted.push(Token::make_keyword("TRUE"));
                inserted.extend(is_left.then_some(Token::RParen));
                inserted.push(Token::RParen);
                edits.inserted.push((at, inserted));
                return;
            }
            _ => {}
        }
        at += 1;
    }
}

impl Edits {
    fn applied(mut self, tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
        self.inserted.sort_by_key(|(at, _)| *at);
        let mut inserted = self.inserted.into_iter().peekable();
        let mut all = Vec::with_capacity(tokens.len());
        for (at, token) in tokens.into_iter().enumerate() {
            while let Some((_, new)) = inserted.next_if(|(before, _)| *before == at) {
                all.extend(new.into_iter().map(|new| TokenWithSpan { token: new, span: token.span }));
            }
            if !self.dropped[at] {
                all.push(token);
            }
        }
        all
    }
}
