//! Logs go to standard error: text on a terminal, JSON otherwise.

use std::io::IsTerminal as _;

use lakegate_config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

use crate::failure::{Failure, Result};

/// Starts logging for the whole process.
pub(crate) fn start(log: &Log) -> Result<()> {
    let filter = EnvFilter::try_new(directives(&log.level))
        .map_err(|e| Failure::usage(format!("log.level `{}` is not valid: {e}; use info or debug", log.level)))?;
    let text = match log.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    // When standard error is gone there is nobody to tell, and nothing to panic about.
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    let started = if text {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    };
    started.map_err(|e| Failure::other(format!("logging cannot start: {e}")))
}

/// The parts that replay Delta logs tell their whole story at `info`; ours is enough unless asked.
fn directives(level: &str) -> String {
    if level.contains('=') { level.to_owned() } else { format!("{level},buoyant_kernel=warn,deltalake_core=warn") }
}
