//! A bucket or container of an emulated store, seen past the gateway.

use bytes::Bytes;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{Azurite, Gateway, Options, Result};

/// Moto wants to see credentials, and does not check them.
const ANYONE: &str =
    "AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// A bucket of S3, or a container of Azure Blob Storage.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// `http://127.0.0.1:port`.
    url: String,
    name: String,
    dialect: Dialect,
    http: reqwest::Client,
}

#[derive(Clone, Debug)]
enum Dialect {
    S3,
    /// With a shared access signature, as part of a query.
    Azure(String),
}

impl Bucket {
    pub(crate) fn s3(url: &str, name: &str) -> Result<Self> {
        Self::new(url, name, Dialect::S3)
    }

    pub(crate) fn azure(url: &str, name: &str, signature: String) -> Result<Self> {
        Self::new(url, name, Dialect::Azure(signature))
    }

    fn new(url: &str, name: &str, dialect: Dialect) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(crate::client::DEADLINE).no_proxy().build()?;
        Ok(Self { url: url.to_owned(), name: name.to_owned(), dialect, http })
    }

    pub(crate) async fn create(&self) -> Result {
        self.send(self.request(Method::PUT, "", "")).await.map(drop)
    }

    /// A gateway whose root is `lake/` in this bucket.
    pub fn options(&self) -> Result<Options> {
        Ok(self.through(&self.url, Options::serve()?))
    }

    /// The same, spoken to at another address.
    pub fn through(&self, url: &str, options: Options) -> Options {
        let options = options.setting("storage.allow_http", "true").setting("storage.root", &self.root());
        match self.dialect {
            Dialect::S3 => options
                .setting("storage.s3.endpoint", url)
                .variable("AWS_ACCESS_KEY_ID", "AKIATEST")
                .variable("AWS_SECRET_ACCESS_KEY", "not-so-secret"),
            Dialect::Azure(_) => options
                .setting("storage.azure.endpoint", &format!("{url}/{}", Azurite::ACCOUNT))
                .setting("storage.azure.account", Azurite::ACCOUNT)
                .variable("AZURE_STORAGE_ACCOUNT_KEY", Azurite::KEY),
        }
    }

    /// Starts two gateways on this bucket that share a catalog, both spoken to at `url`.
    pub async fn two_gateways(&self, url: &str, options: [Options; 2]) -> Result<[Gateway; 2]> {
        let [first, second] = options.map(|options| self.through(url, options));
        let database = format!("sqlite:{}", first.folder().join("shared.db").display());
        let first = first.setting("catalog.database_url", &database).start().await?;
        // The second finds an instance that has its owner.
        std::fs::create_dir_all(second.data_dir())?;
        std::fs::copy(first.options().data_dir().join("owner-token"), second.data_dir().join("owner-token"))?;
        let second = second.setting("catalog.database_url", &database).start().await?;
        Ok([first, second])
    }

    /// What other clients need to read it, as JSON for `deltalake` and `polars`.
    pub fn storage_options(&self) -> String {
        let options = match self.dialect {
            Dialect::S3 => json!({
                "AWS_ENDPOINT_URL": self.url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "not-so-secret",
            }),
            Dialect::Azure(_) => json!({
                "azure_storage_account_name": Azurite::ACCOUNT, "azure_storage_account_key": Azurite::KEY,
                "azure_storage_endpoint": format!("{}/{}", self.url, Azurite::ACCOUNT), "azure_allow_http": "true",
                "allow_http": "true",
            }),
        };
        options.to_string()
    }

    /// The URL under which a gateway keeps its tables.
    pub fn root(&self) -> String {
        let scheme = if matches!(self.dialect, Dialect::S3) { "s3" } else { "az" };
        format!("{scheme}://{}/lake", self.name)
    }

    /// The URL of a dataset's table.
    pub fn table(&self, id: &str) -> String {
        format!("{}/{id}", self.root())
    }

    /// The names of all objects under a prefix.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let mut keys: Vec<String> = Vec::new();
        let mut marker = String::new();
        loop {
            let query = match self.dialect {
                Dialect::S3 => format!("list-type=2&prefix={prefix}&start-after={marker}"),
                Dialect::Azure(_) => format!("restype=container&comp=list&prefix={prefix}&marker={marker}"),
            };
            let page = self.page(&query).await?;
            let page = std::str::from_utf8(&page)?;
            let next = match self.dialect {
                Dialect::S3 => {
                    keys.extend(texts(page, "Key"));
                    texts(page, "IsTruncated").contains(&"true".to_owned()).then(|| keys.last().cloned()).flatten()
                }
                Dialect::Azure(_) => {
                    keys.extend(texts(page, "Name"));
                    texts(page, "NextMarker").pop().filter(|next| !next.is_empty())
                }
            };
            match next {
                Some(next) => marker = next,
                None => return Ok(keys),
            }
        }
    }

    /// One page of a list. Emulators stumble at times over objects that go while they are listed.
    async fn page(&self, query: &str) -> Result<Bytes> {
        const ATTEMPTS: usize = 5;
        for _ in 1..ATTEMPTS {
            let answer = self.request(Method::GET, "", query).send().await?;
            if !answer.status().is_server_error() {
                return Ok(answer.error_for_status()?.bytes().await?);
            }
        }
        self.send(self.request(Method::GET, "", query)).await
    }

    /// An object's bytes.
    pub async fn get(&self, key: &str) -> Result<Bytes> {
        self.send(self.request(Method::GET, &format!("/{key}"), "")).await
    }

    /// Writes an object.
    pub async fn put(&self, key: &str, bytes: impl Into<Bytes>) -> Result {
        let request = self.request(Method::PUT, &format!("/{key}"), "").header("x-ms-blob-type", "BlockBlob");
        self.send(request.body(bytes.into())).await.map(drop)
    }

    /// Sets the property `delta.checkpointInterval` of a table that has version 0 alone, as another writer may.
    pub async fn set_checkpoint_interval(&self, id: &str, interval: u32) -> Result {
        let commit = |version: u32| format!("lake/{id}/_delta_log/{version:020}.json");
        let first = self.get(&commit(0)).await?;
        let mut actions =
            std::str::from_utf8(&first)?.lines().map(serde_json::from_str::<Value>).filter_map(Result::ok);
        let mut metadata = actions.find(|action| action["metaData"].is_object()).ok_or("no metaData")?;
        metadata["metaData"]["configuration"]["delta.checkpointInterval"] = interval.to_string().into();
        self.put(&commit(1), format!("{metadata}\n")).await
    }

    /// Copies all objects, those of logs first, as `docs/operate.md` tells.
    pub async fn copy(&self, into: &Self) -> Result {
        let keys = self.keys("").await?;
        let (log, data): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.contains("/_delta_log/"));
        for key in log.iter().chain(&data) {
            into.put(key, self.get(key).await?).await?;
        }
        Ok(())
    }

    /// The uploads to S3 that are neither completed nor aborted.
    pub async fn uploads(&self) -> Result<Vec<String>> {
        let page = self.send(self.request(Method::GET, "", "uploads=")).await?;
        Ok(texts(std::str::from_utf8(&page)?, "UploadId"))
    }

    fn request(&self, method: Method, path: &str, query: &str) -> RequestBuilder {
        let Self { url, name, .. } = self;
        match &self.dialect {
            Dialect::S3 => {
                self.http.request(method, format!("{url}/{name}{path}?{query}")).header("authorization", ANYONE)
            }
            Dialect::Azure(signature) => {
                let account = Azurite::ACCOUNT;
                self.http.request(method, format!("{url}/{account}/{name}{path}?{query}&{signature}"))
            }
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Bytes> {
        Ok(request.send().await?.error_for_status()?.bytes().await?)
    }
}

/// What stands between each opening and closing tag.
fn texts(xml: &str, tag: &str) -> Vec<String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    xml.split(&open).skip(1).filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned())).collect()
}
