//! CSV: what the columns mean, and one line as one event.
//!
//! Owns: the names of columns and what a cell may be. Never: cuts lines (the caller does), a time's range (admission).
//!
//! Columns `stream_id` (not needed where something else names the stream), `ts` or `ts_ms`, optional `seq` and
//! `arrival`; every other numeric column is a field.
//! A column that shows text and no number in the first rows is none and is left out; after that, text in a
//! numeric column refuses its line. An empty cell = the event lacks the field (or seq, or arrival).

mod cells;
mod error;

use crate::json::{JsonEvent, cut, parse_timestamp, renew, set_field};
pub use cells::Cells;
pub use error::{HeaderError, RowError};
use evenkeel_model::limits::FIELDS_MAX;
use evenkeel_model::{check_field_name, check_stream_id};

/// What each column is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    roles: Vec<Role>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Role {
    Stream,
    /// `ts`: ms or RFC 3339; `ts_ms`: the same column by another name.
    Time(&'static str),
    Seq,
    Arrival,
    Field {
        name: String,
        seen: Seen,
    },
    Text(String),
}

/// What the first rows showed in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Text,
    Number,
}

impl Columns {
    /// Reads the first line of a text whose lines name their streams.
    ///
    /// # Errors
    /// [`HeaderError`]
    pub fn of_header(line: &[u8]) -> Result<Self, HeaderError> {
        Self::of_names(line, true)
    }

    /// The same where something else names the stream, so that no column has to.
    ///
    /// # Errors
    /// [`HeaderError`]
    pub fn of_header_of_one_stream(line: &[u8]) -> Result<Self, HeaderError> {
        Self::of_names(line, false)
    }

    fn of_names(line: &[u8], needs_stream: bool) -> Result<Self, HeaderError> {
        let mut cells = Cells::default();
        cells.split(line)?;
        let mut roles = Vec::with_capacity(cells.len());
        for (i, name) in cells.iter().enumerate() {
            if cells.iter().take(i).any(|other| other == name) {
                return Err(HeaderError::Twice(cut(name)));
            }
            roles.push(role(i + 1, name)?);
        }
        let missing = |wanted| HeaderError::Missing { wanted, found: cut(&String::from_utf8_lossy(line)) };
        if needs_stream && !roles.contains(&Role::Stream) {
            return Err(missing("stream_id"));
        }
        match roles.iter().filter(|role| matches!(role, Role::Time(_))).count() {
            0 => Err(missing("ts (or ts_ms)")),
            1 => Ok(Self { roles }),
            _ => Err(HeaderError::TwoTimes),
        }
    }

    /// Looks at one of the first rows, to tell columns of numbers from columns of text.
    pub fn look_at(&mut self, line: &[u8], cells: &mut Cells) {
        if cells.split(line).is_err() || cells.len() != self.roles.len() {
            return;
        }
        for (role, cell) in self.roles.iter_mut().zip(cells.iter()) {
            if let Role::Field { seen, .. } = role
                && !cell.is_empty()
                && *seen != Seen::Number
            {
                *seen = if number(cell).is_some() { Seen::Number } else { Seen::Text };
            }
        }
    }

    /// After the first rows: columns that showed only text are left out.
    ///
    /// # Errors
    /// [`HeaderError::TooManyFields`]
    pub fn settle(&mut self) -> Result<(), HeaderError> {
        let mut fields = 0;
        for role in &mut self.roles {
            match role {
                Role::Field { name, seen: Seen::Text } => *role = Role::Text(std::mem::take(name)),
                Role::Field { .. } => fields += 1,
                _ => {}
            }
        }
        if fields > FIELDS_MAX { Err(HeaderError::TooManyFields(fields)) } else { Ok(()) }
    }

