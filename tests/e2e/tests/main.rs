//! The real binary, from outside. One file per thing that a client can ask for; [`lakegate_e2e`] is how.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod catalog_faults;
#[cfg(test)]
mod change;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod companion;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod datasets;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod edge;
#[cfg(test)]
mod events;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod invisible;
#[cfg(test)]
mod issuers;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod jobs_faults;
#[cfg(test)]
mod jobs_sight;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod maintenance;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod observe;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod push;
#[cfg(test)]
mod queries;
#[cfg(test)]
mod query;
#[cfg(test)]
mod schemathesis;
#[cfg(test)]
mod sql_shell;
#[cfg(test)]
mod stores;
#[cfg(test)]
mod telemetry;
#[cfg(test)]
mod tenancy;
#[cfg(test)]
mod time_travel;
