//! Somebody who waits, as the matcher keeps it.

use std::time::Instant;

use super::offer::{Offer, Role};
use crate::{Key, Origin, Realm, Side};

#[derive(Debug)]
pub(super) struct Waiter<Conn> {
    pub(super) conn: Conn,
    pub(super) realm: Realm,
    pub(super) key: Key,
    pub(super) role: Role,
    pub(super) origin: Option<Origin>,
    pub(super) receivers: u16,
    pub(super) has_deadline: bool,
}

impl<Conn> Waiter<Conn> {
    pub(super) fn is_of(&self, realm: Realm, key: &Key) -> bool {
        self.realm == realm && self.key == *key
    }

    pub(super) fn is_uploader(&self) -> bool {
        self.role == Role::Side(Side::Upload)
    }

    pub(super) fn into_offer(self, deadline: Option<Instant>) -> Offer<Conn> {
        Offer {
            realm: self.realm,
            key: self.key,
            role: self.role,
            origin: self.origin,
            deadline,
            may_wait: true,
            exclusive: false,
            receivers: self.receivers,
            conn: self.conn,
        }
    }
}
