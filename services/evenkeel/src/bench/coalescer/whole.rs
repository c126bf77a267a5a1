//! The coalescer as it is: its run loop, its worker, transactions, rows written; at the end every window
//! closes, so that each event has gone all the way.

use super::{Ends, Outcome, PATIENCE, SIZE_MS, Took, join, reached, timed};
use evenkeel_chassis::drain::{Cause, Drain};
use evenkeel_coalescer::{Control, Options, Records, RunError, Status, StatusCell};
use evenkeel_kafka::KafkaConfig;
use evenkeel_telemetry::Emitter;
use evenkeel_window::Settings;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Windows everything once.
pub fn run(config: &KafkaConfig, run: usize, ends: &Ends, events: u64, emitter: &Emitter) -> Outcome<Took> {
    let control = Control {
        drain: Drain::new(Duration::from_secs(30)),
        end: Arc::new(AtomicBool::new(false)),
        status: StatusCell::default(),
        emitter: emitter.clone(),
        log_system: "kafka",
    };
    let (took, status) = timed(|| {
        let mut worker = join(config, &format!("coalescer-{run}"))?;
        let options = options(config, run);
        let handle = control.clone();
        let thread = std::thread::spawn(move || -> Result<(), RunError> {
            evenkeel_coalescer::run(&mut worker, options, &handle)
        });
        let until = Instant::now() + PATIENCE;
        let status = loop {
            let status = control.status.get();
            if reached(&status.positions, ends) {
                control.end.store(true, Ordering::Release);
                if status.quiet && status.ledger.sizes.iter().all(|s| s.in_open == 0) {
                    break status;
                }
            }
            if thread.is_finished() || Instant::now() > until {
                control.drain.begin(Cause::Failed);
                let ended = thread.join().map_err(|_| "the coalescer panicked")?;
                return Err(format!("the coalescer stopped at {:?}: {ended:?}", status.positions).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        control.drain.begin(Cause::Finished);
        thread.join().map_err(|_| "the coalescer panicked")??;
        Ok(status)
    })?;
    check(&status, events)?;
    Ok(took)
}

fn options(config: &KafkaConfig, run: usize) -> Options {
    let mut settings = Settings::default();
    settings.classes[0].sizes_ms = vec![SIZE_MS];
    Options {
        settings,
        writer: format!("{}-coalescer-{run}", config.prefix),
        rows_per_tick_max: 100_000,
        memory_budget_bytes: 8 << 30,
        output_bytes_max: 64 << 20,
        refuse_cut_log: true,
        hash_seed: 1,
        records: Records::default(),
    }
}

/// A fast run that lost something is no result.
fn check(status: &Status, events: u64) -> Outcome<()> {
    let [size] = &status.ledger.sizes[..] else { return Err("not one size".into()) };
    match size.in_rows == events && size.imbalance() == 0 {
        true => Ok(()),
        false => Err(format!("{} of {events} events are in rows: {size:?}", size.in_rows).into()),
    }
}
