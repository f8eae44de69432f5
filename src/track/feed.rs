//! One tracker on its own thread: woken by training, fed from disk.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::facts::Facts;
use super::row::{Place, Row};
use super::tail::Tail;
use crate::base::error::Fault;

/// What became of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// They are where they belong.
    All,
    /// What was delivered before is not the beginning of the file any more: give all rows from the
    /// first one again.
    FromStart,
}

/// Brings a run's rows somewhere. Each method may be called again after an error, in this process
/// or in another one: what was delivered already is not delivered twice.
pub trait Tracker: Send {
    /// Its word in settings and messages.
    fn name(&self) -> &'static str;
    /// Rows in their order. `is_first`: the first one is the first of the file; rows that were
    /// delivered earlier come again then.
    ///
    /// # Errors
    /// When they could not be delivered; nothing is lost, they come again.
    fn rows(&mut self, rows: &[Row], is_first: bool) -> Result<Taken, Fault>;
    /// All rows of this session are delivered; how the run stands is in `facts`.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    fn end(&mut self, facts: &Facts) -> Result<Taken, Fault>;
    /// The last row that was delivered.
    fn reached(&self) -> Option<Place>;
}

/// Delivers what is on disk until there is no more.
///
/// # Errors
/// What the tracker could not do.
pub fn pump(tracker: &mut dyn Tracker, tail: &mut Tail) -> Result<(), Fault> {
    let mut restarts = 0;
    while let Some(block) = tail.next_lines()? {
        match tracker.rows(&block.rows, block.is_first)? {
            Taken::All => tail.take(&block),
            Taken::FromStart => restart(tracker, tail, &mut restarts)?,
        }
    }
    Ok(())
}

fn restart(tracker: &dyn Tracker, tail: &mut Tail, restarts: &mut u32) -> Result<(), Fault> {
    *restarts += 1;
    if *restarts > 3 {
        return Err(Fault::new("tracker", format!("{}: the rows change faster than they can be delivered", tracker.name())));
    }
    tail.rewind();
    Ok(())
}

/// Delivers everything and how the run stands.
///
/// # Errors
/// What the tracker could not do.
pub fn finish(tracker: &mut dyn Tracker, tail: &mut Tail, facts: &Facts) -> Result<(), Fault> {
    let mut restarts = 0;
    loop {
        pump(tracker, tail)?;
        match tracker.end(facts)? {
            Taken::All => return Ok(()),
            Taken::FromStart => restart(tracker, tail, &mut restarts)?,
        }
    }
}

/// How often rows are delivered at most, and how long a failed delivery waits for its next try.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between deliveries.
    pub between: Duration,
    /// After the first failure; doubled with each one after it.
    pub first_wait: Duration,
    /// At most.
    pub longest_wait: Duration,
}

enum Word {
    Look,
    End(Box<Facts>),
}

/// A tracker at work.
#[derive(Debug)]
pub struct Feed {
    name: &'static str,
    words: SyncSender<Word>,
    outcome: Receiver<Result<(), Fault>>,
}

impl Feed {
    /// Starts a tracker's thread. `open` runs on that thread, so that a slow disk or server holds
    /// nobody up.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        name: &'static str,
        pace: Pace,
        mut tail: Tail,
        open: impl FnOnce() -> Result<Box<dyn Tracker>, Fault> + Send + 'static,
    ) -> Result<Self, Fault> {
        // One waiting word is enough: it means "there may be something new".
        let (words, heard) = sync_channel(1);
        let (tell, outcome) = sync_channel(1);
        let work = move || {
            let result = open().and_then(|mut tracker| serve(tracker.as_mut(), &mut tail, pace, &heard));
            // Whoever waited may have given up.
            let _ = tell.try_send(result);
        };
        let thread = thread::Builder::new().name(format!("track-{name}")).spawn(work);
        thread.map_err(|e| Fault::new("tracker", format!("{name}: no thread: {e}")))?;
        Ok(Self { name, words, outcome })
    }

    /// There may be something new. Never waits.
    pub fn look(&self) {
        match self.words.try_send(Word::Look) {
            // Full: it will look anyway. Gone: told at the end.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }

    /// Delivers what is left, for at most `patience`.
    ///
    /// # Errors
    /// Why not everything is delivered; it stays on disk.
    pub fn end(self, facts: Facts, patience: Duration) -> Result<(), Fault> {
        let begun = Instant::now();
        let mut word = Word::End(Box::new(facts));
        let late = || Fault::new("tracker_late", format!("{}: not everything was sent within {} s", self.name, patience.as_secs()));
        loop {
            word = match self.words.try_send(word) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => break,
                Err(TrySendError::Full(word)) if begun.elapsed() < patience => word,
                Err(TrySendError::Full(_)) => return Err(late()),
            };
            thread::sleep(Duration::from_millis(2));
        }
        match self.outcome.recv_timeout(patience.saturating_sub(begun.elapsed())) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(late()),
            Err(RecvTimeoutError::Disconnected) => Err(Fault::new("tracker", format!("{}: the tracker's thread broke off", self.name))),
        }
    }
}

fn serve(tracker: &mut dyn Tracker, tail: &mut Tail, pace: Pace, heard: &Receiver<Word>) -> Result<(), Fault> {
    let mut wait = pace.first_wait;
    let mut is_new = true;
    loop {
        if !is_new {
            match heard.recv() {
                Ok(Word::Look) => {}
                Ok(Word::End(facts)) => return finish(tracker, tail, &facts),
                // The run broke off: the next session, or `track sync`, goes on from the cursor.
                Err(_) => return Ok(()),
            }
        }
        let is_done = pump(tracker, tail).is_ok();
        // What could not be delivered is on disk, and is tried again.
        let rest = if is_done { pace.between } else { wait };
        wait = if is_done { pace.first_wait } else { (wait * 2).min(pace.longest_wait) };
        match rested(rest, heard) {
            Rested::Ended(facts) => return finish(tracker, tail, &facts),
            Rested::Gone => return Ok(()),
            Rested::Heard(any) => is_new = any || !is_done,
        }
    }
}

enum Rested {
    /// The time is over; whether something new was heard of meanwhile.
    Heard(bool),
    Ended(Box<Facts>),
    Gone,
}

/// Waits; only the run's end wakes it.
fn rested(rest: Duration, heard: &Receiver<Word>) -> Rested {
    let until = Instant::now() + rest;
    let mut any = false;
    loop {
        match heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Word::Look) => any = true,
            Ok(Word::End(facts)) => return Rested::Ended(facts),
            Err(RecvTimeoutError::Timeout) => return Rested::Heard(any),
            Err(RecvTimeoutError::Disconnected) => return Rested::Gone,
        }
        // A queue that never runs empty must not hold the delivery up.
        if Instant::now() >= until {
            return Rested::Heard(any);
        }
    }
}
