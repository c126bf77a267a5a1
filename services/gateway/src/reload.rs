//! What keeps the credentials fresh: files that are looked at again, keys that are fetched.
//!
//! Owns: the two tasks. Never: takes a broken file; what is in force stays, and the failure is logged and counted once
//! per change.

use crate::meters::name_of;
use crate::server::Server;
use evenkeel_auth::{JwtConfig, Reread, look};
use evenkeel_telemetry::{Emitter, event};
use std::sync::Arc;
use std::time::Duration;

event! {
    /// A changed file could not be taken.
    struct ReloadFailed<'a> ERROR "gateway.reload.failed" "a changed file cannot be taken; what was in force before stays" {
        values { what: &'a str, why: &'a str }
        limit(what, 10_000);
    }
}

event! {
    /// A changed file is in force.
    struct ReloadDone<'a> INFO "gateway.reload.done" "a changed file is in force" {
        values { what: &'a str }
        limit(what, 10_000);
    }
}

event! {
    /// The issuer's keys could not be fetched: the old ones stay until trust-max.
    struct KeysFailed<'a> WARN "gateway.keys.failed" "the key set of signed tokens could not be fetched; the last good one stays until jwt.trust-max" {
        values { why: &'a str }
        limit("", 10_000);
    }
}

/// Looks at the files every so often, for ever.
pub(crate) async fn watch(shared: Arc<Server>, every: Duration, emitter: Emitter) {
    loop {
        tokio::time::sleep(every).await;
        let (shared, emitter) = (Arc::clone(&shared), emitter.clone());
        // Reading blocks: a mounted directory may hang.
        let looked = tokio::task::spawn_blocking(move || {
            look(&shared.auth, shared.tls.as_ref(), shared.wall_ms(), &mut |what, outcome| {
                tell(&shared, &emitter, what, outcome);
            });
        });
        if looked.await.is_err() {
            return; // the service is ending
        }
    }
}

/// Keeps the keys of a URL fresh, for ever.
pub(crate) async fn keep_keys(shared: Arc<Server>, config: JwtConfig, emitter: Emitter) {
    let told = |fetched: Result<(), &str>| {
        shared.meters.reloaded(Reread::Keys, fetched.is_ok());
        if let Err(why) = fetched {
            KeysFailed { why }.emit(&emitter);
        }
    };
    let clock = || shared.wall_ms();
    shared.auth.keep_keys(&config, &clock, &told).await;
}

fn tell(shared: &Server, emitter: &Emitter, what: Reread, outcome: Result<bool, String>) {
    match outcome {
        Ok(false) => {}
        Ok(true) => {
            shared.meters.reloaded(what, true);
            ReloadDone { what: name_of(what) }.emit(emitter);
        }
        Err(why) => {
            shared.meters.reloaded(what, false);
            ReloadFailed { what: name_of(what), why: &why }.emit(emitter);
        }
    }
}
