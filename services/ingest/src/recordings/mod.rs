//! Recordings: files of devices, uploaded in pieces, read in any part while they arrive, and sent into the log.
//!
//! Owns: `/v1/streams/{stream_id}/recordings/…`. Never: an offset that is told before its bytes are on disk; a file that
//! a client named.
//!
//! `routes` dispatches, `receive` is PUT and PATCH, `send` GET and HEAD, `range` the header of that name; `store` has
//! the directory and its limits (`quota`, `opened`), `name` and `about` what a recording is called and what is known of
//! it; `retention` removes what is old; `ingest` is the way into the log.

mod about;
mod ingest;
mod meters;
mod name;
mod opened;
mod quota;
mod range;
mod receive;
mod retention;
mod routes;
mod send;
mod store;

pub(crate) use name::RecordingPath;
pub(crate) use receive::UPLOAD_OFFSET;
pub(crate) use routes::{DELETE, GET, HEAD, INGEST, PATCH, PUT, STATUS, answer};
pub use store::RecordingsError;

use crate::config::Config;
use crate::delivery::Edge;
use evenkeel_telemetry::Emitter;
pub(crate) use ingest::Begun;
use ingest::Ingests;
use std::sync::Arc;
use store::{SWEEP_EVERY, Store};

/// The recordings of a server.
pub(crate) struct Recordings {
    pub(crate) store: Arc<Store>,
    ingests: Ingests,
}

impl Recordings {
    /// What the configuration says; `None` = there are none. Blocks.
    pub(crate) fn open(config: &Config, emitter: &Emitter) -> Result<Option<(Self, Begun)>, RecordingsError> {
        if !config.recordings.is_on() {
            return Ok(None);
        }
        let store = Store::open(&config.recordings, config.retry_hint(), emitter)?;
        let (ingests, begun) = Ingests::new(config.recordings.ingests_max, config.recordings.ingest_rate);
        Ok(Some((Self { store: Arc::new(store), ingests }, begun)))
    }
}

/// Closes what nobody uses, removes what is past its time, and runs the ingests. Never ends by itself.
pub(crate) async fn keep(edge: Arc<Edge>, begun: Begun) {
    let sweeping = async {
        let Some(recordings) = &edge.recordings else { return };
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let store = Arc::clone(&recordings.store);
            let _ = tokio::task::spawn_blocking(move || store.sweep()).await; // files are closed there
            recordings.store.expire((edge.now_ms)()).await;
        }
    };
    tokio::join!(sweeping, ingest::work(Arc::clone(&edge), begun));
}
