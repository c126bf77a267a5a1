//! What a recording is called: by its clients, and on disk.
//!
//! Owns: the rule for ids, the paths of the API, the names of files. Never: puts a client's text into a file's name.

use crate::problem::{Kind, Problem};

/// Longest id of a recording, bytes.
const ID_BYTES_MAX: usize = 128;

/// A recording: its stream, and its own id within that.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordingName {
    pub(crate) stream_id: String,
    pub(crate) recording_id: String,
}

/// What of a recording a path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Facet {
    Content,
    Ingest,
    Status,
}

/// A path as it stands, its parts not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordingPath<'a> {
    pub(crate) stream: &'a str,
    pub(crate) recording: &'a str,
    pub(crate) facet: Facet,
}

impl<'a> RecordingPath<'a> {
    /// `/v1/streams/{stream_id}/recordings/{recording_id}[/ingest|/status]`. A stream id may hold slashes, so the last
    /// `/recordings/` counts.
    pub(crate) fn find(path: &'a str) -> Option<Self> {
        let (stream, tail) = path.strip_prefix("/v1/streams/")?.rsplit_once("/recordings/")?;
        let (recording, facet) = match tail.split_once('/') {
            None => (tail, Facet::Content),
            Some((recording, "ingest")) => (recording, Facet::Ingest),
            Some((recording, "status")) => (recording, Facet::Status),
            Some(_) => return None,
        };
        (!recording.is_empty()).then_some(Self { stream, recording, facet })
    }
}

impl RecordingName {
    /// Checks the id; the stream's is checked with the credential.
    pub(crate) fn new(stream_id: String, recording_id: String) -> Result<Self, Problem> {
        let bytes = recording_id.as_bytes();
        let good = |b: &u8| b.is_ascii_alphanumeric() || b"-._~".contains(b);
        let first = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        if first && bytes.len() <= ID_BYTES_MAX && bytes.iter().all(good) {
            return Ok(Self { stream_id, recording_id });
        }
        let shown: String = recording_id.chars().take(64).collect();
        Err(Problem::new(Kind::BadRecordingId, format!("the recording id is {shown:?}")))
    }

    /// The name of its files: a hash, so that no client's text meets the file system.
    pub(crate) fn stem(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.stream_id.len() as u64).to_le_bytes());
        hasher.update(self.stream_id.as_bytes());
        hasher.update(self.recording_id.as_bytes());
        hasher.finalize().to_hex()[..32].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_recordings_are_told_from_others() {
        let found = |path| RecordingPath::find(path).map(|p| (p.stream, p.recording, p.facet));
        assert_eq!(found("/v1/streams/imu/7/recordings/a"), Some(("imu/7", "a", Facet::Content)));
        assert_eq!(found("/v1/streams/imu%2F7/recordings/a/ingest"), Some(("imu%2F7", "a", Facet::Ingest)));
        assert_eq!(found("/v1/streams/s/recordings/ingest/status"), Some(("s", "ingest", Facet::Status)));
        let deep = "/v1/streams/a/recordings/b/recordings/c";
        assert_eq!(found(deep), Some(("a/recordings/b", "c", Facet::Content)));
        for path in ["/v1/streams/s/events", "/v1/streams/s/recordings/", "/v1/streams/s/recordings/a/b", "/"]
        {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn ids_are_plain_and_files_are_named_by_hashes() {
        let name = |stream: &str, id: &str| RecordingName::new(stream.into(), id.into());
        for id in ["a", "2026-03-01T12.ndjson", "A~_", &"x".repeat(128)] {
            assert!(name("s", id).is_ok(), "{id}");
        }
        for id in ["", ".", "..", "-a", "a b", "ä", "a%", &"x".repeat(129)] {
            assert_eq!(name("s", id).unwrap_err().kind, Kind::BadRecordingId, "{id}");
        }
        let stem = |stream, id| name(stream, id).unwrap().stem();
        assert_eq!(stem("s", "a").len(), 32);
        assert_ne!(stem("s", "ab"), stem("sa", "b"));
    }
}
