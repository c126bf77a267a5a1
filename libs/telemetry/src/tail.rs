//! The last log lines, in memory.
//!
//! Owns: a ring of lines for a view that shares the terminal with the log. Never: more than its capacity;
//! the oldest line leaves. A line longer than [`LINE_BYTES_MAX`] is cut.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// Longest line kept, bytes.
pub const LINE_BYTES_MAX: usize = 1024;

/// The ring. Clones share it.
#[derive(Debug, Clone)]
pub struct LogTail {
    lines: Arc<Mutex<VecDeque<String>>>,
    lines_max: usize,
}

impl LogTail {
    /// A ring of at most `lines_max` lines (at least 1).
    pub fn new(lines_max: usize) -> Self {
        Self { lines: Arc::default(), lines_max: lines_max.max(1) }
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call, one or more whole lines: so the log's formatter writes.
impl io::Write for LogTail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let cut = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
        let text = String::from_utf8_lossy(cut);
        let mut lines = self.lock();
        for line in text.lines() {
            if lines.len() >= self.lines_max {
                lines.pop_front();
            }
            lines.push_back(line.to_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogTail {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn keeps_the_last_lines_and_cuts_long_ones() {
        let tail = LogTail::new(3);
        for i in 0..10 {
            tail.clone().write_all(format!("line {i}\n").as_bytes()).unwrap();
        }
        assert_eq!(tail.lines().last().unwrap(), "line 9");
        assert_eq!(tail.lines().len(), 3);
        tail.clone().write_all("x".repeat(5000).as_bytes()).unwrap();
        assert_eq!(tail.lines().last().unwrap().len(), LINE_BYTES_MAX);
    }
}
