//! What is shown, as numbers: two readings in, a view out.

use super::scrape::Scrape;
use super::tables::{BOUNDS, DROPS, DropOf, LEVELS, Level, RATES, RateOf, Unit};
use serde::Serialize;
use std::collections::BTreeMap;

/// One service at one address.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Where its `/metrics` are.
    pub address: String,
    /// What it said an interval ago; `None` = nothing.
    pub before: Option<Scrape>,
    /// What it says now, or why it does not.
    pub now: Result<Scrape, String>,
}

/// Everything that is shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct View {
    /// The services, in the order of their addresses on the command line.
    pub services: Vec<Service>,
    /// Per second, over all services.
    pub rates: Vec<Figure>,
    /// Now, over all services.
    pub levels: Vec<Figure>,
    /// Memory of the coalescers' state, bytes.
    pub memory: Memory,
    /// Bounded resources by service.
    pub bounds: Vec<Bound>,
    /// What was dropped or refused, by reason; only those with any.
    pub drops: Vec<Drop>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Service {
    /// Where.
    pub address: String,
    /// Its name as it says it.
    pub name: String,
    /// `ready`, `not ready: …` or `away: …`.
    pub state: String,
}

/// A number with its name; `None` = nobody tells it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What.
    pub name: &'static str,
    /// How much.
    pub value: Option<f64>,
    /// In what.
    #[serde(skip)]
    pub unit: Unit,
}

/// Bytes of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Memory {
    /// What the plan says the fleet costs, if it was asked.
    pub planned: Option<f64>,
    /// What the coalescers account for.
    pub accounted: f64,
    /// What they may account for.
    pub budget: f64,
    /// What the processes occupy, all services together.
    pub resident: f64,
}

/// A bounded resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bound {
    /// Whose.
    pub service: String,
    /// What.
    pub name: &'static str,
    /// How much is used.
    pub used: f64,
    /// How much may be.
    pub limit: f64,
    /// In what.
    #[serde(skip)]
    pub unit: Unit,
}

/// What did not get through.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drop {
    /// Where.
    pub place: &'static str,
    /// Why.
    pub reason: String,
    /// Per second.
    pub rate: f64,
    /// Since the services started.
    pub total: f64,
}

impl View {
    /// The view of `readings` that lie `seconds` apart. `planned`: what the plan says, bytes.
    pub fn of(readings: &[Reading], seconds: f64, planned: Option<u64>) -> Self {
        let seconds = seconds.max(0.001);
        let heard: Vec<(&Reading, &Scrape)> =
            readings.iter().filter_map(|reading| Some((reading, reading.now.as_ref().ok()?))).collect();
        let sum = |name| heard.iter().filter_map(|(_, now)| now.sum(name)).sum();
        let level = |(name, metric, how, unit): &(&'static str, &str, Level, Unit)| Figure {
            name,
            value: level(&heard, metric, *how),
            unit: *unit,
        };
        let bounds = heard.iter().flat_map(|(reading, now)| {
            let service = name_of(reading, now);
            BOUNDS.iter().filter_map(move |(name, used, limit, unit)| {
                let (used, limit) = (now.sum(used)?, now.sum(limit)?);
                Some(Bound { service: service.clone(), name, used, limit, unit: *unit })
            })
        });
        Self {
            services: readings.iter().map(Service::of).collect(),
            rates: RATES.iter().map(|of| rate(&heard, of, seconds)).collect(),
            levels: LEVELS.iter().map(level).collect(),
            memory: Memory {
                planned: planned.map(|bytes| bytes as f64),
                accounted: sum("evenkeel_coalescer_memory_used_bytes"),
                budget: sum("evenkeel_coalescer_memory_budget_bytes"),
                resident: sum("process_memory_usage_bytes"),
            },
            bounds: bounds.collect(),
            drops: drops(&heard, seconds),
        }
    }

    /// Whether any service answered.
    pub fn any(&self) -> bool {
        self.services.iter().any(|service| !service.state.starts_with("away"))
    }
}

