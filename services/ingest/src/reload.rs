//! Files that are read again while the service runs: configuration, credentials, keys, the certificate.
//!
//! Owns: when they are looked at. Never: takes a broken file; what is in force stays, and the failure is logged and
//! counted once per change. Contents are compared, not times: a mounted secret changes by a link.

use crate::delivery::Edge;
use crate::live::Live;
use crate::meters::Reloaded;
use evenkeel_auth::Reread;
use evenkeel_telemetry::{Emitter, event};
use std::sync::Arc;
use std::time::Duration;

event! {
    /// A changed file could not be taken.
    struct ReloadFailed<'a> ERROR "ingest.reload.failed" "a changed file cannot be taken; what was in force before stays" {
        values { what: &'a str, why: &'a str }
        limit(what, 10_000);
    }
}

event! {
    /// A changed file is in force.
    struct ReloadDone<'a> INFO "ingest.reload.done" "a changed file is in force" {
        values { what: &'a str }
        limit(what, 10_000);
    }
}

/// Looks at the files every so often, for ever.
pub(crate) async fn watch(edge: Arc<Edge>, live: Option<Live>, every: Duration, emitter: Emitter) {
    let live = live.map(Arc::new);
    loop {
        tokio::time::sleep(every).await;
        let (shared, live, emitter) = (Arc::clone(&edge), live.clone(), emitter.clone());
        // Reading blocks: a mounted directory may hang.
        let looked = tokio::task::spawn_blocking(move || look(&shared, live.as_deref(), &emitter)).await;
        if looked.is_err() {
            return; // the service is ending
        }
    }
}

fn look(edge: &Edge, live: Option<&Live>, emitter: &Emitter) {
    if let Some(live) = live {
        tell(edge, emitter, Reloaded::Configuration, live.look(edge));
    }
    evenkeel_auth::look(&edge.auth, edge.tls.as_ref(), (edge.now_ms)(), &mut |what, outcome| {
        let what = match what {
            Reread::Credentials => Reloaded::Credentials,
            Reread::Keys => Reloaded::Keys,
            Reread::Certificate => Reloaded::Certificate,
        };
        tell(edge, emitter, what, outcome);
    });
}

fn tell(edge: &Edge, emitter: &Emitter, what: Reloaded, outcome: Result<bool, String>) {
    match outcome {
        Ok(false) => {}
        Ok(true) => {
            edge.meters.reloaded(what, true);
            ReloadDone { what: what.name() }.emit(emitter);
        }
        Err(why) => {
            edge.meters.reloaded(what, false);
            ReloadFailed { what: what.name(), why: &why }.emit(emitter);
        }
    }
}
