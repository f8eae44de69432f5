//! Machines elsewhere as use cases: choose, rent, look after, give back; runs over SSH.

mod account;
mod endpoints;
mod fit;
mod follower;
pub mod remote;
mod rent;
mod rented;

pub use account::{Account, account};
pub use endpoints::worker_costs;
pub use rent::{Offer, RentRequest, Rented, STOP_POD, agree, offer, release, take};

pub use fit::memory_for;
pub use follower::follow_detached;
pub use rented::{Rent, rent_for, rented_finish, rented_job, wanted};

use crate::base::error::Fault;
use crate::cloud::{Client, Ledger};

/// The service and the ledger of this user.
#[derive(Debug, Clone)]
pub struct Cloud {
    /// The service.
    pub client: Client,
    /// What was rented from here.
    pub ledger: Ledger,
}

impl Cloud {
    /// With the key of the environment.
    ///
    /// # Errors
    /// When there is no key or no home folder.
    pub fn from_env() -> Result<Self, Fault> {
        Ok(Self { client: Client::from_env()?, ledger: Ledger::of_user()? })
    }
}
