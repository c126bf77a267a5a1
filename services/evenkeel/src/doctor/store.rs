//! Findings about the CQL store: who answers, schema, copies, rights, clock.

use super::clock::{self, Verdict};
use super::facts::{Clocks, Store, Trouble};
use super::{Told, Weight};
use crate::failure::Failure;
use evenkeel_chassis::exit::Exit;
use evenkeel_cql::{ConnectError, ServerKind, StaleTable, Survey};
use std::collections::BTreeSet;

/// Everything that may be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nobody to talk to.
    NoStore(Trouble),
    /// The keyspace is not as the configuration needs it.
    Schema(Trouble),
    /// A table with another life time.
    Stale(StaleTable),
    /// A server older than what is tested.
    OldServer { release: String },
    /// The keyspace's copies.
    Copies(OfCopies),
    /// All nodes in one rack.
    OneRack { rack: String, nodes: u32 },
    /// Nodes that are not reached.
    NodesAway { away: u32, nodes: u32 },
    /// Nodes with different schemas.
    SchemaDisagrees,
    /// A right is missing.
    NoRight { right: &'static str },
    /// Clocks differ.
    ClockWrong { by_ms: u64 },
}

/// What may be wrong with the copies of the keyspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfCopies {
    /// No copy where we write.
    NoCopyHere { dc: String },
    /// More copies than nodes.
    TooManyCopies { dc: String, copies: u32, nodes: u32 },
    /// Too few for a node to be away.
    FewCopies { copies: u32 },
    /// A read may miss an acknowledged write.
    WeakReads { copies: u32 },
}

