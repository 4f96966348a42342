//! `lakegate catalog`: the companion, which holds the catalog that several gateways share.

use std::sync::Arc;
use std::time::Duration;

use lakegate_catalog::{Catalog, Principals};
use lakegate_catalog_http::{Companion, routes};
use lakegate_catalog_sql::{SqlCatalog, SqlOptions};
use tokio_util::sync::CancellationToken;

use crate::cli::Cli;
use crate::data_folder::DataFolder;
use crate::failure::{Failure, Result, say};
use crate::server::{self, Connections};
use crate::telemetry::Telemetry;
use crate::{logging, serve, settings, tls};

/// How long the database may take to close.
const CLOSE: Duration = Duration::from_secs(5);

/// `lakegate catalog`.
pub(crate) fn command(cli: &Cli) -> Result<()> {
    let settings = settings::load(cli)?;
    let telemetry = Telemetry::start(&settings.otel)?;
    logging::start(&settings.log, telemetry.as_ref())?;
    let ended = serve::runtime(0)?.block_on(run(&settings));
    if let Some(telemetry) = telemetry {
        telemetry.finish();
    }
    ended
}

async fn run(settings: &lakegate_config::Settings) -> Result<()> {
    let of_catalog = &settings.catalog;
    if of_catalog.url.is_some() {
        return Err(Failure::usage(
            "catalog.url is for gateways: the companion keeps its catalog in catalog.database_url",
        ));
    }
    let folder = DataFolder::open(&settings.data_dir)?;
    let (certificate, key) = (of_catalog.tls_certificate.as_ref(), of_catalog.tls_key.as_ref());
    let tls = tls::acceptor("catalog", certificate, key, &[b"h2", b"http/1.1"])?;
    if tls.is_none() && !of_catalog.listen.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "{} is not this machine alone, and without TLS anyone on the way could read tokens: set catalog.tls_certificate \
             and catalog.tls_key, or listen on 127.0.0.1",
            of_catalog.listen
        )));
    }
    let listener = serve::bind(of_catalog.listen, "--set catalog.listen=127.0.0.1:7792", tls)?;
    let url = settings.database_url();
    let catalog = SqlCatalog::connect(&url, &SqlOptions::default()).await;
    // The URL may hold a password; the key's name is enough to find it.
    let catalog =
        catalog.map_err(|e| Failure::usage(format!("the catalog cannot be opened: {e}; see catalog.database_url")))?;
    let token = folder.ensure_gateway(&catalog).await?;
    let catalog = Arc::new(catalog);
    let companion =
        Companion::new(Arc::clone(&catalog) as Arc<dyn Catalog>, Arc::clone(&catalog) as Arc<dyn Principals>);
    let scheme = if listener.tls.is_some() { "https" } else { "http" };
    let address = listener.address;
    say(format_args!("listening catalog={scheme}://{address}"));
    // Who signed it, the companion need not know.
    let trusted =
        if scheme == "https" { " --set catalog.trusted_certificates=<PEM file of its authority>" } else { "" };
    say(format_args!(
        "gateways: --set catalog.url={scheme}://{address} --set catalog.token_file={}{trusted} · stop: Ctrl-C",
        token.display()
    ));
    let (connections, _) = serve::within_open_files(of_catalog.max_connections, 0);
    let how = Connections {
        max: connections,
        write_timeout: settings.rest.write_timeout,
        header_timeout: settings.rest.header_timeout,
        drain_timeout: settings.rest.drain_timeout,
    };
    let stop = CancellationToken::new();
    tokio::spawn(serve::stop_on_signal(stop.clone())?);
    tracing::info!(catalog = %address, "serving");
    let drained = server::run(listener, routes(companion), how, stop).await;
    if tokio::time::timeout(CLOSE, catalog.close()).await.is_err() {
        tracing::warn!("the catalog's database did not close in time");
    }
    if drained { Ok(()) } else { Err(Failure::other("some calls did not end within rest.drain_timeout and were cut")) }
}
