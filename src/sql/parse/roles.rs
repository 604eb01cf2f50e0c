//! Statements about roles and secrets.
//!
//! ```text
//! CREATE {ROLE | USER | GROUP} name [WITH] option…      ALTER {ROLE | USER | GROUP} name {[WITH] option… | RENAME TO name}
//! DROP {ROLE | USER | GROUP} [IF EXISTS] name, …        REASSIGN OWNED BY role, … TO role
//! ALTER {TABLE | VIEW | …} name OWNER TO role           CREATE SECRET [IF NOT EXISTS] name AS 'value'
//! DROP SECRET [IF EXISTS] name, …
//! ```

use super::cursor::Cursor;
use super::drop::object_kind;
use crate::error::{Error, Kind, Result};
use crate::sql::ast::StatementKind;
use crate::sql::security::{Hidden, RoleName, RoleOptions, Security, Who};
use datafusion::sql::sqlparser::tokenizer::Token;

/// Flags with their opposites.
const FLAGS: [(&str, &str, Flag); 5] = [
    ("superuser", "nosuperuser", |o| &mut o.superuser),
    ("login", "nologin", |o| &mut o.login),
    ("inherit", "noinherit", |o| &mut o.inherit),
    ("createrole", "nocreaterole", |o| &mut o.create_role),
    ("createdb", "nocreatedb", |o| &mut o.create_db),
];

/// Which part of the options a flag is.
type Flag = fn(&mut RoleOptions) -> &mut Option<bool>;

/// The cursor stands behind the word that tells the kind; the answer is whether it was USER.
fn role_word(c: &mut Cursor<'_>) -> Option<bool> {
    if c.word("user") { Some(true) } else { (c.word("role") || c.word("group")).then_some(false) }
}

fn done(c: &Cursor<'_>, security: Security) -> Result<StatementKind> {
    c.expect_end().map(|()| StatementKind::Security(Box::new(security)))
}

/// `None`: another thing is created.
pub(super) fn create(c: &mut Cursor<'_>) -> Result<Option<StatementKind>> {
    if c.words(&["create", "secret"]) {
        return create_secret(c).map(Some);
    }
    let is_role = ["role", "user", "group"].iter().any(|word| super::is_ahead(c, 1, &[word])) && !super::is_ahead(c, 1, &["user", "mapping"]);
    if !is_role {
        return Ok(None);
    }
    c.advance();
    let user = role_word(c).unwrap_or_default();
    let position = c.position();
    let name = c.name()?;
    let mut options = RoleOptions { login: user.then_some(true), ..RoleOptions::default() };
    let mut given = options_of(c)?;
    given.login = given.login.or(options.login.take());
    done(c, Security::CreateRole { name, position, options: given }).map(Some)
}

fn options_of(c: &mut Cursor<'_>) -> Result<RoleOptions> {
    let mut options = RoleOptions::default();
    c.word("with");
    while !c.at_end() {
        let position = c.position();
        if !option(c, &mut options)? {
            return Err(c.error());
        }
        if c.position() == position && !c.at_end() {
            return Err(c.error());
        }
    }
    Ok(options)
}

fn redundant(c: &Cursor<'_>) -> Error {
    Error::new(Kind::Syntax, "conflicting or redundant options").at(c.position())
}

/// One of them; false: it is none.
fn option(c: &mut Cursor<'_>, options: &mut RoleOptions) -> Result<bool> {
    for (yes, no, flag) in FLAGS {
        let value = c.is_word(yes);
        if value || c.is_word(no) {
            if flag(options).replace(value).is_some() {
                return Err(redundant(c));
            }
            c.advance();
            return Ok(true);
        }
    }
    if ["replication", "bypassrls", "sysid", "unencrypted"].iter().any(|word| c.is_word(word)) {
        return Err(c.refused("this option of a role is not supported"));
    }
    // There is neither, for nobody.
    if c.word("noreplication") || c.word("nobypassrls") {
        return Ok(true);
    }
    if c.words(&["encrypted", "password"]) || c.word("password") {
        let password = if c.word("null") { None } else { Some(Hidden::new(c.string().map_err(|_| near_password(c))?)) };
        return options.password.replace(password).map_or(Ok(true), |_| Err(redundant(c)));
    }
    if c.words(&["connection", "limit"]) {
        let position = c.position();
        let invalid = || Error::new(Kind::InvalidParameter, "invalid connection limit").at(position);
        let sign = if c.token(&Token::Minus) { -1 } else { 1 };
        let Token::Number(number, _) = &c.peek().token else { return Err(c.error()) };
        let limit = number.parse::<i32>().map(|n| sign * n).ok().filter(|n| *n >= -1).ok_or_else(invalid)?;
        c.advance();
        options.connection_limit = Some(limit);
        return Ok(true);
    }
    if c.words(&["valid", "until"]) {
        options.valid_until = Some(c.string()?);
        return Ok(true);
    }
    let list = if c.words(&["in", "role"]) || c.words(&["in", "group"]) {
        &mut options.in_roles
    } else if c.word("role") || c.word("user") {
        &mut options.members
    } else if c.word("admin") {
        &mut options.admins
    } else {
        return Ok(false);
    };
    list.extend(role_names(c)?);
    Ok(true)
}

