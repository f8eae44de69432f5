//! Files into the cache: what broke off is taken up where it ended, and a file counts only with the hash that the Hub
//! announced for it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::Digest;

use super::cache::{Store, room, stays_below};
use super::client::{Client, Refused, escaped, header, sleep};
use super::{Kind, Listing};
use crate::base::{cancel, progress};

/// Transfers of a file, one after another, that may break off without having brought enough.
const RETRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// What a transfer that breaks off has to bring of a large file, to count as one that got on.
const ENOUGH_BYTES: u64 = 1 << 16;
/// Pause after one that did.
const BETWEEN: Duration = Duration::from_millis(50);
/// Bytes that a download leaves free on the disk.
const SPARE_BYTES: u64 = 64 << 20;

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteFile {
    /// Its path in the repository.
    pub(super) path: String,
    /// The name of its bytes: SHA-256 of a large file, git's hash of a small one. `None`: the Hub has to be asked.
    pub(super) etag: Option<String>,
    pub(super) bytes: Option<u64>,
}

/// One repository at one commit, on its way into the cache.
#[derive(Debug)]
pub(super) struct Download<'a> {
    pub(super) client: &'a Client,
    pub(super) store: &'a Store,
    pub(super) kind: Kind,
    pub(super) id: &'a str,
    pub(super) listing: &'a Listing,
}

impl Download<'_> {
    /// A file that is in the cache already, by its commit, whichever program put it there.
    fn there(&self, file: &str) -> Option<PathBuf> {
        Some(self.store.snapshot(&self.listing.commit).join(file)).filter(|p| p.is_file())
    }

    /// Refuses what the disk has no room for, before anything is fetched.
    pub(super) fn check_room(&self, files: &[RemoteFile]) -> Result<(), Refused> {
        let missing = |f: &&RemoteFile| self.there(&f.path).is_none();
        let mut wanted = 0u64;
        for file in files.iter().filter(missing) {
            let etag = file.etag.as_deref().unwrap_or_default();
            let here = |path: PathBuf| std::fs::metadata(path).map_or(0, |data| data.len());
            let here = if etag.is_empty() { 0 } else { here(self.store.blob(etag)).max(here(self.store.incomplete(etag))) };
            wanted = wanted.saturating_add(file.bytes.unwrap_or(0).saturating_sub(here));
        }
        match room(&self.store.snapshot("")) {
            Some(room) if wanted > 0 && wanted.saturating_add(SPARE_BYTES) > room => Err(Refused::Kept(format!(
                "the download takes {:.1} GB and the disk of the cache has {:.1} GB left: free some space, or set HF_HUB_CACHE to a folder \
                 on another disk; nothing was fetched",
                wanted as f64 / 1e9,
                room as f64 / 1e9
            ))),
            _ => Ok(()),
        }
    }

    /// Brings a file into the cache; where it stands there.
    pub(super) fn file(&self, file: &RemoteFile) -> Result<PathBuf, Refused> {
        if let Some(path) = self.there(&file.path) {
            return Ok(path);
        }
        let prefix = if self.kind == Kind::Dataset { "datasets/" } else { "" };
        let path: Vec<String> = file.path.split('/').map(escaped).collect();
        let url = self.client.url(&format!("/{prefix}{}/resolve/{}/{}", self.id, self.listing.commit, path.join("/")));
        let file = self.announced(file, &url)?;
        let etag = file.etag.as_deref().unwrap_or_default();
        let _lock = self.store.lock(etag)?;
        // Another program may have brought it meanwhile.
        if !self.store.blob(etag).is_file() {
            self.bytes(&file, etag, &url)?;
        }
        self.store.link(&self.listing.commit, &file.path, etag)
    }

    /// With hash and size, which the Hub is asked for where its list did not name them.
    fn announced(&self, file: &RemoteFile, url: &str) -> Result<RemoteFile, Refused> {
        let mut file = file.clone();
        if file.etag.is_none() {
            let response = self.client.head(url)?;
            let tag = header(&response, "x-linked-etag").or_else(|| header(&response, "etag"));
            file.etag = tag.map(|t| t.trim_start_matches("W/").trim_matches('"').to_owned());
            // The length of a redirect is not that of the file.
            let length = header(&response, "x-linked-size");
            let length = length.or_else(|| header(&response, "content-length").filter(|_| response.status().is_success()));
            file.bytes = length.and_then(|l| l.parse().ok());
        }
        match &file.etag {
            Some(etag) if stays_below(etag) && !etag.contains('/') => Ok(file),
            _ => Err(Refused::Answer(format!("{} comes without the name of its bytes", file.path))),
        }
    }

    fn bytes(&self, file: &RemoteFile, etag: &str, url: &str) -> Result<(), Refused> {
        let half = self.store.incomplete(etag);
        let fail = |e: std::io::Error| Refused::Kept(format!("{}: {e}", half.display()));
        std::fs::create_dir_all(half.parent().unwrap_or(&half)).map_err(fail)?;
        let begun_anew = !half.exists();
        self.gather(file, &half, url)?;
        if !is_whole(&half, etag, &file.path).map_err(fail)? {
            std::fs::remove_file(&half).map_err(fail)?;
            // What an earlier try had left may have been the damage.
            if !begun_anew {
                self.gather(file, &half, url)?;
            }
            if begun_anew || !is_whole(&half, etag, &file.path).map_err(fail)? {
                let _ = std::fs::remove_file(&half);
                return Err(Refused::Kept(format!(
                    "{}: what arrived has another hash than the Hub announced, and was not kept",
                    file.path
                )));
            }
        }
        std::fs::rename(&half, self.store.blob(etag)).map_err(fail)
    }

    /// Bytes after those that are there, until all have come.
    fn gather(&self, file: &RemoteFile, half: &Path, url: &str) -> Result<(), Refused> {
        let (mut failed, mut is_anew) = (0, false);
        loop {
            let before = std::fs::metadata(half).map_or(0, |data| data.len());
            if file.bytes == Some(before) && half.exists() {
                return Ok(());
            }
            let from = if file.bytes.is_some_and(|bytes| before > bytes) { 0 } else { before };
            let refused = match self.transfer(file, half, url, from) {
                Ok(()) => return Ok(()),
                // A half that is too long, or is the whole already, cannot be taken up: it is fetched anew, once.
                Err(refused @ Refused::Status { status: 416, .. }) if from > 0 && !is_anew => {
                    is_anew = true;
                    std::fs::remove_file(half).map_err(|_| refused)?;
                    continue;
                }
                Err(refused) => refused,
            };
            let again = refused.is_silence() || matches!(refused, Refused::Status { status: 500.., .. });
            let came = std::fs::metadata(half).map_or(0, |data| data.len()).saturating_sub(before);
            // A few bytes each time would go on for ever.
            let enough = file.bytes.map_or(1, |bytes| (bytes / 64).clamp(1, ENOUGH_BYTES));
            failed = if came >= enough { 0 } else { failed + 1 };
            if !again || failed > RETRIES {
                return Err(refused);
            }
            sleep(if failed == 0 { BETWEEN } else { FIRST_WAIT * failed * failed });
        }
    }

    fn transfer(&self, file: &RemoteFile, half: &Path, url: &str, from: u64) -> Result<(), Refused> {
        let mut response = self.client.get(url, from)?;
        let fail = |e: std::io::Error| Refused::Kept(format!("{}: {e}", half.display()));
        // A server that knows no ranges sends it from the beginning.
        let from = if response.status().as_u16() == 206 { from } else { 0 };
        let mut out = OpenOptions::new().create(true).write(true).truncate(false).open(half).map_err(fail)?;
        out.set_len(from).map_err(fail)?;
        std::io::Seek::seek(&mut out, std::io::SeekFrom::Start(from)).map_err(fail)?;
        let length = header(&response, "content-length").and_then(|l| l.parse::<u64>().ok());
        let total = file.bytes.or(length.map(|l| from + l));
        let mut reader = response.body_mut().as_reader();
        let (mut done, mut buffer) = (from, vec![0u8; 1 << 18]);
        let what = format!("downloading {}", file.path);
        loop {
            cancel::checkpoint();
            let n = reader.read(&mut buffer).map_err(|e| Refused::NoAnswer(format!("{}: {e}", file.path)))?;
            if n == 0 {
                break;
            }
            out.write_all(&buffer[..n]).map_err(fail)?;
            done += n as u64;
            let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
            progress::report(&what, "MB", megabytes(done), megabytes(total.unwrap_or(done)));
        }
        out.sync_all().map_err(fail)?;
        match total {
            Some(total) if done != total => Err(Refused::NoAnswer(format!("{}: {done} of {total} bytes came", file.path))),
            _ => Ok(()),
        }
    }
}

