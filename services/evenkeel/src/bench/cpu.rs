//! CPU time of a process, and its resident set, as the kernel counts them.

use std::fs;

/// Ticks per second of the times in `/proc`: fixed at 100 for programs, whatever the kernel's own rate.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds, user and system, of all threads of a process so far; `None` = gone, or no `/proc`.
pub fn seconds(process: &str) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in brackets may hold anything; utime and stime are the 12th and 13th field after it.
    let after = stat.rsplit_once(')')?.1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// CPU seconds of this process so far.
pub fn own_seconds() -> f64 {
    seconds("self").unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows() {
        let before = own_seconds();
        let began = std::time::Instant::now();
        let mut x = 1u64;
        while own_seconds() - before < 0.05 {
            (0..10_000).for_each(|n| x = std::hint::black_box(x.wrapping_mul(31).wrapping_add(n)));
            assert!(began.elapsed().as_secs() < 60, "{x}");
        }
        assert_eq!(seconds("0"), None);
    }
}
