//! The binary `lakegate`: reads the command line, wires the parts, and runs one of the commands.
//!
//! This is the only crate that names concrete adapters (SQLite, a folder, a socket). Start at
//! [`serve`], where everything is put together once.

mod backup;
mod catalog;
mod causes;
mod cli;
mod client;
mod data_folder;
mod demo;
mod failure;
mod issuers;
mod jobs;
mod logging;
mod news;
mod roster;
mod serve;
mod server;
mod settings;
mod sql;
mod stall;
mod sweep;
mod telemetry;
mod tls;
mod token;
mod trail;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Two TLS providers are in the dependency tree; the first TLS use would not know which to take.
    // It fails only if one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Serve(_) => serve::command(&cli),
        Command::Demo(demo) => demo::command(&cli, demo),
        Command::Backup(args) => backup::command(&cli, args),
        Command::Catalog => catalog::command(&cli),
        Command::Config => settings::command(&cli),
        Command::Token(token) => token::command(&cli, token),
        Command::Sql(sql) => sql::command(&cli, sql),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
