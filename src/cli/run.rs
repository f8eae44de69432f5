//! From arguments to use cases and from reports to what is printed.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::DType;
use serde::Serialize;

use super::args::{
    BenchCommand, BenchTrainArgs, Cli, Command, ComputeDtype, DataArgs, DataCommand, DebugCommand, DemoArgs, EvalArgs, ExportArgs,
    ExportFormat, FieldArgs, GenerateArgs, InitArgs, McpArgs, MergeArgs, MergeDtype, ModelArgs, PlanArgs, Quant, RecipeArgs, RunsCommand,
    TrainArgs,
};
use super::progress::{Progress, Talk};
use super::show;
use super::style::Paint;
use super::watch::Watch;
use crate::app::{bench, bench_gpu, data, demo, doctor, eval, export, generate, gradients, init, jobs, load, merge, plan, recipe, train};
use crate::base::error::Fault;
use crate::data::{DataOptions, Fields, Layout};
use crate::export::gguf::Preset;
use crate::export::mlx::Groups;
use crate::model::{Policy, Quantization};
use crate::runs;
use crate::train::StopFlag;

/// Configuration or data are wrong.
const WRONG_INPUT: u8 = 3;

/// What every command needs to know.
struct Desk {
    json: bool,
    talk: Talk,
    paint: Paint,
}

/// Does what the arguments say; the exit code.
pub fn run(cli: Cli) -> Result<u8, Fault> {
    let desk = Desk { json: cli.json, talk: Talk::choose(cli.json, cli.quiet), paint: Paint::for_stdout() };
    match cli.command {
        Command::Demo(a) => desk.demo(&a),
        Command::Train(a) => desk.train(a),
        Command::Eval(a) => desk.eval(a),
        Command::Generate(a) => desk.generate(a),
        Command::Data(DataCommand::Check(a)) => desk.data(&a, show::data_check),
        Command::Data(DataCommand::Stats(a)) => desk.data(&a, show::data_stats),
        Command::Plan(a) => desk.plan(a),
        Command::Runs(a) => desk.runs(a),
        Command::Doctor => {
            let report = doctor::run();
            desk.give(&report, || show::doctor(&report, desk.paint))
        }
        Command::Merge(a) => desk.merge(a),
        Command::Export(a) => desk.export(a),
        Command::Bench(a) => desk.bench(a),
        Command::Debug(DebugCommand::Gradients { model, adapter, input, output, labels }) => {
            let report = gradients::run(&gradients::GradientsRequest { model, adapter, input, output: output.clone(), labels })?;
            desk.give(&report, || show::gradients(&report, &output))
        }
        Command::Recipe(a) => desk.recipe(&a),
        Command::Init(a) => desk.init(a),
        Command::Mcp(a) => mcp(a),
        Command::Worker { run } => desk.worker(&run),
    }
}

impl Desk {
    /// Prints a report, as JSON or as text.
    fn give(&self, report: &impl Serialize, text: impl FnOnce() -> String) -> Result<u8, Fault> {
        let out = if self.json {
            serde_json::to_string_pretty(report).map_err(|e| Fault::new("io", format!("the report cannot be written as JSON: {e}")))?
        } else {
            text()
        };
        // A reader that went away (`| head`) is no failure.
        let _ = writeln!(std::io::stdout().lock(), "{}", out.trim_end());
        Ok(0)
    }

    fn demo(&self, a: &DemoArgs) -> Result<u8, Fault> {
        let mut watch = Watch::new(self.talk);
        let report = demo::run(&a.out, stop_on_signals(), &mut |h| watch.take(h))?;
        self.give(&report, || show::demo(&report, self.paint))
    }

    fn train(&self, a: TrainArgs) -> Result<u8, Fault> {
        let stop = stop_on_signals();
        let TrainArgs { config, set, resume, name, stop_after } = a;
        let request = train::TrainRequest { config, set, resume, name, stop_after, stop };
        let mut watch = Watch::new(self.talk);
        let report = train::run(&request, &mut |h| watch.take(h))?;
        self.give(&report, || show::train(&report, self.paint))
    }