fn name_of(reading: &Reading, now: &Scrape) -> String {
    now.label("evenkeel_build_info", "service").unwrap_or_else(|| reading.address.clone())
}

impl Service {
    fn of(reading: &Reading) -> Self {
        let address = reading.address.clone();
        let now = match &reading.now {
            Ok(now) => now,
            Err(why) => return Self { name: String::new(), state: format!("away: {why}"), address },
        };
        let waits: Vec<String> = now
            .by("evenkeel_process_ready", "condition", None)
            .into_iter()
            .filter_map(|(condition, holds)| (holds < 1.0).then_some(condition))
            .collect();
        let state = match waits.is_empty() {
            true => "ready".to_owned(),
            false => format!("not ready: {}", waits.join(", ")),
        };
        Self { name: name_of(reading, now), state, address }
    }
}

/// A service that began anew counts from 0: then what it has counted is the difference.
fn risen(before: Option<f64>, now: f64) -> f64 {
    before.filter(|before| *before <= now).map_or(now, |before| now - before)
}

fn counted(scrape: &Scrape, of: &RateOf) -> Option<f64> {
    match (of.only, of.each) {
        (Some((label, value)), each) => {
            scrape.has(of.metric).then(|| scrape.by(of.metric, label, each).remove(value).unwrap_or(0.0))
        }
        (None, _) => scrape.sum(of.metric),
    }
}

/// A service that is seen for the first time adds nothing: what it counted, it counted before.
fn rate(heard: &[(&Reading, &Scrape)], of: &RateOf, seconds: f64) -> Figure {
    let rates: Vec<f64> = heard
        .iter()
        .filter_map(|(reading, now)| {
            let now = counted(now, of)?;
            Some(reading.before.as_ref().map_or(0.0, |before| risen(counted(before, of), now) / seconds))
        })
        .collect();
    Figure { name: of.name, value: (!rates.is_empty()).then(|| rates.iter().sum()), unit: Unit::Count }
}

fn level(heard: &[(&Reading, &Scrape)], metric: &str, how: Level) -> Option<f64> {
    match how {
        Level::Sum => heard.iter().filter_map(|(_, now)| now.sum(metric)).reduce(|a, b| a + b),
        Level::Largest => heard.iter().filter_map(|(_, now)| now.largest(metric)).reduce(f64::max),
        Level::P99 => p99(heard, metric),
    }
}

/// `None` = nothing was observed between the readings.
fn p99(heard: &[(&Reading, &Scrape)], metric: &str) -> Option<f64> {
    let mut observed: Vec<(f64, f64)> = Vec::new();
    for (reading, now) in heard {
        let before = reading.before.as_ref()?.buckets(metric);
        for (bound, count) in now.buckets(metric) {
            let was = before.iter().find(|(known, _)| known.total_cmp(&bound).is_eq()).map(|(_, n)| *n);
            let risen = risen(was, count);
            match observed.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
                Some((_, sum)) => *sum += risen,
                None => observed.push((bound, risen)),
            }
        }
    }
    observed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all = observed.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
    observed.iter().find(|(_, count)| *count >= all * 0.99).map(|(bound, _)| *bound)
}

fn drops(heard: &[(&Reading, &Scrape)], seconds: f64) -> Vec<Drop> {
    let mut found = Vec::new();
    for DropOf { place, metric, label, fine, each } in &DROPS {
        let mut by_reason = BTreeMap::<String, (f64, f64)>::new();
        for (reading, now) in heard {
            let before = reading.before.as_ref().map(|before| before.by(metric, label, *each));
            for (reason, total) in now.by(metric, label, *each) {
                let rise = before.as_ref().map_or(0.0, |b| risen(b.get(&reason).copied(), total));
                let sums = by_reason.entry(reason).or_default();
                *sums = (sums.0 + rise / seconds, sums.1 + total);
            }
        }
        let any = by_reason
            .into_iter()
            .filter(|(reason, (_, total))| *total > 0.0 && !fine.contains(&reason.as_str()));
        found.extend(any.map(|(reason, (rate, total))| Drop { place, reason, rate, total }));
    }
    found
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
