//! Scores as text, one line each, in the three forms.

use super::Format;
use super::aligned::{Aligned, Column};
use super::csv::quoted;
use super::table::{date, short};
use crate::summary::size_name;
use evenkeel_model::StoredScore;
use serde::Serialize;
use std::io::{Result, Write};

const COLUMNS: [Column; 8] = [
    ("STREAM", false),
    ("WINDOW (UTC)", false),
    ("SIZE", true),
    ("EVENT (UTC)", false),
    ("MODEL", false),
    ("SCORE", true),
    ("THRESHOLD", true),
    ("PREDICTION", true),
];

const HEADER: &str = "stream_id,size_ms,window_id,t_start,t_end,event_ts,event_seq,model,version,shadow,score,\
                      threshold,prediction,last_arrival\n";

/// Prints scores as they come.
pub enum ScorePrinter<'a> {
    /// See [`Format::Table`].
    Table(Aligned<'a>),
    /// See [`Format::Csv`].
    Csv(&'a mut dyn Write, bool),
    /// See [`Format::Json`].
    Json(&'a mut dyn Write),
}

/// One object, named as the record in schemas/avro/Score.avsc.
#[derive(Serialize)]
struct Object<'a> {
    stream_id: &'a str,
    size_ms: i64,
    window_id: i64,
    t_start: i64,
    t_end: i64,
    event_ts: Option<i64>,
    event_seq: Option<u64>,
    model: &'a str,
    version: &'a str,
    shadow: bool,
    score: f64,
    threshold: Option<f64>,
    prediction: bool,
    last_arrival: i64,
}

impl<'a> ScorePrinter<'a> {
    /// Prints to `out`.
    pub fn new(format: Format, out: &'a mut dyn Write) -> Self {
        match format {
            Format::Table => Self::Table(Aligned::new(&COLUMNS, out)),
            Format::Csv => Self::Csv(out, false),
            Format::Json => Self::Json(out),
        }
    }

    /// One score.
    pub fn score(&mut self, stored: &StoredScore) -> Result<()> {
        match self {
            Self::Table(table) => {
                table.line(cells(stored));
                table.turn()
            }
            Self::Csv(out, began) => {
                header(out, began)?;
                write_line(*out, stored)
            }
            Self::Json(out) => {
                serde_json::to_writer(&mut **out, &object(stored))?;
                out.write_all(b"\n")
            }
        }
    }

    /// After the last score.
    pub fn end(self) -> Result<()> {
        match self {
            Self::Table(table) => table.end(),
            Self::Csv(out, mut began) => {
                header(out, &mut began)?;
                out.flush()
            }
            Self::Json(out) => out.flush(),
        }
    }
}

fn header(out: &mut dyn Write, began: &mut bool) -> Result<()> {
    if std::mem::replace(began, true) { Ok(()) } else { out.write_all(HEADER.as_bytes()) }
}

fn object(StoredScore { score, .. }: &StoredScore) -> Object<'_> {
    Object {
        stream_id: &score.stream_id,
        size_ms: score.span.size_ms,
        window_id: score.span.window_id,
        t_start: score.span.t_start(),
        t_end: score.span.t_end(),
        event_ts: score.event.map(|event| event.ts),
        event_seq: score.event.and_then(|event| event.seq),
        model: &score.model,
        version: &score.version,
        shadow: score.shadow,
        score: score.score,
        threshold: score.threshold,
        prediction: score.prediction,
        last_arrival: score.last_arrival,
    }
}

/// Numbers are the shortest that read back as the same number.
fn write_line(out: &mut dyn Write, stored: &StoredScore) -> Result<()> {
    let of = object(stored);
    let optional = |value: Option<String>| value.unwrap_or_default();
    let event_ts = optional(of.event_ts.map(|ts| ts.to_string()));
    let event_seq = optional(of.event_seq.map(|seq| seq.to_string()));
    let threshold = optional(of.threshold.map(|x| format!("{x:?}")));
    write!(out, "{},{},{},", quoted(of.stream_id), of.size_ms, of.window_id)?;
    write!(out, "{},{},{event_ts},{event_seq},", of.t_start, of.t_end)?;
    write!(out, "{},{},{},", quoted(of.model), quoted(of.version), of.shadow)?;
    writeln!(out, "{:?},{threshold},{},{}", of.score, of.prediction, of.last_arrival)
}

fn cells(StoredScore { score, .. }: &StoredScore) -> Vec<String> {
    let shadow = if score.shadow { " (shadow)" } else { "" };
    vec![
        score.stream_id.clone(),
        date(score.span.t_start()),
        size_name(score.span.size_ms),
        score.event.map_or_else(String::new, |event| date(event.ts)),
        format!("{} {}{shadow}", score.model, score.version),
        short(score.score),
        score.threshold.map_or_else(String::new, short),
        u8::from(score.prediction).to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::{Score, ScoredEvent, WindowSpan};

    fn shown(format: Format) -> String {
        let window = Score {
            stream_id: "bowl,7".to_owned(),
            span: WindowSpan::of(1_700_000_000_000, 5_000),
            event: None,
            model: "bowls".to_owned(),
            version: "1".to_owned(),
            shadow: false,
            score: 0.1 + 0.2,
            threshold: Some(0.25),
            prediction: true,
            last_arrival: 1_700_000_005_100,
        };
        let event = ScoredEvent { ts: 1_700_000_001_500, seq: Some(u64::MAX) };
        let event = Score { event: Some(event), shadow: true, threshold: None, ..window.clone() };
        let mut out = Vec::new();
        let mut printer = ScorePrinter::new(format, &mut out);
        for (offset, score) in [window, event].into_iter().enumerate() {
            printer.score(&StoredScore::at(offset as u64, score)).unwrap();
        }
        printer.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_per_score_in_each_form() {
        let csv = shown(Format::Csv);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(
            lines[1],
            "\"bowl,7\",5000,340000000,1700000000000,1700000005000,,,bowls,1,false,0.30000000000000004,0.25,true,\
             1700000005100"
        );
        assert!(lines[2].contains(",1700000001500,18446744073709551615,bowls,1,true,"), "{csv}");
        let json = shown(Format::Json);
        let objects: Vec<serde_json::Value> =
            json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(objects[0]["score"], serde_json::json!(0.1 + 0.2));
        assert_eq!(
            (&objects[0]["event_ts"], objects[1]["event_seq"].as_u64()),
            (&serde_json::Value::Null, Some(u64::MAX))
        );
        let table = shown(Format::Table);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].contains("2023-11-14 22:13:20") && lines[2].contains("bowls 1 (shadow)"), "{table}");
        assert_eq!(lines[0].find("MODEL"), lines[1].find("bowls"));
    }
}
