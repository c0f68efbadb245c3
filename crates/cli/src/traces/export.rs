//! Exports spans over OTLP, as protobuf over HTTP.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::Uri;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tidewire_hub::broker::Figure;
use tidewire_hub::trace::TraceParent;
use tidewire_server::spans::{Published, Refused, Spans};

use super::queue::{Door, Lost, Queue};
use super::{sampling, set};
use crate::exit::Failure;

/// Spans that wait, unless `OTEL_BSP_MAX_QUEUE_SIZE` says otherwise, and the most that it may say. One takes about a kibibyte.
const SPANS_MAX: usize = 2_048;
const SPANS_MAX_MAX: usize = 65_536;

/// How long the end waits for what is still to be exported.
const CLOSED_WITHIN: Duration = Duration::from_secs(2);

/// What may be asked for and there is one of: the variable, the only value that it may have, and what is done whatever it says.
const ONE_WAY: [(&str, &str, &str); 5] = [
    ("OTEL_TRACES_EXPORTER", "otlp", "by OTLP"),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf", "as http/protobuf"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "as http/protobuf"),
    ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none", "uncompressed"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "none", "uncompressed"),
];

/// What exports. It is open until it is closed.
pub(crate) struct Export {
    provider: SdkTracerProvider,
    spans: Arc<Tracing>,
    queue: Arc<Queue>,
}

impl Export {
    /// Opens it. Nobody is asked yet whether a collector is there.
    pub(super) fn open(variable: &'static str, endpoint: &str) -> Result<Option<Export>, Failure> {
        let host = host(endpoint).ok_or_else(|| {
            // Without the value: there may be a password in it.
            Failure::Configuration(format!(
                "{variable} is no address of a collector; write an http or https URL, as in http://127.0.0.1:4318"
            ))
        })?;
        for (name, only, how) in ONE_WAY {
            if let Some(other) = set(name).filter(|value| value.trim() != only) {
                tracing::warn!("{name} is {other:?}, and traces are exported {how} all the same");
            }
        }
        sampling::check();
        let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).build();
        let exporter = exporter.map_err(|error| {
            Failure::Configuration(format!("no traces can be exported to what {variable} names: {error}"))
        })?;
        let queue = Arc::new(Queue::new(spans_max()));
        let door = Door::new(queue.clone(), exporter);
        let provider =
            SdkTracerProvider::builder().with_span_processor(door).with_resource(resource()).build();
        let spans = Arc::new(Tracing(provider.tracer("tidewire")));
        tracing::info!(collector = host, "traces are exported");
        Ok(Some(Export { provider, spans, queue }))
    }

    /// Who is told what is to be exported.
    pub(crate) fn spans(&self) -> Arc<dyn Spans> {
        self.spans.clone()
    }

    /// What was lost of them, for `/metrics`.
    pub(crate) fn figures(&self) -> impl Fn() -> Vec<Figure> + Send + Sync + use<> {
        let queue = self.queue.clone();
        move || {
            let Lost { dropped, failed } = queue.lost();
            vec![Figure::count("spans_dropped", dropped), Figure::count("spans_failed", failed)]
        }
    }

    /// Exports what still waits, for [`CLOSED_WITHIN`] at the most. Once it is closed, there is nothing left to do.
    pub(crate) fn close(&self) {
        let outcome = self.provider.shutdown_with_timeout(CLOSED_WITHIN);
        self.queue.say_what_is_left(outcome.as_ref().err());
    }
}

