//! Memory, speed and the state of the machine.

use super::super::style::{Paint, bytes, count, duration};
use super::{Lines, policy, table};
use crate::app::bench::{BenchGenerateReport, BenchGpuReport, BenchModelReport, BenchTrainReport, LevelReport, PeakReport};
use crate::app::doctor::DoctorReport;
use crate::app::plan::PlanReport;
use crate::train::memory::OPERATIONS_PER_BYTE;

/// `tallow plan`.
pub fn plan(report: &PlanReport, paint: Paint) -> String {
    let mut out = Lines::default();
    out.add(format!("{}  {} parameters", paint.bold(&report.model), count(report.parameters)));
    let peak = report.plan.peak_bytes.max(1);
    let rows: Vec<Vec<String>> = report
        .plan
        .parts
        .iter()
        .map(|p| vec![p.name.clone(), bytes(p.bytes), format!("{:.1} %", 100.0 * p.bytes as f64 / peak as f64)])
        .chain([vec!["peak".into(), bytes(report.plan.peak_bytes), "100.0 %".into()]])
        .collect();
    out.0 += &table(paint, &["part", "size", "share"], &rows);
    out.named(
        paint,
        "step",
        format!("{} tokens at most, {} in one pass", count(report.window_tokens as u64), count(report.plan.tokens_per_pass as u64)),
    );
    out.named(paint, "policy", policy(report.plan.policy));
    if report.plan.host_bytes > 0 {
        let size = bytes(report.plan.host_bytes);
        out.named(paint, "offload", format!("layers {}: {size} of pinned host memory", ranges(&report.plan.offloaded_layers)));
    }
    out.named(paint, "budget", format!("{}; {}", bytes(report.plan.budget), paint.green("fits")));
    let row = if report.largest_batch == 0 {
        "not one row of a batch fits".into()
    } else {
        format!("up to {} rows", count(report.largest_batch as u64))
    };
    out.named(paint, "one pass", format!("{row} at once (training.stage1.batch_size)"));
    plan_of_run(&mut out, report, paint);
    report.warnings.iter().for_each(|w| out.named(paint, "warning", paint.yellow(w)));
    out.0
}

/// What the run will do, and what it takes beside memory.
fn plan_of_run(out: &mut Lines, report: &PlanReport, paint: Paint) {
    if let Some(data) = &report.data {
        let part = |p: &Option<crate::runs::PartRecord>| p.as_ref().map_or(0, |p| p.rows as u64);
        let (rows, tokens) = (count(data.train.rows as u64), count(data.train.tokens));
        let (watched, judged) = (count(part(&data.validation)), count(part(&data.test)));
        out.named(paint, "data", format!("{rows} rows to train on ({tokens} tokens), {watched} to watch, {judged} to judge by"));
    }
    report.absent.iter().for_each(|what| out.named(paint, "data", paint.red(&format!("{what}, and `train` needs it"))));
    for (i, s) in report.stages.iter().enumerate() {
        let epochs = s.epochs.map(|e| format!(" ({e:.2} epochs)")).unwrap_or_default();
        let batches = if s.gradient_accumulation > 1 { format!(" x {} batches", s.gradient_accumulation) } else { String::new() };
        let rows = if s.packed { "packed rows" } else { "rows" };
        let rate = format!("learning rate {:e} after {} steps of warm-up", s.learning_rate, s.warmup_steps);
        let text = format!("{} steps{epochs} of {} {rows}{batches}, {rate}", count(s.steps), s.batch_size);
        out.named(paint, &format!("stage {}", i + 1), text);
    }
    match report.time {
        Some(t) if t.measured => out.named(paint, "time", format!("{}, as an earlier run of this project went", duration(t.seconds))),
        Some(t) => out.named(paint, "time", format!("about {}, from this machine's speed", duration(t.seconds))),
        None => out.named(paint, "time", "unknown until such a run has been measured here"),
    }
    out.named(paint, "disk", format!("up to {} for checkpoints and result", bytes(report.disk_bytes)));
}

/// Numbers in ascending order, neighbours as one: `0-3, 5`.
fn ranges(numbers: &[usize]) -> String {
    let mut all: Vec<(usize, usize)> = Vec::new();
    for n in numbers {
        match all.last_mut() {
            Some(last) if last.1 + 1 == *n => last.1 = *n,
            _ => all.push((*n, *n)),
        }
    }
    all.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") }).collect::<Vec<_>>().join(", ")
}

/// `tallow doctor`.
pub fn doctor(report: &DoctorReport, paint: Paint) -> String {
    let mut out = Lines::default();
    let commit = report.commit.map(|c| format!(" ({c})")).unwrap_or_default();
    out.add(format!("tallow {}{commit}", report.version));
    let m = &report.machine;
    let cpu = m.cpu_model.as_deref().unwrap_or("unknown processor");
    out.add(format!("{} {}, {cpu}, {} cores", m.os, m.arch, m.cpu_count));
    for f in &report.findings {
        let state = match f.state {
            "ok" => paint.green("ok     "),
            "note" => paint.yellow("note   "),
            _ => paint.red("problem"),
        };
        out.add(format!("  {state}  {:<16} {}", f.name, f.message));
        if let Some(hint) = &f.hint {
            out.add(format!("           {:<16} {}", "", paint.dim(&format!("-> {hint}"))));
        }
    }
    out.0
}

