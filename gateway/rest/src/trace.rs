//! Spans for a collector of traces. They are apart from the log: the names of things stay out of them.

/// The target of every such span. They are at the level `TRACE`, which the log does not show.
pub use lakegate_ingest::TRACE;

/// Runs a step within a span of its own.
macro_rules! step {
    ($name:literal, $work:expr) => {
        tracing::Instrument::instrument($work, tracing::trace_span!(target: $crate::trace::TRACE, $name))
    };
}
pub(crate) use step;
