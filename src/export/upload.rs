//! Files into a repository of the Hugging Face Hub, over the protocol that its own client speaks.
//!
//! ```text
//!   POST /api/repos/create                      the repository, private unless told otherwise
//!   GET  /api/models/REPO                       is it as private as it was meant to be?
//!   POST /api/models/REPO/preupload/main        which files go into the commit, which into the store of large files
//!   POST /REPO.git/info/lfs/objects/batch       where the large ones go; what is there already is not sent
//!   PUT  ...                                    their bytes, whole or in parts
//!   POST /api/models/REPO/commit/main           one commit with everything
//! ```
//!
//! `hf-hub` uploads only from its version 1.0 on, which brings a second HTTP client and a storage protocol of its own; these
//! six requests go through the client that downloads. The token is sent to the Hub's own address and nowhere else: not to
//! the store, and no redirect is followed.

mod requests;

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde_json::{Value, json};

use self::requests::Api;
use crate::base::error::Fault;
use crate::base::hash::{sha256_bytes, sha256_file};
use crate::model::hub::HubOptions;

/// The media type of the store's protocol.
const LFS: &str = "application/vnd.git-lfs+json";
/// So much of a file tells what it is.
const SAMPLE: usize = 512;
/// Files asked about at once.
const BATCH: usize = 256;

/// What to upload, and where to.
#[derive(Debug, Clone)]
pub struct Upload {
    /// `owner/name`.
    pub repo: String,
    /// A repository that is made now is private.
    pub private: bool,
    /// The commit's first line.
    pub message: String,
    /// What goes up.
    pub files: Vec<UploadFile>,
}

/// A file of the repository.
#[derive(Debug, Clone)]
pub struct UploadFile {
    /// Its path in the repository.
    pub path: String,
    /// Where its bytes are.
    pub content: Content,
}

