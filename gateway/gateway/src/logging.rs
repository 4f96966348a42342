//! Logs go to standard error: text on a terminal, JSON otherwise. Spans go to the collector, if there is one.

use std::io::IsTerminal as _;

use lakegate_config::{Log, LogFormat};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::failure::{Failure, Result};
use crate::telemetry::Telemetry;

/// Starts logging for the whole process.
pub(crate) fn start(log: &Log, telemetry: Option<&Telemetry>) -> Result<()> {
    let filter = EnvFilter::try_new(directives(&log.level))
        .map_err(|e| Failure::usage(format!("log.level `{}` is not valid: {e}; use info or debug", log.level)))?;
    let text = match log.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    // When standard error is gone there is nobody to tell, and nothing to panic about.
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let lines = if text {
        lines.with_ansi(std::io::stderr().is_terminal()).boxed()
    } else {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    };
    let started =
        tracing_subscriber::registry().with(lines.with_filter(filter)).with(telemetry.map(Telemetry::layer)).try_init();
    started.map_err(|e| Failure::other(format!("logging cannot start: {e}")))?;
    std::panic::set_hook(Box::new(tell));
    Ok(())
}

/// A panic is a line of the log like any other. What a library makes of damaged bytes has become an error by then: a
/// client that sends many fills no log.
fn tell(panic: &std::panic::PanicHookInfo<'_>) {
    if lakegate_formats::is_guarded() {
        tracing::debug!(%panic, "a library gave up on a body");
    } else {
        tracing::error!(%panic, backtrace = %std::backtrace::Backtrace::capture(), "panicked");
    }
}

/// The parts that replay Delta logs tell their whole story at `info`; ours is enough unless asked. What is wrong with a
/// certificate is in the error of whoever asked. Spans for the collector are not for people.
fn directives(level: &str) -> String {
    let quiet = ",buoyant_kernel=warn,deltalake_core=warn,rustls_platform_verifier=off";
    let quiet = if level.contains('=') { "" } else { quiet };
    format!("{level}{quiet},lakegate_trace=off")
}
