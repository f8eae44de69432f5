//! From arguments to use cases and from reports to what is printed.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::DType;
use clap::CommandFactory;
use serde::Serialize;
use serde_json::{Value, json};

use super::args::{
    BenchCommand, BenchGenerateArgs, BenchTrainArgs, ChatArgs, Cli, Command, ComputeDtype, DataArgs, DataCommand, DebugCommand, DemoArgs,
    EvalArgs, ExportArgs, FieldArgs, GenerateArgs, InitArgs, McpArgs, MergeArgs, MergeDtype, ModelArgs, ModelsCommand, PlanArgs,
    RecipeArgs, RunsCommand, SamplingArgs, SettingsArgs, TrainArgs, UploadArgs, WebArgs,
};
use super::judge;
use super::progress::{Bars, Progress, Talk};
use super::show;
use super::style::Paint;
use super::watch::Watch;
use crate::app::{
    bench, chat, data, demo, doctor, eval, export, formats, generate, gradients, init, jobs, load, make_tools, merge, models, outcome,
    plan, prepare_data, quality_report, recipe, score, train, upload, versions,
};
use crate::base::cancel::Cancel;
use crate::base::error::Fault;
use crate::data::{DataOptions, Layout};
use crate::model::{Policy, Unknown};
use crate::runs;
use crate::train::{Event, Observer};

/// Configuration or data are wrong.
const WRONG_INPUT: u8 = 3;

/// What every command needs to know.
pub(super) struct Desk {
    pub(super) json: bool,
    pub(super) talk: Talk,
    pub(super) paint: Paint,
}

/// Does what the arguments say; the exit code.
pub fn run(cli: Cli) -> Result<u8, Fault> {
    let bars = Bars::new(Talk::choose(cli.json, cli.quiet));
    crate::base::progress::heard(move |moment| bars.show(moment), || dispatch(cli))
}

fn dispatch(cli: Cli) -> Result<u8, Fault> {
    let desk = Desk { json: cli.json, talk: Talk::choose(cli.json, cli.quiet), paint: Paint::for_stdout() };
    match cli.command {
        Command::Demo(a) => desk.demo(&a),
        Command::Train(a) => desk.train(a),
        Command::Search(a) => super::search::run(&desk, a, stop_on_signals(true), &note_stepping),
        Command::Eval(a) => desk.eval(a),
        Command::Compare(a) => desk.compare(&a),
        Command::Generate(a) => desk.generate(a),
        Command::Chat(a) => desk.chat(a),
        Command::Data(DataCommand::Check(a)) => desk.data(&a, false, &mut |report, paint| Ok(show::data_check(report, paint))),
        Command::Data(DataCommand::Stats(a)) => desk.data(&a.data, true, &mut |report, paint| {
            let files = a.report.as_ref().map(|folder| quality_files(report, &a.data.file, folder.as_deref())).transpose()?;
            Ok(show::data_stats(report, files.as_ref(), paint))
        }),
        Command::Data(DataCommand::MakeTools(a)) => {
            let report = make_tools::run(&super::make_tools::request(a)?)?;
            desk.give(&report, || super::make_tools::text(&report))
        }
        Command::Data(DataCommand::Prepare(a)) => {
            let report = prepare_data::run(&super::prepare::request(a)?)?;
            desk.give(&report, || super::prepare::text(&report, desk.paint))
        }
        Command::Tokenizer(a) => super::tokenizer::run(&desk, a),
        Command::Plan(a) => desk.plan(a),
        Command::Runs(a) => desk.runs(a),
        Command::Checkpoints(a) => super::checkpoints::run(&desk, a),
        Command::Track(a) => super::track::run(&desk, a),
        Command::Doctor => {
            let report = doctor::run();
            desk.give(&report, || show::doctor(&report, desk.paint))
        }
        Command::Merge(a) => desk.merge(a),
        Command::Export(a) => desk.export(a),
        Command::Upload(a) => desk.upload(a),
        Command::Hub(a) => super::hub::run(&desk, a),
        Command::Models(a) => desk.models(a),
        Command::Bench(a) => desk.bench(a),
        Command::Debug(DebugCommand::Gradients { model, adapter, input, output, labels }) => {
            let report = gradients::run(&gradients::GradientsRequest { model, adapter, input, output: output.clone(), labels })?;
            desk.give(&report, || show::gradients(&report, &output))
        }
        Command::Recipe(a) => desk.recipe(&a),
        Command::Init(a) => desk.init(a),
        Command::Cloud(a) => super::cloud::cloud(&desk, a),
        Command::Remote(a) => super::remote::remote(&desk, a),
        Command::RemoteAgent(a) => super::remote::agent(&desk, &a),
        Command::Mcp(a) => mcp(a),
        Command::Web(a) => web(a),
        Command::Serve(a) => super::serve::run(a),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tallow", &mut script);
            // A reader that went away (`| head`) is no failure.
            let _ = std::io::stdout().lock().write_all(&script);
            Ok(0)
        }
        Command::Man { out } => manual(out.as_deref()),
        Command::McpCall => crate::mcp::answer_one_call(),
        Command::McpHold => crate::mcp::hold_model(),
        Command::Worker { run, stage, owned } => desk.worker(&jobs::Work { run, stage, owned }),
    }
}

