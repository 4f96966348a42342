//! Issuers whose tokens are taken, from the file that the settings name.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use lakegate_catalog::{ExternalId, NotVouched, Vouched, Vouching};
use lakegate_oidc::{Issuer, Issuers};
use serde::Deserialize;

use crate::failure::{Failure, Result};

/// The file: an `[[issuer]]` for each.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    issuer: Vec<Entry>,
}

/// One issuer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// `iss` of its tokens, letter by letter; its document of discovery is below it.
    url: String,
    /// What `aud` must name: this instance, and nothing else.
    audience: Vec<String>,
    jwks_url: Option<String>,
    algorithms: Option<Vec<String>>,
    principal_claim: Option<String>,
    groups_claim: Option<String>,
    leeway_seconds: Option<u64>,
    /// A PEM file with certificates to trust for its URLs, beside those of the system.
    trusted_certificates: Option<String>,
}

struct Trusted(Issuers);

#[async_trait]
impl Vouching for Trusted {
    async fn vouch(&self, token: &str, now: DateTime<Utc>) -> std::result::Result<Vouched, NotVouched> {
        let claims = self.0.verify(token, now).await.map_err(|error| match error.is_unavailable() {
            true => NotVouched::Unavailable(error.to_string()),
            false => NotVouched::Refused(error.to_string()),
        })?;
        Ok(Vouched {
            external: ExternalId { issuer: claims.issuer, subject: claims.subject },
            name: claims.name,
            groups: claims.groups,
            expires_at: claims.expires_at,
        })
    }
}

/// Reads the file. Errors name what to change.
pub(crate) fn read(path: &Path) -> Result<Arc<dyn Vouching>> {
    let unusable = |why: String| Failure::usage(format!("{}: {why}; see catalog.issuers_file", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    let file: File = toml::from_str(&text).map_err(|error| unusable(error.message().to_owned()))?;
    let mut issuers = Vec::new();
    for entry in file.issuer {
        let mut issuer = Issuer::new(entry.url, String::new());
        issuer.audience = entry.audience;
        issuer.jwks_url = entry.jwks_url;
        issuer.algorithms = entry.algorithms.unwrap_or(issuer.algorithms);
        issuer.principal_claim = entry.principal_claim.unwrap_or(issuer.principal_claim);
        issuer.groups_claim = entry.groups_claim.unwrap_or(issuer.groups_claim);
        issuer.leeway = entry.leeway_seconds.map_or(issuer.leeway, Duration::from_secs);
        issuer.ca = match entry.trusted_certificates {
            Some(file) => Some(std::fs::read(&file).map_err(|error| unusable(format!("{file}: {error}")))?),
            None => None,
        };
        issuers.push(issuer);
    }
    let issuers = Issuers::new(issuers).map_err(|error| unusable(error.to_string()))?;
    Ok(Arc::new(Trusted(issuers)))
}
