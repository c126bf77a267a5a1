//! Brings a keyspace to the schema this program knows: `evenkeel cql migrate`.
//!
//! Safe to run twice and by several at once, without locks: every statement says IF NOT EXISTS or sets
//! options to fixed values, and all DDL goes through ONE node, the one with the smallest host id, which
//! applies schema changes one after another. (Two nodes creating one table at the same moment is what
//! tears a Cassandra schema apart.) Only NetworkTopologyStrategy. Scylla-only statements after detection.

use crate::class::{ErrorClass, class_of};
use crate::clock::now_ms;
use crate::config::CqlConfig;
use crate::connect::{Cluster, ConnectError, ServerKind};
use crate::schema::{self, SchemaError, WINDOW_TABLE_VERSION};
use crate::statements;
use crate::table::WindowTable;
use scylla::policies::load_balancing::{
    LoadBalancingPolicy, NodeIdentifier, SingleTargetLoadBalancingPolicy,
};
use scylla::statement::unprepared::Statement;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a migration did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrateReport {
    /// Which server it is.
    pub server: ServerKind,
    /// Its release.
    pub release: String,
    /// What was applied, in order; empty = everything was there.
    pub applied: Vec<String>,
    /// What an operator should look at.
    pub warnings: Vec<String>,
}

/// Longest wait for the changes of another migration to settle.
const CHANGING_MAX: Duration = Duration::from_secs(30);
/// Longest wait for one DDL statement; a cluster of many tables takes seconds.
const DDL_TIMEOUT: Duration = Duration::from_secs(60);

/// Creates or completes the keyspace of `config`. Blocks; bounded by `start-timeout` and a minute per
/// statement.
pub fn migrate(config: &CqlConfig) -> Result<MigrateReport, ConnectError> {
    crate::blocking::run(async {
        let cluster = Cluster::connect(config).await?;
        let mut migration = Migration::new(&cluster, config);
        let deadline = Instant::now() + CHANGING_MAX;
        loop {
            match migration.run().await {
                Ok(()) => return Ok(migration.report),
                // What somebody else creates exists before it can be read or written: look again from the top.
                Err(ConnectError::Incomplete { reason } | ConnectError::Passing(reason))
                    if Instant::now() < deadline =>
                {
                    tracing::debug!(reason, "the keyspace changes while it is used");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(error) => return Err(error),
            }
        }
    })
}

struct Migration<'a> {
    cluster: &'a Cluster,
    config: &'a CqlConfig,
    one_node: Option<Arc<dyn LoadBalancingPolicy>>,
    report: MigrateReport,
}

impl<'a> Migration<'a> {
    fn new(cluster: &'a Cluster, config: &'a CqlConfig) -> Self {
        let state = cluster.session.get_cluster_state();
        let connected = state.get_nodes_info().iter().filter(|node| node.is_connected());
        let one_node = connected
            .min_by_key(|node| node.host_id)
            .map(|node| SingleTargetLoadBalancingPolicy::new(NodeIdentifier::HostId(node.host_id), None));
        let report = MigrateReport {
            server: cluster.server,
            release: cluster.release.clone(),
            applied: Vec::new(),
            warnings: Vec::new(),
        };
        Self { cluster, config, one_node, report }
    }

    /// All of it; may be repeated from the top at any point.
    async fn run(&mut self) -> Result<(), ConnectError> {
        self.keyspace().await?;
        let keyspace = &self.config.keyspace;
        let there = schema::tables_of(&self.cluster.session, keyspace).await?;
        if !there.contains("schema_version") {
            self.apply("schema_version", schema::SCHEMA_VERSION, None).await?;
        }
        let applied = schema::applied(&self.cluster.session, keyspace).await?;
        let base = applied.get("base").map_or(0, |(version, _)| *version);
        for (version, text) in (1..).zip(schema::BASE).filter(|(version, _)| *version > base) {
            self.apply(&format!("base {version}"), text, None).await?;
            self.record("base", version, "").await?;
        }
        for table in &self.config.tables {
            let name = table.name();
            self.table(table, there.contains(&name), applied.get(&name)).await?;
            if let Some(part) = schema::overlay_part(self.cluster.server, table)
                && !applied.contains_key(&part)
            {
                self.apply(&part, schema::SCYLLA_OVERLAY, Some(table)).await?;
                self.record(&part, WINDOW_TABLE_VERSION, "").await?;
            }
        }
        Ok(())
    }

