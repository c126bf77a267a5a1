//! Which facts of a Kafka are findings.

use super::super::clock::{self, Verdict};
use super::super::facts::{Clocks, Cluster, Part};
use super::{CONSUMER_GROUP_HEARTBEAT, Finding, OfCluster, OfCopies, OfTopic, Right, Setting};
use evenkeel_kafka::topics::TopicSpec;
use evenkeel_kafka::{Apis, Survey, TopicFacts, TopicState, TopicSurvey};
use evenkeel_model::Topic;

/// TxnOffsetCommit: from version 3 on (Kafka 2.5) a commit names its group's generation, which fences zombies.
const TXN_OFFSET_COMMIT: (i16, i16) = (28, 3);
/// Settings of a topic on which exactness hangs.
const VITAL: [&str; 2] = ["cleanup.policy", "message.timestamp.type"];
const MIN_IN_SYNC: &str = "min.insync.replicas";

/// What a service needs of a topic; `None` = `clock`.
type Need = (Part, Option<Topic>, Right);

const NEEDS: [Need; 21] = [
    (Part::Ingest, Some(Topic::Events), Right::Write),
    (Part::Ingest, None, Right::Write),
    (Part::Coalescer, Some(Topic::Events), Right::Read),
    (Part::Coalescer, Some(Topic::Windows), Right::Read),
    (Part::Coalescer, Some(Topic::Windows), Right::Write),
    (Part::Coalescer, Some(Topic::Dlq), Right::Write),
    (Part::Coalescer, Some(Topic::Marks), Right::Read),
    (Part::Coalescer, Some(Topic::Marks), Right::Write),
    (Part::Coalescer, Some(Topic::Interest), Right::Read),
    (Part::Coalescer, Some(Topic::Frames), Right::Write),
    (Part::Sink, Some(Topic::Windows), Right::Read),
    (Part::Sink, Some(Topic::Dlq), Right::Write),
    (Part::Sink, Some(Topic::Scores), Right::Read),
    (Part::Gateway, Some(Topic::Frames), Right::Read),
    (Part::Gateway, Some(Topic::Alerts), Right::Read),
    (Part::Gateway, Some(Topic::Interest), Right::Write),
    (Part::Scorer, Some(Topic::Windows), Right::Read),
    (Part::Scorer, Some(Topic::Scores), Right::Read),
    (Part::Scorer, Some(Topic::Scores), Right::Write),
    (Part::Scorer, Some(Topic::Alerts), Right::Read),
    (Part::Scorer, Some(Topic::Alerts), Right::Write),
];

/// Judges what was seen.
pub fn judge(cluster: &Cluster) -> Vec<Finding> {
    let survey = match &cluster.survey {
        Ok(survey) => survey,
        Err(trouble) => return vec![Finding::NoKafka(trouble.clone())],
    };
    let mut findings = judge_version(cluster, &survey.apis);
    if survey.brokers == 1 {
        findings.push(Finding::Cluster(OfCluster::OneBroker));
    }
    let events = survey.topics.iter().find(|topic| topic.topic == Some(Topic::Events)).and_then(there);
    for topic in &survey.topics {
        let name = topic.name.clone();
        match &topic.state {
            TopicState::Missing => findings.push(Finding::Topic(name, OfTopic::Missing)),
            TopicState::Forbidden => findings.push(Finding::Topic(name, OfTopic::Forbidden)),
            TopicState::There(facts) => {
                judge_count(cluster, topic, facts, events.map(|e| e.partitions), &mut findings);
                judge_copies(&name, facts, survey.brokers, &mut findings);
                let spec = topic.topic.map_or(&cluster.spec.clock, |topic| cluster.spec.of(topic));
                judge_settings(&name, facts, spec, &mut findings);
            }
        }
    }
    judge_rights(cluster, survey, &mut findings);
    judge_clock(cluster, survey, &mut findings);
    findings
}

/// The facts of a topic that is there.
pub fn there(topic: &TopicSurvey) -> Option<&TopicFacts> {
    match &topic.state {
        TopicState::There(facts) => Some(facts),
        _ => None,
    }
}

fn judge_version(cluster: &Cluster, apis: &Apis) -> Vec<Finding> {
    let mut findings = Vec::new();
    if apis.is_empty() {
        return vec![Finding::Cluster(OfCluster::VersionUnknown)];
    }
    if apis.get(&TXN_OFFSET_COMMIT.0).is_none_or(|(_, last)| *last < TXN_OFFSET_COMMIT.1) {
        findings.push(Finding::Cluster(OfCluster::TooOld));
    }
    if cluster.asks_kip_848 && !apis.contains_key(&CONSUMER_GROUP_HEARTBEAT) {
        findings.push(Finding::Cluster(OfCluster::NoKip848));
    }
    findings
}

