//! Volumes and templates.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cloud::{confirm, value};
use crate::app::cloud::Cloud;
use crate::base::error::Fault;
use crate::cloud::{self, CreateTemplate, volume_price_hour};
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};

/// What is made or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    CreateVolume,
    DeleteVolume,
    CreateTemplate,
    DeleteTemplate,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ManageIn {
    action: What,
    /// To delete.
    id: Option<String>,
    /// To create: the same name never gives a second one.
    name: Option<String>,
    /// Of a volume: it is paid for by its size until it is deleted.
    #[schemars(range(min = 10, max = 4096))]
    size_gb: Option<u64>,
    /// Of a volume.
    data_center_id: Option<String>,
    /// Of a template.
    image: Option<String>,
    /// Of a template.
    #[schemars(range(min = 1, max = 10_000))]
    disk_gb: Option<u64>,
    /// Of a template, as 22/tcp.
    ports: Option<Vec<String>>,
    /// Of a template.
    env: Option<BTreeMap<String, String>>,
    /// A template for serverless workers instead of pods.
    serverless: Option<bool>,
    /// That the user agreed; not needed to create a template.
    confirmed: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ManageOut {
    success: bool,
    /// The volume or template that is there now; null for one that was deleted.
    #[schemars(with = "serde_json::Map<String, Value>")]
    made: Value,
    /// False where one of this name was there.
    is_new: bool,
}

/// runpod_manage_storage
pub(super) struct Manage;

impl Tool for Manage {
    const NAME: &'static str = "runpod_manage_storage";
    const TITLE: &'static str = "Make or delete a volume or a template";
    const ABOUT: &'static str = "Make or delete a network volume (paid for until it is deleted) or a template. Call it without confirmed to \
        hear the price. runpod_get_account lists them.";
    const HINTS: Hints = Hints::DESTROY.reaching_out();
    const LANE: Lane = Lane::Wait;
    const ASKS: bool = true;
    type In = ManageIn;
    type Out = ManageOut;

    fn call(input: ManageIn, _: &Shared, call: &Call) -> Result<ManageOut, Fault> {
        let service = Cloud::from_env()?;
        let client = &service.client;
        let missing = |what: &str| Fault::new("invalid_arguments", format!("`{what}` is missing")).hint("see the input schema");
        let given = |what: &str, value: &Option<String>| value.clone().ok_or_else(|| missing(what));
        match input.action {
            What::CreateVolume => {
                let (name, center) = (given("name", &input.name)?, given("data_center_id", &input.data_center_id)?);
                let gb = within("size_gb", input.size_gb.ok_or_else(|| missing("size_gb"))?, 10, 4096)? as u32;
                let month = volume_price_hour(gb) * 730.0;
                let words = format!("volume {name} of {gb} GB in {center}: {month:.2} US dollars a month until it is deleted");
                confirm(call, &words, input.confirmed)?;
                let (volume, is_new) = cloud::create_volume(client, &name, gb, &center)?;
                Ok(ManageOut { success: true, made: value(volume)?, is_new })
            }
            What::CreateTemplate => {
                let wish = CreateTemplate {
                    name: given("name", &input.name)?,
                    image: given("image", &input.image)?,
                    args: String::new(),
                    disk: input.disk_gb.map(|gb| within("disk_gb", gb, 1, 10_000)).transpose()?.map(|gb| gb as u32),
                    ports: input.ports.unwrap_or_default(),
                    env: input.env.unwrap_or_default(),
                    serverless: input.serverless == Some(true),
                };
                let (template, is_new) = cloud::create_template(client, &wish)?;
                Ok(ManageOut { success: true, made: value(template)?, is_new })
            }
            What::DeleteVolume => {
                let id = given("id", &input.id)?;
                confirm(call, &format!("volume {id} would be gone with all that is on it"), input.confirmed)?;
                cloud::delete_volume(client, &id)?;
                Ok(ManageOut { success: true, made: Value::Null, is_new: false })
            }
            What::DeleteTemplate => {
                let id = given("id", &input.id)?;
                confirm(call, &format!("template {id} would be gone"), input.confirmed)?;
                cloud::delete_template(client, &id)?;
                Ok(ManageOut { success: true, made: Value::Null, is_new: false })
            }
        }
    }
}
