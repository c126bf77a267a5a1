//! Findings about the schema registry.

use super::facts::{RegistryFacts, Trouble};
use super::{Told, Weight};
use evenkeel_chassis::exit::Exit;
use evenkeel_kafka::RegistryError;

/// Everything that may be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is of no use as it is.
    Useless(Trouble),
    /// Our schemas are not there yet, and the first service will put them there.
    Empty {
        /// The subject that was looked for.
        subject: String,
    },
}

/// Judges what was heard.
pub fn judge(facts: &RegistryFacts) -> Vec<Finding> {
    use RegistryError as E;
    let exit = match &facts.answer {
        Ok(()) => return Vec::new(),
        Err(E::NotRegistered { subject, .. }) if facts.registers => {
            return vec![Finding::Empty { subject: subject.clone() }];
        }
        Err(E::Unreachable { .. }) => Exit::Unreachable,
        Err(E::Login { .. } | E::File { .. }) => Exit::Usage,
        Err(E::NotRegistered { .. } | E::Refused { .. }) => Exit::Refused,
    };
    let message = facts.answer.as_ref().err().map(ToString::to_string).unwrap_or_default();
    vec![Finding::Useless(Trouble { exit, message })]
}

impl Finding {
    /// In words.
    pub fn told(&self) -> Told {
        match self {
            Self::Useless(trouble) => {
                Told::of_failure("registry", trouble.exit, "schema registry", &trouble.message)
            }
            Self::Empty { subject } => Told {
                kind: "registry-empty",
                weight: Weight::Note,
                place: "schema registry".into(),
                why: format!("it has no schema of ours under {subject} yet"),
                remedy: "nothing: the first service that starts registers it".into(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::try_all;
    use super::*;

    fn missing() -> RegistryError {
        RegistryError::NotRegistered {
            url: "u".into(),
            subject: "events-value".into(),
            schema: "event_batch",
        }
    }

    #[test]
    fn every_kind_has_a_cause_and_health_has_none() {
        let healthy = || RegistryFacts { answer: Ok(()), registers: true };
        let told = |facts: &RegistryFacts| judge(facts).iter().map(Finding::told).collect();
        try_all(
            healthy,
            told,
            &[
                ("registry-empty", |r| r.answer = Err(missing())),
                ("registry", |r| (r.answer, r.registers) = (Err(missing()), false)),
                ("registry", |r| {
                    r.answer = Err(RegistryError::Unreachable { url: "u".into(), error: "refused".into() });
                }),
            ],
            &["registry", "registry-empty"],
        );
        let exit = |answer| judge(&RegistryFacts { answer: Err(answer), registers: false })[0].told().weight;
        assert_eq!(exit(RegistryError::Login { url: "u".into(), status: 401 }), Weight::Error(Exit::Usage));
        assert_eq!(exit(missing()), Weight::Error(Exit::Refused));
    }
}