    fn eval(&self, a: EvalArgs) -> Result<u8, Fault> {
        let with_base = a.model.adapter.is_some();
        let options = data_options(&a.fields)?;
        let request = eval::EvalRequest { model: model(a.model), data: a.data, options, max_rows: a.max_rows, with_base };
        let report = eval::run(&request)?;
        self.give(&report, || show::eval(&report, self.paint))
    }

    fn generate(&self, a: GenerateArgs) -> Result<u8, Fault> {
        let input = match (a.prompt, &a.messages) {
            (Some(text), _) => generate::Input::Prompt { text, raw: a.raw },
            (None, Some(path)) => generate::Input::MessagesFile(path.clone()),
            (None, None) => return Err(Fault::new("usage", "neither --prompt nor --messages is given")),
        };
        let sampling = generate::Sampling { max_new_tokens: a.max_new_tokens, temperature: a.temperature, top_p: a.top_p, seed: a.seed };
        let request = generate::GenerateRequest { model: model(a.model), input, sampling };
        let json = self.json;
        let mut on_text = |piece: &str| {
            if !json {
                let mut out = std::io::stdout().lock();
                let _ = out.write_all(piece.as_bytes()).and_then(|()| out.flush());
            }
        };
        let report = generate::run(&request, &mut on_text)?;
        if json {
            return self.give(&report, String::new);
        }
        let _ = writeln!(std::io::stdout().lock());
        if self.talk != Talk::Silent {
            super::progress::line(&Paint::for_stderr().dim(&show::generated(&report)));
        }
        Ok(0)
    }

    fn data(&self, a: &DataArgs, text: fn(&data::DataReport, Paint) -> String) -> Result<u8, Fault> {
        let options = data_options(&a.fields)?;
        let request = data::DataRequest { file: a.file.clone(), model: a.model.clone(), options, show: a.show };
        let report = data::run(&request)?;
        self.give(&report, || text(&report, self.paint))?;
        Ok(if report.check.bad_rows > 0 || report.check.usable_rows == 0 { WRONG_INPUT } else { 0 })
    }

    fn plan(&self, a: PlanArgs) -> Result<u8, Fault> {
        let memory = a.memory.as_deref().map(plan::parse_size).transpose()?;
        let gpu_memory = a.gpu_memory.as_deref().map(plan::parse_size).transpose()?;
        let report = plan::run(&plan::PlanRequest { config: a.config, set: a.set, memory, gpu_memory })?;
        self.give(&report, || show::plan(&report, self.paint))
    }

    fn runs(&self, a: RunsCommand) -> Result<u8, Fault> {
        match a {
            RunsCommand::List { project } => {
                let all = runs::list(&project)?;
                self.give(&serde_json::json!({ "runs": all }), || show::runs(&all, &project, self.paint))
            }
            RunsCommand::Show { run, project } => {
                let folder = runs::find(&project, &run)?;
                let manifest = folder.manifest()?;
                self.give(&manifest, || show::run(&manifest, folder.path(), self.paint))
            }
        }
    }

    fn merge(&self, a: MergeArgs) -> Result<u8, Fault> {
        use safetensors::Dtype;
        let dtype = a.dtype.map(|d| match d {
            MergeDtype::F32 => Dtype::F32,
            MergeDtype::F16 => Dtype::F16,
            MergeDtype::Bf16 => Dtype::BF16,
        });
        let MergeArgs { model, revision, adapter, out, .. } = a;
        let report = merge::run(&merge::MergeRequest { model, revision, adapter, out, dtype })?;
        self.give(&report, || show::merged(&report, self.paint))
    }

