//! How fast a model is here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::bench::{self, BenchModelRequest, LEVELS};
use crate::base::error::Fault;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BenchmarkIn {
    /// Folder, GGUF file, Hub id or `embedded`.
    model: String,
    /// Default: 128 random tokens.
    prompt: Option<String>,
    /// Default 10.
    #[schemars(range(min = 1, max = 1000))]
    iterations: Option<u64>,
    /// Default 128.
    #[schemars(range(min = 2, max = 8192))]
    max_new_tokens: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LevelOut {
    /// bf16, q8 or nf4.
    level: String,
    load_seconds: f64,
    weight_bytes: u64,
    peak_bytes: u64,
    prompt_tokens_per_second: f64,
    first_token_seconds: f64,
    decode_tokens_per_second: f64,
    /// Of what memory gives at most, in decoding.
    share_of_memory: f64,
    /// Of what the processor gives at most, in the prompt.
    share_of_compute: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BenchmarkOut {
    prompt_tokens: usize,
    new_tokens: usize,
    iterations: usize,
    levels: Vec<LevelOut>,
}

/// benchmark_model
pub(super) struct Benchmark;

const MOST_PROMPT_BYTES: usize = 1 << 20;

impl Tool for Benchmark {
    const NAME: &'static str = "benchmark_model";
    const TITLE: &'static str = "Measure a model's speed";
    const ABOUT: &'static str = "Prompt and decoding speed, time to the first token and memory of a model in bf16, q8 and nf4.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Model;
    type In = BenchmarkIn;
    type Out = BenchmarkOut;

    fn call(input: BenchmarkIn, shared: &Shared, _: &Call) -> Result<BenchmarkOut, Fault> {
        within("prompt (its length)", input.prompt.as_ref().map_or(1, String::len), 1, MOST_PROMPT_BYTES)?;
        let report = bench::model(&BenchModelRequest {
            model: shared.roots.model(&input.model)?,
            prompt: input.prompt,
            prompt_tokens: 128,
            iterations: within("iterations", input.iterations.unwrap_or(10), 1, 1000)? as usize,
            max_new_tokens: within("max_new_tokens", input.max_new_tokens.unwrap_or(128), 2, 8192)? as usize,
            levels: LEVELS.map(str::to_owned).to_vec(),
        })?;
        let level = |l: bench::LevelReport| LevelOut {
            level: l.level,
            load_seconds: l.load_seconds,
            weight_bytes: l.weight_bytes,
            peak_bytes: l.peak_bytes,
            prompt_tokens_per_second: l.prompt_tokens_per_second,
            first_token_seconds: l.first_token_seconds,
            decode_tokens_per_second: l.decode_tokens_per_second,
            share_of_memory: l.share_of_memory,
            share_of_compute: l.share_of_compute,
        };
        Ok(BenchmarkOut {
            prompt_tokens: report.prompt_tokens,
            new_tokens: report.new_tokens,
            iterations: report.iterations,
            levels: report.levels.into_iter().map(level).collect(),
        })
    }
}
