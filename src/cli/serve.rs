//! `tallow serve`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::{ComputeDtype, ModelArgs, Quant};
use super::run::{model, run_of, stop_on};
use crate::app::plan;
use crate::app::serve::{ServeRequest, models};
use crate::base::error::Fault;
use crate::model::generate::BatchOptions;
use crate::serve::{self, Options};

/// `tallow serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The base: a model folder, a GGUF file, a Hub id, or `embedded`.
    #[arg(long, required_unless_present = "run")]
    pub model: Option<String>,
    /// Serve what this run gave (its folder, its name, or `latest`) under the run's name, and its base.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["model", "revision"])]
    pub run: Option<String>,
    /// The project folder of that run.
    #[arg(long, default_value = ".", requires = "run")]
    pub project: PathBuf,
    /// The run as it was after this step, of the checkpoints that it kept.
    #[arg(long, value_name = "STEP", requires = "run")]
    pub checkpoint: Option<u64>,
    /// Revision of a Hub model.
    #[arg(long)]
    pub revision: Option<String>,
    /// A PEFT adapter folder, served under this name over the same weights (repeatable); without a name, its folder's.
    #[arg(long, value_name = "NAME=DIR")]
    pub adapter: Vec<String>,
    /// Hold the base weights as this; unset: as the run did, or in the compute type.
    #[arg(long, value_enum)]
    pub quantization: Option<Quant>,
    /// Compute in this type; the default is the run's, or bf16 for a quantised base, else f32.
    #[arg(long, value_enum)]
    pub dtype: Option<ComputeDtype>,
    /// Take an architecture that is not known by name for a Llama.
    #[arg(long)]
    pub custom: bool,
    /// What clients call the base; by default its Hub id, or its folder's or file's name.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Serve here. Where other machines reach it, TALLOW_SERVE_TOKEN must hold a token.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8780")]
    pub http: std::net::SocketAddr,
    /// A host name, beside localhost, that requests may be meant for (repeatable).
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
    /// Answers that are decoded together.
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub batch: usize,
    /// Requests that may wait for a place; further ones are told to try again.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub queue: usize,
    /// Most memory for keys and values of all answers together.
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    pub cache: String,
}

/// Serves until Ctrl-C; answers under way are ended first.
pub(super) fn run(a: ServeArgs) -> Result<u8, Fault> {
    let token = std::env::var(serve::TOKEN_VARIABLE).ok().filter(|t| !t.is_empty());
    let batch = BatchOptions { max_sequences: a.batch, cache_bytes: plan::parse_size(&a.cache)? };
    let options = Options { address: a.http, token, allowed_hosts: a.allow_host, batch, queue: a.queue };
    let adapters = a.adapter.iter().map(|named| adapter(named)).collect::<Result<Vec<_>, _>>()?;
    let which = ModelArgs {
        model: a.model,
        run: a.run,
        project: a.project,
        checkpoint: a.checkpoint,
        revision: a.revision,
        adapter: None,
        quantization: a.quantization,
        dtype: a.dtype,
        custom: a.custom,
    };
    let run = run_of(&which)?;
    let adapter_name = run.as_ref().map(|run| run.id()).unwrap_or_default();
    let request = ServeRequest { model: model(which, run.as_ref())?, name: a.name, adapter_name, adapters };
    let served = models(&request)?;
    let names: Vec<String> = served.iter().map(|m| m.name.clone()).collect();
    let stop = stop_on("stopping; answers under way are ended first; once more to end at once");
    serve::serve(served, &options, stop, &mut |address| {
        super::progress::line(&format!("serving {} on http://{address}/v1", names.join(", ")));
    })?;
    Ok(0)
}

/// `NAME=DIR`, or a folder whose own name is taken. A folder whose path has a `=` in it needs a name.
fn adapter(named: &str) -> Result<(String, PathBuf), Fault> {
    let (name, dir) = match named.split_once('=') {
        Some((name, dir)) => (name.to_owned(), PathBuf::from(dir)),
        None => {
            let path = Path::new(named);
            let own = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
            (own.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(), path.to_path_buf())
        }
    };
    if name.is_empty() || dir.as_os_str().is_empty() {
        return Err(Fault::new("usage", format!("--adapter {named}: a name and a folder are needed")).hint("give --adapter NAME=DIR"));
    }
    Ok((name, dir))
}
