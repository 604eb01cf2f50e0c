//! `CREATE ROLE`, `ALTER ROLE`, `DROP ROLE`, memberships, and owners. Each is decided by the scheduler on the newest catalog
//! (`Engine::secure`), so that two of them at once cannot undo each other.

use super::{Context, Outcome};
use crate::catalog::catalog::Catalog;
use crate::catalog::object::Object;
use crate::catalog::pg::oids::OWNER;
use crate::catalog::roles::{Membership, Role, Roles};
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::{Secure, Secured};
use crate::pg::auth;
use crate::sql::ast::{Name, ObjectKind};
use crate::sql::security::{self, On, RoleName, RoleOptions, Security, Who};
use crate::types::text::{Zone, datetime::parse_timestamptz};
use std::sync::Arc;

/// Who asks: whose rights count, and who the session is.
#[derive(Clone, Copy)]
pub(super) struct Actor {
    pub(super) role: u32,
    pub(super) session: u32,
}

impl Actor {
    pub(super) fn of(context: &Context) -> Actor {
        Actor { role: context.role(), session: context.settings.identity().session.oid }
    }

    /// The role that a statement names. Error: there is none (42704).
    pub(super) fn find<'r>(self, roles: &'r Roles, name: &RoleName) -> Result<&'r Role> {
        let found = match &name.who {
            Who::Named(name) => roles.find(name),
            Who::Current => roles.get(self.role).ok_or_else(|| Error::new(Kind::UndefinedObject, "the current role does not exist any more")),
            Who::Session => roles.get(self.session).ok_or_else(|| Error::new(Kind::UndefinedObject, "the session's role does not exist any more")),
            Who::Public => Err(Error::new(Kind::UndefinedObject, "role \"public\" does not exist")),
        };
        found.map_err(|e| e.at(name.position))
    }

    pub(super) fn find_all(self, roles: &Roles, names: &[RoleName]) -> Result<Vec<u32>> {
        names.iter().map(|name| self.find(roles, name).map(|r| r.oid)).collect()
    }
}

fn denied(message: impl Into<String>) -> Error {
    Error::new(Kind::InsufficientPrivilege, message)
}

/// A change of roles alone.
fn of_roles(roles: Roles) -> Secured {
    Secured { roles: Some(roles), ..Secured::default() }
}

pub(super) async fn execute(context: &Context, statement: &Security) -> Result<Outcome> {
    context.check_writable(statement.tag())?;
    if context.transaction.is_some() {
        let refused = format!("{} in a transaction block is not supported", statement.tag());
        return Err(Error::not_supported(refused).with_hint("COMMIT first"));
    }
    let actor = Actor::of(context);
    let change: Secure = match statement.clone() {
        Security::CreateRole { name, position, options } => {
            let (oid, settled) = (context.engine.allocate_object()?.0, settle(&options)?);
            Box::new(move |catalog| create(catalog, actor, oid, (&name, position), &options, settled))
        }
        Security::AlterRole { role, options } => {
            let settled = settle(&options)?;
            Box::new(move |catalog| alter(catalog, actor, &role, &options, settled))
        }
        Security::RenameRole { role, to } => Box::new(move |catalog| rename(catalog, actor, &role, &to)),
        Security::DropRole { roles, if_exists } => Box::new(move |catalog| drop_roles(catalog, actor, &roles, if_exists)),
        Security::Membership(change) => Box::new(move |catalog| membership(catalog, actor, &change)),
        Security::Privileges(mut change) => {
            if let On::Relations(names) = &mut change.on {
                names.iter_mut().for_each(|name| *name = context.qualified(name));
            }
            Box::new(move |catalog| super::grants::change(catalog, actor, &change))
        }
        Security::GiveObject { kind, name, to } => {
            let name = context.qualified(&name);
            Box::new(move |catalog| give(catalog, actor, kind, &name, &to))
        }
        Security::ReassignOwned { from, to } => Box::new(move |catalog| reassign(catalog, actor, &from, &to)),
        Security::CreateSecret { .. } | Security::DropSecret { .. } => return super::secrets::execute(context, statement).await,
    };
    let notices = context.engine.secure(change).await?;
    Ok(notices.into_iter().fold(Outcome::command(statement.tag()), Outcome::notice))
}

