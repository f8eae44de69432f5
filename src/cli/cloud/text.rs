//! Reports about machines elsewhere as text.

use crate::app::cloud::{Account, Offer, Rented, RunCost};
use crate::cli::show::table;
use crate::cli::style::Paint;
use crate::cloud::{Estimate, Fit, GpuType, Pod, hourly_price};

fn price(usd: Option<f64>) -> String {
    usd.map_or_else(|| "-".into(), |p| format!("{p:.2}"))
}

pub(super) fn gpus(types: &[GpuType], count: u32, paint: Paint) -> String {
    let mut sorted: Vec<&GpuType> = types.iter().collect();
    sorted.sort_by(|a, b| a.memory.cmp(&b.memory).then_with(|| a.price.secure.total_cmp(&b.price.secure)));
    let row = |g: &GpuType| {
        let free = g.availability.clone().unwrap_or_else(|| "-".into());
        let pool = g.pool.clone().unwrap_or_else(|| "-".into());
        vec![g.id.clone(), g.memory.to_string(), price(hourly_price(g, count, true)), price(hourly_price(g, count, false)), free, pool]
    };
    let rows: Vec<Vec<String>> = sorted.into_iter().map(row).collect();
    table(paint, &["GPU", "GB", "secure $/h", "community $/h", "free", "pool"], &rows)
}

pub(super) fn fits(fits: &[Fit], bytes: u64, paint: Paint) -> String {
    let rows: Vec<Vec<String>> =
        fits.iter().map(|f| vec![f.id.clone(), f.memory_gb.to_string(), price(Some(f.price_hour)), f.availability.clone()]).collect();
    let head = format!("the run fits on a GPU with {} GB; the cheapest first", bytes / 1_000_000_000);
    format!("{head}\n{}", table(paint, &["GPU", "GB", "$/h", "free"], &rows))
}

pub(super) fn pods(pods: &[Pod], paint: Paint) -> String {
    if pods.is_empty() {
        return "no pods".into();
    }
    let row = |p: &Pod| {
        let gpu = p.gpu.as_ref().map_or_else(|| "-".into(), |g| format!("{} x {}", g.count, g.id));
        vec![p.id.clone(), p.name.clone(), p.status.name().to_owned(), gpu, price(Some(p.cost))]
    };
    table(paint, &["pod", "name", "status", "GPU", "$/h"], &pods.iter().map(row).collect::<Vec<_>>())
}

pub(super) fn pod(pod: &Pod, paint: Paint) -> String {
    let mut text = pods(std::slice::from_ref(pod), paint);
    if let Some(ssh) = &pod.ssh.direct {
        text += &format!("\nssh {}@{} -p {}", ssh.username, ssh.host, ssh.port);
    }
    text
}

fn costs(e: &Estimate) -> String {
    let total = e.total.map_or_else(String::new, |t| format!(", about {t:.2} in all ({:.1} h)", e.hours.unwrap_or(0.0)));
    let most = e.most.map_or_else(|| ", no cap".to_owned(), |m| format!(", {m:.2} at most"));
    format!("{:.2} US dollars an hour{total}{most}", e.price_hour)
}

pub(super) fn costs_of_run(costs: &[RunCost], paint: Paint) -> String {
    let row = |c: &RunCost| {
        let step = c.seconds.map(|s| s / c.steps.max(1) as f64);
        let step = step.map_or_else(|| "-".into(), |s| if s < 0.01 { format!("{s:.1e}") } else { format!("{s:.3}") });
        let hours = c.costs.hours.map_or_else(|| "-".into(), |h| format!("{h:.2}"));
        vec![c.gpu.clone(), price(Some(c.costs.price_hour)), step, hours, price(c.costs.total)]
    };
    let steps = costs.first().map_or(0, |c| c.steps);
    let head =
        format!("{steps} steps; hours hold {:.1} for the pod's start and copying, $ the container's disk", crate::cloud::OVERHEAD_HOURS);
    let mut text = format!("{head}\n{}", table(paint, &["GPU", "$/h", "s/step", "hours", "$"], &costs.iter().map(row).collect::<Vec<_>>()));
    for c in costs {
        text += &format!("\n{}: {}", c.gpu, c.basis.words());
    }
    text
}

pub(super) fn offered(offer: &Offer) -> String {
    let first = offer.candidates.first().map_or("", |c| c.id.as_str());
    let others: Vec<&str> = offer.candidates.iter().skip(1).map(|c| c.id.as_str()).collect();
    let next = if others.is_empty() {
        String::new()
    } else {
        format!("; if it cannot be had: {} (up to {:.2} an hour)", others.join(", "), offer.most_price_hour)
    };
    format!("rent {first}: {}{next}", costs(&offer.estimate))
}

pub(super) fn rented(r: &Rented, paint: Paint) -> String {
    format!("{}\ntag {}; {}", pod(&r.pod, paint), r.tag, costs(&r.estimate))
}

pub(super) fn account(a: &Account, paint: Paint) -> String {
    let b = &a.balance;
    let mut text = format!("balance {:.2} US dollars, spending {:.2} an hour", b.client_balance, b.current_spend_per_hr);
    let bill = |r: &crate::cloud::PodBill| vec![r.start_time.clone(), r.pod_id.clone(), price(Some(r.total_amount))];
    if !a.bills.records.is_empty() {
        text += &format!("\n{}", table(paint, &["from", "pod", "$"], &a.bills.records.iter().map(bill).collect::<Vec<_>>()));
    }
    let parts = format!("pods {:.2}, endpoints {:.2}, volumes {:.2}", a.bills.total_amount, a.endpoints_total, a.volumes_total);
    text += &format!("\nbilled in this time: {:.2} US dollars ({parts})", a.total);
    for b in &a.billed_here {
        text += &format!("\n{} (pod {}): {:.2} billed, {:.2} by its {:.2} hours", b.tag, b.pod_id, b.billed, b.expected, b.hours);
    }
    for v in &a.volumes {
        text += &format!("\nvolume {} ({}): {} GB in {}", v.id, v.name, v.size, v.data_center);
    }
    for t in &a.templates {
        text += &format!("\ntemplate {} ({}): {}", t.id, t.name, t.image);
    }
    for e in &a.rented_here {
        text += &format!("\nrented here: {} {} since {}", e.name, e.pod_id.as_deref().unwrap_or("(not known yet)"), e.created_at);
    }
    text
}