impl Desk {
    /// Prints a report, as JSON or as text.
    pub(super) fn give(&self, report: &impl Serialize, text: impl FnOnce() -> String) -> Result<u8, Fault> {
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
        let report = demo::run(&a.out, stop_on_signals(true), &mut Looked(&mut watch))?;
        self.give(&report, || show::demo(&report, self.paint))
    }

    fn train(&self, a: TrainArgs) -> Result<u8, Fault> {
        let stop = stop_on_signals(true);
        let TrainArgs { settings, resume, name, stop_after, no_queue } = a;
        let (config, set, flags) = settings_of(settings, resume.is_some())?;
        let has_turn = no_queue;
        let request = train::TrainRequest { set, flags, resume, name, stop_after, stop, has_turn, ..train::TrainRequest::new(config) };
        let mut watch = Watch::new(self.talk);
        let report = train::run(&request, &mut Looked(&mut watch))?;
        self.give(&report, || show::train(&report, self.paint))?;
        Ok(if report.verdicts.iter().all(|v| v.passed) { 0 } else { judge::MISSED })
    }

    fn eval(&self, a: EvalArgs) -> Result<u8, Fault> {
        let run = run_of(&a.model)?;
        let base = run.as_ref().map(outcome::data_options).transpose()?.unwrap_or_default();
        let options = data_options(&a.fields, base)?;
        let model = model(a.model, run.as_ref())?;
        let words = run.as_ref().map(outcome::evaluation_of).transpose()?.unwrap_or_default();
        let levels = judge::levels(&a.levels)?;
        if a.judge.is_asked() || !levels.is_empty() || words.judges_answers() {
            let judged = a.judge.options(&words.metrics, &words.thresholds)?;
            judge::check_fields(&judged, &a.fields)?;
            let title = run.as_ref().map_or_else(|| model.model.clone(), runs::RunFolder::id);
            let contenders = score::contenders(&model, &levels);
            let request = score::ScoreRequest { title, contenders, data: a.data, options, max_rows: a.max_rows, judge: judged };
            return self.judged(&a.judge, &request);
        }
        let with_base = model.adapter.is_some();
        let request = eval::EvalRequest { model, data: a.data, options, max_rows: a.max_rows, with_base };
        let report = eval::run(&request)?;
        self.give(&report, || show::eval(&report, self.paint))
    }

    fn compare(&self, a: &judge::CompareModelsArgs) -> Result<u8, Fault> {
        let options = data_options(&a.fields, DataOptions::default())?;
        self.judged(&a.judge, &judge::comparison(a, options)?)
    }

    fn judged(&self, args: &judge::JudgeArgs, request: &score::ScoreRequest) -> Result<u8, Fault> {
        let judgement = args.judge(request)?;
        self.give(&judgement, || show::judged(&judgement, self.paint))?;
        Ok(judgement.exit_code())
    }