/// What takes time or may fail by itself, done before the scheduler is asked.
struct Settled {
    verifier: Option<Option<String>>,
    valid_until: Option<Option<i64>>,
}

fn settle(options: &RoleOptions) -> Result<Settled> {
    let verifier = options.password.as_ref().map(|password| password.as_ref().filter(|p| !p.reveal().is_empty()).map(|p| auth::verifier(p.reveal())));
    let valid_until = options.valid_until.as_ref().map(|text| valid_until(text)).transpose()?;
    Ok(Settled { verifier, valid_until })
}

/// µs; `None`: for ever.
fn valid_until(text: &str) -> Result<Option<i64>> {
    if text.trim().eq_ignore_ascii_case("infinity") {
        return Ok(None);
    }
    parse_timestamptz(text, Zone::Utc).map(Some)
}

fn apply(role: &mut Role, options: &RoleOptions, settled: Settled) {
    let set = |flag: &mut bool, value: Option<bool>| *flag = value.unwrap_or(*flag);
    set(&mut role.superuser, options.superuser);
    set(&mut role.login, options.login);
    set(&mut role.inherit, options.inherit);
    set(&mut role.create_role, options.create_role);
    set(&mut role.create_db, options.create_db);
    role.connection_limit = options.connection_limit.unwrap_or(role.connection_limit);
    role.valid_until = settled.valid_until.unwrap_or(role.valid_until);
    if let Some(verifier) = settled.verifier {
        role.verifier = verifier;
    }
}

/// Those who try names are told something that they cannot foresee.
fn with_seed(mut roles: Roles) -> Roles {
    if roles.seed.is_empty() && roles.has_passwords() {
        roles.seed = uuid::Uuid::new_v4().simple().to_string();
    }
    roles
}

fn can_create_roles(roles: &Roles, role: u32) -> bool {
    roles.get(role).is_some_and(|r| r.superuser || r.create_role)
}

fn create(catalog: &Catalog, actor: Actor, oid: u32, (name, position): (&str, usize), options: &RoleOptions, settled: Settled) -> Result<Secured> {
    let mut roles = catalog.roles().clone();
    if options.superuser == Some(true) && !roles.is_superuser(actor.role) {
        return Err(denied("must be superuser to create superusers"));
    }
    if !can_create_roles(&roles, actor.role) {
        return Err(denied("permission denied to create role"));
    }
    let mut role = Role::new(oid, name);
    apply(&mut role, options, settled);
    roles.add(role).map_err(|e| e.at(position))?;
    for group in &options.in_roles {
        let group = actor.find(&roles, group)?.oid;
        join(&mut roles, actor, group, oid, false)?;
    }
    for (members, admin) in [(&options.members, false), (&options.admins, true)] {
        for member in actor.find_all(&roles, members)? {
            join(&mut roles, actor, oid, member, admin)?;
        }
    }
    Ok(of_roles(with_seed(roles)))
}

/// Whether the actor may change a role. Error: 42501.
fn check_may_alter(roles: &Roles, actor: Actor, role: &Role) -> Result<()> {
    // Nor one that may become a superuser, which PostgreSQL 15 leaves open.
    if roles.reaches_superuser(role.oid) && !roles.is_superuser(actor.role) {
        return Err(denied("must be superuser to alter superuser roles or change superuser attribute"));
    }
    if can_create_roles(roles, actor.role) { Ok(()) } else { Err(denied("permission denied")) }
}

fn alter(catalog: &Catalog, actor: Actor, name: &RoleName, options: &RoleOptions, settled: Settled) -> Result<Secured> {
    let mut roles = catalog.roles().clone();
    let role = actor.find(&roles, name)?.clone();
    let only_password = RoleOptions { password: None, ..options.clone() }.is_empty();
    // Everybody may change his own password.
    if !(only_password && role.oid == actor.role) {
        check_may_alter(&roles, actor, &role)?;
    }
    if options.superuser == Some(true) && !roles.is_superuser(actor.role) {
        return Err(denied("must be superuser to alter superuser roles or change superuser attribute"));
    }
    if role.oid == OWNER && (options.superuser == Some(false) || options.login == Some(false)) {
        return Err(Error::not_supported(format!("role \"{}\" stays a superuser who may log in", role.name)));
    }
    if let Some(role) = roles.get_mut(role.oid) {
        apply(role, options, settled);
    }
    Ok(of_roles(with_seed(roles)))
}

