//! Keys that hold without a restart: the flush policy, the byte budget, the rates of devices and tenants.
//!
//! Owns: what is in force of the configuration, and its comparison with what the file says now. Never: takes a part of
//! a configuration that does not fit together; closes what is in flight. Other keys that change are named in the log
//! and hold from the next start.

use crate::config::Config;
use crate::delivery::Edge;
use crate::driver::{Input, Limits};
use crate::flush::{FlushControl, Wish};
use evenkeel_telemetry::{Emitter, event};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use toml::{Table, Value};

/// Reads the configuration again.
pub type Reread = Box<dyn Fn() -> Result<Config, String> + Send + Sync>;

event! {
    /// Keys that need a restart were changed.
    struct RestartNeeded<'a> WARN "ingest.reload.restart" "changed keys hold from the next start only" {
        values { keys: &'a str }
        limit("", 0);
    }
}

/// The configuration in force.
pub(crate) struct Live {
    reread: Reread,
    flush: FlushControl,
    emitter: Emitter,
    state: Mutex<State>,
}

struct State {
    in_force: Config,
    /// What was read last, good or not: each content is judged once.
    seen: Result<Config, String>,
}

impl Live {
    pub(crate) fn new(reread: Reread, config: &Config, flush: FlushControl, emitter: Emitter) -> Self {
        let state = State { in_force: config.clone(), seen: Ok(config.clone()) };
        Self { reread, flush, emitter, state: Mutex::new(state) }
    }

    /// Looks at the configuration; `true` = it had changed and what may change is in force.
    pub(crate) fn look(&self, edge: &Edge) -> Result<bool, String> {
        let read = (self.reread)();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.seen == read {
            return Ok(false);
        }
        state.seen.clone_from(&read);
        let wanted = read?;
        wanted.check().map_err(|misfit| misfit.to_string())?;
        let next = state.in_force.with_live_keys_of(&wanted);
        self.apply(&next, edge)?;
        let later = differing(&next, &wanted);
        if !later.is_empty() {
            RestartNeeded { keys: &later.join(", ") }.emit(&self.emitter);
        }
        state.in_force = next;
        Ok(true)
    }

    fn apply(&self, next: &Config, edge: &Edge) -> Result<(), String> {
        let bytes_max = next.in_flight_max.bytes();
        let wish = Wish { policy: next.flush.policy(), caps: next.flush.caps(), bytes_max };
        self.flush.set(wish).map_err(|error| error.to_string())?;
        let budget_bytes = next.budget_bytes();
        edge.in_flight_bytes_max.store(budget_bytes, Ordering::Relaxed);
        edge.rated.store(next.rated(), Ordering::Relaxed);
        edge.link.tell(Input::Limits(Box::new(Limits { budget_bytes, quotas: next.quotas() })));
        Ok(())
    }
}

/// Names of the keys whose values differ, sections before a dot.
fn differing(one: &Config, other: &Config) -> Vec<String> {
    let table = |config: &Config| Table::try_from(config).unwrap_or_default();
    let (one, other, mut names) = (table(one), table(other), Vec::new());
    walk("", &one, &other, &mut names);
    names
}

fn walk(prefix: &str, one: &Table, other: &Table, names: &mut Vec<String>) {
    for (key, value) in one {
        match (value, other.get(key)) {
            (Value::Table(one), Some(Value::Table(other))) => {
                walk(&format!("{prefix}{key}."), one, other, names);
            }
            (one, Some(other)) if one == other => {}
            _ => names.push(format!("{prefix}{key}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_TOML;

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config: Config = toml::from_str(DEFAULT_TOML).unwrap();
        change(&mut config);
        config
    }

    #[test]
    fn what_may_change_is_taken_and_the_rest_is_named() {
        let old = config(|_| {});
        let wanted = config(|c| {
            c.device.rate_max = 7;
            c.in_flight_max = "128MiB".parse().unwrap();
            c.flush.age_max = "5s".parse().unwrap();
            c.connections_max = 5;
            c.body.events_max = 9;
        });
        let next = old.with_live_keys_of(&wanted);
        assert_eq!((next.device.rate_max, next.flush.age_max.ms()), (7, 5_000));
        assert_eq!((next.in_flight_max.bytes(), next.connections_max), (128 << 20, old.connections_max));
        assert_eq!(differing(&next, &wanted), ["body.events-max", "connections-max"]);
        assert_eq!(differing(&next, &next), Vec::<String>::new());
    }
}
