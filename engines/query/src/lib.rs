//! SQL for a caller: a sandbox around DataFusion.
//!
//! A statement that `lakegate-statement` has bounded and checked node by node is resolved against the datasets that its caller
//! may see, planned on a thread of its own and run on a runtime of its own, within a memory budget,
//! a spill quota and a deadline. No file, URL, setting or environment is reachable.
//!
//! It is not a database: it never writes, keeps no session, and knows neither HTTP nor Flight. The
//! main type is [`Engine`]; [`Engine::query`] answers a [`QueryStream`].
//!
//! In reading order: `engine` admits and wires; `open` and `versions` find the datasets and which version of each, `system` what
//! the instance knows of its own doings; `policy` leaves out what the caller must not see; `session`, `zoned` and `plan` make the plan; `functions` and `alive` put bounds into it; `stream` runs it; `running`, `record`, `watch`,
//! `memory`, `spill` and `planner` hold the limits and what is told of a query, `account` what the audit is told; `background` is what a job keeps of a statement; `translate` turns errors into words.

mod account;
mod alive;
mod background;
mod engine;
mod error;
mod explain;
mod functions;
mod information_schema;
mod kept;
mod memory;
mod open;
mod plan;
mod planner;
mod policy;
mod record;
mod running;
mod session;
mod spill;
mod stream;
mod system;
mod translate;
mod versions;
mod watch;
mod zoned;

pub use background::{BackgroundQuery, KeptAnswer, KeptColumn};
pub use engine::{Description, Engine, EngineOptions, PreparedQuery, QueryRequest, Usage};
pub use error::{QueryError, Result};
pub use lakegate_statement::{AsOf, MAX_STATEMENT, Moment, Params, Position, StatementError, SystemView, TypedValue};
pub use policy::visible_columns;
pub use record::{QueryInfo, QueryState, Viewer};
pub use stream::QueryStream;
pub use watch::available_memory;
