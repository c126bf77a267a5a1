//! What a bench prints: for people a table, for programs one JSON object.

use serde::Serialize;

/// The outcome of one bench.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Its name.
    pub bench: &'static str,
    /// Where it ran.
    pub machine: Machine,
    /// What it ran with.
    pub settings: serde_json::Value,
    /// Medians.
    pub results: Vec<Measured>,
    /// What was to be reached.
    pub goals: Vec<Goal>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// What it measures.
    pub name: String,
    /// Median of the runs.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
}

/// A goal and whether it was met.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Goal {
    /// In words.
    pub goal: String,
    /// What was measured.
    pub value: f64,
    /// What was to be reached.
    pub target: f64,
    /// Whether it was.
    pub met: bool,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Processors this process may use.
    pub cpus: usize,
    /// Memory the process may use, MiB.
    pub memory_mib: u64,
    /// Version of the program.
    pub version: &'static str,
    /// `release` or `debug`: figures of a debug build mean nothing.
    pub build: &'static str,
}

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model =
            info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':')).map(|(_, v)| v.trim());
        Self {
            cpu: model.unwrap_or("unknown").to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: evenkeel_chassis::memory::limit_bytes().unwrap_or(0) >> 20,
            version: env!("CARGO_PKG_VERSION"),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
        }
    }
}

impl Goal {
    /// A goal that a larger value meets.
    pub fn at_least(goal: impl Into<String>, value: f64, target: f64) -> Self {
        Self { goal: goal.into(), value, target, met: value >= target }
    }

    /// A goal that a smaller value meets.
    pub fn at_most(goal: impl Into<String>, value: f64, target: f64) -> Self {
        Self { goal: goal.into(), value, target, met: value <= target }
    }
}

impl Report {
    /// For people.
    pub fn table(&self) -> String {
        let line = |m: &Measured| format!("  {:<52} {:>14.2} {}\n", m.name, m.value, m.unit);
        self.table_of(&self.results.iter().map(line).collect::<String>())
    }

    /// For people, with the results written as `results`: where one line per figure would be too many.
    pub fn table_of(&self, results: &str) -> String {
        let mut text = format!(
            "bench {} on {} ({} CPUs, {} build)\n{}\n",
            self.bench, self.machine.cpu, self.machine.cpus, self.machine.build, self.settings
        );
        text.push_str(results);
        for g in &self.goals {
            let word = if g.met { "met" } else { "NOT MET" };
            text.push_str(&format!("  goal: {:<46} {:>14.2} of {:.2}: {word}\n", g.goal, g.value, g.target));
        }
        text
    }
}

/// The median; the lower middle of an even count. 0 for none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_some_runs() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0]), 1.0);
        assert_eq!(median(&mut []), 0.0);
    }

    #[test]
    fn a_goal_says_whether_it_was_met() {
        assert!(Goal::at_least("x", 2.0, 2.0).met);
        assert!(!Goal::at_least("x", 1.9, 2.0).met);
    }
}
