//! What the cluster and the keyspace are, as an operator wants to know it: facts, none judged here.
//!
//! Owns: the questions. Never: writes (the one INSERT asks whether it might, and has a life time that no server
//! takes), an opinion about an answer (the caller's).

use crate::class::{ErrorClass, class_of};
use crate::clock::now_ms;
use crate::config::CqlConfig;
use crate::connect::{Cluster, ConnectError};
use crate::schema;
use crate::statements;
use crate::writer::About;
use scylla::client::session::Session;
use scylla::errors::ExecutionError;
use scylla::value::CqlTimeuuid;
use std::collections::BTreeMap;

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// Which cluster it is.
    pub about: About,
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Whether all nodes have the same schema; `None` = they did not say.
    pub agreed: Option<bool>,
    /// Copies per data centre of the keyspace; empty = there is no keyspace, or none that is ours.
    pub copies: BTreeMap<String, u32>,
    /// Version of each applied part.
    pub versions: BTreeMap<String, i32>,
    /// Whether the keyspace holds what the configuration needs.
    pub schema: Result<(), ConnectError>,
    /// Tables whose life time or compaction is not what the configuration says.
    pub stale: Vec<StaleTable>,
    /// What this role may do with the tables; `None` = not known.
    pub rights: Rights,
    /// The clock of the node that answered; `None` = it did not say.
    pub clock: Option<ClockReading>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its data centre.
    pub dc: String,
    /// Its rack.
    pub rack: String,
    /// Its shards; `None` = it has none, or hides them.
    pub shards: Option<u32>,
    /// Whether we reach it.
    pub connected: bool,
}

/// A table with other options than the configuration's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleTable {
    /// Name.
    pub table: String,
    /// What was applied.
    pub recorded: String,
    /// What the configuration says.
    pub wanted: String,
}

/// What a role may do; `None` = not known, because there is no table to ask about or no answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights {
    /// SELECT.
    pub read: Option<bool>,
    /// MODIFY.
    pub write: Option<bool>,
}

/// Both clocks, ms since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// Ours when the question left.
    pub asked_ms: i64,
    /// Ours when the answer was there.
    pub heard_ms: i64,
    /// The server's, at some moment between the two.
    pub server_ms: i64,
}

/// Looks at the cluster and the keyspace. Fails only if there is no cluster to look at. Blocks for a bounded time.
pub fn survey(config: &CqlConfig) -> Result<Survey, ConnectError> {
    crate::blocking::run(async {
        let cluster = Cluster::connect(config).await?;
        let (session, keyspace) = (&cluster.session, &config.keyspace);
        let schema = schema::check(&cluster, keyspace, &config.tables).await;
        let applied = schema::applied(session, keyspace).await.unwrap_or_default();
        let stale = config.tables.iter().filter_map(|table| {
            let (recorded, wanted) = (&applied.get(&table.name())?.1, schema::options_text(table));
            (*recorded != wanted).then(|| StaleTable {
                table: table.name(),
                recorded: recorded.clone(),
                wanted,
            })
        });
        let replication = schema::replication_of(session, keyspace).await.ok().flatten().unwrap_or_default();
        let copies = replication.into_iter().filter_map(|(dc, copies)| Some((dc, copies.parse().ok()?)));
        Ok(Survey {
            about: About {
                server: cluster.server,
                release: cluster.release.clone(),
                local_dc: cluster.local_dc.clone(),
                targets: cluster.targets,
            },
            nodes: nodes(session),
            agreed: session.check_schema_agreement().await.ok().map(|version| version.is_some()),
            copies: copies.collect(),
            versions: applied.iter().map(|(part, (version, _))| (part.clone(), *version)).collect(),
            schema,
            stale: stale.collect(),
            rights: rights(session, keyspace).await,
            clock: clock(session).await,
        })
    })
}

fn nodes(session: &Session) -> Vec<Node> {
    let state = session.get_cluster_state();
    let nodes = state.get_nodes_info().iter().map(|node| Node {
        dc: node.datacenter.clone().unwrap_or_default(),
        rack: node.rack.clone().unwrap_or_default(),
        shards: node.sharder().map(|sharder| u32::from(sharder.nr_shards.get())),
        connected: node.is_connected(),
    });
    nodes.collect()
}

async fn rights(session: &Session, keyspace: &str) -> Rights {
    let read = session.query_unpaged(statements::select_latest(keyspace), ("0", 0i32, "0", 0i64)).await;
    let write = session.query_unpaged(statements::write_probe(keyspace), ()).await;
    Rights { read: allowed(read.map(drop)), write: allowed(write.map(drop)) }
}

/// Servers judge rights before anything else, so whatever comes after that judgement says that there is the right.
fn allowed(answer: Result<(), ExecutionError>) -> Option<bool> {
    let Err(error) = answer else { return Some(true) };
    match class_of(&error) {
        ErrorClass::Setup if error.to_string().to_ascii_lowercase().contains("permission") => Some(false),
        ErrorClass::Refused => Some(true),
        ErrorClass::Setup if error.to_string().contains("ttl is too large") => Some(true),
        _ => None,
    }
}

async fn clock(session: &Session) -> Option<ClockReading> {
    let asked_ms = now_ms();
    let answer = session.query_unpaged(statements::SELECT_NOW, ()).await.ok()?;
    let heard_ms = now_ms();
    let (now,) = answer.into_rows_result().ok()?.first_row::<(CqlTimeuuid,)>().ok()?;
    let (seconds, nanos) = now.as_ref().get_timestamp()?.to_unix();
    let server_ms = i64::try_from(seconds).ok()? * 1000 + i64::from(nanos / 1_000_000);
    Some(ClockReading { asked_ms, heard_ms, server_ms })
}
