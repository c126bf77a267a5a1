//! What a file run came to: for people, or as one JSON object.
//!
//! Events are those of the data directory in all (the ledger is kept with the log); windows are those that
//! left in this run.

use crate::file::{LoadReport, RefusedLine};
use crate::human::count;
use evenkeel_coalescer::Status as CoalescerStatus;
use evenkeel_model::{ClosedBy, DropReason};
use evenkeel_seam::SizeLedger;
use evenkeel_sink::Status as SinkStatus;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// What became of the file.
#[derive(Debug, Clone, Copy)]
pub struct Loaded {
    /// Counts.
    pub report: LoadReport,
    /// It was loaded before.
    pub known: bool,
}

/// Everything the summary tells.
#[derive(Debug)]
pub struct Summary {
    /// The file's name.
    pub file: String,
    /// Where the data lies.
    pub data_dir: String,
    /// What became of the file.
    pub loaded: Loaded,
    /// Columns of text.
    pub left_out: Vec<String>,
    /// The first lines that were refused.
    pub refused: Vec<RefusedLine>,
    /// How the coalescer ended.
    pub coalescer: CoalescerStatus,
    /// How the sink ended.
    pub sink: SinkStatus,
    /// From the start to here.
    pub seconds: f64,
}

impl Summary {
    /// Events that are unaccounted for, over all sizes: 0.
    pub fn imbalance(&self) -> i64 {
        self.coalescer.ledger.sizes.iter().map(|size| size.imbalance().abs()).sum()
    }

    /// For people. Ends with a newline.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let report = &self.loaded.report;
        let _ = match self.loaded.known {
            true => writeln!(
                out,
                "file     {}: loaded before, {} events; nothing was added",
                self.file,
                count(report.progress.events)
            ),
            false => writeln!(
                out,
                "file     {}: {} events loaded, {} lines refused",
                self.file,
                count(report.events_now),
                count(report.bad_lines_now)
            ),
        };
        if !self.left_out.is_empty() {
            let _ = writeln!(out, "         columns without numbers, left out: {}", self.left_out.join(", "));
        }
        for size in &self.coalescer.ledger.sizes {
            let _ = writeln!(out, "events   {:>5} windows: {}", size_name(size.size_ms), events_text(size));
        }
        for (size_ms, rows) in &self.coalescer.rows {
            let _ = writeln!(out, "windows  {:>5} windows: {}", size_name(*size_ms), rows_text(rows));
        }
        let _ = writeln!(
            out,
            "stored   {} rows written, {} late events merged into them",
            count(self.sink.rows),
            count(self.sink.late_merged)
        );
        if self.sink.late_overflow + self.sink.refused + self.sink.expired > 0 {
            let (overflow, refused) = (count(self.sink.late_overflow), count(self.sink.refused));
            let expired = count(self.sink.expired);
            let _ = writeln!(
                out,
                "         {overflow} late events and {refused} rows to dlq, {expired} rows past their time to live"
            );
        }
        let _ = writeln!(out, "ledger   {} (0 = every event is accounted for)", self.imbalance());
        if self.has(DropReason::TooOld) {
            out.push_str("hint     too_old: an arrival far ahead of the data? --arrival now, or a larger coalescer.max-age\n");
        }
        let _ = writeln!(out, "time     {:.2} s; data in {}", self.seconds, self.data_dir);
        out
    }

    /// One JSON object on one line. Ends with a newline.
    pub fn json(&self) -> String {
        let report = &self.loaded.report;
        let shown: Vec<Value> = (self.refused.iter())
            .map(|refused| json!({"line": refused.line, "error": refused.error.to_string()}))
            .collect();
        let object = json!({
            "file": self.file,
            "data_dir": self.data_dir,
            "loaded_before": self.loaded.known,
            "lines": report.progress.next_line,
            "events_loaded": report.events_now,
            "lines_refused": report.bad_lines_now,
            "first_refused": shown,
            "columns_left_out": self.left_out,
            "events": self.coalescer.ledger.sizes.iter().map(|s| (s.size_ms.to_string(), events_json(s))).collect::<Map<_, _>>(),
            "windows": self.coalescer.rows.iter().map(|(ms, rows)| (ms.to_string(), rows_json(rows))).collect::<Map<_, _>>(),
            "stored": {
                "rows": self.sink.rows,
                "late_merged": self.sink.late_merged,
                "late_held": self.sink.late_held,
                "late_overflow": self.sink.late_overflow,
                "expired": self.sink.expired,
                "refused": self.sink.refused,
            },
            "ledger": self.imbalance(),
            "lost": self.coalescer.ledger.lost,
            "seconds": self.seconds,
        });
        format!("{object}\n")
    }

    fn has(&self, reason: DropReason) -> bool {
        self.coalescer.ledger.sizes.iter().any(|size| size.reasons[reason.index()] > 0)
    }
}

