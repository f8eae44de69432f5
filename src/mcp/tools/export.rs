//! A run's result for other programs, with its proof.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::checkpoints::weights;
use crate::app::export::{ExportRequest, Extras, publish, run_with as export};
use crate::app::formats;
use crate::app::upload::{self, Target};
use crate::base::cancel;
use crate::base::error::Fault;
use crate::export::Verdict;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool};

/// Another name of the safetensors layout.
const HUGGINGFACE: &str = "huggingface";

/// The name of a form; what there is is asked of the export room.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct FormName(String);

impl JsonSchema for FormName {
    fn schema_name() -> Cow<'static, str> {
        "FormName".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let all = formats::all();
        let names: Vec<&str> = all.iter().map(|f| f.name).chain([HUGGINGFACE]).collect();
        json_schema!({"type": "string", "enum": names, "description": "huggingface: as safetensors. peft and *-adapter: the adapter alone."})
    }
}

/// The type of the weights.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct TypeName(String);

impl JsonSchema for TypeName {
    fn schema_name() -> Cow<'static, str> {
        "TypeName".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "description": types()})
    }
}

/// Which types each format takes; formats with the same types stand together.
fn types() -> String {
    let mut groups: Vec<(Vec<&'static str>, Vec<String>)> = Vec::new();
    for form in formats::all().into_iter().filter(|f| f.types.len() > 1) {
        let name = format!("{} (default {})", form.name, form.usual.unwrap_or("as the base"));
        match groups.iter_mut().find(|(types, _)| *types == form.types) {
            Some((_, names)) => names.push(name),
            None => groups.push((form.types, vec![name])),
        }
    }
    let said = |(types, names): &(Vec<&str>, Vec<String>)| {
        // `q4-g32` and its like are said once.
        let (grouped, plain): (Vec<&str>, Vec<&str>) = types.iter().partition(|t| t.contains("-g"));
        let groups: BTreeSet<&str> = grouped.iter().filter_map(|t| t.split_once("-g")).map(|(_, g)| g).collect();
        let suffix: Vec<String> = groups.iter().map(|g| format!("-g{g}")).collect();
        let also = if suffix.is_empty() { String::new() } else { format!(" (q*: also {})", suffix.join(" ")) };
        format!("{}: {}{also}", names.join(", "), plain.join(" "))
    };
    groups.iter().map(said).collect::<Vec<_>>().join("; ")
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportIn {
    project_path: String,
    run_id: String,
    /// What this stage gave.
    #[schemars(range(min = 1, max = 2))]
    stage: Option<u64>,
    /// This checkpoint instead (get_run lists them).
    checkpoint_step: Option<u64>,
    export_format: FormName,
    quantization: Option<TypeName>,
    /// File (gguf*) or folder to make; must not exist.
    export_path: String,
    /// Default true. false: the adapter alone, for the same reader.
    merge_adapters: Option<bool>,
    /// Upload it too, privately. Needs HF_TOKEN.
    upload_to_huggingface: Option<bool>,
    /// owner/name.
    hf_repo_id: Option<String>,
}

/// What was written against the live model, on untrained prompts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CheckOut {
    /// Largest difference of a logit.
    max_abs: f64,
    /// Mean KL divergence of the next token's distribution, in nats.
    kl: f64,
    /// What exports of this type usually stay below; beyond it the export is weak.
    kl_usual: f64,
    /// The most that was allowed; beyond it there is no export.
    kl_allowed: f64,
    /// Share of positions whose likeliest token is the same.
    same_top: f64,
    /// good, or weak: then the notes say why, and answers will differ from the model's.
    verdict: Verdict,
    /// Positions compared.
    positions: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ExportOut {
    success: bool,
    export_path: String,
    export_format: String,
    /// Type of the weights.
    quantization: String,
    /// Whether adapter and base were merged.
    merged: bool,
    model_size_mb: f64,
    logit_check: CheckOut,
    /// Where the reading program differs from the model's config.
    notes: Vec<String>,
    /// The page, where it was uploaded.
    huggingface_url: Option<String>,
    usage_instructions: String,
}

/// export_model
pub(super) struct Export;

impl Tool for Export {
    const NAME: &'static str = "export_model";
    const TITLE: &'static str = "Export a run's result";
    const ABOUT: &'static str = "Write a run's result for other programs, merged or the adapter alone. It is read back and its logits are \
        compared with the live model's; when they are too far apart there is no export.";
    const HINTS: Hints = Hints::MAKE.reaching_out();
    const LANE: Lane = Lane::Model;
    type In = ExportIn;
    type Out = ExportOut;

    fn call(input: ExportIn, shared: &Shared, call: &Call) -> Result<ExportOut, Fault> {
        let run = shared.roots.run(&input.project_path, &input.run_id)?;
        let out = shared.roots.allow(&input.export_path)?;
        let target = target(&input)?;
        let found = weights(&run, input.stage, input.checkpoint_step)?;
        let name = form(&input.export_format.0, input.merge_adapters)?;
        let kind = input.quantization.as_ref().map(|t| t.0.as_str());
        let format = formats::parse(name, kind).map_err(|f| Fault { code: "invalid_arguments", ..f })?;
        let merged = !formats::all().iter().any(|f| f.adapter == Some(name));
        let request = ExportRequest {
            model: found.model.model,
            revision: found.model.revision,
            adapter: found.model.adapter,
            format,
            out: out.clone(),
            prompts: None,
            unknown: found.model.unknown,
        };
        let mut told = 0;
        let extras = Extras { run: Some(run), ..Extras::default() };
        let mut report = export(&request, &extras, &mut |done, total| {
            cancel::checkpoint();
            // A thousand notifications say enough.
            if done == total || (done - told) * 1000 >= total {
                told = done;
                call.tell(done as f64, Some(total as f64), "weights written".into());
            }
        })?;
        if let Some(target) = &target {
            publish(&mut report, target, &mut |done, total, file| {
                cancel::checkpoint();
                call.tell((told + 1) as f64 + done as f64, None, format!("uploading {file}, {done} of {total} bytes"));
            })?;
        }
        let p = &report.proof;
        Ok(ExportOut {
            success: true,
            usage_instructions: usage(name, &request.model, &out),
            export_path: out.display().to_string(),
            export_format: report.format.to_owned(),
            quantization: report.kind,
            merged,
            model_size_mb: report.bytes as f64 / 1e6,
            logit_check: CheckOut {
                max_abs: p.max_abs,
                kl: p.mean_kl,
                kl_usual: p.bounds.usual_kl,
                kl_allowed: p.bounds.kl,
                same_top: p.same_top,
                verdict: p.verdict(),
                positions: p.tokens as u64,
            },
            huggingface_url: report.uploaded.map(|u| u.url),
            notes: report.notes,
        })
    }
}

/// Where to upload to. What cannot be uploaded is refused before anything is made.
fn target(input: &ExportIn) -> Result<Option<Target>, Fault> {
    match (input.upload_to_huggingface == Some(true), &input.hf_repo_id) {
        (false, None) => Ok(None),
        (false, Some(_)) => Err(Fault::new("invalid_arguments", "`hf_repo_id` is given, and nothing shall be uploaded")
            .hint("set upload_to_huggingface to true, or leave hf_repo_id out")),
        (true, None) => Err(Fault::new("invalid_arguments", "`hf_repo_id` is missing").hint("owner/name of the repository")),
        (true, Some(repo)) => {
            let target = Target { repo: repo.clone(), public: false, message: None };
            upload::check(&target).map(|()| Some(target))
        }
    }
}

/// The form that is meant: without merging, the one that holds the adapter alone.
fn form(wanted: &str, merge: Option<bool>) -> Result<&'static str, Fault> {
    let wanted = if wanted == HUGGINGFACE { "safetensors" } else { wanted };
    let all = formats::all();
    let form = all.iter().find(|f| f.name == wanted);
    // Words outside of the schema get the same refusal as a wrong type.
    let Some(form) = form else { return formats::parse(wanted, None).map(|_| "").map_err(|f| Fault { code: "invalid_arguments", ..f }) };
    let is_adapter = all.iter().any(|f| f.adapter == Some(form.name));
    match (merge, form.adapter) {
        (Some(true), _) if is_adapter => Err(Fault::new("invalid_arguments", format!("{wanted} is the adapter alone"))
            .hint("leave merge_adapters out, or choose another format")),
        (Some(false), Some(adapter)) => Ok(adapter),
        (Some(false), None) if !is_adapter => Err(Fault::new("invalid_arguments", format!("{wanted} takes a merged model only"))
            .hint("set merge_adapters to true, or choose another format")),
        _ => Ok(form.name),
    }
}

/// How to use it. What is not known better is loaded like any folder.
fn usage(name: &str, base: &str, out: &Path) -> String {
    let at = out.display();
    match name {
        "gguf" => format!("llama-cli -m {at} -p ... ; or tallow generate --model {at} --prompt ..."),
        "gguf-adapter" => format!("llama-cli -m BASE.gguf --lora {at} -p ... (the base as GGUF: export {base} without an adapter)"),
        "ollama" | "ollama-adapter" => format!("ollama create my-model -f {at}/Modelfile && ollama run my-model"),
        "peft" => format!("tallow generate --model {base} --adapter {at} --prompt ... ; peft loads the folder over {base}"),
        "mlx" => format!("mlx_lm.generate --model {at} --prompt ..."),
        "mlx-adapter" => format!("mlx_lm.generate --model {base} --adapter-path {at} --prompt ..."),
        _ => format!("tallow generate --model {at} --prompt ... ; transformers and vLLM load the folder"),
    }
}