/// A file's bytes.
#[derive(Debug, Clone)]
pub enum Content {
    /// On disk.
    File(PathBuf),
    /// In memory.
    Bytes(Vec<u8>),
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Uploaded {
    /// The repository's page.
    pub url: String,
    /// The commit.
    pub commit: String,
    /// Whether only its owners see it.
    pub private: bool,
    /// Files in the commit.
    pub files: usize,
    /// Bytes that were sent to the store of large files; what it had already was not.
    pub sent_bytes: u64,
}

impl UploadFile {
    /// The files below `path`, or the file itself; hidden ones are left out.
    ///
    /// # Errors
    /// When something cannot be read, or there is nothing.
    pub fn all(path: &Path) -> Result<Vec<Self>, Fault> {
        let mut files = Vec::new();
        if path.is_dir() {
            collect(path, "", &mut files)?;
        } else if path.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push(Self { path: name, content: Content::File(path.to_path_buf()) });
        }
        if files.is_empty() {
            return Err(Fault::new("file_not_found", format!("{}: there is nothing to upload", path.display())));
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    fn bytes(&self) -> Result<Vec<u8>, Fault> {
        match &self.content {
            Content::File(path) => std::fs::read(path).map_err(|e| Fault::io("read", path, &e)),
            Content::Bytes(bytes) => Ok(bytes.clone()),
        }
    }

    fn size(&self) -> Result<u64, Fault> {
        match &self.content {
            Content::File(path) => std::fs::metadata(path).map(|m| m.len()).map_err(|e| Fault::io("read", path, &e)),
            Content::Bytes(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn sha256(&self) -> Result<String, Fault> {
        match &self.content {
            Content::File(path) => sha256_file(path),
            Content::Bytes(bytes) => Ok(sha256_bytes(bytes)),
        }
    }

    fn sample(&self) -> Result<Vec<u8>, Fault> {
        use std::io::Read;
        let Content::File(path) = &self.content else { return Ok(self.bytes()?.into_iter().take(SAMPLE).collect()) };
        let mut sample = Vec::new();
        let file = std::fs::File::open(path).map_err(|e| Fault::io("read", path, &e))?;
        file.take(SAMPLE as u64).read_to_end(&mut sample).map_err(|e| Fault::io("read", path, &e))?;
        Ok(sample)
    }
}

fn collect(folder: &Path, below: &str, files: &mut Vec<UploadFile>) -> Result<(), Fault> {
    for entry in std::fs::read_dir(folder).map_err(|e| Fault::io("read", folder, &e))? {
        let path = entry.map_err(|e| Fault::io("read", folder, &e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let inside = if below.is_empty() { name } else { format!("{below}/{name}") };
        if path.is_dir() {
            collect(&path, &inside, files)?;
        } else {
            files.push(UploadFile { path: inside, content: Content::File(path) });
        }
    }
    Ok(())
}

/// Whether a name can be a repository's: `owner/name` of letters, digits, `-`, `_` and `.`.
pub fn is_repo_name(name: &str) -> bool {
    let part = |p: &str| !p.is_empty() && !p.starts_with(['.', '-']) && p.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    matches!(name.split('/').collect::<Vec<_>>().as_slice(), [owner, repo] if part(owner) && part(repo))
}

/// Uploads everything in one commit. `told` hears the bytes sent of how many, and the file.
///
/// # Errors
/// Without a token; when the repository is there and public though a private one is wanted; when the Hub cannot be reached
/// or refuses. Nothing is visible in the repository before the commit, which is the last request.
pub fn upload(options: &HubOptions, what: &Upload, told: &mut dyn FnMut(u64, u64, &str)) -> Result<Uploaded, Fault> {
    let repo = &what.repo;
    if !is_repo_name(repo) {
        return Err(Fault::new("usage", format!("`{repo}` is no name of a repository")).hint("give owner/name"));
    }
    if options.offline {
        return Err(Fault::new("hub_upload", "HF_HUB_OFFLINE is on, so nothing is uploaded").hint("unset it"));
    }
    let Some(token) = &options.token else {
        return Err(Fault::new("hub_upload", "uploading needs an access token")
            .hint("set HF_TOKEN to a token with write access (huggingface.co/settings/tokens)"));
    };
    let endpoint = options.endpoint.as_deref().unwrap_or("https://huggingface.co");
    let api = Api::new(endpoint, token);
    let private = make_repo(&api, what)?;
    let modes = modes(&api, what)?;
    let large: Vec<&UploadFile> = what.files.iter().filter(|f| modes.large.contains(&f.path)).collect();
    let (lines, sent_bytes) = store(&api, repo, &large, told)?;
    let mut body = json!({"key": "header", "value": {"summary": what.message, "description": ""}}).to_string();
    let mut files = large.len();
    for f in what.files.iter().filter(|f| !modes.large.contains(&f.path) && !modes.ignored.contains(&f.path)) {
        let content = BASE64.encode(f.bytes()?);
        let line = json!({"key": "file", "value": {"content": content, "path": f.path, "encoding": "base64"}});
        body += &format!("\n{line}");
        files += 1;
    }
    for line in lines {
        body += &format!("\n{line}");
    }
    let done = api.post(&api.url(&format!("/api/models/{repo}/commit/main")), "application/x-ndjson", body.as_bytes())?;
    let commit = done["commitOid"].as_str().unwrap_or_default().to_owned();
    Ok(Uploaded { url: api.url(&format!("/{repo}")), commit, private, files, sent_bytes })
}

/// Makes the repository where it is missing; whether it is private. One that is public is left alone when a private one is
/// wanted.
fn make_repo(api: &Api, what: &Upload) -> Result<bool, Fault> {
    let (owner, name) = what.repo.split_once('/').unwrap_or(("", &what.repo));
    let visibility = if what.private { "private" } else { "public" };
    let wanted = json!({"name": name, "organization": owner, "visibility": visibility, "private": what.private});
    // Refused where it is there already.
    api.post_unless_there(&api.url("/api/repos/create"), &wanted)?;
    let info = api.get(&api.url(&format!("/api/models/{}", what.repo)))?;
    let private = info["private"].as_bool();
    if what.private && private != Some(true) {
        return Err(Fault::new("hub_upload", format!("{} is a public repository; nothing was uploaded", what.repo))
            .hint("make it private on its page, choose another name, or say that it shall be public (--public)"));
    }
    Ok(private.unwrap_or(false))
}

#[derive(Default)]
struct Modes {
    large: Vec<String>,
    ignored: Vec<String>,
}

/// Which files the Hub wants in its store, and which it does not take.
fn modes(api: &Api, what: &Upload) -> Result<Modes, Fault> {
    let mut modes = Modes::default();
    for some in what.files.chunks(BATCH) {
        let files: Vec<Value> = some
            .iter()
            .map(|f| Ok(json!({"path": f.path, "sample": BASE64.encode(f.sample()?), "size": f.size()?})))
            .collect::<Result<_, Fault>>()?;
        let said = api.post_json(&api.url(&format!("/api/models/{}/preupload/main", what.repo)), &json!({"files": files}))?;
        for f in some {
            let about = said["files"].as_array().into_iter().flatten().find(|s| s["path"] == f.path.as_str());
            let about = about.ok_or_else(|| Fault::new("hub_upload", format!("the Hub says nothing about {}", f.path)))?;
            if about["shouldIgnore"] == true {
                modes.ignored.push(f.path.clone());
            } else if about["uploadMode"] == "lfs" && f.size()? > 0 {
                modes.large.push(f.path.clone());
            }
        }
    }
    Ok(modes)
}

/// Brings large files into the store; their lines of the commit, and the bytes that were sent.
fn store(api: &Api, repo: &str, files: &[&UploadFile], told: &mut dyn FnMut(u64, u64, &str)) -> Result<(Vec<Value>, u64), Fault> {
    let mut objects = Vec::new();
    for f in files {
        objects.push((f, f.sha256()?, f.size()?));
    }
    let total: u64 = objects.iter().map(|o| o.2).sum();
    let (mut done, mut sent) = (0, 0);
    for some in objects.chunks(BATCH) {
        let asked: Vec<Value> = some.iter().map(|(_, oid, size)| json!({"oid": oid, "size": size})).collect();
        let request = json!({"operation": "upload", "transfers": ["basic", "multipart"], "objects": asked, "hash_algo": "sha256",
            "ref": {"name": "main"}});
        let url = api.url(&format!("/{repo}.git/info/lfs/objects/batch"));
        let said = api.post(&url, LFS, request.to_string().as_bytes())?;
        for (f, oid, size) in some {
            let about = said["objects"].as_array().into_iter().flatten().find(|o| o["oid"] == oid.as_str());
            let refused = |m: &str| Fault::new("hub_upload", format!("the Hub does not take {}: {m}", f.path));
            let about = about.ok_or_else(|| refused("it does not name it"))?;
            if let Some(message) = about["error"]["message"].as_str() {
                return Err(refused(message));
            }
            told(done, total, &f.path);
            // Without an action it is there already.
            let action = &about["actions"]["upload"];
            if !action.is_null() {
                api.send(f, *size, oid, action)?;
                let verify = &about["actions"]["verify"];
                if let Some(href) = verify["href"].as_str() {
                    api.post(href, LFS, json!({"oid": oid, "size": size}).to_string().as_bytes())?;
                }
                sent += size;
            }
            done += size;
            told(done, total, &f.path);
        }
    }
    let line = |(f, oid, size): &(&&UploadFile, String, u64)| json!({"key": "lfsFile", "value": {"path": f.path, "algo": "sha256", "oid": oid, "size": size}});
    Ok((objects.iter().map(line).collect(), sent))
}
