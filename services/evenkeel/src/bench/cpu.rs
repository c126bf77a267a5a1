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

/// Resident bytes of a process now; `None` = gone, or no `/proc`.
pub fn resident(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? << 10)
}

/// CPU seconds of this process so far.
pub fn own_seconds() -> f64 {
    seconds("self").unwrap_or(0.0)
}

/// CPU seconds of the threads that this process has now, to the nanosecond where the kernel keeps that count: for
/// stretches too short for [`own_seconds`]. A thread that ends takes its share with it.
pub fn own_seconds_exact() -> f64 {
    seconds_exact("self")
}

/// The same of any process.
pub fn seconds_exact(process: &str) -> f64 {
    let whole = || seconds(process).unwrap_or(0.0);
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return whole() };
    let of = |thread: fs::DirEntry| -> Option<f64> {
        let stat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    };
    let nanoseconds: f64 = threads.flatten().filter_map(of).sum();
    if nanoseconds > 0.0 { nanoseconds / 1e9 } else { whole() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows() {
        let (before, exact) = (own_seconds(), own_seconds_exact());
        let began = std::time::Instant::now();
        let mut x = 1u64;
        while own_seconds() - before < 0.05 {
            (0..10_000).for_each(|n| x = std::hint::black_box(x.wrapping_mul(31).wrapping_add(n)));
            assert!(began.elapsed().as_secs() < 60, "{x}");
        }
        assert!(own_seconds_exact() - exact > 0.03, "{exact}");
        assert_eq!((seconds("0"), resident("0")), (None, None));
        assert!(resident("self").is_some_and(|bytes| bytes > 1 << 20));
    }
}
