//! A model's tokenizer as its folder holds it: `tokenizer.json`, special tokens, chat template.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tokenizers::{AddedToken, Tokenizer};

use super::error::DataError;
use super::template::{ChatTemplate, TemplateTokens};
use crate::base::hash::sha256_bytes;

/// A tokenizer with its special tokens and chat template.
#[derive(Debug)]
pub struct TextTokenizer {
    inner: Tokenizer,
    origin: PathBuf,
    special: Vec<(String, String)>,
    template: Option<ChatTemplate>,
    sha256: String,
}

/// The special tokens that have a name of their own.
const NAMED: [&str; 7] = ["bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"];

impl TextTokenizer {
    /// Loads a folder (or a `tokenizer.json`, whose folder is then used).
    ///
    /// The chat template is, in this order: `chat_template.jinja`, `chat_template` of `tokenizer_config.json` (text, or a
    /// list of `{name, template}` of which `default` is taken), `chat_template.json`.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] for missing or broken files, [`DataError::Template`] for a broken template.
    pub fn load(path: &Path) -> Result<Self, DataError> {
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
        let file = if path.is_dir() { path.join("tokenizer.json") } else { path.to_path_buf() };
        let fail = |message: String| DataError::Tokenizer { path: file.clone(), message };
        let bytes = std::fs::read(&file).map_err(|e| fail(e.to_string()))?;
        let inner = Tokenizer::from_bytes(&bytes).map_err(|e| fail(format!("not a tokenizer: {e}")))?;
        let config = read_object(&folder.join("tokenizer_config.json"))?;
        let map = read_object(&folder.join("special_tokens_map.json"))?;
        let source = template_source(folder, &config)?;
        let mut loaded = Self::from_parts(inner, special_tokens(&config, &map))?;
        loaded.add_missing_tokens(&config);
        loaded.origin = folder.to_path_buf();
        loaded.sha256 = sha256_bytes(&bytes);
        if let Some((text, origin)) = source {
            loaded.set_chat_template(&text, &origin)?;
        }
        Ok(loaded)
    }

