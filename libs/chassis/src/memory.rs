//! How much memory the process uses and may use, and the budget that follows from it.
//!
//! Owns: reading `/proc` and the control group's files. Never: an estimate: what cannot be read is `None`.

use crate::units::{Bytes, TextVisitor, UnitError};
use evenkeel_telemetry::Metrics;
use evenkeel_telemetry::names::process::{MEMORY_LIMIT, MEMORY_RESIDENT};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A control group's way to say "no limit" in version 1: anything this large.
const V1_UNLIMITED: u64 = 1 << 60;

/// Resident set of this process, bytes.
pub fn resident_bytes() -> Option<u64> {
    Machine::at("/").resident_bytes()
}

/// Memory this process may use, bytes: the smallest limit of its control groups, or the machine's memory.
pub fn limit_bytes() -> Option<u64> {
    Machine::at("/").limit_bytes()
}

/// Exports both.
pub fn publish(metrics: &Metrics) {
    metrics.gauge_asked(&MEMORY_RESIDENT, [], Box::new(|| resident_bytes().map(|n| n as f64)));
    metrics.gauge_asked(&MEMORY_LIMIT, [], Box::new(|| limit_bytes().map(|n| n as f64)));
}

/// A memory budget as configured: a share of what the process may use, or a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryBudget {
    /// Percent of the limit, 1 … 100.
    Percent(u8),
    /// A size.
    Size(Bytes),
}

impl MemoryBudget {
    /// The budget, bytes, where `limit` is what the process may use. `None`: a share of an unknown limit.
    pub fn bytes(self, limit: Option<u64>) -> Option<u64> {
        match self {
            Self::Size(size) => Some(size.bytes()),
            Self::Percent(percent) => limit.map(|limit| limit / 100 * u64::from(percent)),
        }
    }
}

impl FromStr for MemoryBudget {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let form =
            || UnitError::Form { given: text.to_owned(), what: "a budget", example: r#""60%" or "2GiB""# };
        match text.trim().strip_suffix('%') {
            Some(number) => match number.parse::<u8>() {
                Ok(percent @ 1..=100) => Ok(Self::Percent(percent)),
                _ => Err(form()),
            },
            None => match text.parse::<Bytes>()? {
                size if size.bytes() == 0 => Err(UnitError::Zero { given: text.to_owned() }),
                size => Ok(Self::Size(size)),
            },
        }
    }
}

impl fmt::Display for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Size(size) => size.fmt(f),
        }
    }
}

impl Serialize for MemoryBudget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MemoryBudget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = TextVisitor { what: "a budget", example: r#""60%" or "2GiB""# };
        deserializer.deserialize_any(visitor)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The files of a machine, below a root (another one in tests).
struct Machine {
    root: PathBuf,
}

impl Machine {
    fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        std::fs::read_to_string(self.root.join(path)).ok()
    }

    /// `statm` counts pages; `auxv` says how large one is.
    fn resident_bytes(&self) -> Option<u64> {
        let pages: u64 = self.read("proc/self/statm")?.split_whitespace().nth(1)?.parse().ok()?;
        pages.checked_mul(self.page_bytes())
    }

    fn page_bytes(&self) -> u64 {
        const AT_PAGESZ: u64 = 6;
        const DEFAULT: u64 = 4096;
        let vector = std::fs::read(self.root.join("proc/self/auxv")).unwrap_or_default();
        let word = |bytes: &[u8]| bytes.try_into().map(u64::from_ne_bytes).unwrap_or(0);
        let pair = vector.chunks_exact(16).find(|pair| word(&pair[..8]) == AT_PAGESZ);
        pair.map(|pair| word(&pair[8..])).filter(|size| size.is_power_of_two()).unwrap_or(DEFAULT)
    }

    fn limit_bytes(&self) -> Option<u64> {
        let groups = self.read("proc/self/cgroup").unwrap_or_default();
        let limits = groups.lines().flat_map(|line| self.group_limits(line));
        limits.chain(self.physical_bytes()).min()
    }

    /// The limits of one line of `/proc/self/cgroup` (`id:controllers:path`): of the group and of all above.
    fn group_limits(&self, line: &str) -> Vec<u64> {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
        let (base, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            names if names.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        // In a container without its own namespace the path is the host's and not there: then only the
        // base, which is the container's own group, has the file.
        let path = path.trim_start_matches('/');
        let groups = Path::new(path).ancestors().filter(|group| !group.starts_with(".."));
        groups
            .filter_map(|group| self.read(Path::new(base).join(group).join(file)))
            .filter_map(|text| text.trim().parse::<u64>().ok())
            .filter(|limit| *limit < V1_UNLIMITED)
            .collect()
    }

    fn physical_bytes(&self) -> Option<u64> {
        let info = self.read("proc/meminfo")?;
        let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let machine = Machine::at(dir.path());
        (dir, machine)
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       16000000 kB\nMemFree: 1 kB\n");

    #[test]
    fn this_process_has_a_resident_set_below_its_limit() {
        let resident = resident_bytes().unwrap();
        assert!(resident > 100_000 && resident < limit_bytes().unwrap());
    }

    #[test]
    fn the_smallest_limit_counts() {
        let group = ("proc/self/cgroup", "0::/kubepods/pod1\n");
        let own = ("sys/fs/cgroup/kubepods/pod1/memory.max", "max\n");
        let above = ("sys/fs/cgroup/kubepods/memory.max", "1073741824\n");
        assert_eq!(machine(&[MEMINFO, group, own, above]).1.limit_bytes(), Some(1 << 30));
        let own = ("sys/fs/cgroup/kubepods/pod1/memory.max", "536870912\n");
        assert_eq!(machine(&[MEMINFO, group, own, above]).1.limit_bytes(), Some(512 << 20));
    }

    #[test]
    fn version_1_and_no_limit_at_all() {
        let group = ("proc/self/cgroup", "9:cpu:/a\n4:memory:/docker/abc\n");
        let own = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
        assert_eq!(machine(&[MEMINFO, group, own]).1.limit_bytes(), Some(256 << 20));
        let none = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(machine(&[MEMINFO, group, none]).1.limit_bytes(), Some(16_000_000 * 1024));
        assert_eq!(machine(&[]).1.limit_bytes(), None);
        assert_eq!(machine(&[("proc/self/statm", "100 25 3 4 5 6 7")]).1.resident_bytes(), Some(25 * 4096));
    }

    #[test]
    fn budgets_read_resolve_and_round_trip() {
        let budget = |text: &str| text.parse::<MemoryBudget>();
        assert_eq!(budget("60%").unwrap().bytes(Some(1000)), Some(600));
        assert_eq!(budget("60%").unwrap().bytes(None), None);
        assert_eq!(budget("2GiB").unwrap().bytes(None), Some(2 << 30));
        for text in ["60%", "2GiB", "100%"] {
            assert_eq!(budget(text).unwrap().to_string(), text);
        }
        for bad in ["0%", "101%", "-1%", "%", "6.5%"] {
            let error = budget(bad).unwrap_err().to_string();
            assert_eq!(error, format!(r#""{bad}" is not a budget; write e.g. "60%" or "2GiB""#));
        }
        assert_eq!(budget("0MiB").unwrap_err().to_string(), r#""0MiB" must be more than zero"#);
    }
}
