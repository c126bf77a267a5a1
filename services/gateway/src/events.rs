//! The `events` of a fragment, put together from data that is encoded already.

use crate::protocol::write::{ARRAY, MAP, encode, head, text};
use evenkeel_fanout::{Event, EventLog, Format};

/// Appends `{epoch, after, recovered?, events}`.
pub(crate) fn write(
    log: &EventLog,
    since: Option<u32>,
    recovered: Option<bool>,
    format: Format,
    out: &mut Vec<u8>,
) {
    let (after, events) = log.after(since);
    let events: Vec<&Event> = events.collect();
    match format {
        Format::Json => {
            out.extend_from_slice(b"{\"epoch\":");
            let epoch: &str = log.epoch();
            encode(format, &epoch, out);
            out.extend_from_slice(format!(",\"after\":{after}").as_bytes());
            if let Some(recovered) = recovered {
                out.extend_from_slice(format!(",\"recovered\":{recovered}").as_bytes());
            }
            out.extend_from_slice(b",\"events\":[");
            for (n, event) in events.iter().enumerate() {
                let comma = if n == 0 { "" } else { "," };
                let start = format!("{comma}{{\"offset\":{},\"ts\":{},\"data\":", event.offset, event.ts);
                out.extend_from_slice(start.as_bytes());
                out.extend_from_slice(&event.data[0]);
                out.push(b'}');
            }
            out.extend_from_slice(b"]}");
        }
        Format::Cbor => {
            head(out, MAP, 3 + u64::from(recovered.is_some()));
            text(out, "epoch");
            text(out, log.epoch());
            text(out, "after");
            encode(format, &after, out);
            if let Some(recovered) = recovered {
                text(out, "recovered");
                encode(format, &recovered, out);
            }
            text(out, "events");
            head(out, ARRAY, events.len() as u64);
            for event in events {
                head(out, MAP, 3);
                text(out, "offset");
                encode(format, &event.offset, out);
                text(out, "ts");
                encode(format, &event.ts, out);
                text(out, "data");
                out.extend_from_slice(&event.data[1]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::both;
    use serde_json::{Value, json};

    #[test]
    fn both_formats_say_the_same_as_the_golden_message() {
        let mut log = EventLog::new("k".into(), 117, 4);
        let data = json!({"rule": "weight-high", "value": 412.75});
        log.push(Event { offset: 118, ts: 50, data: both(&data) });
        for (since, recovered) in [(None, None), (Some(1), Some(true)), (Some(0), Some(false))] {
            let [mut text, mut binary] = [Vec::new(), Vec::new()];
            write(&log, since, recovered, Format::Json, &mut text);
            write(&log, since, recovered, Format::Cbor, &mut binary);
            let read: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(cbor4ii::serde::from_slice::<Value>(&binary).unwrap(), read);
            let events =
                if since == Some(1) { json!([]) } else { json!([{"offset": 118, "ts": 50, "data": data}]) };
            assert_eq!((&read["events"], &read["recovered"]), (&events, &json!(recovered)));
            assert_eq!(read["after"], if since == Some(1) { 118 } else { 117 });
        }
    }
}