/// `tallow bench train`.
pub fn bench_train(r: &BenchTrainReport) -> String {
    let paint = Paint::for_stdout();
    let mut out = Lines::default();
    out.add(format!(
        "{}  {} batch {} of at most {} tokens, rank {}, {}",
        paint.bold(&r.model),
        r.dtype,
        r.batch,
        r.seq,
        r.rank,
        policy(r.policy)
    ));
    let (least, most) = r.step_seconds.iter().fold((f64::MAX, 0f64), |(a, b), s| (a.min(*s), b.max(*s)));
    out.named(paint, "speed", format!("{:.1} tokens/s (steps of {least:.3} to {most:.3} s, {} threads)", r.tokens_per_second, r.threads));
    out.named(
        paint,
        "utilisation",
        format!(
            "{:.1} % of {:.1} Gflop/s ({:.1} Gflop a step)",
            100.0 * r.model_flops_utilisation,
            r.peak_flops / 1e9,
            r.model_flops_per_step / 1e9
        ),
    );
    out.named(paint, "memory", format!("{} resident at most, {} allocated", bytes(r.peak_rss_bytes), bytes(r.peak_allocated_bytes)));
    if r.host_bytes > 0 {
        out.named(paint, "offload", format!("{} of host memory", bytes(r.host_bytes)));
    }
    out.0
}

/// `tallow bench gpu`.
pub fn bench_gpu(r: &BenchGpuReport) -> String {
    let paint = Paint::for_stdout();
    let mut out = Lines::default();
    if let Some(why) = &r.skipped {
        out.add(format!("no GPU to measure: {why}"));
        return out.0;
    }
    let device = r.device.as_deref().unwrap_or_default();
    out.add(format!("{}  {}", paint.bold(device), r.name.as_deref().unwrap_or_default()));
    out.named(paint, "copy", format!("{:.0} GB/s read and written", r.copy_bytes / 1e9));
    out.named(paint, "product", format!("{:.1} TFLOP/s in bf16", r.gemm_flops / 1e12));
    let (link, operations) = (r.link_bytes / 1e9, r.gemm_flops / r.link_bytes.max(1.0));
    out.named(
        paint,
        "host memory",
        format!(
            "{link:.1} GB/s each way: {operations:.0} operations in the time of a byte (the memory plan takes {OPERATIONS_PER_BYTE:.0})"
        ),
    );
    for row in &r.rows {
        let aim = row.aim.map(|a| format!("  (aim {:.0} %)", 100.0 * a)).unwrap_or_default();
        let share = 100.0 * row.of_ceiling;
        out.add(format!("  {:<40} {:>10.1} us {:>9.1} {:<8} {share:>5.1} %{aim}", row.name, row.microseconds, row.rate, row.unit));
    }
    out.0
}

/// `tallow bench generate`.
pub fn bench_generate(r: &BenchGenerateReport) -> String {
    let paint = Paint::for_stdout();
    let mut out = Lines::default();
    out.add(format!("{}  {}, {} tokens after a prompt of {}", paint.bold(&r.model), r.dtype, r.new, r.prompt));
    let rate = format!(
        "{:.1} tokens/s ({:.1} GB/s of weights, {} threads)",
        r.decode_tokens_per_second,
        r.weight_bytes_per_second / 1e9,
        r.threads
    );
    out.named(paint, "decoding", rate);
    out.named(paint, "prompt", format!("{:.3} s", r.prompt_seconds));
    out.named(paint, "memory", format!("{} resident at most", bytes(r.peak_rss_bytes)));
    out.0
}

/// `tallow bench model`.
pub fn bench_model(r: &BenchModelReport, paint: Paint) -> String {
    let c = &r.ceilings;
    let mut out = Lines::default();
    let (new, rounds) = (r.new_tokens, r.iterations);
    out.add(format!("{}  {new} tokens after a prompt of {}, median of {rounds}", paint.bold(&r.model), r.prompt_tokens));
    out.add(format!("{} threads, memory {:.1} GB/s, {}", c.threads, c.read_bytes_per_second / 1e9, c.instructions));
    let head = ["level", "weights", "peak", "load s", "prompt tokens/s", "of compute", "first token ms", "decode tokens/s", "of memory"];
    let row = |l: &LevelReport| {
        vec![
            l.level.clone(),
            bytes(l.weight_bytes),
            bytes(l.peak_bytes),
            format!("{:.2}", l.load_seconds),
            format!("{:.0}", l.prompt_tokens_per_second),
            format!("{:.0} %", 100.0 * l.share_of_compute),
            format!("{:.1}", 1000.0 * l.first_token_seconds),
            format!("{:.1}", l.decode_tokens_per_second),
            format!("{:.0} %", 100.0 * l.share_of_memory),
        ]
    };
    let rows: Vec<Vec<String>> = r.levels.iter().map(row).collect();
    out.0 + &table(paint, &head, &rows)
}

/// `tallow bench peak`.
pub fn ceilings(r: &PeakReport) -> String {
    let paint = Paint::for_stdout();
    let mut out = Lines::default();
    out.named(paint, "threads", r.threads.to_string());
    out.named(paint, "f32", format!("{:.1} Gflop/s", r.f32_flops / 1e9));
    for (name, flops) in [("bf16 dot", r.bf16_dot_flops), ("bf16 AMX", r.amx_flops)] {
        match flops {
            Some(flops) => out.named(paint, name, format!("{:.1} Gflop/s", flops / 1e9)),
            None => out.named(paint, name, "not on this machine"),
        }
    }
    out.named(paint, "memory", format!("{:.1} GB/s read", r.read_bytes_per_second / 1e9));
    out.named(paint, "kernels use", &r.instructions);
    out.0
}
