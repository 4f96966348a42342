//! The calls: the name of each, what it takes, what it answers. Both ends are made from this one list.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lakegate_catalog::{
    Access, Attempt, AuditEntry, AuditFilter, Caller, Catalog, Claim, Credential, Dataset, DatasetChange, DatasetId,
    DatasetName, ExternalId, Feed, Grant, Grantee, Group, GroupId, Hold, Identity, InstanceKey, Job, JobCounts,
    JobFilter, JobId, LakeId, Listing, LogLine, Namespace, NamespaceRecord, NewDataset, NewJob, NewPrincipal, NewToken,
    Outcome, Page, PasswordHash, Principal, PrincipalId, Progress, QueryEntry, Result, Role, Scope, TokenHash, TokenId,
    TokenRecord, Tombstone,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// Changes when a call does, so that two programs that would misunderstand each other say so.
pub(crate) const PROTOCOL: &str = "2";

/// The header with [`PROTOCOL`].
pub(crate) const PROTOCOL_HEADER: &str = "lakegate-protocol";

/// Where calls are; the name follows.
pub(crate) const CALLS: &str = "/v1/call/";

/// A call and what it takes.
pub(crate) trait Call: Serialize + DeserializeOwned + Send + Sync {
    /// Its name in the URL.
    const NAME: &'static str;
    /// Whether it changes nothing, so that it may be made twice.
    const READS: bool;
    /// What it answers.
    type Answer: Serialize + DeserializeOwned;

    /// Makes the call.
    fn run(self, catalog: &dyn Catalog) -> impl Future<Output = Result<Self::Answer>> + Send;
}

/// What is told of a call.
pub(crate) struct Described {
    pub(crate) name: &'static str,
    pub(crate) reads: bool,
    /// What it does, in a sentence.
    pub(crate) about: &'static str,
    pub(crate) fields: &'static [&'static str],
}

/// A call of unknown name, a body that is no such call, or the catalog's own refusal.
pub(crate) enum Failed {
    Unknown,
    Unreadable(serde_json::Error),
    Refused(Refusal),
}

macro_rules! calls {
    ($(#[doc = $about:literal] $how:ident $call:ident = $name:literal { $($field:ident: $ty:ty),* } -> $answer:ty:
       |$catalog:ident| $run:expr;)*) => {
        $(
            #[doc = $about]
            #[derive(Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub(crate) struct $call { $(pub(crate) $field: $ty),* }

            impl Call for $call {
                const NAME: &'static str = $name;
                const READS: bool = calls!(@ $how);
                type Answer = $answer;

                async fn run(self, $catalog: &dyn Catalog) -> Result<$answer> {
                    let Self { $($field),* } = self;
                    $run.await
                }
            }
        )*

        /// Every call.
        pub(crate) const ALL: &[Described] = &[$(Described {
            name: $name,
            reads: calls!(@ $how),
            about: $about,
            fields: &[$(stringify!($field)),*],
        }),*];

        /// Makes the call that `name` and `body` say; its answer as JSON.
        pub(crate) async fn make(name: &str, body: &[u8], catalog: &dyn Catalog) -> Result<Vec<u8>, Failed> {
            match name {
                $($name => answer::<$call>(body, catalog).await,)*
                _ => Err(Failed::Unknown),
            }
        }
    };
    (@ read) => { true };
    (@ write) => { false };
}

async fn answer<C: Call>(body: &[u8], catalog: &dyn Catalog) -> Result<Vec<u8>, Failed> {
    let call: C = serde_json::from_slice(body).map_err(Failed::Unreadable)?;
    let answer = call.run(catalog).await.map_err(|error| Failed::Refused(Refusal::of(error)))?;
    serde_json::to_vec(&answer).map_err(|error| Failed::Refused(Refusal::Corrupt { why: error.to_string() }))
}

