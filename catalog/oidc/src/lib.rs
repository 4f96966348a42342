//! Bearer tokens of OpenID Connect issuers: whether one is genuine, and who it speaks for.
//!
//! [`Issuers`] is given the settings of each [`Issuer`] and answers one question: whom does this JWT name, now? It decides
//! nothing about rights and keeps nothing but the issuers' public keys. It does not log anybody in, calls no issuer but for
//! its keys, and knows no other crate of ours. Signatures are judged by `jsonwebtoken`; what a token says is read here,
//! strictly, for what two readers understand differently is how a token is forged.
//!
//! In reading order: `settings` checks what an operator wrote, `token` takes a token apart, `claims` judges what it says,
//! `jwks` is a set of keys, `fetch` asks the issuer for it, `keys` keeps it and knows when to ask again. `json` and
//! `address` are what those lean on.

mod address;
mod claims;
mod error;
mod fetch;
mod issuers;
mod json;
mod jwks;
mod keys;
mod settings;
mod token;

pub use claims::Claims;
pub use error::JwtError;
pub use issuers::Issuers;
pub use keys::Clock;
pub use settings::{Issuer, SettingsError};
