//! Who a session is: whom it let in, and whose rights it has taken on since (`SET SESSION AUTHORIZATION`, `SET ROLE`).
//! By OID, so that a name that is given to another role brings no rights along.

use super::config::Auth;
use super::session::ClientSession;
use crate::catalog::catalog::Catalog;
use crate::catalog::pg::oids::OWNER;
use crate::catalog::roles::{OWNER_NAME, Role};
use crate::error::{Error, Kind, Result};
use crate::pg::auth::is_local;
use crate::pg::backend::{Admission, Origin};
use crate::sql::ast::{ROLE, SESSION_AUTHORIZATION};
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who connected.
    pub login: u32,
    pub session: Named,
    /// `None`: SET ROLE NONE.
    pub role: Option<Named>,
    pub superuser: bool,
}

/// A role, and what it was called when it was taken on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub oid: u32,
    pub name: String,
}

impl Default for Identity {
    fn default() -> Identity {
        Identity { login: OWNER, session: Named { oid: OWNER, name: OWNER_NAME.to_owned() }, role: None, superuser: true }
    }
}

impl From<&Role> for Named {
    fn from(role: &Role) -> Named {
        Named { oid: role.oid, name: role.name.clone() }
    }
}

impl Identity {
    pub fn of(role: &Role) -> Identity {
        Identity { login: role.oid, session: role.into(), role: None, superuser: role.superuser }
    }

    /// Whose rights it has.
    pub fn current(&self) -> u32 {
        self.role.as_ref().map_or(self.session.oid, |r| r.oid)
    }
}

/// Who may connect, and by what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Door {
    pub auth: Auth,
    /// Passwords may come unencrypted from other machines.
    pub plain_from_afar: bool,
}

impl Door {
    /// See [`crate::pg::backend::Backend::admission`].
    pub fn admission(&self, catalog: &Catalog, user: &str, origin: &Origin, now: i64) -> Result<Admission> {
        let (roles, address) = (catalog.roles(), origin.address.ip());
        let local = is_local(address);
        if !local && !origin.encrypted && !self.plain_from_afar {
            let message = format!("connection from host \"{address}\", user \"{user}\" is not encrypted");
            return Err(Error::new(Kind::InvalidAuthorization, message).with_hint("connect with sslmode=require"));
        }
        let trusted = match self.auth {
            Auth::Trust => true,
            Auth::Auto => local && !roles.has_passwords(),
            Auth::Scram => false,
        };
        let role = roles.named(user);
        if trusted || role.is_some() && origin.certificate.as_deref() == Some(user) {
            return Ok(Admission::Trusted);
        }
        let valid = role.filter(|r| r.valid_until.is_none_or(|until| until > now));
        Ok(Admission::Password { verifier: valid.and_then(|r| r.verifier.clone()), seed: roles.seed.clone() })
    }
}

/// The role that a user who was let in is. One that does not exist was trusted to be anybody: the owner.
pub fn role_of<'c>(catalog: &'c Catalog, user: &str) -> Result<&'c Role> {
    let roles = catalog.roles();
    let role = roles.named(user).or_else(|| roles.get(OWNER));
    let role = role.ok_or_else(|| Error::new(Kind::InvalidAuthorization, format!("role \"{user}\" does not exist")))?;
    if role.login { Ok(role) } else { Err(Error::new(Kind::InvalidAuthorization, format!("role \"{user}\" is not permitted to log in"))) }
}

impl ClientSession {
    /// `SET ROLE` and `SET SESSION AUTHORIZATION`; `None`: back to who connected.
    pub(super) fn take_on(&mut self, setting: &str, value: Option<&str>, local: bool) -> Result<()> {
        let catalog = self.engine.catalog();
        let roles = catalog.roles();
        let mut identity = self.settings.identity().clone();
        // A string may be NONE as well.
        let value = value.filter(|v| !(setting == ROLE && v.eq_ignore_ascii_case("none")));
        let wanted = value.map(|name| roles.named(name).ok_or_else(|| Error::new(Kind::InvalidParameter, format!("role \"{name}\" does not exist"))));
        let wanted = wanted.transpose()?;
        if setting == SESSION_AUTHORIZATION {
            let role = wanted.or_else(|| roles.get(identity.login)).ok_or_else(|| Error::internal("the session's role is gone"))?;
            if role.oid != identity.login && !roles.is_superuser(identity.login) {
                return Err(Error::new(Kind::InsufficientPrivilege, "permission denied to set session authorization"));
            }
            (identity.session, identity.role) = (role.into(), None);
        } else {
            if let Some(role) = wanted.filter(|r| !roles.is_member(identity.session.oid, r.oid)) {
                return Err(Error::new(Kind::InsufficientPrivilege, format!("permission denied to set role \"{}\"", role.name)));
            }
            identity.role = wanted.map(Named::from);
        }
        identity.superuser = roles.is_superuser(identity.current());
        let before = self.settings.clone();
        Arc::make_mut(&mut self.settings).take_on(identity, local);
        self.tell_changes(&before);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::roles::Roles;

    fn origin(address: &str, encrypted: bool, certificate: Option<&str>) -> Origin {
        Origin { address: format!("{address}:1").parse().unwrap(), encrypted, certificate: certificate.map(str::to_owned) }
    }

    fn catalog(with_password: bool) -> Catalog {
        let mut roles = Roles::default();
        let verifier = with_password.then(|| "v".to_owned());
        roles.add(Role { login: true, verifier, valid_until: Some(100), ..Role::new(100, "ann") }).unwrap();
        Catalog::default().with_roles(roles)
    }

    #[test]
    fn this_machine_is_trusted_until_somebody_has_a_password() {
        let door = Door::default();
        let local = origin("127.0.0.1", false, None);
        assert!(door.admission(&catalog(false), "anybody", &local, 0).unwrap() == Admission::Trusted);
        let password = |user: &str, now| match door.admission(&catalog(true), user, &local, now).unwrap() {
            Admission::Password { verifier, .. } => verifier,
            Admission::Trusted => panic!("{user} was trusted"),
        };
        assert_eq!(password("ann", 0).as_deref(), Some("v"));
        // Behind VALID UNTIL, and for nobody, no password is right.
        assert_eq!((password("ann", 100), password("nobody", 0)), (None, None));
    }

    #[test]
    fn who_comes_from_afar_has_a_password_and_is_encrypted() {
        let far = |encrypted, certificate| origin("192.168.1.7", encrypted, certificate);
        let door = Door::default();
        assert_eq!(door.admission(&catalog(true), "ann", &far(false, None), 0).err().unwrap().sqlstate(), "28000");
        assert!(matches!(door.admission(&catalog(false), "ann", &far(true, None), 0).unwrap(), Admission::Password { verifier: None, .. }));
        assert!(door.admission(&catalog(true), "ann", &far(true, Some("ann")), 0).unwrap() == Admission::Trusted);
        for (user, certificate) in [("ann", "bob"), ("nobody", "nobody")] {
            assert!(door.admission(&catalog(true), user, &far(true, Some(certificate)), 0).unwrap() != Admission::Trusted, "{user} as {certificate}");
        }
        let trusting = Door { auth: Auth::Trust, plain_from_afar: true };
        assert!(trusting.admission(&catalog(true), "ann", &far(false, None), 0).unwrap() == Admission::Trusted);
    }
}
