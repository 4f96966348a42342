//! Drives the real `lakegate` binary from outside: starts it as a process on port 0 with a data folder
//! of its own, speaks to its sockets, stops it politely or kills it.
//!
//! It links none of our other crates: what it can do, a client can do. The binary is the one that the
//! environment variable `LAKEGATE_BIN` names; `make test` builds it and sets the variable.
//!
//! [`Gateway`] is the process, [`Client`] speaks to it. Then, in reading order:
//! - [`gateway`]: start, stop, kill, restart
//! - [`client`]: requests and answers
//! - [`companion`]: the catalog in a process of its own
//! - [`flight`]: the same over Flight
//! - [`issuer`]: an issuer of OpenID Connect on this machine
//! - [`open_push`]: a push that is not at its end
//! - [`recorder`]: a catalog that remembers what it was asked
//! - [`process`]: what the operating system says about the process
//! - [`hostile`]: bad requests as data, and the runner that judges the answers
//! - [`crash`]: pushes under kill -9
//! - [`emulator`]: object stores on this machine, [`bucket`]: what they hold
//! - [`cluster`]: two gateways, their companion and PostgreSQL, of which any is killed; [`postgres`]: a server for that
//! - [`overload`]: more load than a gateway can bear
//! - [`faults`]: an object store that fails in every way, and the proof that no row is lost or doubled

pub mod bucket;
pub mod client;
pub mod cluster;
pub mod companion;
pub mod crash;
pub mod emulator;
pub mod faults;
pub mod flight;
pub mod gateway;
pub mod hostile;
pub mod issuer;
pub mod open_push;
pub mod overload;
pub mod postgres;
pub mod process;
pub mod recorder;

pub use bucket::Bucket;
pub use client::{Answer, Client};
pub use companion::Companion;
pub use emulator::{Azurite, Moto};
pub use flight::FlightClient;
pub use gateway::{Gateway, Options};
pub use open_push::OpenPush;
pub use postgres::Postgres;

/// The result of a step of a test; the error says what was expected and what came.
pub type Result<T = (), E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// A variable that `make test` sets, or an error that says how.
pub fn environment(name: &str, how: &str) -> Result<String> {
    #[expect(clippy::disallowed_methods, reason = "the one place where tests read their environment")]
    std::env::var(name).map_err(|_| format!("{name} is not set: {how}, or run `make test`").into())
}
