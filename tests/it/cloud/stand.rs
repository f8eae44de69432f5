//! The fake service and its pods as a process of their own, for programs outside of these tests.
//!
//! ```sh
//! TALLOW_STAND=/tmp/stand cargo test --test it -- --ignored --exact cloud::stand::serves_until_told_to_stop
//! ```
//! `ready.json` in that folder says where it is, and with which keys; a file `stop` there ends it.
//! `GET /fake/books` tells what is rented and what it cost, `GET /fake/advance?hours=3` moves the clock.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::fake::{Fake, KEY};
use super::sshd::{Sshd, user};
use super::storage::{S3_ID, S3_SECRET};
use crate::program::Desk;

#[test]
#[ignore = "it serves until it is told to stop"]
fn serves_until_told_to_stop() {
    let Some(folder) = std::env::var_os("TALLOW_STAND").map(PathBuf::from) else { return };
    fs::create_dir_all(&folder).unwrap();
    let (desk, fake) = (Desk::new(), Fake::start());
    let Some(sshd) = Sshd::start(&desk) else { return };
    // An hour takes a minute.
    fake.run(60.0);
    fake.state().ssh = Some(("127.0.0.1".into(), sshd.port, user()));
    fake.state().authorized = Some(sshd.keys.clone());
    let environment = json!({
        "RUNPOD_API_KEY": KEY, "TALLOW_RUNPOD_URL": fake.address, "TALLOW_RUNPOD_S3_URL": fake.address,
        "RUNPOD_S3_ACCESS_KEY_ID": S3_ID, "RUNPOD_S3_SECRET_ACCESS_KEY": S3_SECRET,
    });
    let part = folder.join("ready.part");
    fs::write(&part, json!({"address": fake.address, "environment": environment}).to_string()).unwrap();
    fs::rename(part, folder.join("ready.json")).unwrap();
    while !folder.join("stop").exists() {
        std::thread::sleep(Duration::from_millis(100));
    }
    fake.assert_spoke_by_the_document();
}
