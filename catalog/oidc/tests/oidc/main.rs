//! Tokens of issuers on this machine: genuine, forged and stale ones, and issuers that fail in every way.

mod claims;
mod fetching;
mod forms;
mod genuine;
mod headers;
mod issuer;
mod keeping;
mod settings;
mod signer;
mod stage;
mod tls;
