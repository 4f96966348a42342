//! The catalog over HTTP: the companion's server, and the client that gateways use.
//!
//! One call of the traits is one request. It decides nothing: the server hands each call to the catalog that it was given,
//! and the client answers what came back, the error too. Which process may ask is decided by tokens of gateways.
//!
//! The main types are [`HttpCatalog`], a [`Catalog`](lakegate_catalog::Catalog) for gateways, and [`routes`], which
//! serves one. In reading order: `protocol` lists the calls, `server` answers them, `client` makes them.

mod client;
mod counts;
mod openapi;
mod protocol;
mod refusal;
mod server;

pub use client::{ClientError, HttpCatalog, HttpOptions};
pub use server::{Companion, routes};
