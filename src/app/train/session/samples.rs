//! What the model answers to a few prompts while it is trained.

use std::path::Path;

use crate::app::generate::{self, Input, Sampling};
use crate::app::load::stop_ids;
use crate::base::error::Fault;
use crate::config::RunConfig;
use crate::data::TextTokenizer;
use crate::model::Decoder;
use crate::train::Sample;

fn input(prompt: &str) -> Input {
    Input::Prompt { text: prompt.to_owned(), raw: false }
}

/// Refuses prompts that cannot be answered, before anything is trained.
///
/// # Errors
/// For a prompt without a token, or one that fills the model's context of `most` tokens.
pub(super) fn check(config: &RunConfig, tokenizer: &TextTokenizer, most: usize) -> Result<(), Fault> {
    for prompt in &config.evaluation.sample_prompts {
        let named = |f: Fault| Fault { message: format!("evaluation.sample_prompts: {}", f.message), ..f };
        let tokens = generate::prompt_ids(tokenizer, &input(prompt)).map_err(named)?.len();
        if tokens == 0 {
            return Err(Fault::new("config_invalid", "evaluation.sample_prompts: a prompt is empty").hint("write what is asked"));
        }
        if tokens >= most {
            return Err(named(generate::prompt_too_long(tokens, most)));
        }
    }
    Ok(())
}

/// Answers all prompts, always taking the likeliest token, so that answers differ only as the model
/// does; `None` where there are no prompts.
pub(super) fn answer<'a>(
    config: &'a RunConfig,
    tokenizer: &'a TextTokenizer,
    base: &Path,
) -> Option<impl FnMut(&Decoder) -> Result<Vec<Sample>, String> + 'a> {
    let evaluation = &config.evaluation;
    if evaluation.sample_prompts.is_empty() {
        return None;
    }
    let stop = stop_ids(tokenizer, base);
    let sampling = Sampling { max_new_tokens: evaluation.sample_tokens, temperature: 0.0, top_p: 1.0, seed: 0 };
    Some(move |model: &Decoder| {
        let one = |prompt: &String| {
            let report = generate::answer(model, tokenizer, stop.clone(), &input(prompt), &sampling, &mut |_| {}, &mut || true);
            report.map(|r| Sample { prompt: prompt.clone(), text: r.text })
        };
        evaluation.sample_prompts.iter().map(one).collect::<Result<_, Fault>>().map_err(|f| f.message)
    })
}
