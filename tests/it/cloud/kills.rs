//! A client that is killed at any point: the next one finds what it rented, and the books are
//! clean.

use std::process::{Command, Stdio};
use std::time::Duration;

use tallow::app::cloud::{offer, release, take};
use tallow::cloud::{self, Caps};

use super::fake::Fake;
use super::{Draws, cloud as cloud_at, wish};

const CHILD: &str = "TALLOW_CLOUD_CHILD";
const CAP_HOURS: f64 = 2.0;

/// What the client does that is killed: rents, waits, gives back.
#[test]
fn child() {
    let Ok(said) = std::env::var(CHILD) else { return };
    let (address, folder) = said.split_once(' ').unwrap();
    let client = cloud::Client::new(address, cloud::Key::new(super::fake::KEY).unwrap()).unwrap().with_second(Duration::from_millis(5));
    let ledger = cloud::Ledger::at(folder.as_ref()).by(client.clock());
    let cloud = tallow::app::cloud::Cloud { client, ledger, s3: None };
    let wish = tallow::app::cloud::RentRequest { for_one_job: true, caps: Caps { max_hours: Some(CAP_HOURS), max_cost: None }, ..wish() };
    let offer = offer(&cloud, &wish).unwrap();
    for _ in 0..1000 {
        let pod = take(&cloud, &wish, &offer, 9.0).unwrap().pod;
        let _ = cloud::wait_for_ssh(&cloud.client, &pod.id, Duration::from_secs(5), &mut |_| {});
        release(&cloud, &pod.id).unwrap();
    }
}

#[test]
fn fifty_kills_leave_no_pod_behind() {
    let mut draws = Draws::new();
    let seed = draws.0;
    let (fake, dir) = (Fake::start(), tempfile::tempdir().unwrap());
    fake.state().ssh = Some(("127.0.0.1".into(), 22, "root".into()));
    let cloud = cloud_at(&fake, dir.path());
    let mut orphans = 0;
    for round in 0..50 {
        let before = fake.state().seen.len();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["cloud::kills::child", "--exact", "--test-threads=1"])
            .env(CHILD, format!("{} {}", fake.address, dir.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // At a request that was drawn, and a moment later.
        let at = before + 1 + draws.below(12) as usize;
        while fake.state().seen.len() < at && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_micros(draws.below(3000)));
        assert!(child.try_wait().unwrap().is_none(), "seed {seed}, round {round}: it ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        // A request of the dead client may still be on its way.
        std::thread::sleep(Duration::from_millis(20));
        orphans += fake.alive().len();
        // Nobody comes back for a day: the timer in the pod keeps the cap.
        if draws.below(2) == 0 {
            fake.state().pods.values_mut().filter(|p| p.status != "TERMINATED").for_each(|p| p.status = "RUNNING");
            fake.advance(24.0);
        }
        cloud.ledger.tidy(&cloud.client, &|_| false).unwrap();
        assert_eq!(fake.alive(), [] as [String; 0], "seed {seed}, round {round}");
    }
    // The kills did hit clients that had a pod.
    assert!(orphans > 5, "seed {seed}: {orphans}");
    let state = fake.state();
    assert!(state.pods.values().all(|p| p.ran <= CAP_HOURS + 1e-9), "seed {seed}");
    assert_eq!(state.broken, [] as [String; 0]);
}
