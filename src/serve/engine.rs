//! The thread that decodes: requests join and leave between passes.
//!
//! ```text
//!   submit ──(a place is taken)──> waiting ──(room for its cache)──> a sequence of its model ──> ended
//!                                     │ the client has gone                 │ the client has gone
//!                                     └──────────> the place is free again <┘
//! ```
//! Models that share a base have passes in turn. Requests are admitted in the order in which they came.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::fault::Refused;
use crate::app::serve::Served;
use crate::base::error::Fault;
use crate::base::panics;
use crate::model::generate::{BatchOptions, Generator, Hold, Moved, SamplingOptions, Sequences};

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// The next token.
    Token(u32),
    /// The answer is complete: `stop_token`, `max_new_tokens` or `context_full`.
    Ended(&'static str),
    /// It cannot go on.
    Failed(Fault),
}

/// A request in the engine. It gives its place back when it is dropped.
#[derive(Debug)]
struct Job {
    model: usize,
    prompt: Vec<u32>,
    options: SamplingOptions,
    hold: Option<Box<dyn Hold>>,
    cache_bytes: u64,
    events: UnboundedSender<Event>,
    place: OwnedSemaphorePermit,
}

/// A sequence that is decoded.
#[derive(Debug)]
struct Active {
    model: usize,
    events: UnboundedSender<Event>,
    begun: Instant,
    place: OwnedSemaphorePermit,
}

/// Counts for `/health`, and what a wait is estimated by.
#[derive(Debug, Default)]
pub(super) struct Figures {
    active: AtomicUsize,
    /// Answers that came to their end.
    done: AtomicUsize,
    /// Answers whose client went away.
    gone: AtomicUsize,
    /// Tokens of all answers.
    tokens: AtomicUsize,
    /// Seconds of an answer: the mean of the last ones.
    seconds: Mutex<f64>,
}

/// Where requests are handed in.
#[derive(Debug)]
pub(super) struct Engine {
    models: Arc<Vec<Served>>,
    batch: BatchOptions,
    places: Arc<Semaphore>,
    all_places: usize,
    jobs: Mutex<Option<Sender<Job>>>,
    figures: Arc<Figures>,
    ends: Arc<AtomicBool>,
}

impl Engine {
    /// Starts the thread.
    pub(super) fn start(models: Arc<Vec<Served>>, batch: BatchOptions, queue: usize) -> Result<(Self, JoinHandle<()>), Fault> {
        let (jobs, receiver) = channel();
        let all_places = batch.max_sequences.saturating_add(queue).min(Semaphore::MAX_PERMITS);
        let (figures, ends) = (Arc::new(Figures::default()), Arc::new(AtomicBool::new(false)));
        let work = Work { batch, jobs: receiver, waiting: VecDeque::new(), active: BTreeMap::new(), next: 0, figures: figures.clone() };
        let (theirs, end) = (models.clone(), ends.clone());
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || work.run(&theirs, &end))
            .map_err(|e| Fault::new("io", format!("no thread can be started: {e}")))?;
        let places = Arc::new(Semaphore::new(all_places));
        Ok((Self { models, batch, places, all_places, jobs: Mutex::new(Some(jobs)), figures, ends }, thread))
    }

    /// Most new tokens of an answer for which nobody said how many: what `asked` allows and there is
    /// room for.
    pub(super) fn room(&self, model: usize, prompt_tokens: usize, asked: usize) -> usize {
        let decoder = &self.models[model].decoder;
        let held = usize::try_from(self.batch.cache_bytes / decoder.cache_bytes_per_token().max(1)).unwrap_or(usize::MAX);
        let room = decoder.spec().max_positions.min(held).saturating_sub(prompt_tokens);
        asked.min(room)
    }

    /// Takes a place for a request; nothing is known of it yet.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Refused> {
        self.places.clone().try_acquire_owned().map_err(|_| Refused::full(self.wait_seconds()))
    }

    /// Hands a request in.
    pub(super) fn submit(
        &self,
        place: OwnedSemaphorePermit,
        model: usize,
        prompt: Vec<u32>,
        options: SamplingOptions,
        hold: Option<Box<dyn Hold>>,
    ) -> Result<UnboundedReceiver<Event>, Refused> {
        let need = Generator::new(&self.models[model].decoder).need(prompt.len(), options.max_new_tokens);
        let need = need.map_err(|e| Refused::field("messages", e.to_string()).code("context_length_exceeded"))?;
        if need.cache_bytes > self.batch.cache_bytes {
            let message = format!(
                "{} tokens and up to {} new ones need {} bytes of keys and values, and this server allows {}: ask for fewer",
                prompt.len(),
                need.most,
                need.cache_bytes,
                self.batch.cache_bytes
            );
            return Err(Refused::field("max_tokens", message).code("context_length_exceeded"));
        }
        let (events, receiver) = unbounded_channel();
        let job = Job { model, prompt, options, hold, cache_bytes: need.cache_bytes, events, place };
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if sent { Ok(receiver) } else { Err(Refused::of(&Fault::new("stopped", "the server is stopping"))) }
    }

    /// Requests with a place: those decoded and those that wait.
    pub(super) fn open(&self) -> usize {
        self.all_places - self.places.available_permits()
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.open() == 0
    }

    /// Ends the thread after its pass.
    pub(super) fn end(&self) {
        self.ends.store(true, Ordering::SeqCst);
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Counts as JSON.
    pub(super) fn health(&self) -> serde_json::Value {
        let count = |n: &AtomicUsize| n.load(Ordering::Relaxed);
        let active = count(&self.figures.active);
        serde_json::json!({
            "status": "ok",
            "active": active,
            "waiting": self.open().saturating_sub(active),
            "places": self.all_places,
            "done": count(&self.figures.done),
            "gone": count(&self.figures.gone),
            "new_tokens": count(&self.figures.tokens),
        })
    }

    /// About how long it takes until a place is free.
    fn wait_seconds(&self) -> u64 {
        let seconds = *self.figures.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        (seconds / self.batch.max_sequences as f64).ceil().clamp(1.0, 60.0) as u64
    }
}

