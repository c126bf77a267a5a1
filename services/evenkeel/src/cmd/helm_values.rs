//! Values of the Helm chart for a fleet: how many coalescer pods, of which size.
//!
//! Owns: how a plan becomes a memory limit, a CPU request and a number of workers. Never: the plan itself.

use evenkeel_chassis::memory::MemoryBudget;
use evenkeel_plan::{Fleet, Plan};

/// Events that one CPU takes in a second, one event per record: what `evenkeel bench coalescer` measured (README).
/// Batches need less.
const EVENTS_PER_CPU: u64 = 1_000_000;
/// The part of a CPU that steady traffic may take: the rest is for catching up after a pause.
const CPU_SHARE_PERCENT: u64 = 50;
/// What a worker may hold beside its state, bytes: three buffers of `kafka.limits.fetch-memory` while it recovers, and
/// `coalescer.output-max`.
const WORKER_BYTES: u64 = 4 * (64 << 20);
/// Memory limits are multiples of this, bytes.
const STEP_BYTES: u64 = 64 << 20;
/// The chart's own number of partitions; more are a multiple of it.
const PARTITIONS: u64 = 12;

/// The values as YAML. `plan` computes what a fleet costs one coalescer.
pub fn of_fleet(fleet: &Fleet, pods: u32, budget: MemoryBudget, plan: impl Fn(&Fleet) -> Plan) -> String {
    let pods = u64::from(pods);
    // While one pod is away the others hold its streams.
    let left = pods.saturating_sub(1).max(1);
    let share = |streams: u64| streams.div_ceil(left);
    let (streams, quiet_streams) = (share(fleet.streams), share(fleet.quiet_streams));
    let sum = plan(&Fleet { streams, quiet_streams, ..*fleet });
    let per_second = streams.saturating_mul(u64::from(fleet.rate_per_second));
    let cpus = per_second.saturating_mul(100).div_ceil(EVENTS_PER_CPU * CPU_SHARE_PERCENT).max(1);
    // The state may fill the budget while every worker recovers: what is left of the limit must hold the rest.
    let rest = sum.resident_bytes.saturating_sub(sum.steady_bytes) + cpus * WORKER_BYTES;
    let limit = match budget {
        MemoryBudget::Percent(percent) => {
            let percent = u64::from(percent.clamp(1, 99));
            (sum.steady_bytes / percent * 100).max(rest / (100 - percent) * 100)
        }
        MemoryBudget::Size(size) => size.bytes().max(sum.steady_bytes) + rest,
    };
    let limit_mib = limit.div_ceil(STEP_BYTES) * (STEP_BYTES >> 20);
    let partitions = (pods * cpus).div_ceil(PARTITIONS).max(1) * PARTITIONS;
    format!(
        "\
# For {} streams, {} events/s each, over {pods} pods of which one may be away.
kafka:
  # Cannot be raised in place: UPGRADING.md of the chart.
  partitions: {partitions}
coalescer:
  replicas: {pods}
  config:
    workers: {cpus}
    # It refuses to start when its budget cannot hold them.
    streams-expected: {streams}
  resources:
    requests:
      cpu: \"{cpus}\"
      memory: {limit_mib}Mi
    limits:
      memory: {limit_mib}Mi
",
        fleet.streams, fleet.rate_per_second
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_chassis::config::Sources;

    fn sum(steady: u64) -> Plan {
        Plan {
            per_stream_bytes: 0,
            per_quiet_bytes: 0,
            steady_bytes: steady,
            storm_bytes: 0,
            worst_bytes: 0,
            resident_bytes: steady + (100 << 20),
            rows_per_second: 0.0,
        }
    }

    fn values(streams: u64, pods: u32, budget: &str) -> String {
        let fleet = Fleet { streams, ..Fleet::default() };
        of_fleet(&fleet, pods, budget.parse().unwrap(), |f| sum(f.streams * 4096))
    }

    #[test]
    fn the_fleet_fits_when_one_pod_is_away() {
        let text = values(1_000_001, 5, "60%");
        assert!(text.contains("streams-expected: 250001\n"), "{text}");
        // 2.5 M events/s at half a CPU per 500 k: 6 CPUs, 30 workers in all.
        assert!(text.contains("workers: 6\n") && text.contains("partitions: 36\n"), "{text}");
        // Beside the state 6 workers and the process take 1636 MiB, which is 40 % of 4090.
        assert!(text.contains("memory: 4096Mi\n"), "{text}");
        // With few events it is the state that counts: 977 MiB are 60 % of 1628.
        let quiet = Fleet { streams: 1_000_001, rate_per_second: 0, ..Fleet::default() };
        let text = of_fleet(&quiet, 5, "60%".parse().unwrap(), |f| sum(f.streams * 4096));
        assert!(text.contains("memory: 1664Mi\n"), "{text}");
    }

    /// The chart's own tests render the same file.
    #[test]
    fn the_values_that_the_charts_tests_render_are_those_printed() {
        let config = crate::config::ServerConfig::of_run(
            &crate::config::Overrides::checked(Sources::default()).unwrap(),
        )
        .unwrap();
        let settings = config.services.coalescer.settings().unwrap();
        let fleet = Fleet { streams: 100_000, ..Fleet::default() };
        let class = &settings.classes[settings.class_of("device/1")];
        let budget = config.services.coalescer.memory_budget;
        let printed = of_fleet(&fleet, 3, budget, |f| evenkeel_plan::plan(f, &settings, class));
        assert_eq!(printed, include_str!("../../../../tests/chart/planned.yaml"));
    }

    #[test]
    fn a_small_fleet_needs_what_the_process_itself_needs() {
        let text = values(10, 1, "60%");
        assert!(text.contains("replicas: 1\n") && text.contains("partitions: 12\n"), "{text}");
        assert!(
            text.contains("streams-expected: 10\n") && text.contains("limits:\n      memory: 896Mi\n"),
            "{text}"
        );
    }

    #[test]
    fn a_budget_in_bytes_is_below_the_limit_with_the_rest_of_the_process() {
        assert!(values(10, 2, "1GiB").contains("memory: 1408Mi\n"));
    }
}
