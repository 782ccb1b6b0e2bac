//! Threads that run the model over what waits, each with a panel of its own.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use opinion::{ImageError, Panel, Reader, Seen};
use runtime::isolate;
use tokio::sync::mpsc::UnboundedSender;

use crate::metrics::Metrics;
use crate::queue::{Entry, Full, Limits, Next, Queue, Size};

/// What an image counts as, in rows: it is decoded, and several models run on it.
pub const ROWS_OF_AN_IMAGE: usize = 8;

/// Something to run, and whom to tell.
pub struct Job {
    /// What to run.
    pub work: Work,
    /// Its place in its request.
    pub place: usize,
    /// Its request; closed where nobody waits any more.
    pub reply: UnboundedSender<(usize, Done)>,
}

/// What to run.
pub enum Work {
    /// The graph over a row of ids.
    Row(Vec<i64>),
    /// Eyes over an image file.
    Look(Vec<u8>),
}

/// What came of it.
pub enum Done {
    /// Outputs of a row, or a code for why there are none.
    Row(Result<Vec<f32>, String>),
    /// What is seen.
    Seen(Result<Box<Seen>, ImageError>),
    /// It waited too long and was not run.
    TooLate,
}

/// The code of a row whose model panicked.
pub const PANICKED: &str = "panicked";

impl Job {
    /// It, with its size.
    #[must_use]
    pub fn entry(self) -> Entry<Self> {
        let size = match &self.work {
            Work::Row(ids) => Size::Row(ids.len()),
            Work::Look(_) => Size::Alone(ROWS_OF_AN_IMAGE),
        };
        Entry { item: self, size }
    }

    fn done(self, done: Done) {
        // Nobody waits any more where this fails.
        let _ = self.reply.send((self.place, done));
    }
}

/// The threads and what waits for them.
pub struct Workers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    metrics: Arc<Metrics>,
}

struct State {
    queue: Queue<Job>,
    /// Requests that are being read.
    arriving: usize,
    closing: bool,
}

/// A request that is being read: rows wait a little for its own. Ends when dropped.
pub struct Arriving(Arc<Shared>);

impl Drop for Arriving {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.arriving = state.arriving.saturating_sub(1);
        if state.arriving == 0 {
            self.0.wake.notify_all();
        }
    }
}

impl Workers {
    /// Starts a thread a panel.
    ///
    /// # Errors
    /// Where the system gives no more threads.
    pub fn start(panels: Vec<Arc<Panel>>, limits: Limits, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let state = State { queue: Queue::new(limits), arriving: 0, closing: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new(), metrics });
        let mut threads = Vec::with_capacity(panels.len());
        for (number, panel) in panels.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            let work = move || {
                while let Some(jobs) = shared.take() {
                    run(jobs, &panel, &shared.metrics);
                }
            };
            threads.push(std::thread::Builder::new().name(format!("model-{number}")).spawn(work)?);
        }
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    /// Says that a request is being read.
    #[must_use]
    pub fn arriving(&self) -> Arriving {
        self.shared.lock().arriving += 1;
        Arriving(Arc::clone(&self.shared))
    }

    /// Whether nothing more would be taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.shared.lock().queue.is_full()
    }

    /// Takes all jobs of a request, or none; the request has arrived.
    ///
    /// # Errors
    /// Where too much waits.
    pub fn push(&self, jobs: Vec<Job>, arrived: Arriving) -> Result<(), Full> {
        let entries = jobs.into_iter().map(Job::entry).collect();
        let pushed = {
            let mut state = self.shared.lock();
            let pushed = state.queue.push(entries, Instant::now());
            self.shared.metrics.queued(state.queue.weight());
            pushed
        };
        drop(arrived);
        self.shared.wake.notify_all();
        pushed
    }

    /// Runs what waits, and ends the threads.
    pub fn finish(&self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A worker isolates what may panic.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What runs together next, when it is time; `None` when all is done.
    fn take(&self) -> Option<Vec<Job>> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            for late in state.queue.expired(now) {
                late.done(Done::TooLate);
            }
            let arriving = state.arriving > 0 && !state.closing;
            let next = state.queue.next(now, arriving);
            self.metrics.queued(state.queue.weight());
            state = match next {
                Next::Run(jobs) => return Some(jobs),
                Next::Idle if state.closing => return None,
                Next::Idle => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Next::Wait(until) => {
                    let wait = until.saturating_duration_since(now);
                    self.wake.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Runs jobs that wait for the same run, where somebody still waits for them.
fn run(jobs: Vec<Job>, panel: &Panel, metrics: &Metrics) {
    let mut rows = Vec::with_capacity(jobs.len());
    for mut job in jobs.into_iter().filter(|job| !job.reply.is_closed()) {
        match std::mem::replace(&mut job.work, Work::Row(Vec::new())) {
            Work::Row(ids) => rows.push((job, ids)),
            Work::Look(file) => {
                let seen = isolate(|| match &panel.eyes {
                    Some(eyes) => eyes.look(&file, panel.reader.as_ref()),
                    None => Err(ImageError::ModelFailed),
                });
                job.done(Done::Seen(seen.unwrap_or(Err(ImageError::ModelFailed)).map(Box::new)));
            }
        }
    }
    if rows.is_empty() {
        return;
    }
    let (jobs, ids): (Vec<Job>, Vec<Vec<i64>>) = rows.into_iter().unzip();
    let ids: Vec<&[i64]> = ids.iter().map(Vec::as_slice).collect();
    for (job, outputs) in jobs.into_iter().zip(outputs(panel.reader.as_ref(), &ids, metrics)) {
        job.done(Done::Row(outputs));
    }
}

/// Outputs of each row. Where a run of several fails, each runs alone, so that one bad row fails itself and no other.
fn outputs(reader: &dyn Reader, ids: &[&[i64]], metrics: &Metrics) -> Vec<Result<Vec<f32>, String>> {
    metrics.ran(ids.len());
    let ran =
        isolate(|| reader.run(ids)).map_or_else(|_| Err(PANICKED.to_owned()), |ran| ran.map_err(|error| error.code));
    let code = match ran {
        Ok(outputs) if outputs.len() == ids.len() => return outputs.into_iter().map(Ok).collect(),
        Ok(_) => "as_many_outputs_as_rows_expected".to_owned(),
        Err(code) => code,
    };
    metrics.run_failed();
    match ids {
        [_] => vec![Err(code)],
        _ => ids.iter().flat_map(|row| outputs(reader, &[row], metrics)).collect(),
    }
}
