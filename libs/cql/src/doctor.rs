//! `evenkeel cql doctor`: what the cluster is, and what is not as this program needs it.

use crate::config::CqlConfig;
use crate::connect::{Cluster, ConnectError};
use crate::schema;
use crate::writer::About;
use std::collections::BTreeMap;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoctorReport {
    /// Which cluster it is.
    pub about: About,
    /// Nodes per data centre.
    pub nodes: BTreeMap<String, u32>,
    /// Version of each applied part.
    pub versions: BTreeMap<String, i32>,
    /// What an operator should do something about, each with its remedy; empty = healthy.
    pub findings: Vec<String>,
}

/// Looks at the cluster and the keyspace. Fails only if there is no cluster to look at.
pub fn doctor(config: &CqlConfig) -> Result<DoctorReport, ConnectError> {
    crate::blocking::run(async {
        let cluster = Cluster::connect(config).await?;
        let mut findings = Vec::new();
        if let Err(error) = schema::check(&cluster, &config.keyspace, &config.tables).await {
            findings.push(error.to_string());
        }
        let mut versions = BTreeMap::new();
        if let Ok(applied) = schema::applied(&cluster.session, &config.keyspace).await {
            versions.extend(applied.iter().map(|(part, (version, _))| (part.clone(), *version)));
            for table in &config.tables {
                let recorded = applied.get(&table.name()).map(|(_, options)| options.as_str());
                let wanted = schema::options_text(table);
                if let Some(recorded) = recorded.filter(|recorded| *recorded != wanted) {
                    findings.push(format!(
                        "table {} has {recorded}, the configuration says {wanted}; run `evenkeel cql migrate`",
                        table.name()
                    ));
                }
            }
        }
        if let Ok(Some(replication)) = schema::replication_of(&cluster.session, &config.keyspace).await {
            findings.extend(copies_findings(&cluster, &replication));
        }
        let about = About {
            server: cluster.server,
            release: cluster.release.clone(),
            local_dc: cluster.local_dc.clone(),
            targets: cluster.targets,
        };
        Ok(DoctorReport { about, nodes: cluster.nodes.clone(), versions, findings })
    })
}

fn copies_findings(cluster: &Cluster, replication: &BTreeMap<String, String>) -> Vec<String> {
    let copies = |dc: &str| replication.get(dc).and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
    let mut findings = Vec::new();
    if copies(&cluster.local_dc) == 0 {
        findings.push(format!(
            "the keyspace has no copy in cql.local-dc = {}; alter its replication, or choose another data centre",
            cluster.local_dc
        ));
    }
    for (dc, nodes) in cluster.nodes.iter().filter(|(dc, nodes)| copies(dc) > **nodes) {
        findings.push(format!(
            "{} copies in {dc}, which has {nodes} nodes; quorums will fail sooner than planned",
            copies(dc)
        ));
    }
    findings
}
