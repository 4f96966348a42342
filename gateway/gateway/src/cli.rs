//! The command line. Its help is the first page of the manual that most people read.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// An open data gateway: push rows in, ask SQL.
#[derive(Debug, Parser)]
#[command(
    name = "lakegate",
    version,
    arg_required_else_help = true,
    after_help = "\
Try it:
  lakegate demo                                  a gateway with real data, on port 7780
  lakegate sql 'SELECT count(*) FROM demo.flights'

Settings come from flags, then LAKEGATE__SECTION__KEY in the environment, then the file, then
defaults. `lakegate config` shows what is in effect; `--set rest.listen=0.0.0.0:7780` sets any of them."
)]
pub(crate) struct Cli {
    /// Settings file [default: ./lakegate.toml, else ~/.config/lakegate/lakegate.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where catalog and tables are kept [default: ~/.local/share/lakegate]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Any setting by its name, such as query.timeout=30s; may be repeated
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a gateway on your data folder
    ///
    /// Prints `listening rest=http://… flight=grpc://…` on standard output once it takes requests. The first start
    /// creates an owner and writes its token to <data-dir>/owner-token. SIGTERM or Ctrl-C lets running
    /// requests end; a second Ctrl-C ends at once.
    Serve(ServeArgs),
    /// Run a gateway with real data to play with
    ///
    /// Loads earthquakes, airports and flights through the public push API into <data-dir>/demo, once,
    /// and makes them readable by anyone who reaches the port (by default only this machine).
    Demo(DemoArgs),
    /// Run the catalog alone, for several gateways to share
    ///
    /// It holds metadata, principals and grants, and never sees a row. Prints `listening catalog=http://…` on standard output
    /// once it takes calls. The first start writes the token of its gateways to <data-dir>/gateway-token: copy the file to
    /// each of them, and set catalog.url and catalog.token_file there.
    Catalog,
    /// Show the settings in effect, secrets hidden
    Config,
    /// Create, list and revoke API tokens of a running gateway
    Token(TokenArgs),
    /// Ask a running gateway in SQL, once or in a shell
    Sql(SqlArgs),
    /// Copy an instance into a new folder, also while it serves
    ///
    /// All rows that were acknowledged before it began are in the copy. `lakegate serve --data-dir FOLDER` runs it. The
    /// folder holds the owner's token and what is private in the catalog: keep it as safe as the instance.
    Backup(BackupArgs),
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "it takes an IP address and a port, such as 127.0.0.1:7790".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address and port for REST; port 0 takes any free one [default: 127.0.0.1:7780]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The folder to make; it is whole once it is there
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Address and port for REST; port 0 takes any free one [default: 127.0.0.1:7780]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    pub(crate) listen: Option<SocketAddr>,
    /// Delete the demo's data first and start over
    #[arg(long)]
    pub(crate) reset: bool,
}

/// Which gateway, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The gateway
    #[arg(long, env = "LAKEGATE_URL", default_value = "http://127.0.0.1:7780", value_name = "URL")]
    pub(crate) url: String,
    /// An API token
    #[arg(long, env = "LAKEGATE_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
}

/// Tokens are made by whoever has one: your own, or anyone's for an owner of the instance. Without
/// --token, the owner's token in <data-dir>/owner-token is used.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token and print it; it cannot be shown again
    Create {
        #[command(flatten)]
        target: Target,
        /// Whose token; yours when not given
        #[arg(long, value_name = "PRINCIPAL")]
        principal: Option<String>,
        /// Create the principal first if it does not exist
        #[arg(long, requires = "principal")]
        create_principal: bool,
        /// What you call the token
        #[arg(long, default_value = "cli", value_name = "NAME")]
        name: String,
        /// After how many seconds it stops working; never when not given
        #[arg(long, value_name = "SECONDS")]
        expires_in: Option<u64>,
    },
    /// List the tokens of a principal; never the tokens themselves
    List {
        #[command(flatten)]
        target: Target,
        /// Whose tokens; yours when not given
        #[arg(long, value_name = "PRINCIPAL")]
        principal: Option<String>,
    },
    /// Make a token stop working at once
    Revoke {
        #[command(flatten)]
        target: Target,
        /// The token's id, from `lakegate token list`
        id: String,
    },
}

/// Without a statement, a shell (or the statements on standard input): end a statement with `;`, `\q` leaves, `\d` lists tables.
#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// The statement; a shell starts when it is left out
    pub(crate) statement: Option<String>,
    #[command(flatten)]
    pub(crate) target: Target,
    /// How to print rows
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub(crate) format: Output,
    /// At most this many rows [default: 1000 for tables, all for csv and ndjson]
    #[arg(long, value_name = "ROWS")]
    pub(crate) limit: Option<u64>,
}

/// How `lakegate sql` prints rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Aligned columns
    Table,
    /// CSV with a header
    Csv,
    /// One JSON object per line
    Ndjson,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
