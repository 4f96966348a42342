//! Counts of calls, by name and by how they were answered.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tonic::Status;
use tracing::Instrument as _;

use crate::status::Result;

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    method: &'static str,
    code: &'static str,
}

/// What has been counted so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(Family<Labels, Counter>);

impl Calls {
    /// Makes the counts part of what is told of the process.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Calls answered, by method and by the code of the error; a stream counts when it begins";
        registry.register("flight_calls", help, self.0.clone());
    }

    /// Does the work of a call, and counts it.
    pub(crate) async fn counted<T>(
        &self,
        method: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T, Status> {
        let span = tracing::info_span!("flight", method, code = tracing::field::Empty);
        let done = work.instrument(span.clone()).await;
        let code = done.as_ref().map_or_else(|failure| failure.code, |_| "ok");
        span.record("code", code);
        self.0.get_or_create(&Labels { method, code }).inc();
        let _entered = span.enter();
        Ok(done?)
    }
}
