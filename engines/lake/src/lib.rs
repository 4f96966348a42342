//! A dataset on object storage: one Delta table per dataset, under one root.
//!
//! delta-rs gives the log: creation, replay at open, serialised commits, checkpoints and log
//! clean-up. Ours are the Parquet [`writer`](Append), the scan ([`Snapshot::provider`]) under the synthetic
//! `lake://<dataset-id>/`, so that no host path is in any plan, and the durable local store.
//!
//! It knows nothing of callers, SQL text or HTTP. The main type is [`Lake`]; from it come [`Table`]s,
//! from them [`Snapshot`]s to read and [`Append`]s to write.

mod alter;
mod append;
mod backup;
mod commits;
mod compact;
mod damage;
mod durable;
mod error;
mod history;
mod lake;
mod layout;
mod log;
mod registry;
mod results;
mod scan;
mod snapshot;
mod stats;
mod store;
mod table;
mod txn;
pub mod types;
mod upkeep;
mod vacuum;
mod watched;
mod writer;

pub use append::{Append, Committed};
pub use backup::Copied;
pub use commits::Commits;
pub use compact::{CompactOptions, Compacted};
pub use damage::{Damage, Harm};
pub use error::{LakeError, Result};
pub use history::VersionInfo;
pub use lake::{Lake, LakeOptions};
pub use results::{ResultFile, ResultRows, ResultWriter};
pub use snapshot::Snapshot;
pub use store::{AzureOptions, S3Options, StoreEnvironment, StoreOptions, Which};
pub use table::{Begin, Table};
pub use txn::{PushKey, PushRecord};
pub use upkeep::{Upkeep, UpkeepOptions, Wanted};
pub use vacuum::Vacuumed;
