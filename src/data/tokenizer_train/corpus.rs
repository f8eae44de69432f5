//! The text that a tokenizer is trained on, read in blocks, so that its size is not bounded by memory.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::base::error::Fault;

/// Bytes read at once. A line that is longer is cut here.
const BLOCK_BYTES: usize = 4 << 20;

/// How a file holds text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Each line with its end is one text.
    Lines,
    /// Each line is a JSON object whose `text` is one text.
    Json,
}

/// Files of text.
#[derive(Debug, Clone)]
pub struct Corpus {
    files: Vec<(PathBuf, Form)>,
    /// Sum of the files' sizes.
    pub bytes: u64,
}

/// Some whole lines of a file.
#[derive(Debug)]
pub struct Block {
    text: String,
    form: Form,
    file: PathBuf,
    /// Number of the first line, from 1.
    line: u64,
}

impl Corpus {
    /// The files that `paths` name: files as they are (`.jsonl` as rows with `text`, others as lines of text), of
    /// folders every `.txt`, `.md` and `.jsonl` below them, by name.
    ///
    /// # Errors
    /// When a path is not there or nothing is found.
    pub fn find(paths: &[PathBuf]) -> Result<Self, Fault> {
        let mut files = Vec::new();
        for path in paths {
            if path.is_dir() {
                walk(path, &mut files)?;
            } else {
                files.push(path.clone());
            }
        }
        let mut bytes = 0;
        for file in &files {
            bytes += std::fs::metadata(file).map_err(|e| Fault::io("read", file, &e))?.len();
        }
        if bytes == 0 {
            let named: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
            return Err(Fault::new("empty_corpus", format!("there is no text in {}", named.join(", ")))
                .hint("give a text file, a .jsonl file whose rows have `text`, or a folder of .txt, .md and .jsonl files"));
        }
        let ending = |p: &Path| p.extension().is_some_and(|e| e.eq_ignore_ascii_case("jsonl"));
        let files = files.into_iter().map(|p| (ending(&p), p)).map(|(json, p)| (p, if json { Form::Json } else { Form::Lines }));
        Ok(Self { files: files.collect(), bytes })
    }

    /// Calls `each` with up to `at_once` blocks at a time, in order.
    ///
    /// # Errors
    /// When a file cannot be read or is not UTF-8, and those of `each`.
    pub fn blocks(&self, at_once: usize, mut each: impl FnMut(Vec<Block>) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut held = Vec::new();
        for (path, form) in &self.files {
            let mut file = File::open(path).map_err(|e| Fault::io("read", path, &e))?;
            let mut rest: Vec<u8> = Vec::new();
            let (mut line, mut cut) = (1, false);
            loop {
                let had = rest.len();
                (&mut file).take((BLOCK_BYTES - had) as u64).read_to_end(&mut rest).map_err(|e| Fault::io("read", path, &e))?;
                if rest.is_empty() {
                    break;
                }
                let ended = rest.len() < BLOCK_BYTES;
                let end = match rest.iter().rposition(|b| *b == b'\n') {
                    _ if ended => rest.len(),
                    Some(last) => last + 1,
                    None => character_end(&rest),
                };
                let tail = rest.split_off(end);
                let lines = rest.iter().filter(|b| **b == b'\n').count() as u64;
                let text = String::from_utf8(std::mem::replace(&mut rest, tail)).map_err(|e| not_text(path, line, &e))?;
                cut |= *form == Form::Json && !ended && !text.ends_with('\n');
                if cut {
                    return Err(Fault::new("row_too_long", format!("{}:{line}: a row of more than {BLOCK_BYTES} bytes", path.display()))
                        .hint("split the row's text into several rows"));
                }
                held.push(Block { text, form: *form, file: path.clone(), line });
                line += lines;
                if held.len() == at_once {
                    each(std::mem::take(&mut held))?;
                }
                if ended {
                    break;
                }
            }
        }
        if held.is_empty() { Ok(()) } else { each(held) }
    }
}

impl Block {
    /// Size of what was read.
    pub fn bytes(&self) -> u64 {
        self.text.len() as u64
    }

