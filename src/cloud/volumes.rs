//! Network volumes and templates: made once by their names, and removed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ureq::http::Method;

use super::catalogue::{templates, volumes};
use super::client::{Client, Repeat, segment};
use super::kinds::{Template, Volume};
use crate::base::error::Fault;

/// The network volume of this name: the one that is there, else a new one, and whether it is new.
/// It is paid for by its size until it is deleted.
///
/// # Errors
/// When the service refuses; when one of this name is in another data centre or smaller.
pub fn create_volume(client: &Client, name: &str, gb: u32, data_center: &str) -> Result<(Volume, bool), Fault> {
    let known = || volumes(client).map(|all| all.into_iter().find(|v| v.name == name));
    if let Some(volume) = known()? {
        if volume.data_center != data_center || volume.size < gb {
            let message = format!("volume {name} is there with {} GB in {}", volume.size, volume.data_center);
            return Err(Fault::new("cloud_conflict", message).hint("choose another name, or use it as it is by its identifier"));
        }
        return Ok((volume, false));
    }
    let body = json!({ "name": name, "size": gb, "dataCenter": data_center });
    match client.ask::<Volume>(&Method::POST, "/v2/network-volumes", Some(&body), Repeat::Unsafe) {
        Ok(volume) => Ok((volume, true)),
        // The failure may have made it all the same.
        Err(fault) => known()?.map(|volume| (volume, true)).ok_or(fault),
    }
}

/// One volume.
///
/// # Errors
/// When there is none, or the service refuses.
pub fn volume(client: &Client, id: &str) -> Result<Volume, Fault> {
    client.get(&format!("/v2/network-volumes/{}", segment(id)))
}

/// Deletes a volume with all that is on it; one that is gone already is no failure.
///
/// # Errors
/// When it is in use, or the service refuses.
pub fn delete_volume(client: &Client, id: &str) -> Result<(), Fault> {
    remove(client, &format!("/v2/network-volumes/{}", segment(id)))
}

/// A wish for a template.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTemplate {
    /// Its name: the same name never gives a second one.
    pub name: String,
    /// Container image.
    pub image: String,
    /// Command of the container; empty: the image's own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub args: String,
    /// Container disk in GB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<u32>,
    /// Ports, as `22/tcp`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Variables of the container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// For serverless workers instead of pods.
    pub serverless: bool,
}

impl std::fmt::Debug for CreateTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values of variables may be secrets.
        write!(f, "CreateTemplate {{ name: {:?}, image: {:?} }}", self.name, self.image)
    }
}

/// The template of this name: the one that is there, else a new one, and whether it is new.
///
/// # Errors
/// When the service refuses.
pub fn create_template(client: &Client, wish: &CreateTemplate) -> Result<(Template, bool), Fault> {
    let known = || templates(client).map(|all| all.into_iter().find(|t| t.name == wish.name));
    if let Some(template) = known()? {
        return Ok((template, false));
    }
    match client.ask::<Template>(&Method::POST, "/v2/templates", Some(wish), Repeat::Unsafe) {
        Ok(template) => Ok((template, true)),
        Err(fault) => known()?.map(|template| (template, true)).ok_or(fault),
    }
}

/// Deletes a template; one that is gone already is no failure.
///
/// # Errors
/// When the service refuses.
pub fn delete_template(client: &Client, id: &str) -> Result<(), Fault> {
    remove(client, &format!("/v2/templates/{}", segment(id)))
}

fn remove(client: &Client, path: &str) -> Result<(), Fault> {
    match client.ask::<Value>(&Method::DELETE, path, None::<&()>, Repeat::Safe) {
        Err(fault) if fault.code != "cloud_not_found" => Err(fault),
        _ => Ok(()),
    }
}