calls! {
    #[doc = "Answers once the store behind the catalog has."]
    read Ping = "ping" {} -> (): |catalog| catalog.ping();

    #[doc = "The lake that holds the tables, once one is remembered."]
    read GetLake = "lake" {} -> Option<LakeId>: |catalog| catalog.lake();

    #[doc = "Remembers the lake, once for ever."]
    write RememberLake = "remember_lake" { lake: LakeId } -> LakeId: |catalog| catalog.remember_lake(lake);

    #[doc = "Remembers the key that gateways sign with, once for ever."]
    write RememberKey = "remember_key" { key: InstanceKey } -> InstanceKey: |catalog| catalog.remember_key(key);

    #[doc = "Creates the instance's first owner with its first token, when there is none."]
    write CreateFirstOwner = "create_first_owner" { owner: NewPrincipal, token: TokenHash } -> Option<Principal>:
        |catalog| catalog.create_first_owner(owner, &token);

    #[doc = "Creates a namespace if it does not exist; true when it was new."]
    write EnsureNamespace = "ensure_namespace" { namespace: Namespace } -> bool:
        |catalog| catalog.ensure_namespace(&namespace);

    #[doc = "Whether a namespace exists."]
    read NamespaceExists = "namespace_exists" { namespace: Namespace } -> bool:
        |catalog| catalog.namespace_exists(&namespace);

    #[doc = "The namespaces that a caller may see, by name."]
    read ListNamespaces = "list_namespaces" { caller: Caller, page: Page } -> Listing<NamespaceRecord>:
        |catalog| catalog.list_namespaces(&caller, &page);

    #[doc = "Deletes a namespace that has no dataset."]
    write DeleteNamespace = "delete_namespace" { namespace: Namespace } -> ():
        |catalog| catalog.delete_namespace(&namespace);

    #[doc = "Creates a dataset and makes a principal its owner."]
    write CreateDataset = "create_dataset" { dataset: NewDataset, owner: PrincipalId } -> Dataset:
        |catalog| catalog.create_dataset(dataset, owner);

    #[doc = "The dataset with a name."]
    read GetDataset = "dataset" { name: DatasetName } -> Option<Dataset>: |catalog| catalog.dataset(&name);

    #[doc = "The dataset with an id."]
    read GetDatasetById = "dataset_by_id" { id: DatasetId } -> Option<Dataset>: |catalog| catalog.dataset_by_id(id);

    #[doc = "The datasets that a caller may see, by name."]
    read ListDatasets = "list_datasets" { caller: Caller, namespace: Option<Namespace>, page: Page } -> Listing<Dataset>:
        |catalog| catalog.list_datasets(&caller, namespace.as_ref(), &page);

    #[doc = "Changes a dataset, all of it or nothing."]
    write UpdateDataset = "update_dataset" { id: DatasetId, change: DatasetChange } -> Dataset:
        |catalog| catalog.update_dataset(id, change);

    #[doc = "Takes a dataset and its grants away and leaves a tombstone."]
    write DeleteDataset = "delete_dataset" { id: DatasetId } -> (): |catalog| catalog.delete_dataset(id);

    #[doc = "Deleted datasets whose files are not known to be gone."]
    read Tombstones = "tombstones" {} -> Vec<Tombstone>: |catalog| catalog.tombstones();

    #[doc = "Forgets a tombstone once its files are gone."]
    write ForgetTombstone = "forget_tombstone" { id: DatasetId } -> (): |catalog| catalog.forget_tombstone(id);

    #[doc = "Creates a principal."]
    write CreatePrincipal = "create_principal" { principal: NewPrincipal } -> Principal:
        |catalog| catalog.create_principal(principal);

    #[doc = "The principal with an id."]
    read GetPrincipal = "principal" { id: PrincipalId } -> Option<Principal>: |catalog| catalog.principal(id);

    #[doc = "The principal with a name."]
    read GetPrincipalByName = "principal_by_name" { name: String } -> Option<Principal>:
        |catalog| catalog.principal_by_name(&name);

    #[doc = "All principals, by name."]
    read ListPrincipals = "list_principals" { page: Page } -> Listing<Principal>:
        |catalog| catalog.list_principals(&page);

    #[doc = "Deletes a principal with its tokens and grants."]
    write DeletePrincipal = "delete_principal" { id: PrincipalId } -> (): |catalog| catalog.delete_principal(id);

    #[doc = "Keeps a token."]
    write CreateToken = "create_token" { token: NewToken } -> TokenRecord: |catalog| catalog.create_token(token);

    #[doc = "Whom the unexpired token with a hash stands for."]
    read Authenticate = "authenticate" { hash: TokenHash, now: DateTime<Utc> } -> Option<Identity>:
        |catalog| catalog.authenticate(&hash, now);

    #[doc = "Whom a token of an issuer stands for."]
    read IdentifyExternal = "identify_external" { external: ExternalId, groups: Vec<String> } -> Option<Identity>:
        |catalog| catalog.identify_external(&external, &groups);

    #[doc = "Whom a credential stands for, and what that caller may do to the dataset with a name."]
    read Admit = "admit" { credential: Credential, now: DateTime<Utc>, name: DatasetName } -> Option<(Identity, Option<Access>)>:
        |catalog| catalog.admit(&credential, now, &name);

    #[doc = "Sets a principal's password, or takes it away."]
    write SetPassword = "set_password" { id: PrincipalId, password: Option<PasswordHash> } -> ():
        |catalog| catalog.set_password(id, password);

    #[doc = "Looks up whose password is to be compared, and counts a wrong one."]
    write AttemptLogin = "attempt_login" { name: String, now: DateTime<Utc> } -> Attempt:
        |catalog| catalog.attempt_login(&name, now);

    #[doc = "Forgets the wrong passwords of a name."]
    write FinishLogin = "finish_login" { name: String } -> (): |catalog| catalog.finish_login(&name);

    #[doc = "The tokens of a principal, oldest first."]
    read ListTokens = "list_tokens" { principal: PrincipalId } -> Vec<TokenRecord>:
        |catalog| catalog.list_tokens(principal);

    #[doc = "The token with an id."]
    read GetToken = "token" { id: TokenId } -> Option<TokenRecord>: |catalog| catalog.token(id);

    #[doc = "Makes a token stop working."]
    write RevokeToken = "revoke_token" { id: TokenId } -> (): |catalog| catalog.revoke_token(id);

    #[doc = "Creates a group without members."]
    write CreateGroup = "create_group" { name: String } -> Group: |catalog| catalog.create_group(&name);

    #[doc = "The group with an id."]
    read GetGroup = "group" { id: GroupId } -> Option<Group>: |catalog| catalog.group(id);

    #[doc = "The group with a name."]
    read GetGroupByName = "group_by_name" { name: String } -> Option<Group>: |catalog| catalog.group_by_name(&name);

    #[doc = "All groups, by name."]
    read ListGroups = "list_groups" { page: Page } -> Listing<Group>: |catalog| catalog.list_groups(&page);

    #[doc = "Deletes a group with its grants."]
    write DeleteGroup = "delete_group" { id: GroupId } -> (): |catalog| catalog.delete_group(id);

    #[doc = "Puts a principal into a group."]
    write AddMember = "add_member" { group: GroupId, principal: PrincipalId } -> ():
        |catalog| catalog.add_member(group, principal);

    #[doc = "Takes a principal out of a group."]
    write RemoveMember = "remove_member" { group: GroupId, principal: PrincipalId } -> ():
        |catalog| catalog.remove_member(group, principal);

    #[doc = "Who is in a group, by name."]
    read Members = "members" { group: GroupId, page: Page } -> Listing<Principal>:
        |catalog| catalog.members(group, &page);

    #[doc = "The groups that a principal is in, by name."]
    read GroupsOf = "groups_of" { principal: PrincipalId } -> Vec<Group>: |catalog| catalog.groups_of(principal);

    #[doc = "Gives a role on a scope."]
    write GiveGrant = "grant" { grant: Grant } -> (): |catalog| catalog.grant(grant);

    #[doc = "Takes the role on exactly one scope away."]
    write Revoke = "revoke" { grantee: Grantee, scope: Scope } -> (): |catalog| catalog.revoke(grantee, &scope);

    #[doc = "All grants of a principal, a group or everyone."]
    read GrantsOf = "grants_of" { grantee: Grantee } -> Vec<Grant>: |catalog| catalog.grants_of(grantee);

    #[doc = "All grants on exactly one scope."]
    read GrantsOn = "grants_on" { scope: Scope } -> Vec<Grant>: |catalog| catalog.grants_on(&scope);

    #[doc = "What a caller may do to the dataset with a name."]
    read GetAccess = "access" { caller: Caller, name: DatasetName } -> Option<Access>:
        |catalog| catalog.access(&caller, &name);

    #[doc = "What a caller may do to the dataset with an id."]
    read GetAccessById = "access_by_id" { caller: Caller, id: DatasetId } -> Option<Access>:
        |catalog| catalog.access_by_id(&caller, id);

    #[doc = "The highest role of a caller on a namespace."]
    read RoleOnNamespace = "role_on_namespace" { caller: Caller, namespace: Namespace } -> Option<Role>:
        |catalog| catalog.role_on_namespace(&caller, &namespace);

    #[doc = "Tells of versions that were committed."]
    write TellVersions = "tell_versions" { versions: Vec<(DatasetId, u64)> } -> ():
        |catalog| catalog.tell_versions(&versions);

    #[doc = "The events after one, oldest first."]
    read GetEvents = "events" { after: u64, limit: usize } -> Feed: |catalog| catalog.events(after, limit);

    #[doc = "The id of the last event."]
    read LastEvent = "last_event" {} -> u64: |catalog| catalog.last_event();

    #[doc = "Waits until there is an event after one, for 30 seconds at most."]
    read WaitForEvent = "wait_for_event" { after: u64, millis: u64 } -> u64:
        |catalog| catalog.wait_for_event(after, Duration::from_millis(millis.min(30_000)));

    #[doc = "Forgets events that were told before a time."]
    write ForgetEvents = "forget_events" { before: DateTime<Utc> } -> u64: |catalog| catalog.forget_events(before);

    #[doc = "Keeps a job until it is done."]
    write SubmitJob = "submit_job" { job: NewJob } -> Job: |catalog| catalog.submit_job(job);

    #[doc = "The job with an id."]
    read GetJob = "job" { id: JobId } -> Option<Job>: |catalog| catalog.job(id);

    #[doc = "Jobs that a filter lets through, the newest first."]
    read ListJobs = "list_jobs" { filter: JobFilter, page: Page } -> Listing<Job>:
        |catalog| catalog.list_jobs(&filter, &page);

    #[doc = "Takes the job that comes next."]
    write ClaimJob = "claim_job" { claim: Claim } -> Option<Job>: |catalog| catalog.claim_job(&claim);

    #[doc = "Waits until there may be a job to claim, for 30 seconds at most."]
    read WaitForJob = "wait_for_job" { claim: Claim, millis: u64 } -> bool:
        |catalog| catalog.wait_for_job(&claim, Duration::from_millis(millis.min(30_000)));

    #[doc = "Holds a job for another lease; whether somebody has asked for its end."]
    write RenewJob = "renew_job" { hold: Hold, lease: Duration, progress: Option<Progress>, lines: Vec<String> } -> bool:
        |catalog| catalog.renew_job(hold, lease, progress.as_ref(), &lines);

    #[doc = "Ends an attempt at a job."]
    write EndJob = "end_job" { hold: Hold, outcome: Outcome, lines: Vec<String> } -> Job:
        |catalog| catalog.end_job(hold, outcome, &lines);

    #[doc = "Asks for the end of a job."]
    write CancelJob = "cancel_job" { id: JobId } -> Job: |catalog| catalog.cancel_job(id);

    #[doc = "Lines of a job's log after one, oldest first."]
    read JobLog = "job_log" { id: JobId, after: u64 } -> Vec<LogLine>: |catalog| catalog.job_log(id, after);

    #[doc = "Ended jobs that may be forgotten."]
    read ExpiredJobs = "expired_jobs" {} -> Vec<Hold>: |catalog| catalog.expired_jobs();

    #[doc = "Forgets a job that has ended."]
    write ForgetJob = "forget_job" { id: JobId } -> (): |catalog| catalog.forget_job(id);

    #[doc = "How many jobs have not ended."]
    read GetJobCounts = "job_counts" {} -> JobCounts: |catalog| catalog.job_counts();

    #[doc = "Keeps entries of the audit."]
    write Record = "record" { entries: Vec<AuditEntry> } -> (): |catalog| catalog.record(&entries);

    #[doc = "Keeps queries that have ended."]
    write RecordQueries = "record_queries" { queries: Vec<QueryEntry> } -> ():
        |catalog| catalog.record_queries(&queries);

    #[doc = "Entries of the audit, the newest first."]
    read GetAudit = "audit" { filter: AuditFilter, page: Page } -> Listing<AuditEntry>:
        |catalog| catalog.audit(&filter, &page);

    #[doc = "Queries that have ended, the newest first."]
    read AuditedQueries = "audited_queries" { filter: AuditFilter, page: Page } -> Listing<QueryEntry>:
        |catalog| catalog.audited_queries(&filter, &page);

    #[doc = "Forgets entries and queries of before a time."]
    write ForgetAudit = "forget_audit" { before: DateTime<Utc> } -> u64: |catalog| catalog.forget_audit(before);

    #[doc = "The role of a caller on the instance."]
    read RoleOnInstance = "role_on_instance" { caller: Caller } -> Option<Role>:
        |catalog| catalog.role_on_instance(&caller);
}
