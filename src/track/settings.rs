//! Which trackers a configuration asks for, and where they write.

use std::path::{Path, PathBuf};

use super::energy;
use super::mlflow::{Address, Credentials};
use crate::base::error::Fault;
use crate::config::{RunConfig, is_server};

/// The trackers of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The folder of event files; a folder of the run's name is made in it.
    pub tensorboard: Option<PathBuf>,
    /// The project of an offline run.
    pub wandb: Option<String>,
    /// The server, and the experiment there.
    pub mlflow: Option<(Address, String)>,
}

impl Chosen {
    /// What the settings ask for. `run`: the run's folder.
    ///
    /// # Errors
    /// `config_tracker` when no MLflow server is named.
    pub fn of(config: &RunConfig, run: &Path) -> Result<Self, Fault> {
        let project = &config.project.name;
        let folder = || config.tensorboard.log_dir.clone().unwrap_or_else(|| super::tensorboard::default_folder(run));
        Ok(Self {
            tensorboard: config.tensorboard.enabled.then(folder),
            wandb: config.wandb.enabled.then(|| config.wandb.project.clone().unwrap_or_else(|| project.clone())),
            mlflow: if config.mlflow.enabled { Some(mlflow(config)?) } else { None },
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.trim().is_empty())
}

fn mlflow(config: &RunConfig) -> Result<(Address, String), Fault> {
    let of_variable = variable("MLFLOW_TRACKING_URI");
    let url = config.mlflow.tracking_uri.clone().or(of_variable.clone()).ok_or_else(|| {
        Fault::new("config_tracker", "mlflow.enabled is true, and no server is named")
            .hint("set mlflow.tracking_uri, for example http://127.0.0.1:5000, or the variable MLFLOW_TRACKING_URI")
    })?;
    let url = url.trim_end_matches('/').to_owned();
    if !is_server(&url) {
        let message = format!("MLFLOW_TRACKING_URI: `{url}` is not the address of a server");
        return Err(Fault::new("config_tracker", message).hint("it begins with http:// or https:// and holds no password"));
    }
    // A configuration alone cannot make a password go to another server.
    let is_trusted = of_variable.is_some_and(|v| v.trim_end_matches('/') == url);
    let (user, password) = (variable("MLFLOW_TRACKING_USERNAME"), variable("MLFLOW_TRACKING_PASSWORD"));
    let both = user.as_deref().zip(password.as_deref());
    let credentials = Credentials::new(variable("MLFLOW_TRACKING_TOKEN").as_deref(), both).filter(|_| is_trusted);
    let experiment = config.mlflow.experiment_name.clone().or_else(|| variable("MLFLOW_EXPERIMENT_NAME"));
    Ok((Address { url, credentials }, experiment.unwrap_or_else(|| config.project.name.clone())))
}

/// Whether everything that the settings ask for can be had; the server itself is not asked.
///
/// # Errors
/// `config_tracker` and `config_country`, with what to set.
pub fn check(config: &RunConfig) -> Result<(), Fault> {
    Chosen::of(config, Path::new(""))?;
    let carbon = &config.carbon_tracking;
    if carbon.enabled && energy::country(&carbon.country_iso_code).is_none() {
        let message = format!("carbon_tracking.country_iso_code: `{}` is no country of the table", carbon.country_iso_code);
        return Err(Fault::new("config_country", message).hint("give a code of three letters (ISO 3166-1 alpha-3), for example USA or DEU"));
    }
    Ok(())
}
