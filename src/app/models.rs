//! From what a person calls a model to a folder that holds it.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::base::error::Fault;
use crate::model::hub::{HubOptions, fetch_with};

/// The name of the model inside the binary.
pub const EMBEDDED: &str = "embedded";

/// The embedded base model: file name and content.
const EMBEDDED_FILES: [(&str, &[u8]); 5] = [
    ("config.json", include_bytes!("../../models/base/config.json")),
    ("generation_config.json", include_bytes!("../../models/base/generation_config.json")),
    ("tokenizer.json", include_bytes!("../../models/base/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../../models/base/tokenizer_config.json")),
    ("model.safetensors", include_bytes!("../../models/base/model.safetensors")),
];

/// Writes the embedded base model into `dir`, which must not exist yet.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_embedded(dir: &Path) -> Result<(), Fault> {
    let folder = crate::base::atomic::AtomicDir::new(dir)?;
    for (name, content) in EMBEDDED_FILES {
        crate::base::atomic::write_file(&folder.path().join(name), content)?;
    }
    folder.commit()
}

/// The folder of a model given as a folder, a Hub id or `embedded`. A Hub model is downloaded into the
/// Hugging Face cache; the embedded one is written once into the user's cache folder.
///
/// # Errors
/// When a folder is meant and is missing, or the Hub cannot be reached.
pub fn resolve(name: &str, revision: Option<&str>) -> Result<PathBuf, Fault> {
    if name == EMBEDDED {
        return embedded_folder();
    }
    if !is_hub_id(name) {
        return resolve_folder(Path::new(name));
    }
    Ok(crate::model::hub::fetch(name, revision.unwrap_or("main"))?)
}

/// The same, but a model on the Hub is brought without its weights: enough to plan with.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_without_weights(name: &str, revision: Option<&str>) -> Result<PathBuf, Fault> {
    if !is_hub_id(name) {
        return resolve(name, revision);
    }
    let options = HubOptions { without_weights: true, ..HubOptions::from_env() };
    Ok(fetch_with(&options, name, revision.unwrap_or("main"), &mut |_, _, _| {})?)
}

/// Whether a name is meant for the Hub: `owner/name`, and no such folder here.
pub fn is_hub_id(name: &str) -> bool {
    !name.starts_with(['.', '/', '~']) && name.matches('/').count() == 1 && !Path::new(name).exists()
}

/// A model folder or a GGUF file, as an absolute path.
///
/// # Errors
/// When there is no such folder.
pub fn resolve_folder(path: &Path) -> Result<PathBuf, Fault> {
    if !path.is_dir() && !crate::model::gguf::is_gguf(path) {
        return Err(Fault::new("model_not_found", format!("{}: no such model folder", path.display()))
            .hint("give a folder with config.json, a .gguf file, a Hub id such as org/name, or `embedded`"));
    }
    path.canonicalize().map_err(|e| Fault::io("open", path, &e))
}

fn embedded_folder() -> Result<PathBuf, Fault> {
    // Known once in a process: it takes milliseconds, and a server is asked for the folder often.
    static HASH: LazyLock<String> =
        LazyLock::new(|| crate::base::hash::sha256_parts(EMBEDDED_FILES.iter().flat_map(|(name, content)| [name.as_bytes(), content])));
    let hash: &str = &HASH;
    let dir = cache_root().join("models").join(format!("embedded-{}", &hash[..16]));
    if !dir.join("model.safetensors").is_file() {
        match write_embedded(&dir) {
            // Another process may have written it meanwhile.
            Err(_) if dir.join("model.safetensors").is_file() => {}
            other => other?,
        }
    }
    Ok(dir)
}

/// `$TALLOW_CACHE`, else the user's cache folder, else the temporary folder.
pub fn cache_root() -> PathBuf {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    var("TALLOW_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|p| p.join("tallow")))
        .or_else(|| var("HOME").map(|p| p.join(".cache/tallow")))
        .unwrap_or_else(|| std::env::temp_dir().join("tallow"))
}
