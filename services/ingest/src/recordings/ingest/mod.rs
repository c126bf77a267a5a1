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
use crate::auth::Credential;
use crate::delivery::Edge;
use crate::problem::{Kind, Problem};
use cut::format_of;
use job::Job;
pub(crate) use progress::Progress;
use progress::{Saved, State};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

type Shown = Arc<Mutex<Progress>>;

/// The running ingests, as requests see them.
pub(crate) struct Ingests {
    running: Mutex<BTreeMap<String, Shown>>,
    running_max: usize,
    /// Events per second of one.
    rate: u32,
    to_worker: mpsc::Sender<RecordingName>,
}

/// Ingests that were begun, for [`work`].
pub(crate) type Begun = mpsc::Receiver<RecordingName>;

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
        let before = saved(store, name).await?;
        if let Some(done) = before.as_ref().filter(|saved| saved.progress.state == State::Done) {
            return Ok(done.progress.clone());
        }
        let begun = match before {
            Some(before) => before.again(),
            None => Saved::begin(size, &credential.name),
        };
        if let Err(running) = self.claim(store, &name.stem(), &begun.progress)? {
            return Ok(running);
        }
        let progress = begun.progress.clone();
        if let Err(problem) = save(store, name, begun).await {
            self.running().remove(&name.stem());
            return Err(problem);
        }
        let _ = self.to_worker.try_send(name.clone()); // there is room for all that may run
        Ok(progress)
    }

    /// How far a recording is.
    pub(super) async fn progress(
        &self,
        store: &Arc<Store>,
        name: &RecordingName,
    ) -> Result<Progress, Problem> {
        let opened = store.find(name).await?;
        if let Some(shown) = self.running().get(&name.stem()) {
            return Ok(shown.lock().unwrap_or_else(PoisonError::into_inner).clone());
        }
        let saved = saved(store, name).await?;
        Ok(saved.map_or_else(|| Progress::idle(opened.recording.len()), |saved| saved.progress))
    }

    /// A place among those that run, or how far this one is if it runs already.
    fn claim(&self, store: &Store, stem: &str, progress: &Progress) -> Result<Result<(), Progress>, Problem> {
        let mut running = self.running();
        if let Some(shown) = running.get(stem) {
            return Ok(Err(shown.lock().unwrap_or_else(PoisonError::into_inner).clone()));
        }
        if running.len() >= self.running_max {
            return Err(
                store.busy(Limit::Ingests, "as many recordings are on their way into the log as may be")
            );
        }
        running.insert(stem.to_owned(), Arc::new(Mutex::new(progress.clone())));
        Ok(Ok(()))
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Shown>> {
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
        while let Some(name) = left.pop_front() {
            match saved(store, &name).await {
                Ok(Some(saved)) => match ingests.claim(store, &name.stem(), &saved.progress) {
                    Ok(Ok(())) => start(&edge, &mut jobs, name),
                    Ok(Err(_)) => {}
                    Err(_) => {
                        left.push_front(name); // when another one has ended
                        break;
                    }
                },
                Ok(None) | Err(_) => {}
            }
        }
        tokio::select! {
            Some(name) = begun.recv() => start(&edge, &mut jobs, name),
            Some(ended) = jobs.join_next() => {
                if let Ok(stem) = ended {
                    ingests.running().remove(&stem);
                }
            }
        }
        store.meters.ingests(jobs.len());
    }
}

fn start(edge: &Arc<Edge>, jobs: &mut JoinSet<String>, name: RecordingName) {
    let edge = Arc::clone(edge);
    jobs.spawn(async move {
        let stem = name.stem();
        if let Some(recordings) = &edge.recordings {
            let shown = recordings.ingests.running().get(&stem).cloned();
            if let (Some(shown), Ok(Some(saved))) = (shown, saved(&recordings.store, &name).await) {
                let rate = recordings.ingests.rate;
                Job::new(Arc::clone(&edge), Arc::clone(&recordings.store), name, (saved, shown), rate)
                    .run()
                    .await;
            }
        }
        stem
    });
}

/// Recordings whose ingest was under way. Blocks. What cannot be read is left alone; its status says so when asked.
fn unfinished(store: &Store) -> Vec<RecordingName> {
    let Ok(entries) = fs::read_dir(&store.dir) else { return Vec::new() };
    let name_of = |entry: fs::DirEntry| -> Option<RecordingName> {
        let file = entry.file_name().into_string().ok()?;
        let (stem, ending) = file.rsplit_once('.')?;
        let saved: Saved = about::read(&entry.path()).ok().filter(|_| ending == PROGRESS)??;
        let about: About = about::read(&beside(&store.dir, stem, ABOUT)).ok()??;
        let running = saved.progress.state == State::Running;
        running.then_some(RecordingName { stream_id: about.stream_id, recording_id: about.recording_id })
    };
    entries.filter_map(|entry| name_of(entry.ok()?)).collect()
}

async fn saved(store: &Arc<Store>, name: &RecordingName) -> Result<Option<Saved>, Problem> {
    let path = beside(&store.dir, &name.stem(), PROGRESS);
    let read = tokio::task::spawn_blocking(move || about::read(&path)).await;
    let read =
        read.map_err(|error| error.to_string()).and_then(|read| read.map_err(|error| error.to_string()));
    read.map_err(|why| store.failed(&name.recording_id, &why))
}

/// Saves how far an ingest is. A loss of power may take the last of it; what is done again then is known by its seq.
async fn save(store: &Arc<Store>, name: &RecordingName, saved: Saved) -> Result<(), Problem> {
    let path = beside(&store.dir, &name.stem(), PROGRESS);
    let written = tokio::task::spawn_blocking(move || about::write(&path, &saved, false)).await;
    let written =
        written.map_err(|error| error.to_string()).and_then(|done| done.map_err(|error| error.to_string()));
    written.map_err(|why| store.failed(&name.recording_id, &why))
}