/// The thread's own.
struct Work {
    batch: BatchOptions,
    jobs: Receiver<Job>,
    waiting: VecDeque<Job>,
    active: BTreeMap<usize, Active>,
    next: usize,
    figures: Arc<Figures>,
}

impl Work {
    fn run(mut self, models: &[Served], ends: &AtomicBool) {
        let mut lanes: Vec<Sequences> = models.iter().map(|m| Sequences::new(Generator::new(&m.decoder))).collect();
        while !ends.load(Ordering::SeqCst) {
            if self.active.is_empty() && self.waiting.is_empty() {
                let Ok(job) = self.jobs.recv() else { return };
                self.waiting.push_back(job);
            }
            self.waiting.extend(self.jobs.try_iter());
            self.forget_the_gone(&mut lanes);
            self.admit(&mut lanes);
            self.figures.active.store(self.active.len(), Ordering::Relaxed);
            for (i, lane) in lanes.iter_mut().enumerate().filter(|(_, lane)| !lane.is_empty()) {
                match panics::caught(|| Ok(lane.pass()?)) {
                    Ok(passed) => passed.moved.into_iter().for_each(|moved| self.tell(moved)),
                    Err(fault) => {
                        self.fail(i, &fault);
                        *lane = Sequences::new(Generator::new(&models[i].decoder));
                    }
                }
            }
            self.figures.active.store(self.active.len(), Ordering::Relaxed);
        }
    }

    /// Frees the places of clients that went away.
    fn forget_the_gone(&mut self, lanes: &mut [Sequences]) {
        let before = self.waiting.len() + self.active.len();
        self.waiting.retain(|job| !job.events.is_closed());
        self.active.retain(|key, one| {
            let gone = one.events.is_closed();
            if gone {
                lanes[one.model].leave(*key);
            }
            !gone
        });
        self.figures.gone.fetch_add(before - self.waiting.len() - self.active.len(), Ordering::Relaxed);
    }

    /// Takes in waiting requests, in order, while there is room for the next one.
    fn admit(&mut self, lanes: &mut [Sequences]) {
        let mut held: u64 = lanes.iter().map(Sequences::held_bytes).sum();
        while self.active.len() < self.batch.max_sequences
            && self.waiting.front().is_some_and(|job| held + job.cache_bytes <= self.batch.cache_bytes)
            && let Some(job) = self.waiting.pop_front()
        {
            let key = self.next;
            self.next += 1;
            match lanes[job.model].join_held(key, job.prompt, job.options, job.hold) {
                Ok(()) => {
                    held += job.cache_bytes;
                    let one = Active { model: job.model, events: job.events, begun: Instant::now(), place: job.place };
                    self.active.insert(key, one);
                }
                Err(e) => {
                    let _ = job.events.send(Event::Failed(Fault::from(e)));
                }
            }
        }
    }

    /// Tells a client what a pass did. One that has gone is noticed before the next pass.
    fn tell(&mut self, moved: Moved) {
        let Some(one) = self.active.get(&moved.key) else { return };
        if let Some(token) = moved.token {
            self.figures.tokens.fetch_add(1, Ordering::Relaxed);
            let _ = one.events.send(Event::Token(token));
        }
        let last = match (moved.ended, moved.failed) {
            (_, Some(e)) => Event::Failed(Fault::from(e)),
            (Some(reason), None) => Event::Ended(reason),
            (None, None) => return,
        };
        let seconds = one.begun.elapsed().as_secs_f64();
        // The place is free before the client hears of the end, so that it may ask again at once.
        let Some(Active { events, place, .. }) = self.active.remove(&moved.key) else { return };
        drop(place);
        // So is the count, which it may ask for next.
        self.figures.done.fetch_add(1, Ordering::Relaxed);
        let _ = events.send(last);
        let mut mean = self.figures.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        *mean = if *mean > 0.0 { 0.9 * *mean + 0.1 * seconds } else { seconds };
    }

    /// Ends all sequences of a model.
    fn fail(&mut self, model: usize, fault: &Fault) {
        self.active.retain(|_, one| {
            let hit = one.model == model;
            if hit {
                let _ = one.events.send(Event::Failed(fault.clone()));
            }
            !hit
        });
    }
}
