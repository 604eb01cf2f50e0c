//! A statement's text as others may see it (pg_stat_activity, the audit log, SHOW CREATE): passwords and values of secrets are
//! not in it. By tokens, so that it holds however the statement is written:
//!
//! | statement | what is hidden |
//! | --- | --- |
//! | CREATE and ALTER ROLE, USER, GROUP | the string behind PASSWORD |
//! | CREATE SECRET | the string behind AS |
//! | CREATE of anything else | the value of an option whose name tells a secret |

use super::source::Source;
use crate::types::secret::is_secret;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

const HIDDEN: &str = "'********'";

/// The text of `tokens`, without secrets.
pub(super) fn text(source: &Source, tokens: &[TokenWithSpan]) -> String {
    let mut out = String::new();
    let begin = tokens.first().map_or(0, |t| source.byte(t.span.start));
    let end = tokens.last().map_or(0, |t| source.byte(t.span.end));
    let mut copied = begin;
    if may_hold(tokens) {
        for at in (0..tokens.len()).filter(|at| is_hidden(tokens, *at)) {
            out.push_str(&source.text()[copied..source.byte(tokens[at].span.start)]);
            out.push_str(HIDDEN);
            copied = source.byte(tokens[at].span.end);
        }
    }
    out.push_str(&source.text()[copied..end]);
    out
}

fn word(token: Option<&TokenWithSpan>) -> Option<String> {
    match &token?.token {
        Token::Word(word) => Some(word.value.to_lowercase()),
        _ => None,
    }
}

/// Queries and DML hold values of users, and none of the server's secrets.
fn may_hold(tokens: &[TokenWithSpan]) -> bool {
    matches!(word(tokens.first()).as_deref(), Some("create" | "alter" | "explain"))
}

fn is_hidden(tokens: &[TokenWithSpan], at: usize) -> bool {
    let is_string = matches!(
        tokens[at].token,
        Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::UnicodeStringLiteral(_)
            | Token::NationalStringLiteral(_)
    );
    let Some(before) = at.checked_sub(1) else { return false };
    match word(tokens.get(1)).as_deref() {
        Some("role" | "user" | "group") => is_string && word(tokens.get(before)).as_deref() == Some("password"),
        Some("secret") => is_string && word(tokens.get(before)).as_deref() == Some("as"),
        _ => is_value(&tokens[at], tokens.get(at + 1), is_string) && option_before(tokens, before).is_some_and(|name| is_secret(&name)),
    }
}

/// Whether a token may be the value of an option: a string, a number or a word, but for the name of a secret.
fn is_value(token: &TokenWithSpan, next: Option<&TokenWithSpan>, is_string: bool) -> bool {
    let is_reference = word(Some(token)).as_deref() == Some("secret") && word(next).is_some();
    is_string || matches!(token.token, Token::Number(..) | Token::Word(_)) && !is_reference
}

/// The option whose value comes behind the token at that place: behind `=`, or behind the sign of a number.
fn option_before(tokens: &[TokenWithSpan], before: usize) -> Option<String> {
    match tokens[before].token {
        Token::Eq => Some(option_name(&tokens[..before])),
        Token::Minus if before > 0 && tokens[before - 1].token == Token::Eq => Some(option_name(&tokens[..before - 1])),
        _ => None,
    }
}

/// The dotted name that `tokens` end with.
fn option_name(tokens: &[TokenWithSpan]) -> String {
    let part = |token: &TokenWithSpan| match &token.token {
        Token::Word(word) => Some(word.value.to_lowercase()),
        Token::SingleQuotedString(text) => Some(text.to_lowercase()),
        Token::Period => Some(".".to_owned()),
        _ => None,
    };
    let mut parts: Vec<String> = tokens.iter().rev().map_while(part).collect();
    parts.reverse();
    parts.concat()
}

#[cfg(test)]
mod tests {
    use crate::sql::parse::parse;

    #[test]
    fn secrets_are_not_in_the_text_of_a_statement() {
        for (typed, shown) in [
            ("CREATE ROLE ann LOGIN PASSWORD 'hush' CREATEDB", "CREATE ROLE ann LOGIN PASSWORD '********' CREATEDB"),
            ("alter user ann encrypted  password $$hush$$", "alter user ann encrypted  password '********'"),
            ("CREATE SECRET k AS 'hush'", "CREATE SECRET k AS '********'"),
            (
                "CREATE SOURCE s (a int) WITH (connector = 'kafka', properties.sasl.password = 'hush', topic='hush-not')",
                "CREATE SOURCE s (a int) WITH (connector = 'kafka', properties.sasl.password = '********', topic='hush-not')",
            ),
            (
                "CREATE SINK s FROM t WITH (connector = 'kafka', properties.sasl.password = hush, properties.ssl.key.password=-7, \"a.TOKEN\" = 5)",
                "CREATE SINK s FROM t WITH (connector = 'kafka', properties.sasl.password = '********', properties.ssl.key.password=-'********', \"a.TOKEN\" = '********')",
            ),
            (
                "CREATE SOURCE s (a int) WITH (connector = 'kafka', properties.sasl.password = SECRET k, topic = t)",
                "CREATE SOURCE s (a int) WITH (connector = 'kafka', properties.sasl.password = SECRET k, topic = t)",
            ),
            ("SELECT 1 AS password", "SELECT 1 AS password"),
        ] {
            let statements = parse(&format!("{typed}; SELECT 1")).unwrap();
            assert_eq!(statements[0].text, shown);
            assert!(!format!("{:?}", statements[0].kind).contains("hush\"") || typed.contains(" WITH "), "{typed}");
        }
    }
}
