//! `/healthz`, `/readyz` and `/metrics` for machines that watch the server.
//!
//! Healthy means that the process answers: a platform that sees it fail should restart the process. Ready means
//! that statements are served; the text says what is still being waited for.

use crate::error::Result;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use std::future::Future;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What the endpoints ask the rest of the server.
pub trait Status: Send + Sync + 'static {
    /// `None`: statements are served. Otherwise what is waited for, in a few words.
    fn not_ready(&self) -> Option<String>;

    /// Sets the gauges that are a look at state; called before each scrape.
    fn refresh_metrics(&self) {}
}

#[derive(Clone)]
struct Endpoints {
    status: Arc<dyn Status>,
    metrics: PrometheusHandle,
}

/// Serves until `stop` is done.
pub async fn serve(listener: TcpListener, status: Arc<dyn Status>, metrics: PrometheusHandle, stop: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    let router = router(status, metrics);
    axum::serve(listener, router).with_graceful_shutdown(stop).await?;
    Ok(())
}

fn router(status: Arc<dyn Status>, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render_metrics))
        .with_state(Endpoints { status, metrics })
}

async fn index() -> &'static str {
    "Tidewater. /healthz: the process answers. /readyz: statements are served. /metrics: Prometheus.\nSQL is spoken on the Postgres port.\n"
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(endpoints): State<Endpoints>) -> Response {
    match endpoints.status.not_ready() {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn render_metrics(State(endpoints): State<Endpoints>) -> Response {
    super::metrics::refresh_process();
    endpoints.status.refresh_metrics();
    endpoints.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], endpoints.metrics.render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Switch(AtomicBool);

    impl Status for Switch {
        fn not_ready(&self) -> Option<String> {
            (!self.0.load(Ordering::SeqCst)).then(|| "replaying the epoch log".to_string())
        }

        fn refresh_metrics(&self) {
            metrics::gauge!(crate::node::metrics::EPOCH).set(7.0);
        }
    }

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn endpoints_answer_and_stop() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let switch = Arc::new(Switch(AtomicBool::new(false)));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let metrics = super::super::metrics::install().unwrap();
        let server = tokio::spawn(serve(listener, switch.clone(), metrics, async {
            stopped.await.ok();
        }));
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let waiting = get(address, "/readyz").await;
        assert!(waiting.starts_with("HTTP/1.1 503") && waiting.contains("replaying the epoch log"), "{waiting}");
        switch.0.store(true, Ordering::SeqCst);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        let scraped = get(address, "/metrics").await;
        assert!(scraped.contains("tidewater_epoch 7") && scraped.contains("# HELP tidewater_process_resident_bytes"), "{scraped}");
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
    }
}
