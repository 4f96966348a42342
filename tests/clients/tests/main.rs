//! One program for all tests, so that it is linked once.

mod cancel;
mod docs;
mod handles;
mod health;
mod hostile;
mod jdbc;
mod metadata;
mod puts;
mod python;
mod sessions;
mod statements;
mod tls;