fn rename(catalog: &Catalog, actor: Actor, name: &RoleName, to: &str) -> Result<Secured> {
    let mut roles = catalog.roles().clone();
    let role = actor.find(&roles, name)?.clone();
    check_may_alter(&roles, actor, &role)?;
    if role.oid == actor.session {
        return Err(Error::not_supported("session user cannot be renamed"));
    }
    if role.oid == OWNER {
        return Err(Error::not_supported(format!("role \"{}\" cannot be renamed", role.name)));
    }
    roles.rename(role.oid, to)?;
    Ok(of_roles(roles))
}

fn drop_roles(catalog: &Catalog, actor: Actor, names: &[RoleName], if_exists: bool) -> Result<Secured> {
    let mut roles = catalog.roles().clone();
    let mut notices = Vec::new();
    if !can_create_roles(&roles, actor.role) {
        return Err(denied("permission denied to drop role"));
    }
    for name in names {
        let role = match actor.find(&roles, name) {
            Err(e) if if_exists && e.kind() == Kind::UndefinedObject => {
                notices.push(Error::new(Kind::UndefinedObject, format!("{}, skipping", e.message())));
                continue;
            }
            found => found?.clone(),
        };
        if role.oid == actor.role || role.oid == actor.session {
            let who = if role.oid == actor.role { "current" } else { "session" };
            return Err(Error::new(Kind::ObjectInUse, format!("{who} user cannot be dropped")));
        }
        if role.superuser && !roles.is_superuser(actor.role) {
            return Err(denied("must be superuser to drop superusers"));
        }
        if role.oid == OWNER {
            return Err(Error::new(Kind::DependentObjectsExist, format!("cannot drop role {} because it is required by the database system", role.name)));
        }
        check_unused(catalog, &roles, &role)?;
        roles.remove(role.oid);
    }
    Ok(Secured { notices, ..of_roles(roles) })
}

/// Error: something is owned by the role, or granted by it or to it (2BP01).
fn check_unused(catalog: &Catalog, roles: &Roles, role: &Role) -> Result<()> {
    let of_objects = catalog.objects().chain(catalog.schemas()).filter(|o| o.index().is_none()).map(|o| (format!("{} {}", o.kind_name(), o.name), &o.access));
    let all = of_objects.chain(roles.accesses().map(|(name, _, access)| (name, access)));
    let line = |(name, access): (String, &crate::catalog::access::Access)| {
        let how = if access.owner == role.oid { "owner of" } else { "privileges for" };
        access.mentions(role.oid).then(|| format!("{how} {name}"))
    };
    let mut lines: Vec<String> = all.filter_map(line).collect();
    let granted = |r: &Role| r.member_of.iter().filter(|m| m.grantor == role.oid && r.oid != role.oid).map(|m| m.role).collect::<Vec<_>>();
    for member in roles.all() {
        lines.extend(granted(member).into_iter().map(|group| format!("privileges for membership of role {} in role {}", member.name, roles.name_of(group))));
    }
    if lines.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::DependentObjectsExist, format!("role \"{}\" cannot be dropped because some objects depend on it", role.name))
        .with_detail(lines.join("\n"))
        .with_hint("REASSIGN OWNED gives its objects to another role, REVOKE takes grants back"))
}

/// `member` becomes one of `group`. Gives whether it was not yet. Error: it would be a member of itself (0LP01), or may not be made one (42501).
fn join(roles: &mut Roles, actor: Actor, group: u32, member: u32, admin: bool) -> Result<bool> {
    check_may_grant(roles, actor, group)?;
    let circle = roles.get(group).is_some() && reaches(roles, group, member);
    if circle {
        let message = format!("role \"{}\" is a member of role \"{}\"", roles.name_of(group), roles.name_of(member));
        return Err(Error::new(Kind::InvalidGrant, message));
    }
    let Some(role) = roles.get_mut(member) else { return Ok(false) };
    match role.member_of.iter_mut().find(|m| m.role == group) {
        Some(membership) if membership.admin || !admin => Ok(false),
        Some(membership) => {
            membership.admin = true;
            Ok(true)
        }
        None => {
            role.member_of.push(Membership { role: group, admin, grantor: actor.role });
            Ok(true)
        }
    }
}