    /// Calls `each` with every text.
    ///
    /// # Errors
    /// When a row is not what its file should hold.
    pub fn texts(&self, mut each: impl FnMut(&str)) -> Result<(), Fault> {
        for (i, line) in self.text.split_inclusive('\n').enumerate() {
            match self.form {
                Form::Lines => each(line),
                Form::Json if line.trim().is_empty() => {}
                Form::Json => {
                    let at = format!("{}:{}", self.file.display(), self.line + i as u64);
                    let row: serde_json::Value = serde_json::from_str(line)
                        .map_err(|e| Fault::new("bad_json", format!("{at}: not JSON: {e}")).hint("each line must be one JSON object"))?;
                    let text = row.get("text").and_then(serde_json::Value::as_str);
                    each(text.ok_or_else(|| {
                        Fault::new("missing_field", format!("{at}: there is no `text`")).hint("each row needs its text under `text`")
                    })?);
                }
            }
        }
        Ok(())
    }
}

/// Where the last whole character of a text that goes on ends.
fn character_end(bytes: &[u8]) -> usize {
    let start = bytes.iter().rposition(|b| b & 0xC0 != 0x80).unwrap_or(0);
    if bytes[start] < 0x80 || start + 4 < bytes.len() || start == 0 { bytes.len() } else { start }
}

fn not_text(path: &Path, first: u64, e: &std::string::FromUtf8Error) -> Fault {
    let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
    let line = first + before.iter().filter(|b| **b == b'\n').count() as u64;
    Fault::new("not_utf8", format!("{}:{line}: not UTF-8 text", path.display())).hint("save the file as UTF-8, or leave it out")
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Fault> {
    let fault = |e: std::io::Error| Fault::io("read the folder", folder, &e);
    let mut found = std::fs::read_dir(folder).map_err(fault)?.collect::<Result<Vec<_>, _>>().map_err(fault)?;
    found.sort_by_key(std::fs::DirEntry::file_name);
    for entry in found {
        // Links are left alone: they may lead outside the folder or round in a circle.
        let kind = entry.file_type().map_err(fault)?;
        let path = entry.path();
        let known = path.extension().and_then(|e| e.to_str()).is_some_and(|e| ["txt", "md", "jsonl"].contains(&e));
        if kind.is_dir() {
            walk(&path, files)?;
        } else if kind.is_file() && known {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(paths: &[PathBuf]) -> Result<Vec<String>, Fault> {
        let mut out = Vec::new();
        Corpus::find(paths)?.blocks(3, |blocks| blocks.iter().try_for_each(|b| b.texts(|t| out.push(t.to_owned()))))?;
        Ok(out)
    }

    #[test]
    fn every_text_is_read_once_and_faults_name_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let long = "ж".repeat(BLOCK_BYTES / 2 + 5);
        let lines: Vec<String> = (0..200_000).map(|i| format!("line {i} of a text of several blocks\n")).collect();
        std::fs::write(path("a.txt"), lines.concat()).unwrap();
        std::fs::write(path("b.jsonl"), "{\"text\": \"one\\ntwo\"}\n\n{\"text\": \"three\"}").unwrap();
        std::fs::write(path("c.txt"), &long).unwrap();
        std::fs::write(path("ignored.bin"), [0xff]).unwrap();
        let got = texts(&[dir.path().to_path_buf()]).unwrap();
        assert_eq!(got[..200_000], lines[..]);
        assert_eq!(got[200_000..200_002], ["one\ntwo", "three"]);
        assert_eq!(got[200_002..].concat(), long);

        let code = |content: &[u8], name: &str| {
            std::fs::write(path(name), content).unwrap();
            let fault = texts(&[path(name)]).unwrap_err();
            (fault.code, fault.message.contains(&format!("{name}:2")))
        };
        assert_eq!(code(b"fine\n\xff\xfe\n", "x.txt"), ("not_utf8", true));
        assert_eq!(code(b"{\"text\":\"a\"}\nnope", "x.jsonl"), ("bad_json", true));
        assert_eq!(code(b"{\"text\":\"a\"}\n{\"body\":\"a\"}", "y.jsonl"), ("missing_field", true));
        assert_eq!(texts(&[path("none.txt")]).unwrap_err().code, "file_not_found");
        std::fs::write(path("empty.txt"), "").unwrap();
        assert_eq!(texts(&[path("empty.txt")]).unwrap_err().code, "empty_corpus");
    }
}
