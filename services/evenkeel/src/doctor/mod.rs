//! `evenkeel doctor`: what is not as this program needs it, where, why, and what to do.
//!
//! Owns: the findings (closed enums, one per subject), their weights and the exit code that follows. Facts come in as
//! arguments; [`gather`] alone asks servers and files. Never: changes anything, but for one heartbeat in the topic
//! `clock`.

mod budget;
mod clock;
mod facts;
mod files;
mod gather;
mod kafka;
mod schemas;
mod store;
#[cfg(test)]
mod trial;

pub use facts::{Asked, Facts, Part};
pub use gather::gather;

use evenkeel_chassis::exit::Exit;
use serde_json::json;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It does not work, or not exactly. The exit code is that of a service which meets it.
    Error(Exit),
    /// It works, and one more mishap will hurt.
    Warning,
    /// Worth knowing.
    Note,
}

/// A finding in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its name, for programs; it does not change.
    pub kind: &'static str,
    /// How much it weighs.
    pub weight: Weight,
    /// What it is about, e.g. `topic evenkeel.events`.
    pub place: String,
    /// What was seen, and why it matters.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

/// Everything that was looked at, and what was found.
#[derive(Debug, Default)]
pub struct Report {
    /// What was seen and is as it should be, one line each.
    pub seen: Vec<String>,
    /// What is not, in the order in which it should be mended.
    pub findings: Vec<Told>,
}

/// Judges the facts.
pub fn examine(facts: &Facts) -> Report {
    let mut findings = Vec::new();
    findings.extend(budget::judge(&facts.budget).iter().map(budget::Finding::told));
    findings.extend(files::judge(&facts.files).iter().map(files::Finding::told));
    let mut seen = vec![budget::seen(&facts.budget)];
    if let Some(cluster) = &facts.kafka {
        findings.extend(kafka::judge(cluster).iter().map(kafka::Finding::told));
        seen.extend(kafka::seen(cluster));
    }
    if let Some(registry) = &facts.registry {
        findings.extend(schemas::judge(registry).iter().map(schemas::Finding::told));
    }
    if let Some(store) = &facts.store {
        findings.extend(store::judge(store).iter().map(store::Finding::told));
        seen.extend(store::seen(store));
    }
    // Errors first, each weight in the order of the subjects.
    findings.sort_by_key(|told| match told.weight {
        Weight::Error(_) => 0,
        Weight::Warning => 1,
        Weight::Note => 2,
    });
    Report { seen, findings }
}

impl Report {
    /// 0 without an error; else the smallest code among them: what must be mended first, because the rest may follow
    /// from it.
    pub fn exit(&self) -> Exit {
        let errors = self.findings.iter().filter_map(|told| match told.weight {
            Weight::Error(exit) => Some(exit),
            _ => None,
        });
        errors.min_by_key(|exit| exit.code()).unwrap_or(Exit::Ok)
    }

    /// For a reader.
    pub fn text(&self) -> String {
        let mut text: String = self.seen.iter().map(|line| format!("seen     {line}\n")).collect();
        for told in &self.findings {
            let Told { kind, place, why, remedy, .. } = told;
            text += &format!("{:<8} {place}: {why}\n         -> {remedy}   [{kind}]\n", told.weight.name());
        }
        let count = |name: &str| self.findings.iter().filter(|told| told.weight.name() == name).count();
        let (errors, warnings) = (count("error"), count("warning"));
        text += &match self.findings.is_empty() {
            true => "all is well\n".to_owned(),
            false => format!("{errors} errors, {warnings} warnings, {} notes\n", count("note")),
        };
        text
    }

    /// For a program.
    pub fn json(&self) -> serde_json::Value {
        let findings: Vec<_> = self.findings.iter().map(Told::json).collect();
        json!({ "exit": self.exit().code(), "seen": self.seen, "findings": findings })
    }
}

impl Told {
    fn json(&self) -> serde_json::Value {
        let Self { kind, weight, place, why, remedy } = self;
        let exit = match weight {
            Weight::Error(exit) => Some(exit.code()),
            _ => None,
        };
        json!({
            "kind": kind, "severity": weight.name(), "exit": exit, "where": place, "why": why, "remedy": remedy,
        })
    }

    /// A failure that says its remedy itself, as all of ours do behind their last semicolon.
    fn of_failure(kind: &'static str, exit: Exit, place: &str, message: &str) -> Self {
        let (why, remedy) = message.rsplit_once("; ").unwrap_or((message, "see what the message says"));
        let (place, why, remedy) = (place.to_owned(), why.to_owned(), remedy.to_owned());
        Self { kind, weight: Weight::Error(exit), place, why, remedy }
    }
}

impl Weight {
    /// `error`, `warning` or `note`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error(_) => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(weight: Weight) -> Told {
        Told { kind: "k", weight, place: "p".into(), why: "w".into(), remedy: "r".into() }
    }

    #[test]
    fn the_exit_code_is_the_smallest_of_the_errors() {
        let exit = |weights: &[Weight]| {
            let findings = weights.iter().map(|weight| told(*weight)).collect();
            Report { findings, ..Report::default() }.exit()
        };
        assert_eq!(exit(&[]), Exit::Ok);
        assert_eq!(exit(&[Weight::Warning, Weight::Note]), Exit::Ok);
        let errors = [Exit::Refused, Exit::Unreachable, Exit::Storage].map(Weight::Error);
        assert_eq!(exit(&errors), Exit::Unreachable);
        assert_eq!(exit(&[Weight::Error(Exit::Usage), Weight::Error(Exit::Storage)]), Exit::Usage);
    }

    #[test]
    fn text_and_json_say_the_same() {
        let findings = vec![told(Weight::Error(Exit::Refused)), told(Weight::Warning)];
        let report = Report { seen: vec!["x".into()], findings };
        let text = report.text();
        assert!(text.contains("error    p: w\n         -> r   [k]"), "{text}");
        assert!(text.ends_with("1 errors, 1 warnings, 0 notes\n"), "{text}");
        let json = report.json();
        assert_eq!((json["exit"].as_u64(), json["findings"][0]["exit"].as_u64()), (Some(4), Some(4)));
        assert_eq!(json["findings"][1]["severity"], "warning");
        assert!(json["findings"][1]["exit"].is_null());
        assert_eq!(Report::default().text(), "all is well\n");
    }

    #[test]
    fn a_failures_remedy_is_what_stands_behind_its_last_semicolon() {
        let told = Told::of_failure("no-kafka", Exit::Unreachable, "kafka", "no answer (a; b); check it");
        assert_eq!((told.why.as_str(), told.remedy.as_str()), ("no answer (a; b)", "check it"));
    }
}
