//! The client: a catalog that asks the companion.

mod audit;
mod jobs;

use std::error::Error as _;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use lakegate_catalog::{
    Access, ApiToken, Attempt, Caller, Catalog, CatalogError, Credential, Dataset, DatasetChange, DatasetId,
    DatasetName, Datasets, Events, ExternalId, Feed, Grant, Grantee, Grants, Group, GroupId, Groups, Identity,
    InstanceKey, LakeId, Listing, MAX_EVENTS, Namespace, NamespaceRecord, NewDataset, NewPrincipal, NewToken, Page,
    PasswordHash, Principal, PrincipalId, Principals, Result, Role, Scope, TokenHash, TokenId, TokenRecord, Tombstone,
};
use reqwest::{Certificate, StatusCode, header};
use serde::Deserialize;
use url::{Host, Url};

use crate::protocol::{self, CALLS, Call, PROTOCOL, PROTOCOL_HEADER};
use crate::refusal::Refusal;

/// Bytes of an answer: a page of records that may be long ends long before, at `Page::MAX_BYTES`.
const MAX_ANSWER: usize = 64 << 20;

/// How to reach the companion.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Where it is: `https://host:port`, or `http://` on this machine.
    pub url: Url,
    /// A token of a principal of the kind `gateway`.
    pub token: ApiToken,
    /// Whose certificates to trust beside those of the system, in PEM.
    pub trusted: Option<Vec<u8>>,
    /// How long one call may take. One that takes longer fails as unavailable; a write that fails so may have been made.
    pub timeout: Duration,
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is of another form, or would send the token in plain text over a network.
    #[error(
        "catalog.url must be https://HOST:PORT, or http:// with an address of this machine, without path or password"
    )]
    Url,
    /// The certificates are not PEM.
    #[error("the certificates for the catalog cannot be read: {}", causes(.0))]
    Certificates(#[source] reqwest::Error),
    /// TLS cannot be set up.
    #[error("no connection to the catalog can be set up: {}", causes(.0))]
    Client(#[source] reqwest::Error),
}

/// Why a call was not answered.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("{}", causes(.0))]
    Http(#[from] reqwest::Error),
    #[error("the catalog did not answer in time")]
    Late,
    #[error("the catalog answered {status}: {said}")]
    Status { status: StatusCode, said: String },
    #[error("the catalog's answer is larger than 64 MiB")]
    TooLarge,
    #[error("the catalog's answer cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

/// The whole chain: the outer error says no more than that a request failed.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// A [`Catalog`] behind HTTP. Cheap to clone; all clones share their connections.
#[derive(Clone, Debug)]
pub struct HttpCatalog {
    http: reqwest::Client,
    url: Url,
    timeout: Duration,
}

#[derive(Deserialize)]
struct Refused {
    refusal: Refusal,
}

impl HttpCatalog {
    /// Makes a client; nothing is asked yet. Errors: [`ClientError`].
    pub fn new(options: HttpOptions) -> Result<Self, ClientError> {
        let HttpOptions { url, token, trusted, timeout } = options;
        if !is_safe(&url) {
            return Err(ClientError::Url);
        }
        let mut headers = header::HeaderMap::new();
        let mut bearer =
            header::HeaderValue::from_str(&format!("Bearer {}", token.reveal())).map_err(|_| ClientError::Url)?;
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
        headers.insert(PROTOCOL_HEADER, header::HeaderValue::from_static(PROTOCOL));
        let mut builder = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(timeout)
            .pool_idle_timeout(Duration::from_secs(30))
            // The token goes where the settings say, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(pem) = trusted {
            for certificate in Certificate::from_pem_bundle(&pem).map_err(ClientError::Certificates)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        Ok(Self { http: builder.build().map_err(ClientError::Client)?, url, timeout })
    }

    async fn call<C: Call>(&self, call: C) -> Result<C::Answer> {
        let body = Bytes::from(serde_json::to_vec(&call).map_err(CatalogError::store)?);
        let deadline = tokio::time::Instant::now() + self.timeout;
        let mut again = true;
        loop {
            let asked = tokio::time::timeout_at(deadline, self.ask::<C>(body.clone())).await;
            match asked.unwrap_or(Err(Unanswered::Late)) {
                Ok(answer) => return answer.map_err(Refusal::error),
                // The other end may have closed a connection that was kept: once more on a new one, when nothing can have
                // been done twice.
                Err(Unanswered::Http(error)) if again && (C::READS || error.is_connect()) => {
                    tracing::debug!(%error, call = C::NAME, "the catalog is asked again");
                    again = false;
                }
                Err(error) => return Err(CatalogError::store(error)),
            }
        }
    }

    async fn ask<C: Call>(&self, body: Bytes) -> Result<Result<C::Answer, Refusal>, Unanswered> {
        let mut url = self.url.clone();
        url.set_path(&format!("{CALLS}{}", C::NAME));
        let asked = self.http.post(url).header(header::CONTENT_TYPE, "application/json").body(body).send().await?;
        let status = asked.status();
        let mut answer = BytesMut::new();
        let mut pieces = asked.bytes_stream();
        while let Some(piece) = pieces.next().await {
            answer.extend_from_slice(&piece?);
            if answer.len() > MAX_ANSWER {
                return Err(Unanswered::TooLarge);
            }
        }
        if status == StatusCode::OK {
            return Ok(Ok(serde_json::from_slice(&answer)?));
        }
        match serde_json::from_slice(&answer) {
            Ok(Refused { refusal }) => Ok(Err(refusal)),
            Err(_) => {
                let said = String::from_utf8_lossy(&answer).chars().take(300).collect();
                Err(Unanswered::Status { status, said })
            }
        }
    }
}

/// Whether a token may be sent there: encrypted, or not leaving this machine.
fn is_safe(url: &Url) -> bool {
    let here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let bare = url.username().is_empty() && url.password().is_none() && url.path() == "/" && url.query().is_none();
    bare && url.fragment().is_none() && (url.scheme() == "https" || (url.scheme() == "http" && here))
}

#[async_trait]
impl Datasets for HttpCatalog {
    async fn ensure_namespace(&self, namespace: &Namespace) -> Result<bool> {
        self.call(protocol::EnsureNamespace { namespace: namespace.clone() }).await
    }

    async fn namespace_exists(&self, namespace: &Namespace) -> Result<bool> {
        self.call(protocol::NamespaceExists { namespace: namespace.clone() }).await
    }

    async fn list_namespaces(&self, caller: &Caller, page: &Page) -> Result<Listing<NamespaceRecord>> {
        self.call(protocol::ListNamespaces { caller: caller.clone(), page: page.clone() }).await
    }

    async fn delete_namespace(&self, namespace: &Namespace) -> Result<()> {
        self.call(protocol::DeleteNamespace { namespace: namespace.clone() }).await
    }

    async fn create_dataset(&self, dataset: NewDataset, owner: PrincipalId) -> Result<Dataset> {
        self.call(protocol::CreateDataset { dataset, owner }).await
    }

    async fn dataset(&self, name: &DatasetName) -> Result<Option<Dataset>> {
        self.call(protocol::GetDataset { name: name.clone() }).await
    }

    async fn dataset_by_id(&self, id: DatasetId) -> Result<Option<Dataset>> {
        self.call(protocol::GetDatasetById { id }).await
    }

    async fn list_datasets(
        &self,
        caller: &Caller,
        namespace: Option<&Namespace>,
        page: &Page,
    ) -> Result<Listing<Dataset>> {
        let (caller, namespace, page) = (caller.clone(), namespace.cloned(), page.clone());
        self.call(protocol::ListDatasets { caller, namespace, page }).await
    }

    async fn update_dataset(&self, id: DatasetId, change: DatasetChange) -> Result<Dataset> {
        self.call(protocol::UpdateDataset { id, change }).await
    }

    async fn delete_dataset(&self, id: DatasetId) -> Result<()> {
        self.call(protocol::DeleteDataset { id }).await
    }

    async fn tombstones(&self) -> Result<Vec<Tombstone>> {
        self.call(protocol::Tombstones {}).await
    }

    async fn forget_tombstone(&self, id: DatasetId) -> Result<()> {
        self.call(protocol::ForgetTombstone { id }).await
    }
}

#[async_trait]
impl Principals for HttpCatalog {
    async fn create_principal(&self, principal: NewPrincipal) -> Result<Principal> {
        self.call(protocol::CreatePrincipal { principal }).await
    }

    async fn principal(&self, id: PrincipalId) -> Result<Option<Principal>> {
        self.call(protocol::GetPrincipal { id }).await
    }

    async fn principal_by_name(&self, name: &str) -> Result<Option<Principal>> {
        self.call(protocol::GetPrincipalByName { name: name.to_owned() }).await
    }

    async fn list_principals(&self, page: &Page) -> Result<Listing<Principal>> {
        self.call(protocol::ListPrincipals { page: page.clone() }).await
    }

    async fn delete_principal(&self, id: PrincipalId) -> Result<()> {
        self.call(protocol::DeletePrincipal { id }).await
    }

    async fn create_token(&self, token: NewToken) -> Result<TokenRecord> {
        self.call(protocol::CreateToken { token }).await
    }

    async fn authenticate(&self, hash: &TokenHash, now: DateTime<Utc>) -> Result<Option<Identity>> {
        self.call(protocol::Authenticate { hash: *hash, now }).await
    }

    async fn identify_external(&self, external: &ExternalId, groups: &[String]) -> Result<Option<Identity>> {
        self.call(protocol::IdentifyExternal { external: external.clone(), groups: groups.to_vec() }).await
    }

    async fn set_password(&self, id: PrincipalId, password: Option<PasswordHash>) -> Result<()> {
        self.call(protocol::SetPassword { id, password }).await
    }

    async fn attempt_login(&self, name: &str, now: DateTime<Utc>) -> Result<Attempt> {
        self.call(protocol::AttemptLogin { name: name.to_owned(), now }).await
    }

    async fn finish_login(&self, name: &str) -> Result<()> {
        self.call(protocol::FinishLogin { name: name.to_owned() }).await
    }

    async fn list_tokens(&self, principal: PrincipalId) -> Result<Vec<TokenRecord>> {
        self.call(protocol::ListTokens { principal }).await
    }

    async fn token(&self, id: TokenId) -> Result<Option<TokenRecord>> {
        self.call(protocol::GetToken { id }).await
    }

    async fn revoke_token(&self, id: TokenId) -> Result<()> {
        self.call(protocol::RevokeToken { id }).await
    }
}

#[async_trait]
impl Groups for HttpCatalog {
    async fn create_group(&self, name: &str) -> Result<Group> {
        self.call(protocol::CreateGroup { name: name.to_owned() }).await
    }

    async fn group(&self, id: GroupId) -> Result<Option<Group>> {
        self.call(protocol::GetGroup { id }).await
    }

    async fn group_by_name(&self, name: &str) -> Result<Option<Group>> {
        self.call(protocol::GetGroupByName { name: name.to_owned() }).await
    }

    async fn list_groups(&self, page: &Page) -> Result<Listing<Group>> {
        self.call(protocol::ListGroups { page: page.clone() }).await
    }

    async fn delete_group(&self, id: GroupId) -> Result<()> {
        self.call(protocol::DeleteGroup { id }).await
    }

    async fn add_member(&self, group: GroupId, principal: PrincipalId) -> Result<()> {
        self.call(protocol::AddMember { group, principal }).await
    }

    async fn remove_member(&self, group: GroupId, principal: PrincipalId) -> Result<()> {
        self.call(protocol::RemoveMember { group, principal }).await
    }

    async fn members(&self, group: GroupId, page: &Page) -> Result<Listing<Principal>> {
        self.call(protocol::Members { group, page: page.clone() }).await
    }

    async fn groups_of(&self, principal: PrincipalId) -> Result<Vec<Group>> {
        self.call(protocol::GroupsOf { principal }).await
    }
}

#[async_trait]
impl Grants for HttpCatalog {
    async fn grant(&self, grant: Grant) -> Result<()> {
        self.call(protocol::GiveGrant { grant }).await
    }

    async fn revoke(&self, grantee: Grantee, scope: &Scope) -> Result<()> {
        self.call(protocol::Revoke { grantee, scope: scope.clone() }).await
    }

    async fn grants_of(&self, grantee: Grantee) -> Result<Vec<Grant>> {
        self.call(protocol::GrantsOf { grantee }).await
    }

    async fn grants_on(&self, scope: &Scope) -> Result<Vec<Grant>> {
        self.call(protocol::GrantsOn { scope: scope.clone() }).await
    }

    async fn access(&self, caller: &Caller, name: &DatasetName) -> Result<Option<Access>> {
        self.call(protocol::GetAccess { caller: caller.clone(), name: name.clone() }).await
    }

    async fn access_by_id(&self, caller: &Caller, id: DatasetId) -> Result<Option<Access>> {
        self.call(protocol::GetAccessById { caller: caller.clone(), id }).await
    }

    async fn role_on_namespace(&self, caller: &Caller, namespace: &Namespace) -> Result<Option<Role>> {
        self.call(protocol::RoleOnNamespace { caller: caller.clone(), namespace: namespace.clone() }).await
    }

    async fn role_on_instance(&self, caller: &Caller) -> Result<Option<Role>> {
        self.call(protocol::RoleOnInstance { caller: caller.clone() }).await
    }
}

#[async_trait]
impl Events for HttpCatalog {
    async fn tell_versions(&self, versions: &[(DatasetId, u64)]) -> Result<()> {
        self.call(protocol::TellVersions { versions: versions.to_vec() }).await
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Feed> {
        self.call(protocol::GetEvents { after, limit: limit.min(MAX_EVENTS) }).await
    }

    async fn last_event(&self) -> Result<u64> {
        self.call(protocol::LastEvent {}).await
    }

    /// The companion waits, for half as long as a call may take; then it is asked again.
    async fn wait_for_event(&self, after: u64, within: Duration) -> Result<u64> {
        let end = tokio::time::Instant::now() + within;
        loop {
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            let millis = u64::try_from(left.min(self.timeout / 2).as_millis()).unwrap_or(u64::MAX);
            let last = self.call(protocol::WaitForEvent { after, millis }).await?;
            if last > after || tokio::time::Instant::now() >= end {
                return Ok(last);
            }
        }
    }

    async fn forget_events(&self, before: DateTime<Utc>) -> Result<u64> {
        self.call(protocol::ForgetEvents { before }).await
    }
}

#[async_trait]
impl Catalog for HttpCatalog {
    async fn ping(&self) -> Result<()> {
        self.call(protocol::Ping {}).await
    }

    /// Nothing is held here; the companion's store stays open.
    async fn close(&self) {}

    async fn create_first_owner(&self, owner: NewPrincipal, token: &TokenHash) -> Result<Option<Principal>> {
        self.call(protocol::CreateFirstOwner { owner, token: *token }).await
    }

    async fn admit(
        &self,
        credential: &Credential,
        now: DateTime<Utc>,
        name: &DatasetName,
    ) -> Result<Option<(Identity, Option<Access>)>> {
        self.call(protocol::Admit { credential: credential.clone(), now, name: name.clone() }).await
    }

    async fn lake(&self) -> Result<Option<LakeId>> {
        self.call(protocol::GetLake {}).await
    }

    async fn remember_lake(&self, lake: LakeId) -> Result<LakeId> {
        self.call(protocol::RememberLake { lake }).await
    }

    async fn remember_key(&self, key: InstanceKey) -> Result<InstanceKey> {
        self.call(protocol::RememberKey { key }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_does_not_cross_a_network_in_plain_text() {
        for (url, safe) in [
            ("https://catalog.example:7782", true),
            ("https://10.0.0.1", true),
            ("http://127.0.0.1:7782", true),
            ("http://[::1]:7782", true),
            ("http://localhost:7782", true),
            ("http://catalog.example:7782", false),
            ("http://10.0.0.1:7782", false),
            ("http://localhost.example:7782", false),
            ("ftp://127.0.0.1", false),
            ("https://user:pass@catalog.example", false),
            ("https://catalog.example/path", false),
            ("https://catalog.example/?q=1", false),
            ("unix:/tmp/socket", false),
        ] {
            assert_eq!(is_safe(&url.parse().expect(url)), safe, "{url}");
        }
    }
}
