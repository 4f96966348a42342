//! What clients of remote stores need to know besides the URL.

use std::fmt;
use std::time::Duration;

/// How remote stores are spoken to. [`Default`] is what `lakegate config` shows.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Whether endpoints without TLS may be used.
    pub allow_http: bool,
    /// Deadline of one request, its answer included.
    pub request_timeout: Duration,
    /// For how long a failing request is begun anew. Together with `request_timeout` the longest that
    /// one call to the store takes.
    pub retry_timeout: Duration,
    /// For `s3://`.
    pub s3: S3Options,
    /// For `az://`.
    pub azure: AzureOptions,
    /// Credentials, and what is not set above.
    pub environment: StoreEnvironment,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            allow_http: false,
            request_timeout: Duration::from_secs(20),
            retry_timeout: Duration::from_secs(30),
            s3: S3Options::default(),
            azure: AzureOptions::default(),
            environment: StoreEnvironment::default(),
        }
    }
}

/// Settings of `s3://` that beat the environment.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// Where the store is, when it is not AWS.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: Option<String>,
    /// Whether the bucket is named in the path of a request, not in its host.
    pub path_style: bool,
}

impl Default for S3Options {
    fn default() -> Self {
        Self { endpoint: None, region: None, path_style: true }
    }
}

/// Settings of `az://` that beat the environment.
#[derive(Clone, Debug, Default)]
pub struct AzureOptions {
    /// The storage account.
    pub account: Option<String>,
    /// Where the account is, when it is not Azure's public cloud.
    pub endpoint: Option<String>,
}

/// Variables that the clouds' own tools read: `AWS_*`, `AZURE_*`, `GOOGLE_*` and a few more. They may be secrets,
/// so that nothing prints them.
#[derive(Clone, Default)]
pub struct StoreEnvironment(Vec<(String, String)>);

impl StoreEnvironment {
    /// Keeps those of the variables that concern a store.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let concerns = |name: &str| {
            let prefixes = ["AWS_", "AZURE_", "GOOGLE_"];
            prefixes.iter().any(|prefix| name.starts_with(prefix)) || MORE.iter().any(|(more, _)| *more == name)
        };
        Self(variables.into_iter().filter(|(name, _)| concerns(name)).collect())
    }

    /// The variables that a client knows, by the key that `parse` makes of a lower-case name.
    pub(super) fn keys<K>(&self, parse: impl Fn(&str) -> Option<K>) -> impl Iterator<Item = (K, &str)> {
        self.0.iter().filter_map(move |(name, value)| {
            let known = MORE.iter().find(|(more, _)| more == name).map(|(_, key)| (*key).to_owned());
            Some((parse(&known.unwrap_or_else(|| name.to_ascii_lowercase()))?, value.as_str()))
        })
    }
}

/// Variables without a prefix, and the client's key that each sets.
const MORE: [(&str, &str); 2] =
    [("SERVICE_ACCOUNT", "google_service_account"), ("IDENTITY_ENDPOINT", "azure_identity_endpoint")];

impl fmt::Debug for StoreEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_concerns_a_store_is_kept_and_no_value_is_printed() {
        let variables = ["AWS_SECRET_ACCESS_KEY", "HOME", "SERVICE_ACCOUNT", "PATH", "AZURE_STORAGE_ACCOUNT_KEY"];
        let environment = StoreEnvironment::new(variables.map(|name| (name.to_owned(), "hunter2".to_owned())));
        let printed = format!("{environment:?}");
        assert_eq!(printed, r#"["AWS_SECRET_ACCESS_KEY", "SERVICE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_KEY"]"#);
        let keys: Vec<_> = environment.keys(|key| Some(key.to_owned())).map(|(key, _)| key).collect();
        assert_eq!(keys, ["aws_secret_access_key", "google_service_account", "azure_storage_account_key"]);
    }
}