    /// From a tokenizer in memory and named special tokens (`eos_token`, ...).
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] when a special token is not in the vocabulary.
    pub fn from_parts(mut inner: Tokenizer, special: Vec<(String, String)>) -> Result<Self, DataError> {
        let origin = PathBuf::from("tokenizer");
        let fail = |message: String| DataError::Tokenizer { path: PathBuf::from("tokenizer"), message };
        // A saved truncation or padding would silently cut or fill every row.
        inner.with_truncation(None).map_err(|e| fail(e.to_string()))?;
        inner.with_padding(None);
        let sha256 = sha256_bytes(inner.to_string(false).map_err(|e| fail(e.to_string()))?.as_bytes());
        Ok(Self { inner, origin, special, template: None, sha256 })
    }

    /// Says where it came from.
    #[must_use]
    pub fn at(mut self, origin: &Path) -> Self {
        self.origin = origin.to_path_buf();
        self
    }

    /// Sets the chat template: its text, or `chatml`. `origin` names it in errors.
    ///
    /// # Errors
    /// [`DataError::Template`] when it does not compile.
    pub fn set_chat_template(&mut self, source: &str, origin: &str) -> Result<(), DataError> {
        let tokens = TemplateTokens { variables: self.special.clone() };
        self.template = Some(ChatTemplate::new(source, origin, tokens)?);
        Ok(())
    }

    /// Some configurations list added tokens that `tokenizer.json` lacks; they are added where their ids fit.
    fn add_missing_tokens(&mut self, config: &Map<String, Value>) {
        let Some(listed) = config.get("added_tokens_decoder").and_then(Value::as_object) else { return };
        let mut tokens: Vec<(u32, &Value)> = listed.iter().filter_map(|(id, token)| Some((id.parse().ok()?, token))).collect();
        tokens.sort_by_key(|(id, _)| *id);
        for (id, token) in tokens {
            let Some(content) = token.get("content").and_then(Value::as_str) else { continue };
            if self.inner.token_to_id(content).is_some() || self.inner.get_vocab_size(true) as u32 != id {
                continue;
            }
            let flag = |name: &str| token.get(name).and_then(Value::as_bool).unwrap_or(false);
            let added = AddedToken::from(content.to_string(), flag("special"))
                .lstrip(flag("lstrip"))
                .rstrip(flag("rstrip"))
                .normalized(flag("normalized"));
            // A token that cannot be added is reported when a text needs it, as an unknown token.
            let _ = self.inner.add_tokens([added]);
        }
    }

    /// The tokenizer itself.
    pub fn inner(&self) -> &Tokenizer {
        &self.inner
    }

    /// The folder it came from.
    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// SHA-256 of `tokenizer.json`.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The chat template, if there is one.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// Text of a named special token, such as `eos_token`.
    pub fn special(&self, name: &str) -> Option<&str> {
        self.special.iter().find(|(n, _)| n == name).map(|(_, text)| text.as_str())
    }

    fn special_id(&self, name: &str) -> Option<u32> {
        self.inner.token_to_id(self.special(name)?)
    }

    /// Id of the beginning-of-text token.
    pub fn bos_id(&self) -> Option<u32> {
        self.special_id("bos_token")
    }

    /// Id of the end-of-text token.
    pub fn eos_id(&self) -> Option<u32> {
        self.special_id("eos_token")
    }

    /// Id of the padding token.
    pub fn pad_id(&self) -> Option<u32> {
        self.special_id("pad_token")
    }

    /// Id of the unknown-word token.
    pub fn unk_id(&self) -> Option<u32> {
        self.special_id("unk_token")
    }

    /// Number of ids, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Whether an id is an added special token (`<|im_end|>`, ...).
    pub fn is_special(&self, id: u32) -> bool {
        self.inner
            .get_added_vocabulary()
            .simple_id_to_token(id)
            .is_some_and(|token| self.inner.get_added_vocabulary().is_special_token(&token))
    }

    /// Ids and the byte range of the text each came from.
    ///
    /// # Errors
    /// The tokenizer's reason.
    pub(crate) fn encode_with_offsets(&self, text: &str, add_special: bool) -> Result<tokenizers::Encoding, String> {
        self.inner.encode(text, add_special).map_err(|e| format!("cannot be tokenised: {e}"))
    }

    /// Ids of a text. `add_special` adds what the tokenizer itself puts around a text (not wanted after a chat template).
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] with the tokenizer's reason.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, DataError> {
        let encoding = self.encode_with_offsets(text, add_special);
        encoding.map(|e| e.get_ids().to_vec()).map_err(|message| DataError::Tokenizer { path: self.origin.clone(), message })
    }

    /// Text of ids.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] with the tokenizer's reason.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, DataError> {
        self.inner.decode(ids, skip_special).map_err(|e| DataError::Tokenizer { path: self.origin.clone(), message: e.to_string() })
    }
}

/// A JSON object, or an empty one where the file is missing.
fn read_object(path: &Path) -> Result<Map<String, Value>, DataError> {
    let fail = |message: String| DataError::Tokenizer { path: path.to_path_buf(), message };
    match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Map::new()),
        Err(e) => Err(fail(e.to_string())),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| fail(format!("not a JSON object: {e}"))),
    }
}

/// Named tokens from the configuration, else from the map; a token is text or `{content, ...}`.
fn special_tokens(config: &Map<String, Value>, map: &Map<String, Value>) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_string);
    let find = |name: &str| [config, map].iter().find_map(|source| source.get(name).and_then(text));
    NAMED.iter().filter_map(|name| Some((name.to_string(), find(name)?))).collect()
}

fn template_source(folder: &Path, config: &Map<String, Value>) -> Result<Option<(String, String)>, DataError> {
    let jinja = folder.join("chat_template.jinja");
    match std::fs::read_to_string(&jinja) {
        Ok(text) => return Ok(Some((text, jinja.display().to_string()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(DataError::Tokenizer { path: jinja, message: e.to_string() }),
    }
    let json = folder.join("chat_template.json");
    let beside = read_object(&json)?;
    let config_file = folder.join("tokenizer_config.json");
    for (object, file) in [(config, config_file), (&beside, json)] {
        if let Some(text) = object.get("chat_template").and_then(default_template) {
            return Ok(Some((text, file.display().to_string())));
        }
    }
    Ok(None)
}

/// The template's text, or the one called `default` (else the first) of a list of `{name, template}`.
fn default_template(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_string());
    }
    let list = value.as_array()?;
    let named = list.iter().find(|t| t.get("name").and_then(Value::as_str) == Some("default"));
    named.or(list.first())?.get("template")?.as_str().map(str::to_string)
}