fn events_text(size: &SizeLedger) -> String {
    let mut text = format!("{} counted", count(size.in_rows + size.in_open));
    for reason in DropReason::ALL {
        let n = size.reasons[reason.index()];
        if n > 0 {
            let _ = write!(text, ", {} {reason}", count(n));
        }
    }
    text
}

fn events_json(size: &SizeLedger) -> Value {
    let mut outcomes = Map::new();
    outcomes.insert("consumed".to_owned(), size.consumed.into());
    outcomes.insert("counted".to_owned(), (size.in_rows + size.in_open).into());
    for reason in DropReason::ALL {
        outcomes.insert(reason.as_str().to_owned(), size.reasons[reason.index()].into());
    }
    Value::Object(outcomes)
}

fn rows_text(rows: &[u64; ClosedBy::ALL.len()]) -> String {
    let mut text = format!("{} closed", count(rows.iter().sum()));
    let mut separator = ": ";
    for closed_by in ClosedBy::ALL {
        let n = rows[closed_by.index()];
        if n > 0 {
            let _ = write!(text, "{separator}{} {closed_by}", count(n));
            separator = ", ";
        }
    }
    text
}

fn rows_json(rows: &[u64; ClosedBy::ALL.len()]) -> Value {
    Value::Object(ClosedBy::ALL.iter().map(|by| (by.as_str().to_owned(), rows[by.index()].into())).collect())
}

/// `5s`, `1m`: as in the configuration.
pub fn size_name(size_ms: i64) -> String {
    let ms = u64::try_from(size_ms).ok().and_then(|ms| evenkeel_chassis::units::Ms::new(ms).ok());
    ms.map_or_else(|| format!("{size_ms}ms"), |ms| ms.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::LineError;
    use evenkeel_local::LoadProgress;
    use evenkeel_seam::Ledger;

    fn summary() -> Summary {
        let mut reasons = [0; DropReason::ALL.len()];
        reasons[DropReason::Late.index()] = 3;
        let size =
            SizeLedger { size_ms: 5_000, consumed: 1_003, since: 0, in_rows: 1_000, in_open: 0, reasons };
        let mut rows = [0; ClosedBy::ALL.len()];
        (rows[ClosedBy::Watermark.index()], rows[ClosedBy::End.index()]) = (99, 1);
        let coalescer = CoalescerStatus {
            ledger: Ledger { sizes: vec![size], lost: 0 },
            rows: [(5_000, rows)].into(),
            ..CoalescerStatus::default()
        };
        let progress = LoadProgress { next_line: 1_005, events: 1_003, bad_lines: 1, finished: true };
        Summary {
            file: "f.csv".into(),
            data_dir: "d".into(),
            loaded: Loaded {
                report: LoadReport { progress, events_now: 1_003, bad_lines_now: 1 },
                known: false,
            },
            left_out: vec!["room".into()],
            refused: vec![RefusedLine { line: 7, error: LineError::NoStream }],
            coalescer,
            sink: SinkStatus { rows: 103, late_merged: 3, ..SinkStatus::default() },
            seconds: 1.5,
        }
    }

    #[test]
    fn for_people() {
        let want = "file     f.csv: 1,003 events loaded, 1 lines refused\n         columns without numbers, left out: room\n\
                    events      5s windows: 1,000 counted, 3 late\nwindows     5s windows: 100 closed: 99 watermark, 1 end\n\
                    stored   103 rows written, 3 late events merged into them\n\
                    ledger   0 (0 = every event is accounted for)\ntime     1.50 s; data in d\n";
        assert_eq!(summary().text(), want);
        let known = Summary { loaded: Loaded { known: true, ..summary().loaded }, ..summary() };
        assert!(known.text().starts_with("file     f.csv: loaded before, 1,003 events; nothing was added\n"));
    }

    #[test]
    fn for_programs() {
        let value: Value = serde_json::from_str(&summary().json()).unwrap();
        assert_eq!(value["events"]["5000"]["late"], 3);
        assert_eq!(value["windows"]["5000"]["end"], 1);
        assert_eq!((&value["ledger"], &value["lines_refused"]), (&json!(0), &json!(1)));
        assert_eq!(value["first_refused"][0]["line"], 7);
        let mut unbalanced = summary();
        unbalanced.coalescer.ledger.sizes[0].in_rows -= 2;
        assert_eq!(unbalanced.imbalance(), 2);
    }
}
