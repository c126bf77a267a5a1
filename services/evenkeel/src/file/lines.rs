//! Lines of a stream of bytes, none longer than a limit in memory.

use std::io::{BufRead, Read};

/// Longest line that is read, bytes: an event of the largest payload and every field fits many times.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// A line, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// The whole line.
    Whole(&'a [u8]),
    /// Its first [`LINE_BYTES_MAX`] bytes, and how many there are.
    Cut(&'a [u8], u64),
}

/// Reads lines. A byte order mark in front of the first one is left out.
pub struct Lines<R: Read> {
    source: std::io::BufReader<R>,
    line: Vec<u8>,
    number: u64,
}

impl<R: Read> Lines<R> {
    /// Begins at the first line.
    pub fn new(source: R) -> Self {
        Self { source: std::io::BufReader::with_capacity(64 * 1024, source), line: Vec::new(), number: 0 }
    }

    /// The number of the line that was read last, from 1; 0 before the first.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What the lines come from.
    pub fn into_source(self) -> R {
        self.source.into_inner()
    }

    /// The next line.
    pub fn read(&mut self) -> std::io::Result<Option<Line<'_>>> {
        self.line.clear();
        let (mut bytes, mut ended) = (0u64, false);
        while !ended {
            let chunk = self.source.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let part = match chunk.iter().position(|b| *b == b'\n') {
                Some(at) => {
                    ended = true;
                    at
                }
                None => chunk.len(),
            };
            let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&chunk[..part.min(room)]);
            bytes += part as u64;
            self.source.consume(part + usize::from(ended));
        }
        if bytes == 0 && !ended {
            return Ok(None);
        }
        self.number += 1;
        if bytes > self.line.len() as u64 {
            return Ok(Some(Line::Cut(&self.line, bytes)));
        }
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        let mark = if self.number == 1 { &b"\xef\xbb\xbf"[..] } else { b"" };
        Ok(Some(Line::Whole(line.strip_prefix(mark).unwrap_or(line))))
    }
}

impl Line<'_> {
    /// Whether there is nothing but blanks.
    pub fn is_blank(&self) -> bool {
        matches!(self, Line::Whole(text) if text.iter().all(u8::is_ascii_whitespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out one byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let n = self.0.len().min(1).min(into.len());
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn ends_of_lines_marks_and_blanks() {
        let mut lines = Lines::new(Slow("\u{feff}a\r\n\n \nlast \u{feff}".as_bytes()));
        let mut got = Vec::new();
        while let Some(line) = lines.read().unwrap() {
            let blank = line.is_blank();
            let Line::Whole(text) = line else { panic!("a short line") };
            got.push((String::from_utf8(text.to_vec()).unwrap(), blank));
        }
        let want = [("a", false), ("", true), (" ", true), ("last \u{feff}", false)];
        assert_eq!(got, want.map(|(text, blank)| (text.to_owned(), blank)));
        assert_eq!(lines.number(), 4);
    }

    #[test]
    fn a_long_line_costs_its_limit_and_the_next_one_is_whole() {
        let mut text = vec![b'x'; 3 * LINE_BYTES_MAX + 5];
        text.extend_from_slice(b"\nnext");
        let mut lines = Lines::new(text.as_slice());
        let Some(Line::Cut(start, bytes)) = lines.read().unwrap() else { panic!("too long") };
        assert_eq!((start.len(), bytes), (LINE_BYTES_MAX, 3 * LINE_BYTES_MAX as u64 + 5));
        assert_eq!(lines.read().unwrap(), Some(Line::Whole(b"next")));
        assert!(lines.line.capacity() <= 2 * LINE_BYTES_MAX);
        assert_eq!(lines.read().unwrap(), None);
    }
}
