//! Cuts a recording into deliveries: at ends of lines, or at ends of blocks of an Avro container file.
//!
//! Owns: where a piece of a recording may begin. Never: judges a row; keeps more than a header and a step in memory.

use crate::body::{Format, essence};
use crate::container::{block_len, head_end};
use crate::delivery::{CONTAINER_TYPE, Delivery};
use crate::problem::{Kind, Problem};
use bytes::Bytes;
use evenkeel_codec::csv::{Cells, Columns};
use evenkeel_spool::SpoolBuffer;

/// Bytes read at once.
const STEP_BYTES: usize = 64 * 1024;
/// A piece ends with the line, or block, in which it becomes so long, bytes.
const PIECE_BYTES: u64 = 256 * 1024;
/// What tells the columns of CSV and their kinds: the header and the rows in so many bytes. Also the longest header of
/// a container file.
const HEAD_BYTES: usize = 256 * 1024;
/// Rows that tell columns of numbers from columns of text.
const ROWS_LOOKED_AT: usize = 1_000;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How a recording is written.
pub(super) struct Shape {
    pub(super) format: Format,
    /// Where its first row begins, bytes.
    pub(super) first: u64,
    pub(super) columns: Option<Columns>,
    /// What each piece begins with: the header of a container file.
    head: Bytes,
}

/// How a recording of this content type is read.
pub(super) fn format_of(content_type: &str) -> Result<Format, Problem> {
    match essence(content_type).as_str() {
        "application/x-ndjson" => Ok(Format::Ndjson),
        "text/csv" => Ok(Format::Csv),
        CONTAINER_TYPE => Ok(Format::Container),
        _ => {
            let detail = format!(
                "its content-type is {content_type:?}; ingested are application/x-ndjson, text/csv and {CONTAINER_TYPE}"
            );
            Err(Problem::new(Kind::UnsupportedMediaType, detail))
        }
    }
}

impl Shape {
    /// Looks at the beginning.
    pub(super) async fn of(content_type: &str, buffer: &SpoolBuffer) -> Result<Self, Problem> {
        let format = format_of(content_type)?;
        let head = buffer.read_at(0, HEAD_BYTES).await.map_err(|_| unreadable())?;
        let mark = if head.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        match format {
            Format::Csv => {
                let (columns, first) = columns_of(&head[mark..])?;
                let first = (mark + first) as u64;
                Ok(Self { format, first, columns: Some(columns), head: Bytes::new() })
            }
            Format::Container => match head_end(&head)? {
                Some(end) => Ok(Self { format, first: end as u64, columns: None, head: head.slice(..end) }),
                None => Err(broken("the Avro container file ends within its header".into())),
            },
            Format::Json | Format::Ndjson | Format::Batch => {
                Ok(Self { format, first: mark as u64, columns: None, head: Bytes::new() })
            }
        }
    }

    /// Feeds one piece from `at` on; answers where the next one begins. `rows_max` is kept for lines; blocks are whole.
    pub(super) async fn feed(
        &self,
        delivery: &mut Delivery<'_>,
        buffer: &SpoolBuffer,
        at: u64,
        (rows_max, block_bytes_max): (usize, usize),
    ) -> Result<u64, Problem> {
        match self.format {
            Format::Container => {
                delivery.take(self.head.clone()).await?;
                feed_block(delivery, buffer, at, block_bytes_max).await
            }
            _ => feed_lines(delivery, buffer, at, rows_max).await,
        }
    }
}

async fn feed_lines(
    delivery: &mut Delivery<'_>,
    buffer: &SpoolBuffer,
    begin: u64,
    rows_max: usize,
) -> Result<u64, Problem> {
    let (mut at, mut lines) = (begin, 0);
    loop {
        let mut step = buffer.read_some(at, STEP_BYTES).await.map_err(|_| unreadable())?;
        if step.is_empty() {
            return Ok(at);
        }
        let wanted = if at - begin >= PIECE_BYTES { 1 } else { rows_max.saturating_sub(lines).max(1) };
        let mut ends = step.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(end, _)| end + 1);
        if let Some(end) = ends.nth(wanted - 1) {
            delivery.take(step.split_to(end)).await?;
            return Ok(at + end as u64);
        }
        lines += step.iter().filter(|byte| **byte == b'\n').count();
        at += step.len() as u64;
        delivery.take(step).await?;
    }
}

async fn feed_block(
    delivery: &mut Delivery<'_>,
    buffer: &SpoolBuffer,
    mut at: u64,
    block_bytes_max: usize,
) -> Result<u64, Problem> {
    let begins = buffer.read_at(at, 20).await.map_err(|_| unreadable())?; // two numbers
    let Some(len) = block_len(&begins, block_bytes_max)? else {
        return Err(broken("the Avro container file ends within a block".into()));
    };
    let end = at + len as u64;
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(STEP_BYTES);
        let step = buffer.read_some(at, wanted).await.map_err(|_| unreadable())?;
        if step.is_empty() {
            return Ok(at); // the delivery says that it ends within a block
        }
        at += step.len() as u64;
        delivery.take(step).await?;
    }
    Ok(at)
}

/// The columns, and where the first row begins.
fn columns_of(head: &[u8]) -> Result<(Columns, usize), Problem> {
    let whole = head.len() < HEAD_BYTES;
    let mut lines = head.split_inclusive(|byte| *byte == b'\n').map(|line| (line, line.trim_ascii_end()));
    let mut first = 0;
    let header = loop {
        let Some((line, text)) = lines.next() else {
            return Err(broken("it has no line that names columns".into()));
        };
        first += line.len();
        if !text.is_empty() {
            break (line, text);
        }
    };
    if !whole && !header.0.ends_with(b"\n") {
        return Err(broken(format!("its first line is longer than {HEAD_BYTES} bytes")));
    }
    let refused = |error: &dyn std::fmt::Display| broken(error.to_string());
    let mut columns = Columns::of_header_of_one_stream(header.1).map_err(|error| refused(&error))?;
    let mut cells = Cells::default();
    for (line, text) in lines.take(ROWS_LOOKED_AT) {
        if whole || line.ends_with(b"\n") {
            columns.look_at(text, &mut cells);
        }
    }
    columns.settle().map_err(|error| refused(&error))?;
    Ok((columns, first))
}

fn broken(why: String) -> Problem {
    Problem::new(Kind::UnreadableBody, why)
}

fn unreadable() -> Problem {
    Problem::new(Kind::SpoolFailed, "the recording cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_tell_the_format() {
        assert_eq!(format_of("Text/CSV; charset=utf-8").unwrap(), Format::Csv);
        assert_eq!(format_of("application/x-ndjson").unwrap(), Format::Ndjson);
        assert_eq!(format_of("application/avro").unwrap(), Format::Container);
        assert_eq!(format_of("video/mp4").unwrap_err().kind, Kind::UnsupportedMediaType);
    }

    #[test]
    fn the_first_rows_tell_the_columns_and_where_rows_begin() {
        let text = b"\r\nts,room,weight\r\n5,kitchen,1.5\r\n";
        let (columns, first) = columns_of(text).unwrap();
        assert_eq!(&text[first..first + 2], b"5,");
        assert_eq!(columns.left_out().collect::<Vec<_>>(), ["room"]);
        assert_eq!(columns_of(b"a,b\n1,2\n").unwrap_err().kind, Kind::UnreadableBody);
        assert_eq!(columns_of(b" \n").unwrap_err().kind, Kind::UnreadableBody);
        assert_eq!(columns_of(&[b'a'; HEAD_BYTES]).unwrap_err().kind, Kind::UnreadableBody);
    }
}
