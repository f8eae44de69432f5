//! Requests and their answers, faults, renting and money.

use std::time::Duration;

use tallow::app::cloud::{account, offer, release, take};
use tallow::cloud::{self, Action, Caps, Client, Key, PodStatus, Stage};

use super::fake::{DISK_GB_HOUR, Fake, KEY, Trouble};
use super::{Draws, cloud as cloud_at, wish};

#[test]
fn a_pod_from_its_wish_to_its_end() {
    let (fake, dir) = (Fake::start(), tempfile::tempdir().unwrap());
    let cloud = cloud_at(&fake, dir.path());
    let wish =
        tallow::app::cloud::RentRequest { caps: Caps { max_hours: Some(3.0), max_cost: Some(0.32) }, seconds: Some(3600.0), ..wish() };
    let offer = offer(&cloud, &wish).unwrap();
    // 20 GB: not the A4000; neither what is sold out, nor old, nor of another maker. Community
    // prices.
    let ids: Vec<&str> = offer.candidates.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(ids, ["NVIDIA RTX A5000", "NVIDIA GeForce RTX 4090", "NVIDIA L40S"]);
    assert!((offer.estimate.total.unwrap() - 1.2 * 0.16).abs() < 1e-9 && offer.estimate.most == Some(0.32), "{offer:?}");
    let refused = take(&cloud, &wish, &offer, 0.10).unwrap_err();
    assert!(refused.code == "confirmation_needed" && refused.message.contains("0.16") && fake.alive().is_empty());
    fake.state().sold_out.push("NVIDIA RTX A5000".into());
    let rented = take(&cloud, &wish, &offer, 0.40).unwrap();
    assert!(rented.refused.len() == 1 && rented.estimate.price_hour == 0.34, "{rented:?}");
    let entry = cloud.ledger.of_pod(&rented.pod.id).unwrap().unwrap();
    assert!(entry.stage == Stage::Made && entry.price_hour == 0.34);
    // Asked for again under its tag it is the same pod.
    let again = tallow::app::cloud::RentRequest { tag: Some(rented.tag.clone()), ..wish.clone() };
    assert_eq!(take(&cloud, &again, &offer, 0.40).unwrap().pod.id, rented.pod.id);
    // Without a public port it is waited for in vain.
    let slow = cloud::wait_for_ssh(&cloud.client, &rented.pod.id, Duration::from_millis(50), &mut |_| {}).unwrap_err();
    assert_eq!(slow.code, "cloud_pod_slow");
    fake.state().ssh = Some(("127.0.0.1".into(), 2222, "root".into()));
    let mut states = Vec::new();
    let (_, ssh) = cloud::wait_for_ssh(&cloud.client, &rented.pod.id, Duration::from_secs(5), &mut |p| states.push(p.status)).unwrap();
    assert!(ssh.port == 2222 && states.last() == Some(&PodStatus::Running), "{states:?}");
    fake.advance(0.5);
    let told = account(&cloud, 7, Some(&rented.pod.id)).unwrap();
    let due = 0.5 * (0.34 + 20.0 * DISK_GB_HOUR);
    assert!((told.bills.total_amount - due).abs() < 1e-9 && (told.balance.client_balance - (100.0 - due)).abs() < 1e-9);
    assert!(told.rented_here.len() == 1 && told.volumes.len() == 1 && told.balance.current_spend_per_hr == 0.34);
    // Its own timer stops it at the cap, though nobody looks: 0.32 dollars at 0.34 an hour.
    fake.advance(5.0);
    assert_eq!(cloud::get(&cloud.client, &rented.pod.id).unwrap().status, PodStatus::Exited);
    assert!(fake.state().pods[&rented.pod.id].bill().0 <= 0.32 + 1e-3);
    assert_eq!(cloud::act(&cloud.client, &rented.pod.id, Action::Restart).unwrap_err().code, "cloud_conflict");
    assert!(cloud::act(&cloud.client, &rented.pod.id, Action::Stop).unwrap().is_some());
    cloud::act(&cloud.client, &rented.pod.id, Action::Start).unwrap();
    release(&cloud, &rented.pod.id).unwrap();
    release(&cloud, &rented.pod.id).unwrap();
    assert!(fake.alive().is_empty() && cloud.ledger.entries().unwrap()[0].stage == Stage::Ended);
    fake.assert_spoke_by_the_document();
}

