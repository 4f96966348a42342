//! The REST protocol: routes under `/v1`, health, metrics, the API document and the start page.
//!
//! A handler reads the request, makes one call, and answers. It decides nothing about data: rows go
//! to `lakegate-ingest`, statements to `lakegate-query`, rights to the catalog. It knows nothing of
//! other protocols, and it opens no socket: the binary serves the router.
//!
//! Start at [`App`], what every handler sees, and [`router`], the table of contents.

mod answer;
mod answer_document;
mod app;
mod audit;
mod caller;
mod dataset_change;
mod datasets;
mod docs;
mod edge;
mod events;
mod extract;
mod followers;
mod grants;
mod groups;
mod health;
mod ingest;
mod jobs;
mod login;
mod maintenance;
mod media;
mod metrics;
mod namespaces;
mod observe;
mod openapi;
mod page;
mod policy;
mod principals;
mod problem;
mod queries;
mod query;
mod query_string;
mod receipts;
mod refusals;
mod rows;
mod strict_json;
mod tag;
mod tokens;
mod trace;
mod versions;
mod whoami;
mod words;

pub use app::{Answers, App};
pub use edge::{Adopt, Edge};
pub use metrics::{Metrics, Totals};
pub use openapi::{document, router};
pub use trace::TRACE;
