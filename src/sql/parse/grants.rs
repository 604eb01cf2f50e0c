//! `GRANT` and `REVOKE`, of privileges and of roles.
//!
//! ```text
//! GRANT {privilege, … | ALL [PRIVILEGES]} ON {[TABLE] name, … | ALL TABLES IN SCHEMA s, … | SCHEMA s, … | SECRET s, …} TO role, … [WITH GRANT OPTION]
//! REVOKE [GRANT OPTION FOR] … ON … FROM role, … [CASCADE | RESTRICT]
//! GRANT role, … TO role, … [WITH ADMIN OPTION]          REVOKE [ADMIN OPTION FOR] role, … FROM role, …
//! ```

use super::cursor::Cursor;
use super::drop::object_kind;
use super::roles::role_names;
use crate::catalog::access::Privileges;
use crate::error::{Error, Kind, Result};
use crate::sql::ast::StatementKind;
use crate::sql::security::{Change, Membership, On, Security};
use datafusion::sql::sqlparser::tokenizer::Token;

pub(super) fn parse(c: &mut Cursor<'_>) -> Result<StatementKind> {
    let grant = c.is_word("grant");
    c.advance();
    let of_privileges = has_on(c);
    let option = !grant && c.words(&[if of_privileges { "grant" } else { "admin" }, "option", "for"]);
    let security = if of_privileges { Security::Privileges(privileges(c, grant, option)?) } else { Security::Membership(membership(c, grant, option)?) };
    c.expect_end()?;
    Ok(StatementKind::Security(Box::new(security)))
}

/// Privileges are ON something, roles are not.
fn has_on(c: &Cursor<'_>) -> bool {
    (0..c.rest().len()).any(|n| super::is_ahead(c, n, &["on"]))
}

fn membership(c: &mut Cursor<'_>, grant: bool, option: bool) -> Result<Membership> {
    let roles = role_names(c)?;
    c.expect_words(&[if grant { "to" } else { "from" }])?;
    let members = role_names(c)?;
    let admin = option || grant && c.words(&["with", "admin", "option"]);
    refuse_grantor(c)?;
    if !grant && !c.word("restrict") && c.is_word("cascade") {
        return Err(c.refused("REVOKE of a role with CASCADE is not supported"));
    }
    Ok(Membership { grant, roles, members, admin })
}

fn refuse_grantor(c: &Cursor<'_>) -> Result<()> {
    if super::is_ahead(c, 0, &["granted", "by"]) { Err(c.refused("GRANTED BY is not supported")) } else { Ok(()) }
}

fn privileges(c: &mut Cursor<'_>, grant: bool, option: bool) -> Result<Change> {
    let list = list(c)?;
    c.expect_words(&["on"])?;
    let on = on(c)?;
    c.expect_words(&[if grant { "to" } else { "from" }])?;
    c.word("group");
    let grantees = role_names(c)?;
    let option = option || grant && c.words(&["with", "grant", "option"]);
    refuse_grantor(c)?;
    let cascade = !grant && c.word("cascade");
    if !grant && !cascade {
        c.word("restrict");
    }
    Ok(Change { grant, privileges: of_class(list, &on)?, on, grantees, option, cascade })
}

/// Privileges with their words and places; `None`: all.
type Listed = Option<Vec<(Privileges, String, usize)>>;

fn list(c: &mut Cursor<'_>) -> Result<Listed> {
    if c.word("all") {
        c.word("privileges");
        return if c.peek().token == Token::LParen { Err(on_columns(c)) } else { Ok(None) };
    }
    let mut list = Vec::new();
    loop {
        let position = c.position();
        let word = c.name_of_option()?;
        if ["truncate", "references", "trigger", "execute", "connect", "temporary", "temp", "maintain", "set"].contains(&word.as_str()) {
            return Err(Error::not_supported(format!("the privilege {} is not supported", word.to_uppercase())).at(position));
        }
        let privilege = Privileges::named(&word).ok_or_else(|| Error::new(Kind::Syntax, format!("unrecognized privilege type \"{word}\"")).at(position))?;
        if c.peek().token == Token::LParen {
            return Err(on_columns(c));
        }
        list.push((privilege, word, position));
        if !c.token(&Token::Comma) {
            return Ok(Some(list));
        }
    }
}

fn on_columns(c: &Cursor<'_>) -> Error {
    c.refused("privileges on columns are not supported").with_hint("grant on a view that has only these columns")
}

/// Error: a privilege that there is not on such a thing (0LP01).
fn of_class(list: Listed, on: &On) -> Result<Option<Privileges>> {
    let Some(list) = list else { return Ok(None) };
    let class = on.class();
    let mut all = Privileges::NONE;
    for (privilege, word, position) in list {
        if !class.privileges().contains(privilege) {
            let message = format!("invalid privilege type {} for {}", word.to_uppercase(), class.name());
            return Err(Error::new(Kind::InvalidGrant, message).at(position));
        }
        all = all | privilege;
    }
    Ok(Some(all))
}

fn names(c: &mut Cursor<'_>) -> Result<Vec<(String, usize)>> {
    let mut names = Vec::new();
    loop {
        let position = c.position();
        names.push((c.name()?, position));
        if !c.token(&Token::Comma) {
            return Ok(names);
        }
    }
}

fn on(c: &mut Cursor<'_>) -> Result<On> {
    if c.words(&["all", "tables", "in", "schema"]) {
        return names(c).map(On::AllIn);
    }
    if c.word("schema") {
        return names(c).map(On::Schemas);
    }
    if c.word("secret") {
        return Ok(On::Secrets(names(c)?.into_iter().map(|(name, _)| name).collect()));
    }
    let others =
        ["database", "sequence", "function", "procedure", "routine", "type", "domain", "language", "tablespace", "foreign", "parameter", "large", "all"];
    // A relation may have such a name.
    let is_kind = others.iter().any(|word| c.is_word(word))
        && matches!(c.peek_nth(1).token, Token::Word(_))
        && !super::is_ahead(c, 1, &["to"])
        && !super::is_ahead(c, 1, &["from"]);
    if is_kind {
        return Err(c.refused("privileges on this kind of object are not supported").with_hint("privileges are on relations, schemas and secrets"));
    }
    // The kind may be said; it is a relation whichever it is.
    if matches!(c.peek_nth(1).token, Token::Word(_)) && !super::is_ahead(c, 1, &["to"]) && !super::is_ahead(c, 1, &["from"]) {
        object_kind(c);
    }
    let mut relations = vec![c.object_name()?];
    while c.token(&Token::Comma) {
        relations.push(c.object_name()?);
    }
    Ok(On::Relations(relations))
}