#[test]
fn each_refusal_has_its_code_and_is_repeated_where_that_helps() {
    // status, code, tries of a request that only looks, tries of one that makes something
    let table = [
        (400, "cloud_rejected", 1, 3),
        (401, "cloud_key_refused", 1, 1),
        (402, "cloud_no_credit", 1, 1),
        (403, "cloud_forbidden", 1, 3),
        (404, "cloud_not_found", 1, 1),
        (409, "cloud_conflict", 1, 1),
        (422, "cloud_invalid_request", 1, 1),
        (429, "cloud_rate_limited", 4, 4),
        (500, "cloud_unavailable", 4, 4),
        (503, "cloud_unavailable", 4, 4),
        (302, "cloud_failed", 1, 1),
    ];
    for (status, code, looks, makes) in table {
        let (fake, dir) = (Fake::start(), tempfile::tempdir().unwrap());
        let cloud = cloud_at(&fake, dir.path());
        let offer = offer(&cloud, &wish()).unwrap();
        let count = |method: &str| fake.state().seen.iter().filter(|s| s.starts_with(method) && s.ends_with("pods")).count();
        fake.trouble("GET", Trouble::Status(status), 9);
        let fault = cloud::list(&cloud.client).unwrap_err();
        assert!(fault.code == code && fault.hint.is_some(), "{status}: {fault:?}");
        assert_eq!(count("GET"), looks, "{status}");
        fake.state().troubles.clear();
        fake.trouble("POST", Trouble::Status(status), 9);
        let fault = take(&cloud, &wish(), &offer, 9.0).unwrap_err();
        assert_eq!((fault.code, count("POST")), (code, makes), "{status}");
        // What may have been made stays an open wish; what was refused does not.
        let open = cloud.ledger.entries().unwrap().iter().any(|e| e.stage == Stage::Intended);
        assert_eq!(open, status >= 500, "{status}");
    }
}

#[test]
fn a_lost_answer_never_makes_a_second_pod() {
    let mut draws = Draws::new();
    let seed = draws.0;
    for round in 0..40 {
        let (fake, dir) = (Fake::start(), tempfile::tempdir().unwrap());
        let cloud = cloud_at(&fake, dir.path());
        let offer = offer(&cloud, &wish()).unwrap();
        for _ in 0..draws.below(4) {
            let kind = [Trouble::Lost, Trouble::Garbled, Trouble::Status(500), Trouble::Status(429)][draws.below(4) as usize];
            fake.trouble(["POST", "GET"][draws.below(2) as usize], kind, 1);
        }
        let result = take(&cloud, &wish(), &offer, 9.0);
        assert!(fake.alive().len() <= 1, "seed {seed}, round {round}");
        fake.state().troubles.clear();
        if let Err(fault) = result {
            // Whatever was made is found by its wish.
            assert!(["cloud_answer", "cloud_unavailable", "cloud_unreachable"].contains(&fault.code), "seed {seed}: {fault:?}");
            cloud.ledger.tidy(&cloud.client, &|_| true).unwrap();
        }
        let known: Vec<_> = cloud.ledger.entries().unwrap().into_iter().filter_map(|e| e.pod_id).collect();
        assert_eq!(known, fake.alive(), "seed {seed}, round {round}");
    }
}