    /// The columns that are left out.
    pub fn left_out(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().filter_map(|role| match role {
            Role::Text(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Reads one line into `event`, in its old memory. The stream stays as it was where no column names it.
    ///
    /// # Errors
    /// [`RowError`]
    pub fn read(&self, line: &[u8], cells: &mut Cells, event: &mut JsonEvent) -> Result<(), RowError> {
        cells.split(line)?;
        if cells.len() != self.roles.len() {
            return Err(RowError::Cells { got: cells.len(), want: self.roles.len() });
        }
        (event.seq, event.arrival, event.payload) = (None, None, None);
        let mut fields = 0;
        for (role, cell) in self.roles.iter().zip(cells.iter()) {
            match role {
                Role::Text(_) => {}
                Role::Stream => set_stream(event, cell)?,
                Role::Time(column) => event.ts = time(column, cell)?,
                Role::Seq | Role::Arrival | Role::Field { .. } if cell.is_empty() => {}
                Role::Seq => event.seq = Some(seq(cell)?),
                Role::Arrival => event.arrival = Some(time("arrival", cell)?),
                Role::Field { name, .. } => {
                    set_field(&mut event.fields, fields, name, value(name, cell)?);
                    fields += 1;
                }
            }
        }
        event.fields.truncate(fields);
        Ok(())
    }
}

fn role(number: usize, name: &str) -> Result<Role, HeaderError> {
    Ok(match name {
        "stream_id" => Role::Stream,
        "ts" => Role::Time("ts"),
        "ts_ms" => Role::Time("ts_ms"),
        "seq" => Role::Seq,
        "arrival" => Role::Arrival,
        name => {
            check_field_name(name).map_err(|source| HeaderError::Name { number, source })?;
            Role::Field { name: name.to_owned(), seen: Seen::Nothing }
        }
    })
}

fn set_stream(event: &mut JsonEvent, cell: &str) -> Result<(), RowError> {
    check_stream_id(cell).map_err(RowError::StreamId)?;
    renew(event.stream_id.get_or_insert_default(), cell);
    Ok(())
}

fn time(column: &str, cell: &str) -> Result<i64, RowError> {
    let want = "it must be a time: integer ms since the epoch, or RFC 3339 such as 2023-11-14T22:13:20Z";
    parse_timestamp(cell).map_err(|_| RowError::Cell { column: column.to_owned(), got: cut(cell), want })
}

fn seq(cell: &str) -> Result<u64, RowError> {
    let want = "it must be an integer from 0 to 18446744073709551615, or empty";
    cell.parse().map_err(|_| RowError::Cell { column: "seq".to_owned(), got: cut(cell), want })
}

fn value(column: &str, cell: &str) -> Result<f64, RowError> {
    let want = "it must be a finite number, true or false, or empty";
    number(cell).filter(|x| x.is_finite()).ok_or_else(|| RowError::Cell {
        column: column.to_owned(),
        got: cut(cell),
        want,
    })
}

/// A number, also one that is not finite; booleans as 0 and 1.
fn number(cell: &str) -> Option<f64> {
    match cell {
        "true" | "True" | "TRUE" => Some(1.0),
        "false" | "False" | "FALSE" => Some(0.0),
        _ => cell.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(header: &str, rows: &[&str]) -> Result<Columns, HeaderError> {
        let mut columns = Columns::of_header(header.as_bytes())?;
        rows.iter().for_each(|row| columns.look_at(row.as_bytes(), &mut Cells::default()));
        columns.settle()?;
        Ok(columns)
    }

    fn read(columns: &Columns, line: &str) -> Result<JsonEvent, RowError> {
        // The event of another line is what the memory held before.
        let mut event = JsonEvent {
            seq: Some(9),
            payload: Some(vec![1]),
            fields: vec![("old".into(), 1.0), ("older".into(), 2.0), ("oldest".into(), 3.0)],
            ..JsonEvent::default()
        };
        columns.read(line.as_bytes(), &mut Cells::default(), &mut event)?;
        Ok(event)
    }

    #[test]
    fn columns_in_any_order_empty_cells_and_booleans() {
        let columns = columns("on,stream_id,seq,ts,weight,arrival", &["true,s,1,5,2.5,6"]).unwrap();
        let event = read(&columns, "false, bowl/7 ,,2023-11-14T22:13:20Z,,").unwrap();
        let want = JsonEvent {
            stream_id: Some("bowl/7".into()),
            ts: 1_700_000_000_000,
            fields: vec![("on".into(), 0.0)],
            ..JsonEvent::default()
        };
        assert_eq!(event, want);
        let event = read(&columns, "TRUE,s,18446744073709551615,7,-1e-3,8").unwrap();
        let fields = vec![("on".to_owned(), 1.0), ("weight".to_owned(), -0.001)];
        let stream_id = Some("s".to_owned());
        assert_eq!(
            event,
            JsonEvent { stream_id, ts: 7, seq: Some(u64::MAX), arrival: Some(8), fields, payload: None }
        );
    }

    #[test]
    fn a_column_of_text_is_left_out_and_text_among_numbers_refuses_the_line() {
        let rows = ["s,1,kitchen,1.5,", "s,2,,oops,", "s,3,hall,,"];
        let columns = columns("stream_id,ts_ms,room,weight,later", &rows).unwrap();
        assert_eq!(columns.left_out().collect::<Vec<_>>(), ["room"]);
        assert_eq!(read(&columns, "s,1,attic,1.5,4").unwrap().fields.len(), 2);
        let error = read(&columns, "s,2,,oops,").unwrap_err().to_string();
        assert_eq!(error, "weight is \"oops\"; it must be a finite number, true or false, or empty");
    }

    #[test]
    fn every_refusal_names_the_column_and_what_is_allowed() {
        let columns = columns("stream_id,ts,seq,x", &[]).unwrap();
        for (line, part) in [
            ("s,1,2", "3 cells for 4 columns"),
            (",1,2,3", "stream_id is empty"),
            ("s,yesterday,2,3", "ts is \"yesterday\"; it must be a time"),
            ("s,,2,3", "ts is \"\"; it must be a time"),
            ("s,9223372036854775808,2,3", "RFC 3339"),
            ("s,1,-2,3", "seq is \"-2\"; it must be an integer from 0"),
            ("s,1,2,NaN", "x is \"NaN\"; it must be a finite number"),
            ("s,1,2,inf", "x is \"inf\""),
            ("s\u{1},1,2,3", "stream_id holds a control character at byte 1"),
        ] {
            let error = read(&columns, line).unwrap_err().to_string();
            assert!(error.contains(part), "{line:?} -> {error}");
        }
    }

    #[test]
    fn the_stream_may_be_named_elsewhere() {
        let columns = Columns::of_header_of_one_stream(b"ts,weight").unwrap();
        let event = read(&columns, "5,1.5").unwrap();
        assert_eq!((event.stream_id, event.ts, event.fields), (None, 5, vec![("weight".to_owned(), 1.5)]));
        let refused = Columns::of_header_of_one_stream(b"time,weight").unwrap_err().to_string();
        assert!(refused.starts_with("no column ts (or ts_ms)"), "{refused}");
    }

    #[test]
    fn headers_that_do_not_do() {
        let refused = |header: &str| columns(header, &[]).unwrap_err().to_string();
        assert!(refused("time,value").starts_with("no column stream_id; the first line must name"));
        assert!(refused("stream_id,value").starts_with("no column ts (or ts_ms)"));
        assert!(refused("stream_id;ts;value").contains("found: stream_id;ts;value"));
        assert_eq!(
            refused("stream_id,ts,ts_ms"),
            "columns ts and ts_ms are both there; keep the one that holds the event's time"
        );
        assert_eq!(
            refused("stream_id,ts,a,a"),
            "column \"a\" appears twice; each column needs a name of its own"
        );
        assert!(refused("stream_id,ts,,b").starts_with("the name of column number 3 is empty"));
        let many: Vec<String> = (0..65).map(|n| format!("f{n}")).collect();
        assert!(refused(&format!("stream_id,ts,{}", many.join(","))).starts_with("65 numeric columns"));
    }
}
