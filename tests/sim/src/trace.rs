//! What happened, in order: the proof that a run repeats itself, and the story to read when one fails.

/// The trace of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    lines: Vec<String>,
    /// Lines beyond the bound: only their hash is kept.
    beyond: u64,
    hash: u64,
}

/// Most lines kept.
const LINES_MAX: usize = 200_000;

impl Trace {
    /// Something happened at a virtual time.
    pub fn line(&mut self, now_ms: i64, what: std::fmt::Arguments<'_>) {
        let line = format!("{:>9.3} {what}", now_ms as f64 / 1_000.0);
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3); // FNV-1a
        }
        match self.lines.len() < LINES_MAX {
            true => self.lines.push(line),
            false => self.beyond += 1,
        }
    }

    /// A number that differs if any line differs.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}
