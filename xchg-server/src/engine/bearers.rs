//! Whether peers may exchange what they want to: at some listeners that takes a token.

use std::sync::Arc;

use xchg_core::Realm;
use xchg_core::wire::RefusalCode;

use super::Engine;
use crate::access::{Access, Denied, Tenant};
use crate::dialect::http::Request;
use crate::dialect::{Arrival, Dialect};
use crate::engine::net::Net;

/// Who bears the token that a peer has shown: nobody in particular if it needed none.
pub(crate) type Bearer = Option<Arc<Tenant>>;

impl<N: Net> Engine<N> {
    /// Whose token a request shows, where it needs one; tells it if the listener wants one.
    pub(super) fn bearer_of_request(
        &mut self,
        slot: u32,
        request: &mut Request,
    ) -> Result<Bearer, Denied> {
        let connection = &self.connections[slot as usize];
        if self.shared.config.access_at(connection.listener) == Access::Open {
            return Ok(None);
        }
        request.ask_for_token();
        if !request.is_for_a_key() {
            return Ok(None);
        }
        let now = self.timers.instant();
        let bearer = self.shared.gate.bearer(request.token(), connection.origin, now)?;
        if request.borrows_token(&self.shared.config.allow_origins) {
            return Err(Denied::Borrowed);
        }
        check_key(bearer.as_deref(), Some(request.key()))?;
        Ok(bearer)
    }

    /// Whose token the offer of any other dialect shows, where it needs one.
    pub(super) fn bearer_of_offer(
        &mut self,
        slot: u32,
        dialect: Dialect,
        arrival: &Arrival,
    ) -> Result<Bearer, Denied> {
        let connection = &self.connections[slot as usize];
        match (self.shared.config.access_at(connection.listener), dialect) {
            (Access::Open, _) => return Ok(None),
            (Access::Token, Dialect::Native | Dialect::Http) => {}
            (Access::Token, Dialect::Classic | Dialect::Transit) => return Err(Denied::Wordless),
        }
        let now = self.timers.instant();
        let token = arrival.token.as_ref();
        let bearer = self.shared.gate.bearer(token, connection.origin, now)?;
        // Sealed peers meet under a hash. One that has no secret says the key itself; what one with
        // a secret calls it is nobody's business.
        let key = match arrival.realm {
            Realm::Plain => Some(&arrival.key),
            _ => arrival.twin.as_ref(),
        };
        check_key(bearer.as_deref(), key.map(|key| key.as_bytes()))?;
        Ok(bearer)
    }
}

/// Whether a tenant may use a key, if that is known.
fn check_key(tenant: Option<&Tenant>, key: Option<&[u8]>) -> Result<(), Denied> {
    match (tenant, key) {
        (Some(tenant), Some(key)) => tenant.check_key(key),
        _ => Ok(()),
    }
}

impl Denied {
    /// What it is to a native peer, and in the log.
    pub(super) fn code(&self) -> RefusalCode {
        match self {
            Self::TooManyGuesses(_) => RefusalCode::Busy,
            _ => RefusalCode::Forbidden,
        }
    }

    /// As a native peer is told.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Missing => format!("{self}: give xchg-client one by --token or XCHG_TOKEN"),
            _ => self.to_string(),
        }
    }
}