    fn generate(&self, a: GenerateArgs) -> Result<u8, Fault> {
        let input = match (a.prompt, &a.messages) {
            (Some(text), _) => generate::Input::Prompt { text, raw: a.raw },
            (None, Some(path)) => generate::Input::MessagesFile(path.clone()),
            (None, None) => return Err(Fault::new("usage", "neither --prompt nor --messages is given")),
        };
        let run = run_of(&a.model)?;
        let request = generate::GenerateRequest { model: model(a.model, run.as_ref())?, input, sampling: sampling(&a.sampling) };
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
            report.remarks.iter().for_each(|r| super::progress::line(r));
        }
        Ok(0)
    }

    /// Reads messages from standard input, a line each, and answers them.
    fn chat(&self, a: ChatArgs) -> Result<u8, Fault> {
        let run = run_of(&a.model)?;
        let mut chat = chat::Chat::open(&model(a.model, run.as_ref())?, a.system, sampling(&a.sampling))?;
        let people = std::io::stdin().is_terminal() && self.talk != Talk::Silent;
        if people {
            let how = if chat.has_template() { "" } else { " (it has no chat template and continues what you type)" };
            super::progress::line(&format!("type a message{how}; /new begins again, /bye ends"));
        }
        let paint = Paint::for_stderr();
        loop {
            if people {
                super::progress::mark(&paint.bold("> "));
            }
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line).map_err(|e| Fault::io("read", Path::new("standard input"), &e))?;
            match line.trim() {
                _ if read == 0 => return Ok(0),
                "" => continue,
                "/bye" | "/exit" | "/quit" => return Ok(0),
                "/new" | "/clear" => {
                    chat.forget();
                    continue;
                }
                text => self.answer(&mut chat, text, people)?,
            }
        }
    }

    fn answer(&self, chat: &mut chat::Chat, text: &str, people: bool) -> Result<(), Fault> {
        let json = self.json;
        let mut on_text = |piece: &str| {
            if !json {
                let mut out = std::io::stdout().lock();
                let _ = out.write_all(piece.as_bytes()).and_then(|()| out.flush());
            }
        };
        match chat.say(text, &mut on_text) {
            Ok(report) if json => self.give(&report, String::new).map(|_| ()),
            Ok(_) => {
                let _ = writeln!(std::io::stdout().lock());
                Ok(())
            }
            // A person can go on; a script must not take silence for an answer.
            Err(fault) if people => {
                super::progress::line(&format!("{} {}", Paint::for_stderr().red("error:"), fault.message));
                super::progress::line("  /new begins again");
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    /// Checks or describes data. `text` is asked for in any case: it may write files.
    fn data(
        &self,
        a: &DataArgs,
        profile: bool,
        text: &mut dyn FnMut(&data::DataReport, Paint) -> Result<String, Fault>,
    ) -> Result<u8, Fault> {
        let is_config = a.file.extension().is_some_and(|e| e == "yaml" || e == "yml");
        let report = if a.file.is_dir() || is_config {
            if a.model != "embedded" || a.chat_template.is_some() || a.fields != FieldArgs::default() {
                return Err(Fault::new("usage", "a project says itself which model and fields are used")
                    .hint("give --set KEY=VALUE to change a setting, for example --set dataset.output_field=answer"));
            }
            data::of_project(&data::ProjectDataRequest { config: a.file.clone(), set: a.set.clone(), show: a.show, profile })?
        } else {
            if !a.set.is_empty() {
                return Err(Fault::new("usage", "--set changes settings of a project, and this is a data file")
                    .hint("give --model, --output-field and their like, or name the project"));
            }
            let options = data_options(&a.fields, DataOptions::default())?;
            let (model, chat_template) = (a.model.clone(), a.chat_template.clone());
            data::run(&data::DataRequest { file: a.file.clone(), model, options, chat_template, show: a.show, profile })?
        };
        let text = text(&report, self.paint)?;
        self.give(&report, || text)?;
        Ok(if report.check.bad_rows > 0 || report.check.usable_rows == 0 { WRONG_INPUT } else { 0 })
    }

    fn plan(&self, a: PlanArgs) -> Result<u8, Fault> {
        let memory = a.memory.as_deref().map(plan::parse_size).transpose()?;
        let gpu_memory = a.gpu_memory.as_deref().map(plan::parse_size).transpose()?;
        let (config, set, flags) = settings_of(a.settings, false)?;
        let report = plan::run(&plan::PlanRequest { config, set, flags, memory, gpu_memory })?;
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
                self.give(&manifest, || show::run(&manifest, folder.path(), outcome::kept(&folder).as_ref(), self.paint))
            }
            RunsCommand::Watch(a) => super::live::run(self, &a),
            RunsCommand::Plot(a) => super::plot::plot(self, a),
            RunsCommand::Compare(a) => super::plot::compare(self, a),
        }
    }

    fn merge(&self, a: MergeArgs) -> Result<u8, Fault> {
        use safetensors::Dtype;
        let dtype = a.dtype.map(|d| match d {
            MergeDtype::F32 => Dtype::F32,
            MergeDtype::F16 => Dtype::F16,
            MergeDtype::Bf16 => Dtype::BF16,
        });
        let MergeArgs { model, revision, adapter, run, project, out, custom, .. } = a;
        let (model, revision, adapter, unknown) = match run {
            Some(named) => {
                let found = outcome::of_run(&runs::find(&project, &named)?, None)?.model;
                (found.model, found.revision, found.adapter, found.unknown)
            }
            None => (model.unwrap_or_default(), revision, adapter, unknown(custom)),
        };
        let adapter = adapter.ok_or_else(|| {
            Fault::new("no_adapter", "the run trained all weights: there is no adapter to fold in").hint("its final-model is whole already")
        })?;
        let report = merge::run(&merge::MergeRequest { model, revision, adapter, out, dtype, unknown })?;
        self.give(&report, || show::merged(&report, self.paint))
    }

    fn export(&self, a: ExportArgs) -> Result<u8, Fault> {
        let format = formats::parse(&a.format, a.kind.as_deref())?;
        let target = a.upload.map(|repo| upload::Target { repo, public: a.public, message: None });
        target.as_ref().map(upload::check).transpose()?;
        let run = a.run.as_deref().map(|named| runs::find(&a.project, named)).transpose()?;
        let calibration = match a.imatrix {
            None => None,
            Some(None) => Some(export::Rows::OfRun),
            Some(Some(path)) => {
                let options = DataOptions { layout: layout(&a.layout)?, ..DataOptions::default() };
                Some(export::Rows::File(path, Box::new(options)))
            }
        };
        let (model, revision, adapter, unknown) = match &run {
            Some(run) => {
                let found = outcome::of_run(run, None)?.model;
                (found.model, found.revision, found.adapter, found.unknown)
            }
            None => (a.model.unwrap_or_default(), a.revision, a.adapter, unknown(a.custom)),
        };
        let request = export::ExportRequest { model, revision, adapter, format, out: a.out, prompts: a.prompts, unknown };
        let part_bytes = a.split_size.as_deref().map(plan::parse_size).transpose()?;
        let extras = export::Extras { calibration, save_imatrix: a.save_imatrix, part_bytes, run };
        // Bars count in millions of weights.
        let mut bar: Option<Progress> = None;
        let report = export::run_with(&request, &extras, &mut |done, total| {
            let millions = |n: u64| n.div_ceil(1_000_000);
            let start = || Progress::start(self.talk, millions(total)).counting("million weights");
            bar.get_or_insert_with(start).set(millions(done), if done < total { "written" } else { "written, now the proof" });
        });
        if let Some(bar) = bar {
            bar.finish();
        }
        let mut report = report?;
        if let Some(target) = target {
            self.sending(|told| export::publish(&mut report, &target, told))?;
        }
        self.give(&report, || show::exported(&report, self.paint))
    }

    /// Shows how far an upload is, in megabytes.
    fn sending<T>(&self, send: impl FnOnce(&mut dyn FnMut(u64, u64, &str)) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut bar: Option<Progress> = None;
        let sent = send(&mut |done, total, file| {
            let megabytes = |n: u64| n.div_ceil(1_000_000);
            let start = || Progress::start(self.talk, megabytes(total)).counting("MB");
            bar.get_or_insert_with(start).set(megabytes(done), &format!("uploaded, {file}"));
        });
        if let Some(bar) = bar {
            bar.finish();
        }
        sent
    }

    fn upload(&self, a: UploadArgs) -> Result<u8, Fault> {
        if let Some(name) = a.repo.strip_prefix("ollama:") {
            let report = self.sending(|told| upload::into_ollama(&a.path, name, a.push, told))?;
            return self.give(&report, || show::served(&report, self.paint));
        }
        if a.push {
            return Err(Fault::new("usage", "--push is for models in Ollama").hint("name the model as ollama:OWNER/NAME"));
        }
        let target = upload::Target { repo: a.repo, public: a.public, message: a.message };
        let request = upload::UploadRequest { path: a.path, target, card: None };
        let report = self.sending(|told| upload::run(&request, told))?;
        self.give(&report, || show::uploaded(&report, self.paint))
    }

    fn models(&self, a: ModelsCommand) -> Result<u8, Fault> {
        match a {
            ModelsCommand::List { project } => {
                let report = versions::list(&project)?;
                self.give(&report, || show::versions(&report, &project, self.paint))
            }
            ModelsCommand::Show { version, project } => {
                let report = versions::show(&project, &version)?;
                self.give(&report, || show::version(&report, self.paint))
            }
            ModelsCommand::Compare { first, second, project, data, fields, max_rows } => {
                let options = data_options(&fields, DataOptions::default())?;
                let request = versions::VersionsRequest { project, versions: [first, second], data, options, max_rows };
                let report = versions::compare(&request)?;
                self.give(&report, || show::versions_compared(&report, self.paint))
            }
            ModelsCommand::Promote { version, project } => {
                let report = versions::promote(&project, &version)?;
                self.give(&report, || show::promoted(Some(&report), self.paint))
            }
            ModelsCommand::Rollback { project } => {
                let report = versions::rollback(&project)?;
                self.give(&report, || show::promoted(report.promoted.as_ref(), self.paint))
            }
        }
    }

    fn bench(&self, a: BenchCommand) -> Result<u8, Fault> {
        match a {
            BenchCommand::Train(BenchTrainArgs { model, device, batch, seq, lengths, fit, steps, dtype, rank, recompute, offload }) => {
                if [batch, seq, steps, rank].contains(&0) {
                    return Err(Fault::new("usage", "--batch, --seq, --steps and --rank must be at least 1"));
                }
                let policy = match (recompute.as_str(), offload) {
                    ("on", 0) => Policy::Recompute,
                    ("on", _) => Policy::HostInputs,
                    ("none", 0) => Policy::KeepAll,
                    ("none", _) => return Err(Fault::new("usage", "--offload goes with --recompute off or on")),
                    (_, 0) => Policy::Minimal,
                    (_, offloaded) => Policy::Mixed { recomputed: 0, offloaded },
                };
                let fit = fit.as_deref().map(plan::parse_size).transpose()?;
                let request = bench::BenchTrainRequest { model, device, batch, seq, lengths, fit, steps, dtype, rank, policy };
                let report = bench::train(&request)?;
                self.give(&report, || show::bench_train(&report))
            }
            BenchCommand::Generate(BenchGenerateArgs { model, prompt, new, rounds, dtype }) => {
                if prompt == 0 || new < 2 || rounds == 0 {
                    return Err(Fault::new("usage", "--prompt and --rounds must be at least 1, --new at least 2"));
                }
                let report = bench::generate(&bench::BenchGenerateRequest { model, prompt, new, rounds, dtype })?;
                self.give(&report, || show::bench_generate(&report))
            }
            BenchCommand::Model(a) => {
                let report = bench::model(&bench::BenchModelRequest {
                    model: a.model,
                    prompt: a.prompt,
                    prompt_tokens: a.prompt_tokens,
                    iterations: a.iterations,
                    max_new_tokens: a.max_new_tokens,
                    levels: a.levels,
                })?;
                self.give(&report, || show::bench_model(&report, self.paint))
            }
            BenchCommand::RandomModel { shape, out, tokenizer } => {
                let report = bench::random_model(&shape, &out, tokenizer.as_deref())?;
                self.give(&report, || show::random_model(&report))
            }
            BenchCommand::Gpu(a) => {
                if a.tokens == 0 || a.hidden == 0 || !a.hidden.is_multiple_of(128) {
                    return Err(Fault::new("usage", "--tokens must be at least 1, --hidden a multiple of 128"));
                }
                let request =
                    bench::BenchGpuRequest { device: a.device, tokens: a.tokens, seq: a.seq, hidden: a.hidden, repeats: a.repeats };
                let report = bench::gpu(&request)?;
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
        let report = recipe::run(&a.out, Some(steps), &mut watch)?;
        self.give(&report, || show::recipe(&report, self.paint))
    }

    fn worker(&self, work: &jobs::Work) -> Result<u8, Fault> {
        let mut watch = Watch::new(self.talk);
        jobs::work(work, &stop_on_signals(false), &mut watch)?;
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
    let (toolsets, read_only) = (a.toolsets, a.read_only);
    let call_memory = a.call_memory.as_deref().map(plan::parse_size).transpose()?;
    if call_memory.is_some_and(|bytes| bytes < crate::mcp::LEAST_CALL_MEMORY) {
        return Err(Fault::new("usage", "--call-memory is less than a call can start with").hint("give at least 2GiB"));
    }
    let options = crate::mcp::Options {
        roots: a.root,
        http: a.http,
        token,
        allowed_hosts,
        allowed_origins,
        log: a.log,
        toolsets,
        read_only,
        call_memory,
    };
    crate::mcp::serve(&options, &mut |address| super::progress::line(&format!("serving on http://{address}/mcp")))?;
    Ok(0)
}

fn web(a: WebArgs) -> Result<u8, Fault> {
    let token = std::env::var(crate::web::TOKEN_VARIABLE).ok().filter(|t| !t.is_empty());
    let has_token = token.is_some();
    let options = crate::web::Options { roots: a.root, address: a.http, token, allowed_hosts: a.allow_host, read_only: a.read_only };
    crate::web::serve(&options, &mut |address| {
        let more = if has_token { "?token=... (the value of TALLOW_WEB_TOKEN)" } else { "" };
        super::progress::line(&format!("serving on http://{address}/{more}"));
    })?;
    Ok(0)
}

/// The run that `--run` names.
pub(super) fn run_of(a: &ModelArgs) -> Result<Option<runs::RunFolder>, Fault> {
    a.run.as_deref().map(|named| runs::find(&a.project, named)).transpose()
}

/// A type of activations.
pub(super) fn compute_dtype(d: ComputeDtype) -> DType {
    match d {
        ComputeDtype::F32 => DType::F32,
        ComputeDtype::Bf16 => DType::BF16,
    }
}

pub(super) fn model(a: ModelArgs, run: Option<&runs::RunFolder>) -> Result<load::ModelRequest, Fault> {
    let quantization = a.quantization.map(judge::level);
    let compute_dtype = a.dtype.map(compute_dtype);
    let Some(run) = run else {
        let quantization = quantization.unwrap_or_default();
        let model = a.model.unwrap_or_default();
        return Ok(load::ModelRequest {
            model,
            revision: a.revision,
            adapter: a.adapter,
            quantization,
            compute_dtype,
            unknown: unknown(a.custom),
        });
    };
    let mut found = match a.checkpoint {
        Some(step) => outcome::of_checkpoint(run, None, step)?.model,
        None => outcome::of_run(run, None)?.model,
    };
    found.quantization = quantization.unwrap_or(found.quantization);
    found.compute_dtype = compute_dtype.or(found.compute_dtype);
    Ok(found)
}

fn unknown(custom: bool) -> Unknown {
    if custom { Unknown::ReadAsLlama } else { Unknown::Refuse }
}

fn sampling(a: &SamplingArgs) -> generate::Sampling {
    generate::Sampling { max_new_tokens: a.max_new_tokens, temperature: a.temperature, top_p: a.top_p, seed: a.seed }
}

type Flags = Vec<(String, String, Value)>;

/// The file, the overrides and the keys that flags stand for.
pub(super) fn settings_of(a: SettingsArgs, resumed: bool) -> Result<(Option<PathBuf>, Vec<String>, Flags), Fault> {
    let mut flags = Flags::new();
    let mut say = |flag: &str, key: &str, value: Value| flags.push((flag.to_owned(), key.to_owned(), value));
    if let Some(model) = &a.model {
        let local = model != models::EMBEDDED && Path::new(model).exists();
        let (key, other) = if local { ("local_path", "model_id") } else { ("model_id", "local_path") };
        say("--model", &format!("base_model.{other}"), Value::Null);
        say("--model", &format!("base_model.{key}"), json!(model));
    }
    if let Some(data) = &a.data {
        for other in ["train_path", "validation_path", "test_path"] {
            say("--data", &format!("dataset.{other}"), Value::Null);
        }
        say("--data", "dataset.path", json!(data));
    }
    if let Some(epochs) = a.epochs {
        say("--epochs", "training.stage1.num_epochs", json!(epochs));
    }
    if let Some(folder) = &a.output_dir {
        say("--output-dir", "output_dir", json!(folder));
    }
    let here = || Path::new("config/fine_tuning_config.yaml").is_file().then(|| PathBuf::from("."));
    let config = a.config.or_else(here);
    if config.is_none() && !resumed && (a.model.is_none() || a.data.is_none()) {
        let message = "there is no project in this folder, and no --model and --data to do without one";
        return Err(Fault::new("usage", message).hint("name a configuration or a project folder, or give --model and --data"));
    }
    Ok((config, a.set, flags))
}

/// Manual pages from the commands themselves.
fn manual(out: Option<&Path>) -> Result<u8, Fault> {
    match out {
        Some(folder) => {
            crate::base::atomic::create_dir_all(folder)?;
            clap_mangen::generate_to(Cli::command(), folder).map_err(|e| Fault::io("write", folder, &e))?;
        }
        None => {
            // A reader that went away is no failure.
            let _ = clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout().lock());
        }
    }
    Ok(0)
}

/// A layout by name; `None` is `auto`.
fn layout(name: &str) -> Result<Option<Layout>, Fault> {
    let layouts = [Layout::Alpaca, Layout::Chat, Layout::Sharegpt, Layout::Completion, Layout::Text];
    let layout = layouts.into_iter().find(|l| l.name() == name);
    if layout.is_none() && name != "auto" {
        let names: Vec<&str> = layouts.iter().map(|l| l.name()).collect();
        return Err(Fault::new("usage", format!("`{name}` is no layout")).hint(format!("give --layout auto, {}", names.join(", "))));
    }
    Ok(layout)
}

/// `base` with what the flags change.
/// Writes the report of a dataset under its name.
fn quality_files(report: &data::DataReport, of: &Path, folder: Option<&Path>) -> Result<quality_report::QualityFiles, Fault> {
    let is_project = of.is_dir();
    let usual = if is_project { of.join(quality_report::FOLDER) } else { PathBuf::from(quality_report::FOLDER) };
    let name = of.file_stem().and_then(|n| n.to_str()).filter(|_| !is_project).unwrap_or("dataset");
    quality_report::write(report, folder.unwrap_or(&usual), name)
}

pub(super) fn data_options(a: &FieldArgs, base: DataOptions) -> Result<DataOptions, Fault> {
    let layout = layout(&a.layout)?.or(base.layout);
    let mut fields = base.fields.clone();
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
    if let Some(name) = &a.system_field {
        fields.system.clone_from(name);
    }
    fields.metadata.extend(a.metadata_field.iter().cloned());
    let max_seq_length = a.max_seq_length.unwrap_or(base.max_seq_length);
    Ok(DataOptions { layout, fields, max_seq_length, ..base })
}

/// Whether a loop is at work that ends after its step. Before and after it there is nothing that could be lost.
static STEPPING: AtomicBool = AtomicBool::new(false);

/// Notes when the loop begins and ends.
fn note_stepping(event: &Event) {
    match event {
        Event::Started { .. } => STEPPING.store(true, Ordering::SeqCst),
        Event::Stopped { .. } | Event::Finished { .. } | Event::Diverged { .. } => STEPPING.store(false, Ordering::SeqCst),
        _ => {}
    }
}

/// The same, and hands everything on.
struct Looked<'a>(&'a mut Watch);

impl Observer for Looked<'_> {
    fn event(&mut self, event: &Event) {
        note_stepping(event);
        self.0.event(event);
    }
}

/// The first signal asks the run to stop after its step, the second ends the process at once; so does the first one while
/// nothing is trained, where `at_once` says so: a run's folder holds its newest checkpoint at any moment.
fn stop_on_signals(at_once: bool) -> Cancel {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let flag = Cancel::default();
    let raised = flag.clone();
    // Where a handler is in place already (a second run in one process), that one goes on to work.
    let _ = ctrlc::set_handler(move || {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        if at_once && !STEPPING.load(Ordering::SeqCst) {
            super::progress::line("stopped; a run that has begun goes on with --resume");
            std::process::exit(130);
        }
        super::progress::line("stopping after this step; once more to end at once");
        raised.request();
    });
    flag
}

/// The first signal asks a server to stop, with these words; the second ends the process at once.
pub(super) fn stop_on(words: &'static str) -> Cancel {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let flag = Cancel::default();
    let raised = flag.clone();
    let _ = ctrlc::set_handler(move || {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        super::progress::line(words);
        raised.request();
    });
    flag
}
