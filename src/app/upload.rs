//! Uploading an export, or any model folder, to the Hugging Face Hub, or an export for Ollama into a running Ollama.
//! A run uploads its result where its settings ask for it (`huggingface.enabled`); nothing else in the program uploads anything.

use std::path::{Path, PathBuf};

use crate::base::error::Fault;
use crate::export::card::card_of_gguf;
use crate::export::ollama::serve::{self, Created};
use crate::export::upload::{Content, Upload, UploadFile, Uploaded, is_repo_name, upload};
use crate::model::gguf::is_gguf;
use crate::model::hub::HubOptions;

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `owner/name`.
    pub repo: String,
    /// Whether a repository that is made now is open to all.
    pub public: bool,
    /// The commit's first line.
    pub message: Option<String>,
}

/// A request to upload.
#[derive(Debug, Clone)]
pub struct UploadRequest {
    /// A file or a folder.
    pub path: PathBuf,
    /// Where to.
    pub target: Target,
    /// The text of a model card, where the path has none of its own.
    pub card: Option<String>,
}

/// Refuses what cannot be uploaded before hours go into making it.
///
/// # Errors
/// When the name is none, there is no token, or the network is off.
pub fn check(target: &Target) -> Result<(), Fault> {
    let options = HubOptions::from_env();
    if !is_repo_name(&target.repo) {
        return Err(Fault::new("usage", format!("`{}` is no name of a repository", target.repo)).hint("give owner/name"));
    }
    if options.offline {
        return Err(Fault::new("hub_upload", "HF_HUB_OFFLINE is on, so nothing can be uploaded").hint("unset it"));
    }
    let visible = |token: &str| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    if let Some(token) = &options.token
        && !visible(token)
    {
        return Err(Fault::new("hub_upload", "HF_TOKEN is blank, or has a space or a line break in it").hint("copy it again"));
    }
    if let Some(endpoint) = options.endpoint.as_ref().filter(|e| !e.starts_with("http://") && !e.starts_with("https://")) {
        return Err(
            Fault::new("hub_upload", format!("HF_ENDPOINT: `{endpoint}` is no address")).hint("it begins with https://, or unset it")
        );
    }
    if options.token().is_none() {
        return Err(Fault::new("hub_upload", "uploading needs an access token")
            .hint("set HF_TOKEN to a token with write access (huggingface.co/settings/tokens)"));
    }
    Ok(())
}

/// Uploads in one commit. `told` hears the bytes that are there of how many.
///
/// # Errors
/// As [`check`]; when nothing is there to upload, or the Hub cannot be reached or refuses.
pub fn run(request: &UploadRequest, told: &mut dyn FnMut(u64, u64, &str)) -> Result<Uploaded, Fault> {
    check(&request.target)?;
    let mut files = UploadFile::all(&request.path)?;
    // A GGUF file alone tells of itself.
    let of_file = || is_gguf(&request.path).then(|| card_of_gguf(&request.path)).flatten();
    if let Some(card) = request.card.clone().or_else(of_file)
        && !files.iter().any(|f| f.path == "README.md")
    {
        files.push(UploadFile { path: "README.md".into(), content: Content::Bytes(card.into_bytes()) });
    }
    let Target { repo, public, message } = &request.target;
    let message = message.clone().unwrap_or_else(|| "Upload with tallow".into());
    upload(&HubOptions::from_env(), &Upload { repo: repo.clone(), private: !public, message, files }, told)
}

/// Makes the model `name` in Ollama of a folder that was exported for it, and pushes it to Ollama's registry where asked.
/// `told` hears the bytes that are there of how many.
///
/// # Errors
/// When the name is none, the folder is no such export, or Ollama cannot be reached or refuses.
pub fn into_ollama(path: &Path, name: &str, push: bool, told: &mut dyn FnMut(u64, u64, &str)) -> Result<Created, Fault> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
    if name.is_empty() || !name.chars().all(plain) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(Fault::new("usage", format!("`{name}` is no name of a model in Ollama")).hint("for example ollama:my-model"));
    }
    if push && !name.contains('/') {
        return Err(Fault::new("usage", format!("`{name}` cannot be pushed: it has no owner")).hint("for example ollama:OWNER/my-model"));
    }
    serve::create(path, name, push, told)
}
