//! The end of a served model: endpoint, files and volume are removed.

use super::record::{ServeStage, Serving, servings};
use crate::app::cloud::Cloud;
use crate::base::error::Fault;
use crate::cloud;

/// Tries of a removal that what is being removed still stands against.
const TRIES: u32 = 16;
/// Hours after which one that nobody goes on with is ended.
const UNFINISHED_HOURS: f64 = 1.0;

/// Ends it, whatever it is.
///
/// # Errors
/// When the service refuses: what is left stays noted, and ending it again goes on.
pub fn end_serving(cloud: &Cloud, serving: &mut Serving, said: &mut dyn FnMut(&str)) -> Result<(), Fault> {
    let _alone = serving.taken()?;
    end_alone(cloud, serving, "ended", said)
}

pub(super) fn end_alone(cloud: &Cloud, serving: &mut Serving, why: &str, said: &mut dyn FnMut(&str)) -> Result<(), Fault> {
    if serving.stage == ServeStage::Ended {
        return Ok(());
    }
    let client = &cloud.client;
    // A wish that was sent may have been carried out though nobody heard of it.
    let name = serving.endpoint_name();
    let own = cloud::endpoints(client)?.into_iter().filter(|e| e.name == name || serving.endpoint_id.as_ref() == Some(&e.id));
    for endpoint in own {
        cloud::delete_endpoint(client, &endpoint.id)?;
        said(&format!("endpoint {} is deleted", endpoint.id));
    }
    if serving.wish.volume.is_none() {
        let name = serving.volume_name();
        let own = cloud::volumes(client)?.into_iter().filter(|v| v.name == name || serving.volume_id.as_ref() == Some(&v.id));
        for volume in own {
            delete_patiently(cloud, &volume.id)?;
            said(&format!("volume {} is deleted", volume.id));
        }
    } else if let Some(volume) = serving.volume_id.clone().filter(|_| !serving.files.is_empty()) {
        match cloud.store(&volume) {
            Ok(store) => {
                store.give_up(&serving.prefix())?;
                serving.files.keys().try_for_each(|name| store.delete(name))?;
                said(&format!("{} files are removed from volume {volume}", serving.files.len()));
            }
            // The volume is gone, and all that was on it.
            Err(fault) if fault.code == "cloud_not_found" => {}
            Err(fault) => return Err(fault),
        }
    }
    let _ = std::fs::remove_dir_all(serving.model_folder());
    (serving.stage, serving.end) = (ServeStage::Ended, Some(why.to_owned()));
    serving.write()
}

/// A volume is in use until the last worker has gone.
fn delete_patiently(cloud: &Cloud, id: &str) -> Result<(), Fault> {
    let mut pause = 0.25;
    for turn in 1..=TRIES {
        match cloud::delete_volume(&cloud.client, id) {
            Err(fault) if turn < TRIES && ["cloud_conflict", "cloud_rejected"].contains(&fault.code) => cloud.client.sleep(pause),
            result => return result,
        }
        pause = f64::min(pause * 1.5, 10.0);
    }
    Ok(())
}

/// What a served model was billed: its endpoint, and a volume that was made for it.
fn billed(cloud: &Cloud, serving: &Serving) -> Result<f64, Fault> {
    let days = (serving.hours(cloud.ledger.now()) / 24.0).ceil().max(1.0) as u32 + 1;
    let endpoint = serving.endpoint_id.as_ref().map(|id| cloud::endpoint_bills(&cloud.client, days, Some(id))).transpose()?;
    let own = serving.volume_id.as_ref().filter(|_| serving.wish.volume.is_none());
    let volume = own.map(|id| cloud::volume_bills(&cloud.client, days, Some(id))).transpose()?;
    Ok(endpoint.map_or(0.0, |(_, sum)| sum) + volume.unwrap_or(0.0))
}

/// Ends those that are beyond their caps, and those that nobody goes on with. What was done, in
/// words; and the seconds until the next one is due, where one has a cap.
///
/// # Errors
/// When the service refuses.
pub fn tidy_servings(cloud: &Cloud) -> Result<(Vec<String>, Option<f64>), Fault> {
    let (mut done, mut next) = (Vec::new(), None::<f64>);
    let open: Vec<Serving> = servings(&cloud.ledger)?.into_iter().filter(|s| s.stage != ServeStage::Ended).collect();
    if !open.is_empty() {
        // Its answer tells the time by which hours count.
        cloud::endpoints(&cloud.client)?;
    }
    let mut due_in = |seconds: f64| next = Some(next.map_or(seconds, |n| n.min(seconds)));
    for mut serving in open {
        let (hours, caps) = (serving.hours(cloud.ledger.now()), serving.wish.caps);
        let left = caps.max_hours.map(|most| (most - hours) * 3600.0);
        let Ok(_alone) = serving.taken() else {
            // Somebody works on it: its caps are looked after when that has ended.
            due_in(left.unwrap_or(LOOK).clamp(1.0, LOOK));
            continue;
        };
        if serving.stage == ServeStage::Ended {
            continue;
        }
        let finished = serving.stage == ServeStage::Answered;
        let why = if left.is_some_and(|l| l <= 0.0) {
            "its hours are over"
        } else if caps.max_cost.is_some_and(|most| billed(cloud, &serving).is_ok_and(|sum| sum >= most)) {
            "its cost is reached"
        } else if !finished && hours >= UNFINISHED_HOURS {
            "nobody goes on with it"
        } else {
            let unfinished = (!finished).then_some((UNFINISHED_HOURS - hours) * 3600.0);
            [left, unfinished, caps.max_cost.map(|_| LOOK)].into_iter().flatten().for_each(&mut due_in);
            continue;
        };
        let what = format!("{} ({})", serving.wish.name, serving.tag);
        end_alone(cloud, &mut serving, why, &mut |_| {})?;
        done.push(format!("{what}: removed, {why}"));
    }
    Ok((done, next))
}

/// Seconds between two looks at bills.
const LOOK: f64 = 60.0;
