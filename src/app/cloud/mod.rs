//! Machines elsewhere as use cases: choose, rent, look after, give back; runs over SSH.

mod account;
mod endpoints;
mod estimate;
mod fit;
mod follower;
pub mod remote;
mod rent;
mod rented;
pub mod serve;

pub use account::{Account, account};
pub use endpoints::worker_costs;
pub use estimate::{Basis, RunCost, offer_for_run, run_costs};
pub use rent::{END_POD, Offer, RentRequest, Rented, agree, offer, release, take};

pub use fit::memory_for;
pub use follower::follow_detached;
pub use rented::{Rent, rent_for, rented_finish, rented_job, wanted};

use crate::base::error::Fault;
use crate::cloud::{Client, Ledger, S3Access, Store, volume};

/// The service and the ledger of this user.
#[derive(Debug, Clone)]
pub struct Cloud {
    /// The service.
    pub client: Client,
    /// What was rented from here.
    pub ledger: Ledger,
    /// The key for files of volumes, where there is one.
    pub s3: Option<S3Access>,
}

impl Cloud {
    /// With the key of the environment.
    ///
    /// # Errors
    /// When there is no key or no home folder.
    pub fn from_env() -> Result<Self, Fault> {
        let client = Client::from_env()?;
        let ledger = Ledger::of_user()?.by(client.clock());
        Ok(Self { client, ledger, s3: S3Access::from_env() })
    }

    /// The files of a volume.
    ///
    /// # Errors
    /// When there is no key for them, no such volume, or its data centre has no interface for them.
    pub fn store(&self, id: &str) -> Result<Store, Fault> {
        let access = self.s3.as_ref().ok_or_else(S3Access::missing)?;
        Store::of(&volume(&self.client, id)?, access, self.client.second())
    }
}
