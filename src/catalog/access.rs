//! Who may do what with one thing: its owner, and the grants on it, with Postgres's rules.
//!
//! ```text
//!   no grants were ever made (`None`)   the owner holds everything, PUBLIC what the class of thing says
//!   grants                              what stands there and nothing else: the owner may take rights from himself
//!   the owner                           may always grant, drop and alter, whatever he holds
//! ```

use super::pg::oids;
use crate::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::BitOr;

/// The grantee that stands for everybody.
pub const PUBLIC_ROLE: u32 = 0;

/// A set of privileges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privileges(u16);

/// Each with its letter, as aclitem prints it, in Postgres's order.
const ALL: [(Privileges, char, &str); 6] = [
    (Privileges::INSERT, 'a', "INSERT"),
    (Privileges::SELECT, 'r', "SELECT"),
    (Privileges::UPDATE, 'w', "UPDATE"),
    (Privileges::DELETE, 'd', "DELETE"),
    (Privileges::USAGE, 'U', "USAGE"),
    (Privileges::CREATE, 'C', "CREATE"),
];

impl Privileges {
    pub const NONE: Privileges = Privileges(0);
    pub const INSERT: Privileges = Privileges(1);
    pub const SELECT: Privileges = Privileges(2);
    pub const UPDATE: Privileges = Privileges(4);
    pub const DELETE: Privileges = Privileges(8);
    pub const USAGE: Privileges = Privileges(256);
    pub const CREATE: Privileges = Privileges(512);

    /// Those that a column has as well.
    pub const ON_COLUMNS: Privileges = Privileges(1 | 2 | 4);

    /// By the word of GRANT, in any case.
    pub fn named(word: &str) -> Option<Privileges> {
        ALL.iter().find(|(_, _, name)| name.eq_ignore_ascii_case(word)).map(|(privilege, _, _)| *privilege)
    }

    pub fn contains(self, other: Privileges) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn meets(self, other: Privileges) -> bool {
        self.0 & other.0 != 0
    }

    pub fn both(self, other: Privileges) -> Privileges {
        Privileges(self.0 & other.0)
    }

    pub fn without(self, other: Privileges) -> Privileges {
        Privileges(self.0 & !other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// The words, one privilege each.
    pub fn names(self) -> impl Iterator<Item = (Privileges, &'static str)> {
        ALL.iter().filter(move |(p, _, _)| self.contains(*p)).map(|(p, _, name)| (*p, *name))
    }
}

impl BitOr for Privileges {
    type Output = Privileges;

    fn bitor(self, other: Privileges) -> Privileges {
        Privileges(self.0 | other.0)
    }
}

/// What a thing is, as far as privileges on it go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Relation,
    Schema,
    Secret,
}

impl Class {
    /// All that there are on it.
    pub fn privileges(self) -> Privileges {
        match self {
            Class::Relation => Privileges::INSERT | Privileges::SELECT | Privileges::UPDATE | Privileges::DELETE,
            Class::Schema => Privileges::USAGE | Privileges::CREATE,
            Class::Secret => Privileges::USAGE,
        }
    }

    /// As messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Class::Relation => "table",
            Class::Schema => "schema",
            Class::Secret => "secret",
        }
    }
}

/// What one role granted another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// [`PUBLIC_ROLE`]: everybody.
    pub grantee: u32,
    pub grantor: u32,
    pub privileges: Privileges,
    /// Those that may be handed on.
    pub grantable: Privileges,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    pub owner: u32,
    grants: Option<Vec<Grant>>,
}

impl Default for Access {
    fn default() -> Access {
        Access::of(oids::OWNER)
    }
}

impl Access {
    pub fn of(owner: u32) -> Access {
        Access { owner, grants: None }
    }

    /// A schema that everybody may look names up in.
    pub fn of_open_schema() -> Access {
        let mut access = Access::default();
        access.grant(Class::Schema, PUBLIC_ROLE, oids::OWNER, Privileges::USAGE, false);
        access
    }

