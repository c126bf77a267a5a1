//! How far back the newest rows lie that no Mark covers: `windows_from` of the commit metadata.
//!
//! A row's own offset is known only after its transaction. The end of `windows[p]` before the transaction
//! is at or before it, equal for all rows of one tick, and rises: so rows are counted per such epoch.

use std::collections::VecDeque;

/// Counts of uncovered rows per epoch.
#[derive(Debug, Default)]
pub struct RowEpochs {
    first: u64,
    epochs: VecDeque<(u64, u32)>,
}

impl RowEpochs {
    /// One more uncovered row, at or after offset `windows_to`; its epoch.
    pub fn acquire(&mut self, windows_to: u64) -> u64 {
        match self.epochs.back_mut() {
            Some((offset, rows)) if *offset == windows_to => *rows += 1,
            _ => self.epochs.push_back((windows_to, 1)),
        }
        self.first + self.epochs.len() as u64 - 1
    }

    /// A row of that epoch is covered now, or has a newer one.
    pub fn release(&mut self, epoch: u64) {
        if let Some((_, rows)) = self.epochs.get_mut((epoch - self.first) as usize) {
            *rows -= 1;
        }
        while self.epochs.front().is_some_and(|(_, rows)| *rows == 0) {
            self.epochs.pop_front();
            self.first += 1;
        }
    }

    /// At or before the oldest uncovered row.
    pub fn oldest(&self) -> Option<u64> {
        self.epochs.front().map(|(offset, _)| *offset)
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.epochs.capacity() * size_of::<(u64, u32)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_uncovered_row_is_known_exactly() {
        let mut rows = RowEpochs::default();
        let (a, b, c) = (rows.acquire(5), rows.acquire(5), rows.acquire(9));
        assert_eq!((a, b), (0, 0));
        rows.release(a);
        assert_eq!(rows.oldest(), Some(5));
        rows.release(b);
        assert_eq!(rows.oldest(), Some(9));
        let d = rows.acquire(9);
        rows.release(c);
        rows.release(d);
        assert_eq!(rows.oldest(), None);
        assert_eq!(rows.acquire(12), 2);
    }
}