/// Host and port, which are no secret.
fn host(endpoint: &str) -> Option<String> {
    let uri: Uri = endpoint.trim().parse().ok()?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let host = uri.host().filter(|host| is_http && !host.is_empty())?;
    Some(uri.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

fn spans_max() -> usize {
    let Some(most) = set("OTEL_BSP_MAX_QUEUE_SIZE") else { return SPANS_MAX };
    match most.trim().parse() {
        Ok(most @ 1..=SPANS_MAX_MAX) => most,
        _ => {
            tracing::warn!(
                "OTEL_BSP_MAX_QUEUE_SIZE is {most:?}, and takes a number from 1 to {SPANS_MAX_MAX}: it is {SPANS_MAX}"
            );
            SPANS_MAX
        }
    }
}

/// Who exports: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, and what they leave out.
fn resource() -> Resource {
    let said = Resource::builder().build();
    let number = getrandom::u64().unwrap_or_default();
    let ours = [
        ("service.name", "tidewire".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", format!("{number:016x}")),
    ];
    // The SDK makes up a name where none is said.
    let is_said = |name: &'static str| {
        said.get(&name.into()).is_some_and(|value| !value.as_str().starts_with("unknown_service"))
    };
    let added: Vec<KeyValue> = ours
        .into_iter()
        .filter(|(name, _)| !is_said(name))
        .map(|(name, value)| KeyValue::new(name, value))
        .collect();
    Resource::builder().with_attributes(added).build()
}

/// Makes spans of what the node says.
struct Tracing(SdkTracer);

impl Tracing {
    fn end(&self, span: SpanBuilder, parent: Option<&TraceParent>, failed: bool, ended: SystemTime) {
        let parent = parent.and_then(remote).map(|parent| Context::new().with_remote_span_context(parent));
        let mut span = self.0.build_with_context(span, &parent.unwrap_or_default());
        if failed {
            span.set_status(Status::error(""));
        }
        span.end_with_timestamp(ended);
    }
}

impl Spans for Tracing {
    fn published(&self, span: &Published) {
        let bytes = i64::try_from(span.payload_bytes).unwrap_or(i64::MAX);
        let mut attributes = vec![
            KeyValue::new("messaging.system", "tidewire"),
            KeyValue::new("messaging.operation.name", "publish"),
            KeyValue::new("messaging.message.body.size", bytes),
        ];
        match span.outcome {
            Ok(Some(position)) => {
                attributes.push(KeyValue::new("messaging.message.id", position.to_string()));
            }
            Ok(None) => {}
            Err(reason) => attributes.push(KeyValue::new("error.type", reason.code())),
        }
        let builder = SpanBuilder::from_name("publish")
            .with_kind(SpanKind::Server)
            .with_start_time(span.began)
            .with_attributes(attributes);
        self.end(builder, span.parent.as_ref(), span.outcome.is_err(), span.began + span.took);
    }

    fn refused(&self, span: &Refused<'_>) {
        let mut attributes = vec![KeyValue::new("error.type", span.reason.code())];
        if !span.asked.is_empty() {
            attributes.push(KeyValue::new("tidewire.asked", span.asked));
        }
        attributes.extend(span.trace_id.map(|id| KeyValue::new("tidewire.trace_id", id.to_owned())));
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(span.time_ms);
        let builder = SpanBuilder::from_name("refused")
            .with_kind(SpanKind::Server)
            .with_start_time(time)
            .with_attributes(attributes);
        // Whose fault it is decides: what a client did wrong is no failure of ours.
        self.end(builder, span.parent, span.reason.status() >= 500, time);
    }
}

/// The span that a publisher was in, on its side.
fn remote(parent: &TraceParent) -> Option<SpanContext> {
    let text = parent.as_str();
    let trace = TraceId::from_hex(parent.trace_id()).ok()?;
    let span = SpanId::from_hex(text.get(36..52)?).ok()?;
    let flags = u8::from_str_radix(text.get(53..55)?, 16).ok()?;
    Some(SpanContext::new(trace, span, TraceFlags::new(flags), true, TraceState::NONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_whole() {
        let parent = TraceParent::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let context = remote(&parent).unwrap();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.is_sampled() && context.is_remote());
    }

    #[test]
    fn an_endpoint_is_a_url_and_is_shown_without_what_is_secret() {
        assert_eq!(host("http://127.0.0.1:4318").as_deref(), Some("127.0.0.1:4318"));
        assert_eq!(host("https://me:canary@collector.example/x").as_deref(), Some("collector.example"));
        for wrong in ["127.0.0.1:4318", "collector", "ftp://collector.example", "http://", "not a url"] {
            assert_eq!(host(wrong), None, "{wrong:?}");
        }
    }
}
