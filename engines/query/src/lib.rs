//! SQL for a caller: a sandbox around DataFusion.
//!
//! A statement is bounded and checked node by node, resolved against the datasets that its caller
//! may see, planned on a thread of its own and run on a runtime of its own, within a memory budget,
//! a spill quota and a deadline. No file, URL, setting or environment is reachable.
//!
//! It is not a database: it never writes, keeps no session, and knows neither HTTP nor Flight. The
//! main type is [`Engine`]; [`Engine::query`] answers a [`QueryStream`].
//!
//! In reading order: `engine` admits and wires; `statement` parses and checks; `moment`, `open` and
//! `versions` find the datasets and which version of each; `session` and `plan`
//! make the plan; `functions` and `alive` put bounds into it; `stream` runs it; `running`, `record`, `watch`,
//! `memory`, `spill`, `pace` and `planner` hold the limits and what is told of a query; `translate` turns errors into words.

mod alive;
mod engine;
mod error;
mod explain;
mod functions;
mod information_schema;
mod memory;
mod moment;
mod open;
mod pace;
mod plan;
mod planner;
mod record;
mod running;
mod session;
mod spill;
mod statement;
mod stream;
mod translate;
mod versions;
mod watch;

pub use engine::{Engine, EngineOptions, PreparedQuery, QueryRequest, Usage};
pub use error::{Position, QueryError, Result};
pub use moment::{AsOf, Moment};
pub use pace::Pace;
pub use record::{QueryInfo, QueryState, Viewer};
pub use statement::Params;
pub use stream::QueryStream;