    fn export(&self, a: ExportArgs) -> Result<u8, Fault> {
        let format = export_format(a.format, a.kind.as_deref())?;
        let ExportArgs { model, revision, adapter, out, prompts, .. } = a;
        let request = export::ExportRequest { model, revision, adapter, format, out, prompts };
        // Bars count in millions of elements.
        let mut bar: Option<Progress> = None;
        let report = export::run(&request, &mut |done, total| {
            let millions = |n: u64| n.div_ceil(1_000_000);
            bar.get_or_insert_with(|| Progress::start(self.talk, millions(total))).set(millions(done), "million weights");
        });
        if let Some(bar) = bar {
            bar.finish();
        }
        let report = report?;
        self.give(&report, || show::exported(&report, self.paint))
    }

    fn bench(&self, a: BenchCommand) -> Result<u8, Fault> {
        match a {
            BenchCommand::Train(BenchTrainArgs { model, device, batch, seq, steps, dtype, rank, recompute }) => {
                if [batch, seq, steps, rank].contains(&0) {
                    return Err(Fault::new("usage", "--batch, --seq, --steps and --rank must be at least 1"));
                }
                let policy = match recompute.as_str() {
                    "on" => Policy::Recompute,
                    "none" => Policy::KeepAll,
                    _ => Policy::Minimal,
                };
                let report = bench::train(&bench::BenchTrainRequest { model, device, batch, seq, steps, dtype, rank, policy })?;
                self.give(&report, || show::bench_train(&report))
            }
            BenchCommand::RandomModel { shape, out, tokenizer } => {
                let report = bench::random_model(&shape, &out, tokenizer.as_deref())?;
                self.give(&report, || show::random_model(&report))
            }
            BenchCommand::Gpu(a) => {
                if a.tokens == 0 || a.hidden == 0 || !a.hidden.is_multiple_of(128) {
                    return Err(Fault::new("usage", "--tokens must be at least 1, --hidden a multiple of 128"));
                }
                let request = bench_gpu::BenchGpuRequest { device: a.device, tokens: a.tokens, hidden: a.hidden, repeats: a.repeats };
                let report = bench_gpu::run(&request)?;
                self.give(&report, || show::bench_gpu(&report))
            }
            BenchCommand::Peak => {
                let report = bench::ceilings();
                self.give(&report, || show::ceilings(&report))
            }
        }
    }

    fn recipe(&self, a: &RecipeArgs) -> Result<u8, Fault> {
        let mut watch = Watch::new(self.talk);
        let steps = a.steps.unwrap_or(recipe::STEPS);
        watch.take(train::Happening::Stage { number: 1, total_steps: steps });
        let mut observer = |event: &crate::train::Event| watch.take(train::Happening::Event(event));
        let report = recipe::run(&a.out, Some(steps), &mut observer)?;
        self.give(&report, || show::recipe(&report, self.paint))
    }

    fn worker(&self, run: &std::path::Path) -> Result<u8, Fault> {
        let mut watch = Watch::new(self.talk);
        jobs::work(run, &stop_on_signals(), &mut |h| watch.take(h))?;
        Ok(0)
    }

    fn init(&self, a: InitArgs) -> Result<u8, Fault> {
        let report = init::run(&init::InitRequest { name: a.name, dir: a.dir, model: a.model })?;
        self.give(&report, || show::init(&report, self.paint))
    }
}

/// Standard output belongs to the protocol: the address of an HTTP server goes to stderr.
fn mcp(a: McpArgs) -> Result<u8, Fault> {
    let token = std::env::var("TALLOW_MCP_TOKEN").ok().filter(|t| !t.is_empty());
    let (allowed_hosts, allowed_origins) = (a.allow_host, a.allow_origin);
    let options = crate::mcp::Options { roots: a.root, http: a.http, token, allowed_hosts, allowed_origins, log: a.log };
    crate::mcp::serve(&options, &mut |address| super::progress::line(&format!("serving on http://{address}/mcp")))?;
    Ok(0)
}

