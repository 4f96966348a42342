//! What is handed out and comes back: a message, who may use it, until when, and a signature over all of it.

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use lakegate_catalog::{Caller, InstanceKey};
use prost::Message;
use sha2::Sha256;

use crate::error::{Result, WireError};

/// What a handle is for; one for one thing is none for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To fetch an answer.
    Ticket = 1,
    /// A prepared statement.
    Prepared = 2,
    /// Options of a session, in a cookie.
    Session = 3,
}

impl Purpose {
    /// How long it can be used.
    fn lasts(self) -> TimeDelta {
        match self {
            Self::Ticket => TimeDelta::hours(1),
            Self::Prepared | Self::Session => TimeDelta::hours(24),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Prepared => "handle of a prepared statement",
            Self::Session => "session",
        }
    }
}

/// What the signature covers.
#[derive(Clone, PartialEq, Message)]
struct Sealed {
    #[prost(int32, tag = "1")]
    purpose: i32,
    /// The principal's id; empty for anonymous callers.
    #[prost(string, tag = "2")]
    principal: String,
    /// Seconds since 1970.
    #[prost(int64, tag = "3")]
    expires: i64,
    #[prost(bytes = "vec", tag = "4")]
    message: Vec<u8>,
}

/// Bytes of the signature.
const SIGNATURE: usize = 32;

/// Signs, and knows its own signature again.
#[derive(Clone)]
pub struct Seal(InstanceKey);

impl Seal {
    /// Signs with the instance's key, so that each of its gateways knows what another has given.
    pub fn new(key: InstanceKey) -> Self {
        Self(key)
    }

    /// A handle for this caller, from now on for as long as handles of this purpose last.
    pub fn close(&self, purpose: Purpose, caller: &Caller, message: &impl Message) -> Vec<u8> {
        self.close_until(purpose, caller, message, Utc::now() + purpose.lasts())
    }

    fn close_until(&self, purpose: Purpose, caller: &Caller, message: &impl Message, until: DateTime<Utc>) -> Vec<u8> {
        let sealed = Sealed {
            purpose: purpose as i32,
            principal: principal(caller),
            expires: until.timestamp(),
            message: message.encode_to_vec(),
        };
        let body = sealed.encode_to_vec();
        let mut handle = self.signer(&body).finalize().into_bytes().to_vec();
        handle.extend_from_slice(&body);
        handle
    }

    /// What a handle holds. Errors: `invalid_handle` for one that was not made here for this purpose, `expired_handle`,
    /// `denied` for another caller's.
    pub fn open<M: Message + Default>(&self, purpose: Purpose, caller: &Caller, handle: &[u8]) -> Result<M> {
        let what = purpose.name();
        let foreign = || WireError::Foreign(what);
        let (signature, body) = handle.split_at_checked(SIGNATURE).ok_or_else(foreign)?;
        self.signer(body).verify_slice(signature).map_err(|_| foreign())?;
        let sealed = Sealed::decode(body).map_err(|_| foreign())?;
        if sealed.purpose != purpose as i32 {
            return Err(foreign());
        }
        if sealed.principal != principal(caller) {
            return Err(WireError::Denied(what));
        }
        if sealed.expires < Utc::now().timestamp() {
            return Err(WireError::Expired(what));
        }
        M::decode(sealed.message.as_slice()).map_err(|_| foreign())
    }

    #[expect(clippy::expect_used, reason = "an HMAC takes a key of any length")]
    fn signer(&self, body: &[u8]) -> Hmac<Sha256> {
        let mut signer = Hmac::<Sha256>::new_from_slice(self.0.reveal()).expect("any length");
        signer.update(b"lakegate flight handle 1\0");
        signer.update(body);
        signer
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(hidden)")
    }
}

fn principal(caller: &Caller) -> String {
    caller.principal().map(|principal| principal.id.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use lakegate_catalog::{Principal, PrincipalId, PrincipalKind};

    use super::*;

    #[derive(Clone, PartialEq, Message)]
    struct Note {
        #[prost(string, tag = "1")]
        text: String,
    }

    #[test]
    fn only_what_was_given_is_taken_back() {
        let seal = Seal::new(InstanceKey::generate());
        let note = Note { text: "SELECT 1".to_owned() };
        let nobody = Caller::Anonymous;
        let handle = seal.close(Purpose::Ticket, &nobody, &note);
        assert_eq!(seal.open::<Note>(Purpose::Ticket, &nobody, &handle).expect("ours"), note);
        let code = |seal: &Seal, purpose, handle: &[u8]| {
            seal.open::<Note>(purpose, &nobody, handle).expect_err("not to be opened").code()
        };
        assert_eq!(code(&seal, Purpose::Prepared, &handle), "invalid_handle");
        assert_eq!(code(&Seal::new(InstanceKey::generate()), Purpose::Ticket, &handle), "invalid_handle");
        for at in 0..handle.len() {
            let mut bad = handle.clone();
            bad[at] ^= 1;
            assert_eq!(code(&seal, Purpose::Ticket, &bad), "invalid_handle", "{at}");
            assert_eq!(code(&seal, Purpose::Ticket, &handle[..at]), "invalid_handle", "{at}");
        }
    }

    #[test]
    fn a_handle_is_its_callers_and_expires() {
        let seal = Seal::new(InstanceKey::generate());
        let note = Note { text: "SELECT 1".to_owned() };
        let ann = Caller::from(Principal {
            id: PrincipalId::generate(),
            name: "ann".to_owned(),
            kind: PrincipalKind::User,
            created_at: Utc::now(),
        });
        for purpose in [Purpose::Ticket, Purpose::Prepared, Purpose::Session] {
            let hers = seal.close(purpose, &ann, &note);
            assert_eq!(seal.open::<Note>(purpose, &ann, &hers).as_ref(), Ok(&note));
            assert_eq!(seal.open::<Note>(purpose, &Caller::Anonymous, &hers), Err(WireError::Denied(purpose.name())));
            let old = seal.close_until(purpose, &ann, &note, Utc::now() - TimeDelta::seconds(2));
            assert_eq!(seal.open::<Note>(purpose, &ann, &old), Err(WireError::Expired(purpose.name())));
        }
    }
}
