//! Random histories over the real drivers.

#[test]
fn first() {
    for seed in 0..1 {
        let report = evenkeel_sim::run(&evenkeel_scenarios::history::scenario(seed));
        eprintln!(
            "{seed}: rows {} late {} compared {} undetermined {} recoveries {} admitted {} lines {}",
            report.rows,
            report.late,
            report.compared,
            report.undetermined,
            report.recoveries,
            report.admitted,
            report.trace.lines().len()
        );
        for violation in report.violations.iter().take(5) {
            eprintln!("   {violation}");
        }
    }
}
