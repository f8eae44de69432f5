//! A model whose architecture is not known by name but whose every field is: read as a Llama, where the user says so.

use super::{CHANGES, ConfigJson, DecoderSpec, Family, Result, layer_types, llama};
use crate::model::error::Error;

/// Fields without influence on the forward pass.
const HARMLESS: &[&str] = &[
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "attn_implementation",
    "auto_map",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "hidden_act",
    "initializer_range",
    "mlp_only_layers",
    "model_type",
    "pad_token_id",
    "pretraining_tp",
    "quantization",
    "quantization_config",
    "torch_dtype",
    "transformers_version",
    "unk_token_id",
    "use_cache",
];

pub(super) fn spec(c: &ConfigJson, architecture: &str) -> Result<DecoderSpec> {
    let unknown = |e: Error| match e {
        Error::Field { path, field, message } => {
            let message = format!("{message} (architecture `{architecture}` is not known by name, so every field must fit)");
            Error::Field { path, field, message }
        }
        other => other,
    };
    let base = llama::spec(c, architecture).map_err(unknown)?;
    let window = c.usize("sliding_window")?;
    let n = base.num_layers();
    let windows = layer_types(c, n, window)?.unwrap_or_else(|| vec![window; n]);
    let read_later = |k: &str| CHANGES.iter().any(|(field, _)| *field == k);
    let odd = c.not_asked().into_iter().find(|(k, _)| !HARMLESS.contains(k) && !read_later(k));
    if let Some((field, value)) = odd {
        return Err(unknown(c.bad(field, format!("{value} is not understood"))));
    }
    let remarks = vec![format!(
        "`{architecture}` is not known by name and is taken for a Llama: RMSNorm before attention and feed-forward, \
         queries and keys rotated by halves (not by neighbouring pairs), scores divided by the root of the head's width, \
         a gate with SiLU; compare its loss with another program's before you trust it"
    )];
    Ok(DecoderSpec { family: Family::Custom, remarks, ..base.windows(windows) })
}
