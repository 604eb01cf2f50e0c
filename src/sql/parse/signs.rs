//! `x >=-1`: a sign behind an operator is one of its own, as Postgres's lexer says. Its rule: an operator of several characters may only end in `+` or `-` if
//! it has one of ``~ ! @ # % ^ & | ` ?`` in it. sqlparser takes all of them for one operator.

use super::dialect::Tidewater;
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

/// The tokens with such signs taken off.
pub(super) fn split(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is_joined = |t: &TokenWithSpan| matches!(&t.token, Token::CustomBinaryOperator(text) if base(text).len() < text.len());
    if !tokens.iter().any(is_joined) {
        return tokens;
    }
    tokens.into_iter().flat_map(apart).collect()
}

/// The operator without the signs at its end.
fn base(text: &str) -> &str {
    if text.contains(['~', '!', '@', '#', '%', '^', '&', '|', '`', '?']) {
        return text;
    }
    let trimmed = text.trim_end_matches(['+', '-']);
    if trimmed.is_empty() { &text[..1] } else { trimmed }
}

fn apart(token: TokenWithSpan) -> Vec<TokenWithSpan> {
    let Token::CustomBinaryOperator(text) = &token.token else { return vec![token] };
    let operator = base(text);
    let known = Tokenizer::new(&Tidewater, operator).tokenize().ok().filter(|tokens| tokens.len() == 1 && operator.len() < text.len());
    let Some(first) = known.and_then(|mut tokens| tokens.pop()) else { return vec![token] };
    let place = |at: usize| Location { line: token.span.start.line, column: token.span.start.column + at as u64 };
    let spanned = |token: Token, from: usize, to: usize| TokenWithSpan { token, span: Span { start: place(from), end: place(to) } };
    let signs = text[operator.len()..].chars().enumerate().map(|(i, sign)| {
        let at = operator.len() + i;
        spanned(if sign == '-' { Token::Minus } else { Token::Plus }, at, at + 1)
    });
    std::iter::once(spanned(first, 0, operator.len())).chain(signs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_operators_of_plain_signs_lose_the_last_ones() {
        assert_eq!([base(">=-"), base("->>-"), base("<>+-"), base("||-"), base("%-"), base("->")], [">=", "->>", "<>", "||-", "%-", "->"]);
        let tokens = apart(TokenWithSpan::wrap(Token::CustomBinaryOperator(">=-".into())));
        assert_eq!(tokens.into_iter().map(|t| t.token).collect::<Vec<_>>(), [Token::GtEq, Token::Minus]);
    }
}