/// `frames` is partitioned by gateway, `clock` has one, and `dlq` may have more than `events`.
fn judge_count(
    cluster: &Cluster,
    topic: &TopicSurvey,
    facts: &TopicFacts,
    events: Option<u32>,
    findings: &mut Vec<Finding>,
) {
    let (name, found) = (topic.name.clone(), facts.partitions);
    match (topic.topic, events) {
        (Some(Topic::Frames), _) if found <= cluster.gateway_partition => {
            let wanted = cluster.gateway_partition;
            findings.push(Finding::Topic(name, OfTopic::NoFramesPartition { found, wanted }));
        }
        (Some(Topic::Frames | Topic::Events) | None, _) | (_, None) => {}
        (Some(Topic::Dlq), Some(events)) if found >= events => {}
        (Some(_), Some(events)) if found == events => {}
        (Some(_), Some(events)) => {
            findings.push(Finding::Topic(name, OfTopic::PartitionsDiffer { found, events }));
        }
    }
}

fn judge_copies(name: &str, facts: &TopicFacts, brokers: u32, findings: &mut Vec<Finding>) {
    let TopicFacts { in_sync, replicas, leaderless, .. } = *facts;
    let mut found = |of| findings.push(Finding::Copies(name.to_owned(), of));
    let minimum: Option<u32> =
        facts.settings.as_ref().and_then(|settings| settings.get(MIN_IN_SYNC)?.parse().ok());
    match minimum {
        _ if leaderless > 0 => return found(OfCopies::Leaderless { count: leaderless }),
        Some(minimum) if in_sync < minimum => return found(OfCopies::BelowMinimum { in_sync, minimum }),
        _ if in_sync < replicas => found(OfCopies::UnderReplicated { in_sync, replicas }),
        _ => {}
    }
    match minimum {
        _ if replicas < 2 && brokers > 1 => found(OfCopies::OneCopy),
        Some(minimum) if replicas > 1 && minimum < 2 => found(OfCopies::AckedOnce { replicas }),
        Some(minimum) if replicas > 1 && minimum >= replicas => found(OfCopies::NoneToSpare { replicas }),
        _ => {}
    }
}

fn judge_settings(name: &str, facts: &TopicFacts, spec: &TopicSpec, findings: &mut Vec<Finding>) {
    let mut push = |of| findings.push(Finding::Topic(name.to_owned(), of));
    let Some(settings) = &facts.settings else { return push(OfTopic::SettingsHidden) };
    // Copies are judged by themselves.
    for (key, declared) in spec.config.iter().filter(|(key, _)| *key != MIN_IN_SYNC) {
        let found = settings.get(key).map_or("unknown to the broker", String::as_str);
        if found == declared || keeps_more(key, found, declared) {
            continue;
        }
        let setting = Setting { key: key.clone(), found: found.to_owned(), declared: declared.clone() };
        push(match VITAL.contains(&key.as_str()) {
            true => OfTopic::VitalSetting(setting),
            false => OfTopic::OtherSetting(setting),
        });
    }
}

/// Whoever keeps more than is declared has meant it. −1 = for ever.
fn keeps_more(key: &str, found: &str, declared: &str) -> bool {
    let (Ok(found), Ok(declared)) = (found.parse::<i64>(), declared.parse::<i64>()) else { return false };
    key.starts_with("retention.") && (found < 0 || (declared >= 0 && found > declared))
}

fn judge_rights(cluster: &Cluster, survey: &Survey, findings: &mut Vec<Finding>) {
    let mut known: Vec<_> = survey.topics.iter().filter_map(|topic| Some((topic, there(topic)?))).collect();
    if known.iter().any(|(_, facts)| facts.rights.is_none()) {
        findings.push(Finding::Cluster(OfCluster::RightsUnknown));
        known.retain(|(_, facts)| facts.rights.is_some());
    }
    let needed = NEEDS.iter().filter(|(part, topic, _)| {
        let unread = (*part, *topic) == (Part::Sink, Some(Topic::Scores)) && !cluster.stores_scores;
        cluster.parts.contains(part) && !unread
    });
    for (part, of, right) in needed {
        let Some((topic, facts)) = known.iter().find(|(topic, _)| topic.topic == *of) else { continue };
        let rights = facts.rights.unwrap_or_default();
        let has = match right {
            Right::Read => rights.read,
            Right::Write => rights.write,
        };
        if !has {
            let of = OfTopic::NoRight { part: *part, right: *right };
            findings.push(Finding::Topic(topic.name.clone(), of));
        }
    }
}

fn judge_clock(cluster: &Cluster, survey: &Survey, findings: &mut Vec<Finding>) {
    let slack_ms = cluster.slack_ms;
    let of = match &survey.clock {
        None => return,
        Some(Err(why)) => OfCluster::ClockUnknown { why: why.clone() },
        Some(Ok(read)) => {
            let (asked_ms, heard_ms, server_ms) = (read.asked_ms, read.heard_ms, read.server_ms);
            match clock::judge(&Clocks { asked_ms, heard_ms, server_ms, slack_ms }) {
                Verdict::Fits => return,
                Verdict::Drifts { by_ms } => OfCluster::ClockDrifts { by_ms, slack_ms },
                Verdict::Wrong { by_ms } => OfCluster::ClockWrong { by_ms, slack_ms },
            }
        }
    };
    findings.push(Finding::Cluster(of));
}
