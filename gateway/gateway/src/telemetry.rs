//! Traces and metrics for a collector, over OTLP/HTTP, when `otel.endpoint` is set.
//!
//! Sending has threads and bounded queues of its own: when the collector is slow or gone, what does not fit is dropped
//! and no request waits. Spans hold methods, routes and statuses; no SQL, no names, no addresses, no secrets.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use lakegate_config::Otel;
use lakegate_rest::{Adopt, Metrics, TRACE, Totals};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{MetricExporter, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::failure::{Failure, Result};

/// For one request to the collector.
const SEND_WITHIN: Duration = Duration::from_secs(5);

/// What is sent, and where. Ends with [`Telemetry::finish`].
pub(crate) struct Telemetry {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

impl Telemetry {
    /// Starts the threads that send; `None` when there is nowhere to send to. Call it outside of a runtime.
    pub(crate) fn start(otel: &Otel) -> Result<Option<Self>> {
        let Some(endpoint) = &otel.endpoint else { return Ok(None) };
        let failed = |e: opentelemetry_otlp::ExporterBuildError| Failure::usage(format!("{e}; see otel.endpoint"));
        let spans = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .with_timeout(SEND_WITHIN)
            .build()
            .map_err(failed)?;
        let counts = MetricExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{endpoint}/v1/metrics"))
            .with_timeout(SEND_WITHIN)
            .build()
            .map_err(failed)?;
        let resource = Resource::builder().with_service_name("lakegate").build();
        let traces = SdkTracerProvider::builder().with_batch_exporter(spans).with_resource(resource.clone()).build();
        let reader = PeriodicReader::builder(counts).with_interval(otel.interval).build();
        let metrics = SdkMeterProvider::builder().with_reader(reader).with_resource(resource).build();
        Ok(Some(Self { traces, metrics }))
    }

    /// The layer that turns our spans into theirs; it sees no other.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.traces.tracer("lakegate"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(TRACE, LevelFilter::TRACE))
    }

    /// Makes a request part of the trace that its `traceparent` names.
    pub(crate) fn adopt() -> Adopt {
        let propagator = TraceContextPropagator::new();
        Arc::new(move |span, headers| {
            // Fails only when nothing is traced.
            let _ = span.set_parent(propagator.extract(&Headers(headers)));
        })
    }

    /// Sends these counts too.
    pub(crate) fn observe(&self, counts: &Arc<Metrics>) {
        /// A count by its name.
        type Count = (&'static str, fn(&Totals) -> u64);
        const GROWING: [Count; 6] = [
            ("lakegate.http.requests", |t| t.requests),
            ("lakegate.queries", |t| t.queries),
            ("lakegate.query.rows", |t| t.query_rows),
            ("lakegate.pushes", |t| t.pushes),
            ("lakegate.push.rows", |t| t.push_rows),
            ("lakegate.push.bytes", |t| t.push_bytes),
        ];
        const NOW: [Count; 5] = [
            ("lakegate.http.requests.running", |t| t.requests_running),
            ("lakegate.queries.running", |t| t.queries_running),
            ("lakegate.queries.queued", |t| t.queries_queued),
            ("lakegate.pushes.running", |t| t.pushes_running),
            ("lakegate.process.memory", |t| t.process_memory),
        ];
        let meter = self.metrics.meter("lakegate");
        for (name, read) in GROWING {
            let counts = Arc::clone(counts);
            meter
                .u64_observable_counter(name)
                .with_callback(move |observer| observer.observe(read(&counts.totals()), &[]))
                .build();
        }
        for (name, read) in NOW {
            let counts = Arc::clone(counts);
            meter
                .u64_observable_gauge(name)
                .with_callback(move |observer| observer.observe(read(&counts.totals()), &[]))
                .build();
        }
    }

    /// Sends what is left, for a moment.
    pub(crate) fn finish(self) {
        for (what, ended) in [
            ("traces", self.traces.shutdown_with_timeout(SEND_WITHIN)),
            ("metrics", self.metrics.shutdown_with_timeout(SEND_WITHIN)),
        ] {
            if let Err(error) = ended {
                tracing::warn!(%error, "the last {what} could not be sent");
            }
        }
    }
}

/// The headers of a request, for the propagator.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}