/// Kind and weight, why, remedy.
type Words = ((&'static str, Weight), String, &'static str);

/// Judges what was seen.
pub fn judge(store: &Store) -> Vec<Finding> {
    let survey = match &store.survey {
        Ok(survey) => survey,
        Err(trouble) => return vec![Finding::NoStore(trouble.clone())],
    };
    let mut findings = Vec::new();
    match &survey.schema {
        // Told once, as a right.
        Err(ConnectError::Forbidden { .. }) => findings.push(Finding::NoRight { right: "SELECT" }),
        Err(error) => {
            let (exit, message) = (Failure::of_store(error), error.to_string());
            findings.push(Finding::Schema(Trouble { exit, message }));
        }
        Ok(()) if survey.rights.read == Some(false) => findings.push(Finding::NoRight { right: "SELECT" }),
        Ok(()) => {}
    }
    if survey.rights.write == Some(false) {
        findings.push(Finding::NoRight { right: "MODIFY" });
    }
    findings.extend(survey.stale.iter().cloned().map(Finding::Stale));
    let major = survey.about.release.split('.').next().and_then(|major| major.parse::<u32>().ok());
    // ScyllaDB tells the release of Cassandra that it resembles.
    if survey.about.server == ServerKind::Cassandra && major.is_some_and(|major| major < 4) {
        findings.push(Finding::OldServer { release: survey.about.release.clone() });
    }
    judge_copies(store, survey, &mut findings);
    judge_nodes(survey, &mut findings);
    if let Some(read) = survey.clock {
        let (asked_ms, heard_ms, server_ms) = (read.asked_ms, read.heard_ms, read.server_ms);
        let clocks = Clocks { asked_ms, heard_ms, server_ms, slack_ms: store.slack_ms };
        if let Verdict::Wrong { by_ms } = clock::judge(&clocks) {
            findings.push(Finding::ClockWrong { by_ms });
        }
    }
    findings
}

/// Without a keyspace there are no copies, and the schema's finding says so.
fn judge_copies(store: &Store, survey: &Survey, findings: &mut Vec<Finding>) {
    if survey.copies.is_empty() {
        return;
    }
    let dc = &survey.about.local_dc;
    let nodes_of = |dc: &str| survey.nodes.iter().filter(|node| node.dc == dc).count() as u32;
    for (dc, copies) in &survey.copies {
        let (copies, nodes) = (*copies, nodes_of(dc));
        if copies > nodes {
            findings.push(Finding::Copies(OfCopies::TooManyCopies { dc: dc.clone(), copies, nodes }));
        }
    }
    match survey.copies.get(dc).copied().unwrap_or(0) {
        0 => findings.push(Finding::Copies(OfCopies::NoCopyHere { dc: dc.clone() })),
        copies if store.consistency_one && copies > 1 => {
            findings.push(Finding::Copies(OfCopies::WeakReads { copies }));
        }
        copies @ 1..=2 if survey.nodes.len() > 1 => {
            findings.push(Finding::Copies(OfCopies::FewCopies { copies }));
        }
        _ => {}
    }
}

fn judge_nodes(survey: &Survey, findings: &mut Vec<Finding>) {
    let ours: Vec<_> = survey.nodes.iter().filter(|node| node.dc == survey.about.local_dc).collect();
    let (nodes, away) = (ours.len() as u32, ours.iter().filter(|node| !node.connected).count() as u32);
    if away > 0 {
        findings.push(Finding::NodesAway { away, nodes });
    }
    let racks: BTreeSet<&str> = ours.iter().map(|node| node.rack.as_str()).collect();
    if let (1, Some(rack), 2..) = (racks.len(), racks.first(), nodes) {
        findings.push(Finding::OneRack { rack: (*rack).to_owned(), nodes });
    }
    if survey.agreed == Some(false) {
        findings.push(Finding::SchemaDisagrees);
    }
}

/// What was seen, for a reader who wants to know that it was looked at.
pub fn seen(store: &Store) -> Vec<String> {
    let Ok(survey) = &store.survey else { return Vec::new() };
    let about = &survey.about;
    let racks: BTreeSet<&str> = survey.nodes.iter().map(|node| node.rack.as_str()).collect();
    let shards: u32 = survey.nodes.iter().filter_map(|node| node.shards).sum();
    let shards = if shards == 0 { String::new() } else { format!(", {shards} shards") };
    let (server, release, dc, nodes) = (about.server, &about.release, &about.local_dc, survey.nodes.len());
    let versions: Vec<String> = survey.versions.iter().map(|(part, v)| format!("{part} {v}")).collect();
    vec![
        format!(
            "store: {server:?} {release}, {nodes} node(s){shards}, data centre {dc}, {} rack(s)",
            racks.len()
        ),
        format!("schema: {}", if versions.is_empty() { "none".to_owned() } else { versions.join(", ") }),
    ]
}

impl Finding {
    /// In words.
    pub fn told(&self) -> Told {
        let place = "CQL store";
        let ((kind, weight), why, remedy) = match self {
            Self::NoStore(trouble) => {
                return Told::of_failure("no-store", trouble.exit, place, &trouble.message);
            }
            Self::Schema(trouble) => {
                return Told::of_failure("schema", trouble.exit, place, &trouble.message);
            }
            Self::Copies(of) => of.words(),
            Self::Stale(StaleTable { table, recorded, wanted }) => (
                ("stale-table", Weight::Warning),
                format!("table {table} has {recorded}, the configuration says {wanted}"),
                "`evenkeel cql migrate` with this configuration",
            ),
            Self::OldServer { release } => (
                ("old-store", Weight::Warning),
                format!("Cassandra {release} is older than what is tested (5.0)"),
                "upgrade it",
            ),
            Self::OneRack { rack, nodes } => (
                ("one-rack", Weight::Note),
                format!("all {nodes} nodes are in rack {rack}: copies are not spread"),
                "name racks by what fails together",
            ),
            Self::NodesAway { away, nodes } => (
                ("nodes-away", Weight::Warning),
                format!("{away} of {nodes} nodes are not reached from here"),
                "look at these nodes, and at network policies to each of them",
            ),
            Self::SchemaDisagrees => (
                ("schema-disagrees", Weight::Warning),
                "nodes have different versions of the schema".into(),
                "wait a minute; then restart the node that stays behind (`nodetool describecluster`)",
            ),
            Self::NoRight { right } => (
                ("no-store-right", Weight::Error(Exit::Usage)),
                format!("this role has not the right {right}"),
                "grant SELECT and MODIFY on the keyspace to the role of cql.auth.user",
            ),
            Self::ClockWrong { by_ms } => (
                ("store-clock", Weight::Warning),
                format!(
                    "the node's clock differs from this machine's by at least {by_ms} ms: rows expire at odd times"
                ),
                "synchronise the time of both machines",
            ),
        };
        Told { kind, weight, place: place.into(), why, remedy: remedy.to_owned() }
    }
}

impl OfCopies {
    fn words(&self) -> Words {
        match self {
            Self::NoCopyHere { dc } => (
                ("no-copy-here", Weight::Error(Exit::Usage)),
                format!("the keyspace has no copy in {dc}, where this program reads and writes"),
                "set cql.local-dc to a data centre with copies, or alter the keyspace's replication and repair",
            ),
            Self::TooManyCopies { dc, copies, nodes } => (
                ("too-many-copies", Weight::Warning),
                format!(
                    "{copies} copies in {dc}, which has {nodes} node(s): quorums fail sooner than planned"
                ),
                "add nodes, or alter the keyspace's replication and repair",
            ),
            Self::FewCopies { copies } => (
                ("few-copies", Weight::Warning),
                format!(
                    "{copies} copies: with one node away its rows can be neither written nor read by quorum"
                ),
                "three copies (ALTER KEYSPACE, then repair)",
            ),
            Self::WeakReads { copies } => (
                ("weak-reads", Weight::Error(Exit::Usage)),
                format!(
                    "cql.consistency = one with {copies} copies: a late event may be merged into an older row"
                ),
                "set cql.consistency = \"local-quorum\"",
            ),
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
