//! `tallow cloud volume ...` and `tallow cloud template ...`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::agreed;
use crate::app::cloud::Cloud;
use crate::base::error::Fault;
use crate::cli::progress::{Talk, line};
use crate::cli::run::Desk;
use crate::cloud::{self, CreateTemplate, volume_price_hour};

/// `tallow cloud volume`.
#[derive(Debug, Subcommand)]
pub enum VolumeCommand {
    /// List the account's network volumes.
    List,
    /// Make a network volume; the same name never gives a second one. It is paid for until it is deleted.
    Create {
        /// Its name.
        name: String,
        /// Its size, from 10 to 4096.
        #[arg(long, value_name = "GB", value_parser = clap::value_parser!(u32).range(10..=4096))]
        size: u32,
        /// Where it is.
        #[arg(long, value_name = "ID")]
        data_center: String,
        /// Agree to its price without being asked.
        #[arg(long)]
        yes: bool,
    },
    /// Delete a network volume with all that is on it.
    Delete {
        /// The volume.
        id: String,
        /// Do it without being asked.
        #[arg(long)]
        yes: bool,
    },
    /// Send a file to a volume over its S3 interface.
    Put {
        /// The volume.
        id: String,
        /// The file here.
        file: PathBuf,
        /// Its path on the volume; by default its name.
        #[arg(long)]
        to: Option<String>,
    },
    /// List files of a volume, a thousand at most.
    Files {
        /// The volume.
        id: String,
        /// Only those whose paths begin so.
        #[arg(default_value = "")]
        prefix: String,
    },
}

/// `tallow cloud template`.
#[derive(Debug, Subcommand)]
pub enum TemplateCommand {
    /// List the account's templates.
    List,
    /// Make a template; the same name never gives a second one.
    Create(TemplateArgs),
    /// Delete a template.
    Delete {
        /// The template.
        id: String,
        /// Do it without being asked.
        #[arg(long)]
        yes: bool,
    },
}

/// `tallow cloud template create`.
#[derive(Debug, Args)]
pub struct TemplateArgs {
    /// Its name.
    pub name: String,
    /// Container image.
    #[arg(long)]
    pub image: String,
    /// Container disk in GB.
    #[arg(long, value_name = "GB")]
    pub disk: Option<u32>,
    /// A port, as 8888/http (repeatable).
    #[arg(long, value_name = "PORT/PROTOCOL")]
    pub port: Vec<String>,
    /// A variable of the container (repeatable).
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// For serverless workers instead of pods.
    #[arg(long)]
    pub serverless: bool,
}

pub(super) fn volume(desk: &Desk, service: &Cloud, command: VolumeCommand) -> Result<u8, Fault> {
    let client = &service.client;
    match command {
        VolumeCommand::List => {
            let all = cloud::volumes(client)?;
            let row = |v: &cloud::Volume| format!("volume {} ({}): {} GB in {}", v.id, v.name, v.size, v.data_center);
            let words = if all.is_empty() { "no volumes".to_owned() } else { all.iter().map(row).collect::<Vec<_>>().join("\n") };
            desk.give(&serde_json::json!({ "volumes": all }), || words)
        }
        VolumeCommand::Create { name, size, data_center, yes } => {
            let month = volume_price_hour(size) * 730.0;
            let words = format!("volume {name} of {size} GB in {data_center}: {month:.2} US dollars a month until it is deleted");
            agreed(desk, &words, yes)?;
            let (volume, is_new) = cloud::create_volume(client, &name, size, &data_center)?;
            let there = if is_new { "" } else { "; it was there already" };
            let words = format!("volume {} ({}): {} GB in {}{there}", volume.id, volume.name, volume.size, volume.data_center);
            desk.give(&serde_json::json!({ "volume": volume, "is_new": is_new }), || words)
        }
        VolumeCommand::Delete { id, yes } => {
            agreed(desk, &format!("delete volume {id} with all that is on it"), yes)?;
            cloud::delete_volume(client, &id)?;
            desk.give(&serde_json::json!({ "deleted": id }), || format!("volume {id} is deleted"))
        }
        VolumeCommand::Put { id, file, to } => {
            let name = to.unwrap_or_else(|| name_of(&file));
            let loud = desk.talk != Talk::Silent;
            let etag = service.store(&id)?.put(&file, &name, &mut |sent| {
                if loud {
                    line(&format!("{:.1} MB", sent as f64 / 1e6));
                }
            })?;
            desk.give(&serde_json::json!({ "file": name, "etag": etag }), || format!("{name} is on volume {id}"))
        }
        VolumeCommand::Files { id, prefix } => {
            let names = service.store(&id)?.list(&prefix)?;
            desk.give(&serde_json::json!({ "files": names }), || names.join("\n"))
        }
    }
}

fn name_of(file: &Path) -> String {
    file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

pub(super) fn template(desk: &Desk, service: &Cloud, command: TemplateCommand) -> Result<u8, Fault> {
    let client = &service.client;
    match command {
        TemplateCommand::List => {
            let all = cloud::templates(client)?;
            let row = |t: &cloud::Template| format!("template {} ({}): {}", t.id, t.name, t.image);
            let words = if all.is_empty() { "no templates".to_owned() } else { all.iter().map(row).collect::<Vec<_>>().join("\n") };
            desk.give(&serde_json::json!({ "templates": all }), || words)
        }
        TemplateCommand::Create(a) => {
            let (name, image, env) = (a.name, a.image, super::variables(&a.env)?);
            let wish = CreateTemplate { name, image, args: String::new(), disk: a.disk, ports: a.port, env, serverless: a.serverless };
            let (template, is_new) = cloud::create_template(client, &wish)?;
            let there = if is_new { "" } else { "; it was there already" };
            let words = format!("template {} ({}): {}{there}", template.id, template.name, template.image);
            desk.give(&serde_json::json!({ "template": template, "is_new": is_new }), || words)
        }
        TemplateCommand::Delete { id, yes } => {
            agreed(desk, &format!("delete template {id}"), yes)?;
            cloud::delete_template(client, &id)?;
            desk.give(&serde_json::json!({ "deleted": id }), || format!("template {id} is deleted"))
        }
    }
}
