//! What the benches' devices send.

use evenkeel_model::{EventBatch, FieldColumn, partition_of};

/// The id of the n-th device.
pub fn device(n: usize) -> String {
    format!("device/{n:08}")
}

/// The first devices, each with its partition.
pub fn placed(devices: usize, partitions: u32) -> Vec<(String, u32)> {
    let place = |n| {
        let id = device(n);
        let partition = partition_of(&id, partitions);
        (id, partition)
    };
    (0..devices).map(place).collect()
}

/// A batch of that many events with seq and 4 fields; stream and times are left to fill in.
pub fn batch_of(events: usize) -> EventBatch {
    let field = |name: &str, base: f64| FieldColumn {
        name: name.to_owned(),
        rows: Vec::new(),
        values: (0..events).map(|i| base + i as f64 * 0.25).collect(),
    };
    EventBatch {
        ts: vec![0; events],
        seq: vec![0; events],
        fields: vec![field("ax", 0.1), field("ay", 10.5), field("az", -3.0), field("pulse", 72.0)],
        ..EventBatch::default()
    }
}
