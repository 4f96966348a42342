//! Statements that run in the background: what a job keeps of one until it runs, and of its answer afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use lakegate_catalog::{Caller, Catalog, Identity, PrincipalId, Protocol, TokenScope};
use lakegate_statement::{AsOf, Params, StatementError};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::engine::QueryRequest;
use crate::error::Result;

/// A statement to run later, as the caller that asked for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackgroundQuery {
    /// The statement.
    pub sql: String,
    /// Its parameters, as they were sent.
    pub params: Json,
    /// Which versions to read, as it was sent; the newest are those of when it runs.
    pub as_of: Json,
    /// Rows at most.
    pub limit: Option<u64>,
    /// How long it may take once it runs, in milliseconds.
    pub timeout_ms: u64,
    /// What the credential was limited to by which it was asked for.
    pub scope: TokenScope,
}

impl BackgroundQuery {
    /// The kind of its job.
    pub const KIND: &'static str = "query";

    /// What a job of this kind keeps; `None` when the job is of another.
    pub fn of_job(kind: &str, params: &Json) -> Option<Self> {
        (kind == Self::KIND).then(|| Self::deserialize(params).ok()).flatten()
    }

    /// The query that it is. Errors: parameters or versions that are not well formed.
    pub fn request(&self) -> Result<QueryRequest> {
        let params = match &self.params {
            Json::Null => Params::None,
            Json::Array(values) => Params::Positional(values.clone()),
            Json::Object(values) => Params::Named(values.clone()),
            _ => {
                let why = "they are a list for $1, $2, … or an object for $name";
                return Err(StatementError::Parameters(why.to_owned()).into());
            }
        };
        Ok(QueryRequest {
            sql: self.sql.clone(),
            params,
            as_of: AsOf::from_json(&self.as_of)?,
            limit: self.limit,
            timeout: Some(Duration::from_millis(self.timeout_ms)),
            protocol: Protocol::Job,
            ..QueryRequest::default()
        })
    }

    /// Who it runs as: the principal with the rights that it has by now, within what its credential was limited to. Groups that
    /// only a token of somebody else gave it are not among them. `None` when there is no such principal any more.
    pub async fn caller(&self, catalog: &dyn Catalog, by: PrincipalId) -> lakegate_catalog::Result<Option<Caller>> {
        let Some(principal) = catalog.principal(by).await? else { return Ok(None) };
        let groups = catalog.groups_of(by).await?;
        let scope = self.scope.clone();
        Ok(Some(Identity { principal, groups, scope, expires_at: None }.into()))
    }
}

/// What a job keeps of an answer whose rows are in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptAnswer {
    /// Which attempt at the job wrote the file.
    pub fence: u64,
    /// The id that the query had.
    pub query_id: String,
    /// Rows in the file.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Whether the limit cut rows off.
    pub truncated: bool,
    /// The columns, in the words of the API.
    pub schema: Vec<KeptColumn>,
    /// The version of each dataset that was read.
    pub versions: BTreeMap<String, u64>,
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptColumn {
    /// As in the statement.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: String,
    /// Whether it may hold NULL.
    pub nullable: bool,
}

#[cfg(test)]
mod tests {
    use lakegate_catalog::{Groups as _, MemoryCatalog, NewPrincipal, PrincipalKind, Principals as _};
    use serde_json::json;

    use super::*;

    fn query(params: Json) -> BackgroundQuery {
        let scope = TokenScope { datasets: ["geo.a".parse().expect("a pattern")].into(), ..TokenScope::default() };
        let as_of = json!({ "geo.a": 3 });
        BackgroundQuery { sql: "SELECT 1".to_owned(), params, as_of, limit: Some(5), timeout_ms: 1_500, scope }
    }

    #[test]
    fn what_a_job_keeps_is_the_query() {
        let kept = query(json!([1, "a"]));
        let params = serde_json::to_value(&kept).expect("JSON");
        assert_eq!(BackgroundQuery::of_job("query", &params), Some(kept.clone()));
        assert_eq!(BackgroundQuery::of_job("compact", &params), None);
        assert_eq!(BackgroundQuery::of_job("query", &json!({})), None);
        let request = kept.request().expect("a request");
        assert_eq!(request.params, Params::Positional(vec![json!(1), json!("a")]));
        assert_eq!((request.limit, request.timeout), (Some(5), Some(Duration::from_millis(1_500))));
        assert_eq!(request.protocol, Protocol::Job);
        assert_ne!(request.as_of, AsOf::Newest);
        assert_eq!(query(json!("x")).request().expect_err("refused").code(), "invalid_parameters");
    }

    #[tokio::test]
    async fn it_runs_with_the_rights_of_by_then_within_those_of_its_token() {
        let catalog = MemoryCatalog::default();
        let new = NewPrincipal { name: "ada".to_owned(), kind: PrincipalKind::User, external: None };
        let ada = catalog.create_principal(new).await.expect("created").id;
        let kept = query(Json::Null);
        let caller = kept.caller(&catalog, ada).await.expect("asked").expect("there");
        assert_eq!((caller.groups().count(), &caller.identity().expect("known").scope), (0, &kept.scope));
        let staff = catalog.create_group("staff").await.expect("created").id;
        catalog.add_member(staff, ada).await.expect("added");
        let caller = kept.caller(&catalog, ada).await.expect("asked").expect("there");
        assert_eq!(caller.groups().collect::<Vec<_>>(), ["staff"]);
        catalog.delete_principal(ada).await.expect("deleted");
        assert!(kept.caller(&catalog, ada).await.expect("asked").is_none());
    }
}
