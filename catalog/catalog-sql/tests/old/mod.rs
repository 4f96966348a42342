//! Databases as older versions left them.

/// Makes a database of the present version one of version 4.
pub(crate) const VERSION_4: &str = "
    CREATE TABLE old_grants (
        principal_id TEXT NOT NULL REFERENCES principals (id) ON DELETE CASCADE,
        scope TEXT NOT NULL,
        namespace TEXT REFERENCES namespaces (name),
        dataset_id TEXT REFERENCES datasets (id) ON DELETE CASCADE,
        role BIGINT NOT NULL,
        PRIMARY KEY (principal_id, scope)
    );
    INSERT INTO old_grants SELECT principal_id, scope, namespace, dataset_id, role FROM grants;
    DROP TABLE grants;
    ALTER TABLE old_grants RENAME TO grants;
    CREATE INDEX grants_by_scope ON grants (scope);
    CREATE INDEX grants_by_dataset ON grants (dataset_id);
    DROP TABLE group_members; DROP TABLE principal_groups; DROP TABLE external_ids; DROP TABLE login_failures;
    DROP TABLE events; DROP TABLE event_counter; DROP TABLE audit; DROP TABLE audited_queries;
    DROP TABLE job_log; DROP TABLE job_labels; DROP TABLE job_tenants; DROP TABLE jobs;
    ALTER TABLE principals DROP COLUMN password;
    ALTER TABLE tokens DROP COLUMN scope;
    ALTER TABLE datasets DROP COLUMN policy;
    ALTER TABLE datasets DROP COLUMN size;
    UPDATE schema_version SET version = 4;
";
