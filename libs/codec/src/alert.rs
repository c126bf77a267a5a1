//! The record Alert: a rule began or ceased to hold for a stream, or still holds.

use crate::batch::read_stream_id;
use crate::score::{read_finite, read_name};
use crate::wire::{Reader, put_bytes, put_double, put_long};
use crate::{DecodeError, schema};
use evenkeel_model::limits::{ALERT_TEXT_BYTES_MAX, SCORE_NAME_BYTES_MAX};
use evenkeel_model::{Alert, AlertAction, AlertCause, AlertSeverity};

/// Appends `alert` as one record.
pub fn encode_alert(alert: &Alert, out: &mut Vec<u8>) {
    schema::write_header(&schema::ALERT, out);
    put_bytes(out, alert.stream_id.as_bytes());
    put_bytes(out, alert.id.as_bytes());
    put_long(out, alert.action.index() as i64);
    put_long(out, alert.cause.index() as i64);
    put_bytes(out, alert.rule.as_bytes());
    put_long(out, alert.severity.index() as i64);
    put_bytes(out, alert.field.as_bytes());
    put_double(out, alert.value);
    put_double(out, alert.threshold);
    put_long(out, alert.size_ms);
    put_long(out, alert.t_start);
    put_long(out, alert.since);
}

/// Reads a record of the topic alerts.
pub fn decode_alert(bytes: &[u8]) -> Result<Alert, DecodeError> {
    let mut reader = Reader::new(schema::body_of(&schema::ALERT, bytes)?);
    let mut stream_id = String::new();
    read_stream_id(&mut reader, &mut stream_id)?;
    let alert = Alert {
        stream_id,
        id: read_name(&mut reader, "id", ALERT_TEXT_BYTES_MAX)?,
        action: read_symbol(&mut reader, "action", AlertAction::from_index)?,
        cause: read_symbol(&mut reader, "cause", AlertCause::from_index)?,
        rule: read_name(&mut reader, "rule", SCORE_NAME_BYTES_MAX)?,
        severity: read_symbol(&mut reader, "severity", AlertSeverity::from_index)?,
        field: read_name(&mut reader, "field", ALERT_TEXT_BYTES_MAX)?,
        value: read_finite(&mut reader, "value")?,
        threshold: reader.double("threshold")?,
        size_ms: reader.long("size_ms")?,
        t_start: reader.long("t_start")?,
        since: reader.long("since")?,
    };
    reader.end()?;
    Ok(alert)
}

fn read_symbol<T>(
    reader: &mut Reader<'_>,
    member: &'static str,
    of: fn(usize) -> Option<T>,
) -> Result<T, DecodeError> {
    let got = reader.int(member)?;
    let symbol = usize::try_from(got).ok().and_then(of);
    symbol.ok_or(DecodeError::Choice { member, got: i64::from(got), want: "see the symbols in Alert.avsc" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::hex;

    fn alert() -> Alert {
        Alert {
            stream_id: "s".into(),
            id: "hot/5/10".into(),
            action: AlertAction::Clear,
            cause: AlertCause::Silent,
            rule: "hot".into(),
            severity: AlertSeverity::Critical,
            field: "t.max".into(),
            value: 0.5,
            threshold: 0.25,
            size_ms: 5,
            t_start: 15,
            since: 10,
        }
    }

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        encode_alert(&alert(), &mut out);
        let want = "0273 10686f742f352f3130 02 02 06686f74 04 0a742e6d6178 000000000000e03f 000000000000d03f 0a 1e 14";
        assert_eq!(hex(&out[schema::HEADER_BYTES..]), want.replace(' ', ""));
        assert_eq!(decode_alert(&out), Ok(alert()));
    }

    #[test]
    fn an_unknown_symbol_and_a_value_that_is_no_number_are_refused() {
        let mut out = Vec::new();
        encode_alert(&alert(), &mut out);
        let action = schema::HEADER_BYTES + 2 + 9;
        out[action] = 6;
        assert!(matches!(decode_alert(&out), Err(DecodeError::Choice { member: "action", got: 3, .. })));
        out.clear();
        encode_alert(&Alert { value: f64::INFINITY, ..alert() }, &mut out);
        assert!(matches!(decode_alert(&out), Err(DecodeError::Contradiction { member: "value", .. })));
    }
}
