//! Recordings on their way into the log: which there are, and how far each is.
//!
//! Owns: the list of running ingests and its bound, starting them again after a crash. Never: two of one recording; an
//! event in the log twice (a row has the same seq each time, see `job`).

mod cut;
mod job;
mod progress;

use super::about::{self, About, beside};
use super::meters::Limit;
use super::name::RecordingName;
use super::store::{ABOUT, PROGRESS, Store};
use crate::delivery::Edge;
use crate::problem::{Kind, Problem};
use cut::format_of;
use evenkeel_auth::Credential;
use job::Job;
pub(crate) use progress::Progress;
use progress::{Saved, State};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

type Shown = Arc<Mutex<Progress>>;
/// A recording by its name, and which of those that ever had it.
type Which = (RecordingName, String);

/// The running ingests, as requests see them.
pub(crate) struct Ingests {
    /// By stem: which recording, and how far it is.
    running: Mutex<BTreeMap<String, (String, Shown)>>,
    running_max: usize,
    /// Events per second of one.
    rate: u32,
    to_worker: mpsc::Sender<Which>,
}

/// Ingests that were begun, for [`work`].
pub(crate) type Begun = mpsc::Receiver<Which>;

impl Ingests {
    pub(crate) fn new(running_max: usize, rate: u32) -> (Self, Begun) {
        let (to_worker, begun) = mpsc::channel(running_max);
        (Self { running: Mutex::default(), running_max, rate, to_worker }, begun)
    }

    /// Begins to ingest a recording, or goes on with one that failed; tells how far it is. One that is done is not
    /// begun again.
    pub(super) async fn begin(
        &self,
        store: &Arc<Store>,
        name: &RecordingName,
        credential: &Credential,
    ) -> Result<Progress, Problem> {
        let opened = store.find(name).await?;
        format_of(&opened.about.content_type)?;
        let Some(size) = opened.recording.buffer().len() else {
            let detail = format!("it has {} bytes so far", opened.recording.len());
            return Err(Problem::new(Kind::RecordingUnfinished, detail));
        };
        let which = (name.clone(), opened.about.etag.clone());
        let before = saved(store, &which).await?;
        if let Some(done) = before.as_ref().filter(|saved| saved.progress.state == State::Done) {
            return Ok(done.progress.clone());
        }
        let begun = match before {
            Some(before) => before.again(),
            None => Saved::begin(size, &credential.name, &which.1),
        };
        if let Err(running) = self.claim(store, &which, &begun.progress)? {
            return Ok(running);
        }
        let progress = begun.progress.clone();
        if let Err(problem) = save(store, name, begun).await {
            self.running().remove(&name.stem());
            return Err(problem);
        }
        let _ = self.to_worker.try_send(which); // there is room for all that may run
        Ok(progress)
    }

    /// How far a recording is.
    pub(super) async fn progress(
        &self,
        store: &Arc<Store>,
        name: &RecordingName,
    ) -> Result<Progress, Problem> {
        let opened = store.find(name).await?;
        let which = (name.clone(), opened.about.etag.clone());
        if let Some((_, shown)) = self.running().get(&name.stem()).filter(|(etag, _)| *etag == which.1) {
            return Ok(shown.lock().unwrap_or_else(PoisonError::into_inner).clone());
        }
        let saved = saved(store, &which).await?;
        Ok(saved.map_or_else(|| Progress::idle(opened.recording.len()), |saved| saved.progress))
    }