/// Whether a file has the hash that names it: SHA-256, or that of a git blob. Other names say nothing.
fn is_whole(path: &Path, etag: &str, name: &str) -> std::io::Result<bool> {
    let is_hex = etag.bytes().all(|b| b.is_ascii_hexdigit());
    let mut file = File::open(path)?;
    let total = file.metadata()?.len();
    let mut each = |hash: &mut dyn FnMut(&[u8])| -> std::io::Result<()> {
        let (mut buffer, mut done) = (vec![0u8; 1 << 20], 0);
        loop {
            cancel::checkpoint();
            let n = file.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            hash(&buffer[..n]);
            done += n as u64;
            progress::report(&format!("checking {name}"), "MB", done.div_ceil(1_000_000), total.div_ceil(1_000_000));
        }
    };
    let hex = |digest: &[u8]| digest.iter().map(|b| format!("{b:02x}")).collect::<String>();
    Ok(match etag.len() {
        64 if is_hex => {
            let mut hasher = sha2::Sha256::new();
            each(&mut |bytes| hasher.update(bytes))?;
            hex(&hasher.finalize()).eq_ignore_ascii_case(etag)
        }
        40 if is_hex => {
            let mut hasher = sha1::Sha1::new();
            hasher.update(format!("blob {total}\0"));
            each(&mut |bytes| hasher.update(bytes))?;
            hex(&hasher.finalize()).eq_ignore_ascii_case(etag)
        }
        _ => true,
    })
}
