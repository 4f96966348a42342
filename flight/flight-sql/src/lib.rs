//! The Arrow Flight SQL protocol: one file per family of calls.
//!
//! A call reads its request, makes one call of the layers below, and answers. It decides nothing about data: statements go
//! to `lakegate-query`, rows to `lakegate-ingest`, rights to the catalog. It knows nothing of REST, and it opens no socket:
//! the binary serves the routes.
//!
//! What it hands out (tickets, handles of prepared statements, sessions) is signed with the key that the catalog keeps and
//! holds all that is needed to go on: any gateway of the instance takes it back, and none remembers it.
//!
//! The main types are [`Flight`], what every call sees, and [`routes`], which serves it. In reading order: `service` is the
//! table of contents, `statement` and `prepared` ask, `answer` streams, `put` and `ingest` store, `metadata` tells what
//! there is, `session` and `caller` say who asks and how.

mod answer;
mod audit;
mod caller;
mod calls;
mod cancel;
mod fields;
mod frames;
mod handshake;
mod ingest;
mod metadata;
mod params;
mod prepared;
mod put;
mod reflection;
mod service;
mod session;
mod statement;
mod status;

pub use service::{Flight, Options, routes};