    /// A place among those that run, or how far this one is if it runs already.
    fn claim(
        &self,
        store: &Store,
        (name, etag): &Which,
        progress: &Progress,
    ) -> Result<Result<(), Progress>, Problem> {
        let mut running = self.running();
        match running.get(&name.stem()) {
            Some((of, shown)) if of == etag => {
                return Ok(Err(shown.lock().unwrap_or_else(PoisonError::into_inner).clone()));
            }
            Some(_) => {
                return Err(store.busy(Limit::Ingests, "the ingest of its predecessor is about to end"));
            }
            None => {}
        }
        if running.len() >= self.running_max {
            return Err(
                store.busy(Limit::Ingests, "as many recordings are on their way into the log as may be")
            );
        }
        running.insert(name.stem(), (etag.clone(), Arc::new(Mutex::new(progress.clone()))));
        Ok(Ok(()))
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, (String, Shown)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs what is begun, and first what a crash has left. Never ends by itself.
pub(crate) async fn work(edge: Arc<Edge>, mut begun: Begun) {
    let Some(recordings) = &edge.recordings else { return };
    let (store, ingests) = (&recordings.store, &recordings.ingests);
    let listed = Arc::clone(store);
    let left = tokio::task::spawn_blocking(move || unfinished(&listed)).await.unwrap_or_default();
    let mut left = VecDeque::from(left);
    let mut jobs = JoinSet::new();
    loop {
        while let Some(which) = left.pop_front() {
            let Ok(Some(saved)) = saved(store, &which).await else { continue };
            match ingests.claim(store, &which, &saved.progress) {
                Ok(Ok(())) => start(&edge, &mut jobs, which),
                Ok(Err(_)) => {}
                Err(_) => {
                    left.push_front(which); // when another one has ended
                    break;
                }
            }
        }
        tokio::select! {
            Some(which) = begun.recv() => start(&edge, &mut jobs, which),
            Some(ended) = jobs.join_next() => {
                if let Ok(stem) = ended {
                    ingests.running().remove(&stem);
                }
            }
        }
        store.meters.ingests(jobs.len());
    }
}

fn start(edge: &Arc<Edge>, jobs: &mut JoinSet<String>, which: Which) {
    let edge = Arc::clone(edge);
    jobs.spawn(async move {
        let stem = which.0.stem();
        if let Some(recordings) = &edge.recordings {
            let shown = recordings.ingests.running().get(&stem).map(|(_, shown)| Arc::clone(shown));
            if let (Some(shown), Ok(Some(saved))) = (shown, saved(&recordings.store, &which).await) {
                let (store, rate) = (Arc::clone(&recordings.store), recordings.ingests.rate);
                Job::new(Arc::clone(&edge), store, which.0, (saved, shown), rate).run().await;
            }
        }
        stem
    });
}

/// Recordings whose ingest was under way. Blocks. What cannot be read is left alone; its status says so when asked.
fn unfinished(store: &Store) -> Vec<Which> {
    let Ok(entries) = fs::read_dir(&store.dir) else { return Vec::new() };
    let name_of = |entry: fs::DirEntry| -> Option<Which> {
        let file = entry.file_name().into_string().ok()?;
        let (stem, ending) = file.rsplit_once('.')?;
        let saved: Saved = about::read(&entry.path()).ok().filter(|_| ending == PROGRESS)??;
        let about: About = about::read(&beside(&store.dir, stem, ABOUT)).ok()??;
        let running = saved.progress.state == State::Running;
        let name = RecordingName { stream_id: about.stream_id, recording_id: about.recording_id };
        running.then_some((name, about.etag))
    };
    entries.filter_map(|entry| name_of(entry.ok()?)).collect()
}

/// Whether the recording of this stem is on its way into the log, or waits for a restart to go on. Blocks.
pub(super) fn is_running(dir: &Path, stem: &str) -> bool {
    let saved = about::read::<Saved>(&beside(dir, stem, PROGRESS));
    matches!(saved, Ok(Some(saved)) if saved.progress.state == State::Running)
}

/// What was saved of this very recording.
async fn saved(store: &Arc<Store>, (name, etag): &Which) -> Result<Option<Saved>, Problem> {
    let path = beside(&store.dir, &name.stem(), PROGRESS);
    let saved = store.on_files(name, move || about::read::<Saved>(&path)).await?;
    Ok(saved.filter(|saved| saved.etag == *etag))
}

/// Saves how far an ingest is. A loss of power may take the last of it; what is done again then is known by its seq.
async fn save(store: &Arc<Store>, name: &RecordingName, saved: Saved) -> Result<(), Problem> {
    let path = beside(&store.dir, &name.stem(), PROGRESS);
    store.on_files(name, move || about::write(&path, &saved, false)).await
}