#[test]
fn an_empty_account_starts_nothing_and_a_key_is_shown_nowhere() {
    let (fake, dir) = (Fake::start(), tempfile::tempdir().unwrap());
    let cloud = cloud_at(&fake, dir.path());
    let o = offer(&cloud, &wish()).unwrap();
    fake.state().balance = 0.0;
    let fault = take(&cloud, &wish(), &o, 9.0).unwrap_err();
    assert!(fault.code == "cloud_no_credit" && cloud.ledger.entries().unwrap()[0].stage == Stage::Ended);
    assert!(!format!("{cloud:?}").contains(KEY));
    // A service that repeats the wrong key: it is blotted out.
    let secret = "rpa_ANOTHERKEYTHATISWRONG";
    let client = Client::new(&fake.address, Key::new(secret).unwrap()).unwrap();
    let fault = cloud::list(&client).unwrap_err();
    assert_eq!(fault.code, "cloud_key_refused");
    assert!(!format!("{fault:?} {client:?}").contains(secret) && fault.message.contains("[secret]"), "{fault:?}");
    for bad in ["", "two words", "line\nbreak", "schlüssel", &"x".repeat(600)] {
        let fault = Key::new(bad).unwrap_err();
        assert!(bad.is_empty() || !format!("{fault:?}").contains(bad), "{bad}");
    }
    for bad in ["http://example.org", "ftp://x", "http://127.0.0.1.example.org", "https://user@host", "http://localhost:1@example.org"] {
        assert_eq!(Client::new(bad, Key::new(KEY).unwrap()).unwrap_err().code, "cloud_address", "{bad}");
    }
    let gone = Client::new("http://127.0.0.1:1", Key::new(KEY).unwrap()).unwrap().with_second(Duration::from_millis(1));
    assert_eq!(cloud::list(&gone).unwrap_err().code, "cloud_unreachable");
}

#[test]
fn a_log_comes_whole_and_once_however_often_it_breaks_off() {
    let (fake, dir) = (Fake::start(), tempfile::tempdir().unwrap());
    let cloud = cloud_at(&fake, dir.path());
    let o = offer(&cloud, &wish()).unwrap();
    let pod = take(&cloud, &wish(), &o, 9.0).unwrap().pod;
    for cut in [0, 1, 3, 10] {
        fake.state().cut_logs = cut;
        let mut lines = Vec::new();
        cloud::follow_logs(&cloud.client, &pod.id, 100, true, &mut |l| {
            lines.push(l.line.clone());
            true
        })
        .unwrap();
        let want: Vec<String> = (0..10).map(|i| format!("line {i}")).collect();
        assert_eq!(lines, want, "cut after {cut}");
    }
    fake.state().cut_logs = 0;
    let mut seen = 0;
    cloud::follow_logs(&cloud.client, &pod.id, 100, false, &mut |_| {
        seen += 1;
        seen < 4
    })
    .unwrap();
    assert_eq!(seen, 4);
    assert_eq!(cloud::follow_logs(&cloud.client, "nobody", 9, false, &mut |_| true).unwrap_err().code, "cloud_not_found");
    fake.assert_spoke_by_the_document();
}

#[test]
fn tidying_ends_what_is_beyond_its_cap_or_of_no_use() {
    let (fake, dir) = (Fake::start(), tempfile::tempdir().unwrap());
    let cloud = cloud_at(&fake, dir.path());
    let o = offer(&cloud, &wish()).unwrap();
    let rent = |for_one_job, max_hours| {
        let caps = Caps { max_hours, max_cost: None };
        take(&cloud, &tallow::app::cloud::RentRequest { for_one_job, caps, ..wish() }, &o, 9.0).unwrap().pod.id
    };
    let (kept, job, capped) = (rent(false, None), rent(true, Some(9.0)), rent(false, Some(2.0)));
    assert_eq!(cloud.ledger.tidy(&cloud.client, &|_| true).unwrap(), [] as [String; 0]);
    let mut old = cloud.ledger.of_pod(&capped).unwrap().unwrap();
    old.created_at = "2026-01-01T00:00:00Z".into();
    cloud.ledger.write(&old).unwrap();
    let done = cloud.ledger.tidy(&cloud.client, &|_| false).unwrap();
    assert_eq!(done.len(), 2, "{done:?}");
    assert_eq!(fake.alive(), std::slice::from_ref(&kept));
    assert!(![job, capped].contains(&kept));
    // A pod that went away by itself is noted.
    cloud::terminate(&cloud.client, &kept).unwrap();
    assert_eq!(cloud.ledger.tidy(&cloud.client, &|_| true).unwrap().len(), 1);
    std::fs::write(dir.path().join("x.json"), "{").unwrap();
    assert_eq!(cloud.ledger.tidy(&cloud.client, &|_| true).unwrap_err().code, "cloud_ledger_damaged");
}