    /// What was ever granted; without that, what there is from the beginning.
    pub fn grants(&self, class: Class) -> Cow<'_, [Grant]> {
        match &self.grants {
            Some(grants) => Cow::Borrowed(grants),
            None => Cow::Owned(vec![Grant { grantee: self.owner, grantor: self.owner, privileges: class.privileges(), grantable: Privileges::NONE }]),
        }
    }

    /// What these roles hold, everybody's included.
    pub fn held(&self, class: Class, roles: &BTreeSet<u32>) -> Privileges {
        let theirs = |g: &&Grant| g.grantee == PUBLIC_ROLE || roles.contains(&g.grantee);
        self.grants(class).iter().filter(theirs).fold(Privileges::NONE, |all, g| all | g.privileges)
    }

    /// In whose name these roles grant `wanted`, and what of it they may: the owner all.
    pub fn grantor(&self, class: Class, roles: &BTreeSet<u32>, wanted: Privileges) -> (u32, Privileges) {
        if roles.contains(&self.owner) {
            return (self.owner, wanted);
        }
        let grants = self.grants(class);
        let of = |role: u32| grants.iter().filter(|g| g.grantee == role).fold(Privileges::NONE, |all, g| all | g.grantable).both(wanted);
        roles.iter().map(|role| (*role, of(*role))).max_by_key(|(_, may)| may.count()).unwrap_or((self.owner, Privileges::NONE))
    }

    pub fn grant(&mut self, class: Class, grantee: u32, grantor: u32, privileges: Privileges, with_option: bool) {
        let mut grants = self.grants(class).into_owned();
        let grantable = if with_option { privileges } else { Privileges::NONE };
        match grants.iter_mut().find(|g| g.grantee == grantee && g.grantor == grantor) {
            Some(grant) => {
                grant.privileges = grant.privileges | privileges;
                grant.grantable = grant.grantable | grantable;
            }
            None => grants.push(Grant { grantee, grantor, privileges, grantable }),
        }
        self.grants = Some(grants);
    }

    /// Error: the grantor holds its own option, directly or not, from the grantee: the two would keep each other's (0LP01).
    pub fn check_no_circle(&self, class: Class, grantee: u32, grantor: u32) -> Result<()> {
        let grants = self.grants(class);
        let (mut waiting, mut seen) = (vec![grantor], BTreeSet::new());
        while let Some(role) = waiting.pop() {
            if role == grantee {
                return Err(Error::new(Kind::InvalidGrant, "grant options cannot be granted back to your own grantor"));
            }
            if role != self.owner && seen.insert(role) {
                waiting.extend(grants.iter().filter(|g| g.grantee == role && !g.grantable.is_empty()).map(|g| g.grantor));
            }
        }
        Ok(())
    }

    /// Error: somebody handed on what is taken, and `cascade` does not say to take it from them as well (2BP01).
    pub fn revoke(&mut self, class: Class, grantee: u32, grantor: u32, privileges: Privileges, only_option: bool, cascade: bool) -> Result<()> {
        let mut grants = self.grants(class).into_owned();
        for grant in grants.iter_mut().filter(|g| g.grantee == grantee && g.grantor == grantor) {
            grant.grantable = grant.grantable.without(privileges);
            if !only_option {
                grant.privileges = grant.privileges.without(privileges);
            }
        }
        grants.retain(|g| !g.privileges.is_empty());
        self.grants = Some(grants);
        self.take_dependent(class, grantee, privileges, cascade)
    }

    /// What a role granted without being able to any more.
    fn take_dependent(&mut self, class: Class, grantor: u32, privileges: Privileges, cascade: bool) -> Result<()> {
        if grantor == self.owner || grantor == PUBLIC_ROLE {
            return Ok(());
        }
        let still = self.grants(class).iter().filter(|g| g.grantee == grantor).fold(Privileges::NONE, |all, g| all | g.grantable);
        let lost = privileges.without(still);
        let dependent: Vec<Grant> = self.grants(class).iter().filter(|g| g.grantor == grantor && g.privileges.meets(lost)).cloned().collect();
        if !dependent.is_empty() && !cascade {
            return Err(Error::new(Kind::DependentObjectsExist, "dependent privileges exist").with_hint("Use CASCADE to revoke them too."));
        }
        dependent.iter().try_for_each(|g| self.revoke(class, g.grantee, grantor, lost, false, true))
    }

    /// Whether a role owns it, or a grant on it is by the role or to it.
    pub fn mentions(&self, role: u32) -> bool {
        self.owner == role || self.grants.iter().flatten().any(|g| g.grantee == role || g.grantor == role)
    }

    /// Another owner: what the old one granted is now the new one's.
    pub fn give(&mut self, owner: u32) {
        let before = std::mem::replace(&mut self.owner, owner);
        let Some(grants) = &mut self.grants else { return };
        for grant in std::mem::take(grants) {
            let new = |role: u32| if role == before { owner } else { role };
            let (grantee, grantor) = (new(grant.grantee), new(grant.grantor));
            match grants.iter_mut().find(|g| g.grantee == grantee && g.grantor == grantor) {
                Some(same) => {
                    same.privileges = same.privileges | grant.privileges;
                    same.grantable = same.grantable | grant.grantable;
                }
                None => grants.push(Grant { grantee, grantor, ..grant }),
            }
        }
    }

    /// The grants as aclitem prints them (`ann=r*/tidewater`); `None`: none was ever made.
    pub fn texts(&self, name: &dyn Fn(u32) -> String) -> Option<Vec<String>> {
        let text = |g: &Grant| {
            let star = |p: Privileges| if g.grantable.contains(p) { "*" } else { "" };
            let letters: String = ALL.iter().filter(|(p, _, _)| g.privileges.contains(*p)).map(|(p, letter, _)| format!("{letter}{}", star(*p))).collect();
            let grantee = if g.grantee == PUBLIC_ROLE { String::new() } else { name(g.grantee) };
            format!("{grantee}={letters}/{}", name(g.grantor))
        };
        self.grants.as_ref().map(|grants| grants.iter().map(text).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: u32 = 10;
    const ANN: u32 = 100;
    const BOB: u32 = 101;

    fn held(access: &Access, role: u32) -> Privileges {
        access.held(Class::Relation, &BTreeSet::from([role]))
    }

    #[test]
    fn nobody_but_the_owner_holds_anything_at_first() {
        let access = Access::of(OWNER);
        assert_eq!(held(&access, OWNER), Class::Relation.privileges());
        assert_eq!(held(&access, ANN), Privileges::NONE);
        assert_eq!(access.texts(&|r| r.to_string()), None);
        let open = Access::of_open_schema();
        assert_eq!(open.held(Class::Schema, &BTreeSet::from([ANN])), Privileges::USAGE);
        assert_eq!(open.texts(&|r| r.to_string()).unwrap(), ["10=UC/10", "=U/10"]);
    }

    #[test]
    fn what_was_handed_on_is_taken_only_with_cascade() {
        let mut access = Access::of(OWNER);
        access.grant(Class::Relation, ANN, OWNER, Privileges::SELECT | Privileges::INSERT, false);
        access.grant(Class::Relation, ANN, OWNER, Privileges::SELECT, true);
        let (grantor, may) = access.grantor(Class::Relation, &BTreeSet::from([ANN]), Privileges::SELECT | Privileges::INSERT);
        assert_eq!((grantor, may), (ANN, Privileges::SELECT));
        let mut round = access.clone();
        round.grant(Class::Relation, BOB, ANN, Privileges::SELECT, true);
        assert_eq!(round.check_no_circle(Class::Relation, ANN, BOB).unwrap_err().sqlstate(), "0LP01");
        access.grant(Class::Relation, BOB, ANN, Privileges::SELECT, false);
        assert!(access.check_no_circle(Class::Relation, BOB, ANN).is_ok());
        assert_eq!(access.texts(&|r| r.to_string()).unwrap(), ["10=arwd/10", "100=ar*/10", "101=r/100"]);
        let refused = access.clone().revoke(Class::Relation, ANN, OWNER, Privileges::SELECT, false, false).unwrap_err();
        assert_eq!(refused.sqlstate(), "2BP01");
        access.revoke(Class::Relation, ANN, OWNER, Privileges::SELECT, false, true).unwrap();
        assert_eq!((held(&access, ANN), held(&access, BOB)), (Privileges::INSERT, Privileges::NONE));
        assert!(access.mentions(ANN) && !access.mentions(BOB));
    }

    #[test]
    fn a_new_owner_takes_over_what_the_old_one_granted() {
        let mut access = Access::of(OWNER);
        access.grant(Class::Relation, BOB, OWNER, Privileges::SELECT, false);
        access.give(ANN);
        assert_eq!(access.texts(&|r| r.to_string()).unwrap(), ["100=arwd/100", "101=r/100"]);
        assert!(!access.mentions(OWNER));
    }
}