/// What stands in the place of a password is not repeated.
fn near_password(c: &Cursor<'_>) -> Error {
    Error::new(Kind::Syntax, "a password is a quoted string, or NULL").at(c.position())
}

pub(super) fn role_names(c: &mut Cursor<'_>) -> Result<Vec<RoleName>> {
    let mut roles = vec![role_name(c)?];
    while c.token(&Token::Comma) {
        roles.push(role_name(c)?);
    }
    Ok(roles)
}

pub(super) fn role_name(c: &mut Cursor<'_>) -> Result<RoleName> {
    let position = c.position();
    let who = if c.word("current_user") || c.word("current_role") {
        Who::Current
    } else if c.word("session_user") {
        Who::Session
    } else if c.word("public") {
        Who::Public
    } else {
        Who::Named(c.name()?)
    };
    Ok(RoleName { who, position })
}

/// `None`: another thing is altered.
pub(super) fn alter(c: &mut Cursor<'_>) -> Result<Option<StatementKind>> {
    if ["role", "user", "group"].iter().any(|word| super::is_ahead(c, 1, &[word])) && !super::is_ahead(c, 1, &["user", "mapping"]) {
        c.advance();
        role_word(c);
        return alter_role(c).map(Some);
    }
    // … name OWNER TO role
    let last = c.rest().len();
    let owner_at = (1..last).find(|n| super::is_ahead(c, *n, &["owner", "to"]));
    if owner_at.is_none() {
        return Ok(None);
    }
    c.advance();
    let Some(kind) = object_kind(c) else { return Err(c.refused("a new owner of this is not supported")) };
    if c.words(&["if", "exists"]) {
        return Err(c.refused("IF EXISTS is not supported here"));
    }
    let name = c.object_name()?;
    c.expect_words(&["owner", "to"])?;
    let to = role_name(c)?;
    done(c, Security::GiveObject { kind, name, to }).map(Some)
}

fn alter_role(c: &mut Cursor<'_>) -> Result<StatementKind> {
    if c.is_word("all") {
        return Err(c.refused("settings of roles are not supported"));
    }
    let role = role_name(c)?;
    if c.words(&["rename", "to"]) {
        let to = c.name()?;
        return done(c, Security::RenameRole { role, to });
    }
    if c.is_word("set") || c.is_word("reset") || super::is_ahead(c, 0, &["in", "database"]) {
        return Err(c.refused("settings of roles are not supported").with_hint("a client may SET them, or give them as options of its connection"));
    }
    if c.is_word("add") || c.is_word("drop") {
        return Err(c.refused("members of a group are not altered here").with_hint("use GRANT and REVOKE"));
    }
    let options = options_of(c)?;
    if !(options.in_roles.is_empty() && options.members.is_empty() && options.admins.is_empty()) {
        return Err(c.refused("memberships are not altered here").with_hint("use GRANT and REVOKE"));
    }
    done(c, Security::AlterRole { role, options })
}

/// `None`: another thing is dropped.
pub(super) fn drop(c: &mut Cursor<'_>) -> Result<Option<StatementKind>> {
    if c.words(&["drop", "secret"]) {
        let if_exists = c.words(&["if", "exists"]);
        let mut names = vec![c.name()?];
        while c.token(&Token::Comma) {
            names.push(c.name()?);
        }
        return done(c, Security::DropSecret { names, if_exists }).map(Some);
    }
    if super::is_ahead(c, 1, &["owned"]) {
        return Err(c.refused("DROP OWNED is not supported").with_hint("REASSIGN OWNED gives objects to another role; REVOKE takes grants back"));
    }
    if !["role", "user", "group"].iter().any(|word| super::is_ahead(c, 1, &[word])) || super::is_ahead(c, 1, &["user", "mapping"]) {
        return Ok(None);
    }
    c.advance();
    role_word(c);
    let if_exists = c.words(&["if", "exists"]);
    let roles = role_names(c)?;
    done(c, Security::DropRole { roles, if_exists }).map(Some)
}

pub(super) fn reassign(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["reassign", "owned", "by"])?;
    let from = role_names(c)?;
    c.expect_words(&["to"])?;
    let to = role_name(c)?;
    done(c, Security::ReassignOwned { from, to })
}

fn create_secret(c: &mut Cursor<'_>) -> Result<StatementKind> {
    let if_not_exists = c.words(&["if", "not", "exists"]);
    let name = c.name()?;
    if c.is_word("with") {
        return Err(c.refused("backends of secrets are not supported").with_hint("write CREATE SECRET name AS 'value'"));
    }
    c.expect_words(&["as"])?;
    let value = c.string().map_err(|_| Error::new(Kind::Syntax, "the value of a secret is a quoted string").at(c.position()))?;
    done(c, Security::CreateSecret { name, if_not_exists, value: Hidden::new(value) })
}
