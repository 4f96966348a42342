//! Clients of S3, Azure Blob Storage and Google Cloud Storage.
//!
//! Credentials come from where the clouds' own tools look: variables of the environment, a token file of a web
//! identity, the machine's metadata service. Every request has a deadline, and so has trying again.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use super::bad;
use super::io::IoRuntime;
use super::options::StoreOptions;
use super::writes::TidyWrites;
use crate::error::Result;

/// Opens `scheme://bucket/prefix`. Makes no request.
pub(super) fn open(url: &Url, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>> {
    let bucket = url.host_str().ok_or_else(|| bad(url, "it names no bucket: s3://bucket/prefix"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad(url, "credentials do not belong into the URL; give them in the environment"));
    }
    if url.query().is_some() || url.fragment().is_some() || url.port().is_some() {
        return Err(bad(url, "it has more than a bucket and a prefix"));
    }
    let prefix = Path::from_url_path(url.path()).map_err(|e| bad(url, &e.to_string()))?;
    let io = IoRuntime::start().map_err(|e| bad(url, &format!("threads cannot be started: {e}")))?;
    let built = match url.scheme() {
        "s3" => s3(url, bucket, options, &io)?,
        "az" => azure(url, bucket, options, &io)?,
        _ => google(bucket, options, &io).map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
    };
    let store = built.map_err(|e| bad(url, &root_cause(&e)))?;
    let store = TidyWrites::new(store, io);
    Ok(if prefix.as_ref().is_empty() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, prefix)) })
}

type Built = object_store::Result<Arc<dyn ObjectStore>>;

fn s3(url: &Url, bucket: &str, options: &StoreOptions, io: &IoRuntime) -> Result<Built> {
    let mut builder = AmazonS3Builder::new();
    for (key, value) in options.environment.keys(|key| key.parse::<AmazonS3ConfigKey>().ok()) {
        builder = builder.with_config(key, value);
    }
    let settings = &options.s3;
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    for key in [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint] {
        check_endpoint(url, builder.get_config_value(&key).as_deref(), options)?;
    }
    let builder = builder
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(!settings.path_style)
        .with_client_options(client(options))
        .with_retry(retries(options))
        .with_http_connector(io.connector());
    Ok(builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>))
}

fn azure(url: &Url, container: &str, options: &StoreOptions, io: &IoRuntime) -> Result<Built> {
    let mut builder = MicrosoftAzureBuilder::new();
    for (key, value) in options.environment.keys(|key| key.parse::<AzureConfigKey>().ok()) {
        builder = builder.with_config(key, value);
    }
    let settings = &options.azure;
    if let Some(account) = &settings.account {
        builder = builder.with_account(account);
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    check_endpoint(url, builder.get_config_value(&AzureConfigKey::Endpoint).as_deref(), options)?;
    let builder = builder
        .with_container_name(container)
        .with_client_options(client(options))
        .with_retry(retries(options))
        .with_http_connector(io.connector());
    Ok(builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>))
}

fn google(bucket: &str, options: &StoreOptions, io: &IoRuntime) -> object_store::Result<impl ObjectStore> {
    let mut builder = GoogleCloudStorageBuilder::new();
    for (key, value) in options.environment.keys(|key| key.parse::<GoogleConfigKey>().ok()) {
        builder = builder.with_config(key, value);
    }
    builder
        .with_bucket_name(bucket)
        .with_client_options(client(options))
        .with_retry(retries(options))
        .with_http_connector(io.connector())
        .build()
}

fn check_endpoint(url: &Url, endpoint: Option<&str>, options: &StoreOptions) -> Result<()> {
    let Some(endpoint) = endpoint else {
        return Ok(());
    };
    let parsed = Url::parse(endpoint).ok().filter(Url::has_host);
    match parsed.as_ref().map(Url::scheme) {
        Some("https") => Ok(()),
        Some("http") if options.allow_http => Ok(()),
        Some("http") => {
            Err(bad(url, "its endpoint is http://, which anyone on the way can read; set storage.allow_http = true"))
        }
        _ => Err(bad(url, "its endpoint must be a URL such as https://s3.example.org")),
    }
}

/// In place of whatever the environment says of it: TLS is a setting of ours.
fn client(options: &StoreOptions) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(options.allow_http)
        .with_timeout(options.request_timeout)
        .with_connect_timeout(options.request_timeout.min(std::time::Duration::from_secs(5)))
}

/// Until `retry_timeout`, however many attempts that is.
fn retries(options: &StoreOptions) -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: std::time::Duration::from_millis(50),
        max_backoff: std::time::Duration::from_secs(5),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: 20, retry_timeout: options.retry_timeout }
}

/// The innermost reason, shortened: the layers above it repeat it with URLs and counts.
pub(super) fn root_cause(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    shortened(&cause.to_string())
}

/// The whole of an error, with the request that met it: it may have been one for credentials, and not to the store.
/// `object_store` leaves out URLs that hold a signature.
pub(super) fn in_full(error: &object_store::Error) -> String {
    let (whole, cause) = (shortened(&error.to_string()), root_cause(error));
    if whole.contains(&cause) { whole } else { format!("{whole}: {cause}") }
}

fn shortened(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(400).collect()
}
