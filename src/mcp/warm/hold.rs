//! The process that holds a model. What it may do is limited before it reads anything.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Deserialize;
use serde_json::Value;

use super::process::{Limited, Order, Word};
use super::{Loaded, Which, stamps};
use crate::app::load::{self, LoadedModel};
use crate::app::models;
use crate::base::error::Fault;
use crate::base::{cancel, panics, time_limit};
use crate::mcp::log::Log;
use crate::mcp::roots::Roots;
use crate::mcp::tool::{Call, Shared};
use crate::mcp::{confine, tools};
use crate::train::StopFlag;

#[derive(Debug, Deserialize)]
struct Request {
    which: Which,
    roots: Vec<PathBuf>,
}

fn say(word: &Word) {
    let Ok(mut line) = serde_json::to_vec(word) else { return };
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    // A server that is gone hears nothing; standard input tells so, too.
    let _ = out.write_all(&line).and_then(|()| out.flush());
}

fn fault(f: Fault) -> Word {
    Word::Fault { code: f.code.to_owned(), message: f.message, hint: f.hint }
}

/// Loads the model that standard input names, and answers until that ends.
///
/// # Errors
/// When standard input holds no request.
pub fn hold_model() -> Result<u8, Fault> {
    let mut stdin = BufReader::new(std::io::stdin());
    let bad = |e: String| Fault::new("usage", format!("no request on standard input: {e}")).hint("`tallow mcp` starts this by itself");
    let mut line = || -> Result<Vec<u8>, Fault> {
        let mut line = Vec::new();
        stdin.read_until(b'\n', &mut line).map_err(|e| bad(e.to_string()))?;
        Ok(line)
    };
    let limited: Limited = serde_json::from_slice(&line()?).map_err(|e| bad(e.to_string()))?;
    confine::resources(limited.cpu_seconds, limited.memory_bytes, limited.nice);
    let request: Request = serde_json::from_slice(&line()?).map_err(|e| bad(e.to_string()))?;
    confine::files(&request.roots);
    time_limit::begin(|f| {
        say(&fault(f.clone()));
        0
    })?;
    let shared = Shared::new(Roots::known(request.roots), Log::open(None)?, tools::Choice::everything(), None);
    let current = Arc::new(Mutex::new(StopFlag::default()));
    let (orders, inbox) = channel();
    let under_way = current.clone();
    std::thread::spawn(move || {
        for order in stdin.split(b'\n').map_while(Result::ok).filter_map(|line| serde_json::from_slice(&line).ok()) {
            match order {
                Order::Cancel => under_way.lock().unwrap_or_else(PoisonError::into_inner).request(),
                Order::Answer(arguments) => {
                    let stop = StopFlag::default();
                    // Before the answer begins, so that no cancellation is missed.
                    *under_way.lock().unwrap_or_else(PoisonError::into_inner) = stop.clone();
                    let _ = orders.send((arguments, stop));
                }
            }
        }
        // The server does not want the model any more, or is gone itself. Nothing here has to be put in order.
        std::process::exit(0);
    });
    let loaded = match panics::caught(|| load(&request.which, &shared)) {
        Ok((model, loaded)) => {
            say(&Word::Loaded(loaded));
            model
        }
        Err(f) => {
            say(&fault(f));
            return Ok(0);
        }
    };
    for (arguments, stop) in inbox {
        let call = Call { cancelled: stop.clone(), ticks: Arc::new(|tick| say(&Word::Progress(tick))), ask: None };
        let asked = stop.clone();
        let answered: Result<Value, Fault> =
            cancel::within(move || asked.is_requested(), || panics::caught(|| tools::answer_with(&loaded, arguments, &call)));
        say(&match answered {
            Ok(value) => Word::Result { value, memory_bytes: tallow_kernels::alloc::live_bytes() },
            Err(f) => fault(f),
        });
    }
    Ok(0)
}

fn load(which: &Which, shared: &Shared) -> Result<(LoadedModel, Loaded), Fault> {
    let mut request = tools::model_named(which, shared)?;
    let folder = models::resolve(&request.model, request.revision.as_deref())?;
    request.model = folder.display().to_string();
    let mut places = vec![folder];
    places.extend(request.adapter.clone());
    // A run that goes on gives other weights.
    if let (Some(project), Some(run)) = (&which.project_path, &which.run_id) {
        places.push(shared.roots.run(project, run)?.manifest_path());
    }
    let before = stamps(&places);
    let begun = Instant::now();
    let model = load::load(&request)?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok((model, Loaded { seconds, memory_bytes: tallow_kernels::alloc::live_bytes(), places, stamps: before }))
}
