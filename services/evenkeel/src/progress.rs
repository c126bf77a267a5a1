//! A bar on a terminal, nothing elsewhere: logs and pipes stay clean.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// Progress over the bytes or rows of a file.
#[derive(Debug, Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    /// On standard error, if that is a terminal.
    pub fn new() -> Self {
        let bar =
            if std::io::stderr().is_terminal() { ProgressBar::no_length() } else { ProgressBar::hidden() };
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// A step whose length is known, in bytes.
    pub fn bytes(&self, what: &'static str, length: u64) {
        self.0.reset();
        self.0.set_length(length);
        self.0.set_style(style("{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}"));
        self.0.set_message(what);
    }

    /// A step whose length is known, in rows.
    pub fn rows(&self, what: &'static str, length: u64) {
        self.0.reset();
        self.0.set_length(length);
        self.0.set_style(style("{msg} [{wide_bar}] {pos}/{len} {per_sec} {eta}"));
        self.0.set_message(what);
    }

    /// A step of unknown length.
    pub fn step(&self, what: &'static str) {
        self.0.set_style(style("{spinner} {msg}"));
        self.0.set_message(what);
    }

    /// How far the step is.
    pub fn set(&self, position: u64) {
        self.0.set_position(position);
    }

    /// A line on standard error, above the bar.
    pub fn say(&self, line: &str) {
        self.0.suspend(|| eprintln!("{line}"));
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}

/// The templates are constants of this file; one that did not parse would show the default bar.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
