//! Rented machines as use cases: choose, rent, look after, give back.

mod account;
mod fit;
mod rent;

pub use account::{Account, account};
pub use rent::{Offer, RentRequest, Rented, offer, release, take};

pub use fit::memory_for;

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
