//! The ingest edge: HTTP in, acknowledged after the log's acknowledgement