    async fn keyspace(&mut self) -> Result<(), ConnectError> {
        let (keyspace, session) = (&self.config.keyspace, &self.cluster.session);
        let wanted = match self.config.replication.is_empty() {
            true => BTreeMap::from([(self.cluster.local_dc.clone(), 3)]),
            false => self.config.replication.clone(),
        };
        let Some(found) = schema::replication_of(session, keyspace).await? else {
            if !self.config.create_keyspace {
                return Err(SchemaError::NoKeyspace { keyspace: keyspace.clone() }.into());
            }
            for (dc, copies) in &wanted {
                let nodes = self.cluster.nodes.get(dc).copied().unwrap_or(0);
                if *copies > nodes {
                    return Err(SchemaError::Replication { dc: dc.clone(), copies: *copies, nodes }.into());
                }
            }
            let text = schema::create_keyspace(keyspace, &wanted);
            return self.apply(&format!("keyspace {keyspace}"), &text, None).await;
        };
        let differs = |(dc, copies): (&String, &u32)| found.get(dc) != Some(&copies.to_string());
        if !self.config.replication.is_empty() && self.config.replication.iter().any(differs) {
            self.report.warnings.push(format!(
                "keyspace {keyspace} is replicated as {found:?}, cql.replication says {wanted:?}; \
                 change it by hand (ALTER KEYSPACE, then repair)"
            ));
        }
        Ok(())
    }

    async fn table(
        &mut self,
        table: &WindowTable,
        exists: bool,
        recorded: Option<&(i32, String)>,
    ) -> Result<(), ConnectError> {
        let (name, options) = (table.name(), schema::options_text(table));
        if exists && recorded.is_some_and(|(_, known)| *known == options) {
            return Ok(());
        }
        if !exists {
            self.apply(&name, schema::WINDOW_TABLE, Some(table)).await?;
        }
        // Also after a creation that somebody else may have won with other options.
        self.apply(&format!("{name}: {options}"), schema::WINDOW_TABLE_OPTIONS, Some(table)).await?;
        self.record(&name, WINDOW_TABLE_VERSION, &options).await
    }

    /// Applies every statement of a text of schemas/cql.
    async fn apply(
        &mut self,
        what: &str,
        text: &str,
        table: Option<&WindowTable>,
    ) -> Result<(), ConnectError> {
        for text in schema::split_statements(&schema::fill(text, &self.config.keyspace, table)) {
            let mut statement = Statement::new(text);
            statement.set_is_idempotent(true);
            statement.set_request_timeout(Some(DDL_TIMEOUT));
            statement.set_load_balancing_policy(self.one_node.clone());
            self.change(statement).await?;
        }
        tracing::info!(what, "schema change applied");
        if !self.report.applied.iter().any(|applied| applied == what) {
            self.report.applied.push(what.to_owned());
        }
        Ok(())
    }

    /// One schema change, repeated while its outcome is unknown: every one of them may be applied twice.
    async fn change(&self, statement: Statement) -> Result<(), ConnectError> {
        for attempt in 1.. {
            match self.cluster.session.query_unpaged(statement.clone(), ()).await {
                Ok(_) => break,
                Err(error)
                    if class_of(&error) == ErrorClass::Repeat && attempt < self.config.attempts_max =>
                {
                    tracing::warn!(%error, attempt, "schema change repeated");
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn record(&self, part: &str, version: i32, options: &str) -> Result<(), ConnectError> {
        let text = statements::insert_version(&self.config.keyspace);
        let row = schema::version_row(part, version, now_ms(), options);
        self.cluster.session.query_unpaged(text, row).await?;
        Ok(())
    }
}
