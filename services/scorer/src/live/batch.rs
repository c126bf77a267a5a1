//! Rows that wait for the models, and scoring some of them at once.

use crate::live::models::{Loaded, Models, Role};
use evenkeel_model::{EventBatch, ScoredEvent, WindowRow, WindowSpan};
use evenkeel_scoring::{Drift, Frame, FrameColumn, Memory, SeriesKey};
use std::ops::Range;

/// A row, or an event of one, that waits.
#[derive(Debug)]
pub struct Job {
    /// The partition of its row.
    pub partition: u32,
    /// The series.
    pub key: SeriesKey,
    /// The window.
    pub span: WindowSpan,
    /// The event, for a model of events.
    pub event: Option<ScoredEvent>,
    /// Largest arrival of the window's events, ms.
    pub last_arrival: i64,
    /// A value per column; NaN = missing.
    pub values: Box<[f64]>,
    /// Since when it waits, ms.
    pub since_ms: i64,
}

/// What the models said of a job.
#[derive(Debug)]
pub struct Answer {
    /// The job.
    pub job: Job,
    /// The score, or why there is none.
    pub score: Result<f64, String>,
    /// That of the model that runs along, if there is one and it has a score.
    pub shadow: Option<f64>,
}

/// The models of a worker and what they need to run.
#[derive(Debug)]
pub struct Scoring {
    models: Models,
    memory: [Memory; 2],
    drift: Option<Drift>,
}

impl Scoring {
    /// With the models as they are at the start.
    pub fn new(models: Models) -> Self {
        let drift = models.profile.as_ref().map(|profile| Drift::new(profile, &models.columns));
        Self { models, memory: [Memory::default(), Memory::default()], drift }
    }

    /// Whether there is a model.
    pub fn is_on(&self) -> bool {
        self.models.primary.is_some()
    }

    /// The model of a role.
    pub fn model(&self, role: Role) -> Option<&Loaded> {
        match role {
            Role::Primary => self.models.primary.as_ref(),
            Role::Shadow => self.models.shadow.as_ref(),
        }
    }

    /// A new version; it counts from the next batch on.
    pub fn replace(&mut self, role: Role, model: Loaded) {
        match role {
            Role::Primary => self.models.primary = Some(model),
            Role::Shadow => self.models.shadow = Some(model),
        }
    }

    /// Scores jobs together.
    pub fn score(&mut self, jobs: Vec<Job>) -> Vec<Answer> {
        let column = |(at, name): (usize, &String)| {
            FrameColumn::of_numbers(name.clone(), jobs.iter().map(|job| job.values[at]).collect())
        };
        let columns = self.models.columns.iter().enumerate().map(column).collect();
        let frame = Frame { columns, rows: jobs.len() };
        if let Some(drift) = &mut self.drift {
            jobs.iter().for_each(|job| drift.see(&job.values));
        }
        let rows: Range<usize> = 0..jobs.len();
        let [primary_memory, shadow_memory] = &mut self.memory;
        let run = |loaded: &Option<Loaded>, memory: &mut Memory| {
            let loaded = loaded.as_ref()?;
            Some(loaded.model.score_rows(&loaded.binding, &frame, rows.clone(), memory))
        };
        let scores = run(&self.models.primary, primary_memory).unwrap_or_default();
        let mut shadows = run(&self.models.shadow, shadow_memory).unwrap_or_default().into_iter();
        let answer = |(job, score): (Job, Result<f64, _>)| {
            let shadow = shadows.next().and_then(Result::ok);
            Answer {
                job,
                score: score.map_err(|error: evenkeel_scoring::ScoreError| error.to_string()),
                shadow,
            }
        };
        jobs.into_iter().zip(scores).map(answer).collect()
    }

    /// The drift of each feature, once per `rows` rows.
    pub fn drift(&mut self, rows: u64) -> Option<Vec<(String, f64)>> {
        self.drift.as_mut().filter(|drift| drift.rows() >= rows).map(Drift::take)
    }

    /// The values of each event of a row, a column per field; none if the row does not carry its events.
    pub fn events_of(&self, row: &WindowRow) -> Vec<(ScoredEvent, Box<[f64]>)> {
        let Some(events) = &row.events else { return Vec::new() };
        let columns: Vec<_> =
            self.models.columns.iter().map(|name| events.fields.iter().find(|f| f.name == *name)).collect();
        let event = |at: usize| {
            let values = columns.iter().map(|column| column.and_then(|c| c.value(at)).unwrap_or(f64::NAN));
            (scored_event(events, at), values.collect())
        };
        (0..events.len()).map(event).collect()
    }
}

fn scored_event(events: &EventBatch, at: usize) -> ScoredEvent {
    ScoredEvent { ts: events.ts[at], seq: events.seq.get(at).copied() }
}