fn reaches(roles: &Roles, from: u32, to: u32) -> bool {
    from == to || roles.get(from).is_some_and(|r| r.member_of.iter().any(|m| reaches(roles, m.role, to)))
}

fn check_may_grant(roles: &Roles, actor: Actor, group: u32) -> Result<()> {
    if roles.reaches_superuser(group) {
        return if roles.is_superuser(actor.role) {
            Ok(())
        } else {
            Err(denied(format!("must be superuser to grant or revoke role \"{}\"", roles.name_of(group))))
        };
    }
    if can_create_roles(roles, actor.role) || roles.is_admin_of(actor.role, group) {
        return Ok(());
    }
    Err(denied(format!("must have admin option on role \"{}\"", roles.name_of(group))))
}

fn membership(catalog: &Catalog, actor: Actor, change: &security::Membership) -> Result<Secured> {
    let mut roles = catalog.roles().clone();
    let (groups, members) = (actor.find_all(&roles, &change.roles)?, actor.find_all(&roles, &change.members)?);
    let mut notices = Vec::new();
    for &group in &groups {
        check_may_grant(&roles, actor, group)?;
        for &member in &members {
            let (member_name, group_name) = (roles.name_of(member), roles.name_of(group));
            let changed = if change.grant { join(&mut roles, actor, group, member, change.admin)? } else { leave(&mut roles, group, member, change.admin) };
            if !changed {
                let state = if change.grant { "already" } else { "not" };
                notices.push(Error::new(Kind::Notice, format!("role \"{member_name}\" is {state} a member of role \"{group_name}\"")));
            }
        }
    }
    Ok(Secured { notices, ..of_roles(roles) })
}

/// False: it was no member. `only_admin`: it stays one, without the option.
fn leave(roles: &mut Roles, group: u32, member: u32, only_admin: bool) -> bool {
    let Some(role) = roles.get_mut(member) else { return false };
    let was = role.is_member_of(group);
    if only_admin {
        role.member_of.iter_mut().filter(|m| m.role == group).for_each(|m| m.admin = false);
    } else {
        role.member_of.retain(|m| m.role != group);
    }
    was
}

/// An object and its indexes under another owner.
fn given(catalog: &Catalog, object: &Arc<Object>, owner: u32) -> Vec<Object> {
    let indexes = catalog.indexes_on(object.id);
    std::iter::once(object)
        .chain(indexes)
        .map(|o| {
            let mut object = Object::clone(o);
            object.access.give(owner);
            object
        })
        .collect()
}

fn give(catalog: &Catalog, actor: Actor, kind: ObjectKind, name: &Name, to: &RoleName) -> Result<Secured> {
    let roles = catalog.roles();
    let object = super::target::find_in(catalog, actor.role, name)?;
    super::drop::check_kind(&object, kind, name)?;
    super::access::check_owner(catalog, actor.role, &object)?;
    let new = actor.find(roles, to)?;
    if !roles.is_member(actor.role, new.oid) {
        return Err(denied(format!("must be member of role \"{}\"", new.name)));
    }
    if !roles.is_superuser(actor.role) {
        super::access::check_schema(catalog, new.oid, &object.schema, crate::catalog::access::Privileges::CREATE)?;
    }
    Ok(Secured { objects: given(catalog, &object, new.oid), ..Secured::default() })
}

fn reassign(catalog: &Catalog, actor: Actor, from: &[RoleName], to: &RoleName) -> Result<Secured> {
    let mut roles = catalog.roles().clone();
    let (old, new) = (actor.find_all(&roles, from)?, actor.find(&roles, to)?.oid);
    for role in old.iter().chain([&new]) {
        if !roles.is_member(actor.role, *role) {
            return Err(denied("permission denied to reassign objects"));
        }
    }
    let objects = catalog.objects().chain(catalog.schemas()).filter(|o| old.contains(&o.access.owner)).map(|o| {
        let mut object = Object::clone(o);
        object.access.give(new);
        object
    });
    let objects = objects.collect();
    roles.accesses_mut().filter(|a| old.contains(&a.owner)).for_each(|a| a.give(new));
    Ok(Secured { roles: Some(roles), objects, notices: Vec::new() })
}
