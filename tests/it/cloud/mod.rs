//! The cloud against a fake RunPod on this machine: requests, faults, renting, books, and clients
//! killed at any point.

mod bill;
mod fake;
mod kills;
mod remote;
mod rented;
mod requests;
mod schema;
mod serverless;
mod serving;
mod sshd;
mod stand;
mod storage;

use std::path::Path;
use std::time::Duration;

use tallow::app::cloud::{Cloud, RentRequest};
use tallow::cloud::{Client, Key, Ledger, S3Access};

/// A client whose second of waiting is a few milliseconds.
fn cloud(fake: &fake::Fake, ledger: &Path) -> Cloud {
    let client = Client::new(&fake.address, Key::new(fake::KEY).unwrap()).unwrap().with_second(Duration::from_millis(5));
    let ledger = Ledger::at(ledger).by(client.clock());
    let (id, secret) = (storage::S3_ID.to_owned(), storage::S3_SECRET.to_owned());
    let s3 = Some(S3Access { id, secret, address: Some(fake.address.clone()), part_bytes: 64 << 10 });
    Cloud { client, ledger, s3 }
}

fn wish() -> RentRequest {
    let gb = 20_000_000_000;
    RentRequest { memory_bytes: gb, count: 1, image: Some("runpod/base".into()), ports: vec!["22/tcp".into()], ..RentRequest::default() }
}

/// Numbers drawn from a seed.
struct Draws(u64);

impl Draws {
    fn new() -> Self {
        Self(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}