fn model(a: ModelArgs) -> load::ModelRequest {
    let quantization = match a.quantization {
        Quant::None => Quantization::None,
        Quant::Nf4 => Quantization::Nf4,
        Quant::Q8 => Quantization::Q8,
    };
    let compute_dtype = a.dtype.map(|d| match d {
        ComputeDtype::F32 => DType::F32,
        ComputeDtype::Bf16 => DType::BF16,
    });
    load::ModelRequest { model: a.model, revision: a.revision, adapter: a.adapter, quantization, compute_dtype }
}

fn export_format(format: ExportFormat, kind: Option<&str>) -> Result<export::Format, Fault> {
    let usage = |names: String| {
        Fault::new("usage", format!("--type {} is not a type of this format", kind.unwrap_or(""))).hint(format!("give one of {names}"))
    };
    let preset = |default: &str| {
        let names: Vec<&str> = Preset::ALL.iter().map(|p| p.name()).collect();
        Preset::from_name(kind.unwrap_or(default)).ok_or_else(|| usage(names.join(", ")))
    };
    let adapter = |format: export::Format| if matches!(kind, None | Some("f32")) { Ok(format) } else { Err(usage("f32".into())) };
    Ok(match format {
        ExportFormat::Gguf => export::Format::Gguf(preset("q8_0")?),
        ExportFormat::Ollama => export::Format::Ollama(preset("q4_k_m")?),
        ExportFormat::GgufAdapter => adapter(export::Format::GgufAdapter)?,
        ExportFormat::Peft => adapter(export::Format::Peft)?,
        ExportFormat::MlxAdapter => adapter(export::Format::MlxAdapter)?,
        ExportFormat::Safetensors => export::Format::Safetensors(match kind {
            None => None,
            Some("f32") => Some(safetensors::Dtype::F32),
            Some("f16") => Some(safetensors::Dtype::F16),
            Some("bf16") => Some(safetensors::Dtype::BF16),
            Some(_) => return Err(usage("f32, bf16, f16".into())),
        }),
        ExportFormat::Mlx => export::Format::Mlx(match kind {
            None => None,
            Some("q8") => Some(Groups { bits: 8, group: 64 }),
            Some("q4") => Some(Groups { bits: 4, group: 64 }),
            Some("q2") => Some(Groups { bits: 2, group: 64 }),
            Some(_) => return Err(usage("q4, q8, q2".into())),
        }),
    })
}

fn data_options(a: &FieldArgs) -> Result<DataOptions, Fault> {
    let layouts = [Layout::Alpaca, Layout::Chat, Layout::Sharegpt, Layout::Completion, Layout::Text];
    let layout = layouts.into_iter().find(|l| l.name() == a.layout);
    if layout.is_none() && a.layout != "auto" {
        let names: Vec<&str> = layouts.iter().map(|l| l.name()).collect();
        return Err(Fault::new("usage", format!("`{}` is no layout", a.layout)).hint(format!("give --layout auto, {}", names.join(", "))));
    }
    let mut fields = Fields::default();
    let named = [
        (&a.instruction_field, [&mut fields.instruction, &mut fields.prompt]),
        (&a.output_field, [&mut fields.output, &mut fields.completion]),
    ];
    for (name, targets) in named {
        if let Some(name) = name {
            targets.into_iter().for_each(|t| t.clone_from(name));
        }
    }
    if let Some(name) = &a.input_field {
        fields.input.clone_from(name);
    }
    Ok(DataOptions { layout, fields, max_seq_length: a.max_seq_length, ..DataOptions::default() })
}

/// The first signal asks the run to stop after its step, the second ends the process at once.
fn stop_on_signals() -> StopFlag {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let flag = StopFlag::default();
    let raised = flag.clone();
    // Where a handler is in place already (a second run in one process), that one goes on to work.
    let _ = ctrlc::set_handler(move || {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        super::progress::line("stopping after this step; once more to end at once");
        raised.request();
    });
    flag
}
