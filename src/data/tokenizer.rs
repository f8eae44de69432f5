//! A model's tokenizer as its folder holds it: `tokenizer.json`, special tokens, chat template.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Map, Value, json};
use tokenizers::models::ModelWrapper;
use tokenizers::{AddedToken, Tokenizer};

use super::builtin::{self, ToolPlace};
use super::error::DataError;
use super::template::{ChatTemplate, TemplateTokens};
use crate::base::atomic::write_file;
use crate::base::error::Fault;
use crate::base::files;
use crate::base::hash::sha256_bytes;
use crate::base::panics;
use crate::base::time_limit::Library;

/// A tokenizer with its special tokens and chat template.
#[derive(Debug)]
pub struct TextTokenizer {
    inner: Tokenizer,
    origin: PathBuf,
    special: Vec<(String, String)>,
    special_ids: HashSet<u32>,
    template: Option<ChatTemplate>,
    /// The one called `tool_use`, for conversations with tools.
    tool_template: Option<ChatTemplate>,
    pair_template: OnceLock<Option<ChatTemplate>>,
    /// `tokenizer_config.json` as it was read.
    config: Map<String, Value>,
    /// What was changed while loading, for a person to know.
    notes: Vec<String>,
    sha256: String,
}

/// The special tokens that have a name of their own.
const NAMED: [&str; 7] = ["bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"];

/// Largest id of a token, as a model may have at most so many rows of its embedding.
const LARGEST_ID: u32 = 1 << 24;

impl TextTokenizer {
    /// Loads a folder (or a `tokenizer.json`, whose folder is then used).
    ///
    /// The chat template is, in this order: `chat_template.jinja`, `chat_template` of `tokenizer_config.json` (text, or a
    /// list of `{name, template}`), `chat_template.json`. Of several templates `default` is taken, and `tool_use` for
    /// conversations with tools; `additional_chat_templates/tool_use.jinja` is the latter too.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] for missing or broken files, [`DataError::Template`] for a broken template.
    pub fn load(path: &Path) -> Result<Self, DataError> {
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
        let file = if path.is_dir() { path.join("tokenizer.json") } else { path.to_path_buf() };
        let fail = |message: String| DataError::Tokenizer { path: file.clone(), message };
        let bytes = files::read(&file).map_err(|e| fail(e.to_string()))?;
        let inner = Self::parse(&bytes).map_err(|e| fail(format!("not a tokenizer: {e}")))?;
        let config = read_object(&folder.join("tokenizer_config.json"))?;
        let map = read_object(&folder.join("special_tokens_map.json"))?;
        let (source, tool_source) = template_sources(folder, &config)?;
        let mut loaded = Self::from_parts(inner, special_tokens(&config, &map))?;
        loaded.add_missing_tokens(&config);
        loaded.origin = folder.to_path_buf();
        loaded.sha256 = sha256_bytes(&bytes);
        loaded.config = config;
        if let Some((text, origin)) = source {
            loaded.set_chat_template(&text, &origin)?;
        }
        if let Some((text, origin)) = tool_source {
            loaded.tool_template = Some(loaded.compile(&text, &origin)?);
        }
        Ok(loaded)
    }

    /// A tokenizer of the bytes of a `tokenizer.json`, wherever they come from.
    ///
    /// # Errors
    /// What is wrong with them, in words. Damaged JSON makes the library panic in places: that is an error too.
    pub fn parse(bytes: &[u8]) -> Result<Tokenizer, String> {
        let parsed = in_library(bytes.len(), || Tokenizer::from_bytes(bytes));
        parsed.unwrap_or_else(|| Err("it is damaged, and the library failed inside".into())).map_err(|e| e.to_string())
    }

    /// From a tokenizer in memory and named special tokens (`eos_token`, ...).
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] when a special token is not in the vocabulary.
    pub fn from_parts(mut inner: Tokenizer, special: Vec<(String, String)>) -> Result<Self, DataError> {
        let origin = PathBuf::from("tokenizer");
        let fail = |message: String| DataError::Tokenizer { path: PathBuf::from("tokenizer"), message };
        // The library writes a vocabulary by counting up to its largest id.
        let largest = inner.get_vocab(true).into_values().max().unwrap_or(0);
        if largest > LARGEST_ID {
            return Err(fail(format!("a token has the id {largest}; the largest that is read is {LARGEST_ID}")));
        }
        // A saved truncation or padding would silently cut or fill every row.
        inner.with_truncation(None).map_err(|e| fail(e.to_string()))?;
        inner.with_padding(None);
        let notes = switch_dropout_off(&mut inner).into_iter().collect();
        let sha256 = sha256_bytes(inner.to_string(false).map_err(|e| fail(e.to_string()))?.as_bytes());
        let mut made = Self {
            inner,
            origin,
            special,
            special_ids: HashSet::new(),
            template: None,
            tool_template: None,
            pair_template: OnceLock::new(),
            config: Map::new(),
            notes,
            sha256,
        };
        made.find_special_ids();
        Ok(made)
    }

    fn find_special_ids(&mut self) {
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        self.special_ids = added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
    }

    /// What was changed while loading.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Says where it came from.
    #[must_use]
    pub fn at(mut self, origin: &Path) -> Self {
        self.origin = origin.to_path_buf();
        self
    }

    /// Sets the chat template for all conversations: the name of one that comes with the program, or its text.
    /// `origin` names it in errors.
    ///
    /// # Errors
    /// [`DataError::Template`] when it does not compile.
    pub fn set_chat_template(&mut self, source: &str, origin: &str) -> Result<(), DataError> {
        let own = builtin::source_for(source, self);
        self.template = Some(self.compile(own.as_deref().unwrap_or(source), origin)?);
        self.tool_template = None;
        Ok(())
    }

    /// Gives the templates variables such as `enable_thinking`. They become part of the templates, so that whoever
    /// renders them later has the same values unless other ones are given.
    ///
    /// # Errors
    /// [`DataError::Template`] when a name is none.
    pub fn set_template_variables(&mut self, variables: &Map<String, Value>) -> Result<(), DataError> {
        if variables.is_empty() {
            return Ok(());
        }
        let again = |t: &ChatTemplate| self.compile(&builtin::with_variables(t.source(), variables), "dataset.template_variables");
        let (template, tool_template) =
            (self.template.as_ref().map(again).transpose()?, self.tool_template.as_ref().map(again).transpose()?);
        (self.template, self.tool_template) = (template, tool_template);
        Ok(())
    }

    fn compile(&self, source: &str, origin: &str) -> Result<ChatTemplate, DataError> {
        ChatTemplate::new(source, origin, TemplateTokens { variables: self.special.clone() })
    }

    /// Gives a template without tools the form of tool calls that comes with the program: tools in the system turn (or
    /// the first user turn), calls and replies as text. False where the template has tools of its own.
    ///
    /// # Errors
    /// [`DataError::Template`] when the template takes neither form.
    pub fn add_tool_form(&mut self) -> Result<bool, DataError> {
        let Some(template) = self.template_for(true).filter(|t| !t.writes_calls()) else { return Ok(false) };
        let mut last = String::new();
        for place in [ToolPlace::System, ToolPlace::User] {
            let made = self.compile(&builtin::with_tool_form(template.source(), place), "the form of tool calls")?;
            match made.probe_tools() {
                Ok(true) => {
                    (self.template, self.tool_template) = (Some(made), None);
                    return Ok(true);
                }
                Ok(false) => last = "it leaves the tools out".into(),
                Err(e) => last = e,
            }
        }
        Err(DataError::Template { path: self.origin.display().to_string(), message: format!("no form of tool calls fits it: {last}") })
    }

    /// The chat template for a conversation with tools, or without.
    pub fn template_for(&self, tools: bool) -> Option<&ChatTemplate> {
        self.tool_template.as_ref().filter(|_| tools).or(self.template.as_ref())
    }

    /// The template of instructions for a tokenizer that has none.
    pub(super) fn pair_template(&self) -> Option<&ChatTemplate> {
        let make = || self.compile(&builtin::source_for("alpaca", self)?, "`alpaca`").ok();
        self.pair_template.get_or_init(make).as_ref()
    }

    /// The template called `tool_use`, where there is one.
    pub fn tool_template(&self) -> Option<&ChatTemplate> {
        self.tool_template.as_ref()
    }

    /// The token that ends an answer: what the chat template writes after it, else the end of text. A model trained on
    /// chats stops by this token, so generation and every export must stop at it.
    pub fn turn_end(&self) -> Option<u32> {
        let after = self.template.as_ref().and_then(ChatTemplate::after_answer);
        let ids = after.and_then(|text| self.encode_with_offsets(&text, false).ok());
        let special = ids.and_then(|e| e.get_ids().iter().copied().find(|id| self.is_special(*id) || self.eos_id() == Some(*id)));
        special.or(self.eos_id())
    }

    /// The text that the chat template ends an answer with, where the vocabulary has no token for it.
    pub fn turn_end_text(&self) -> Option<String> {
        let after = self.template.as_ref().and_then(ChatTemplate::after_answer)?;
        let ids = self.encode_with_offsets(&after, false).ok()?;
        let ends = |id: &u32| self.is_special(*id) || self.eos_id() == Some(*id);
        let text = after.trim();
        (!text.is_empty() && !ids.get_ids().iter().any(ends)).then(|| text.to_owned())
    }

    /// Whether the tokenizer puts a space before a text that has none.
    pub(super) fn prepends_space(&self) -> bool {
        let first = self.encode_with_offsets("x", false).ok().and_then(|e| e.get_tokens().first().cloned());
        first.is_some_and(|token| token.starts_with(['\u{2581}', '\u{120}']))
    }

    /// Whether the tokenizer itself puts the beginning-of-text token before a text.
    pub fn adds_bos(&self) -> bool {
        let first = self.encode_with_offsets("a", true).ok().and_then(|e| e.get_ids().first().copied());
        first.is_some() && first == self.bos_id()
    }

    /// Writes the tokenizer into a folder as other programs read it, with the templates as they are now.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, folder: &Path) -> Result<(), Fault> {
        let text = self.inner.to_string(false).map_err(|e| Fault::new("tokenizer_unreadable", e.to_string()))?;
        write_file(&folder.join("tokenizer.json"), text.as_bytes())?;
        let mut config = self.config.clone();
        config.entry("tokenizer_class").or_insert_with(|| json!("PreTrainedTokenizerFast"));
        for (name, text) in &self.special {
            config.entry(name.as_str()).or_insert_with(|| json!(text));
        }
        config.remove("chat_template");
        if let Some(template) = &self.template {
            let value = match &self.tool_template {
                None => json!(template.source()),
                Some(tools) => json!([
                    {"name": "default", "template": template.source()},
                    {"name": "tool_use", "template": tools.source()},
                ]),
            };
            config.insert("chat_template".into(), value);
            write_file(&folder.join("chat_template.jinja"), template.source().as_bytes())?;
        }
        if let Some(tools) = &self.tool_template {
            let beside = folder.join("additional_chat_templates");
            crate::base::atomic::create_dir_all(&beside)?;
            write_file(&beside.join("tool_use.jinja"), tools.source().as_bytes())?;
        }
        write_file(&folder.join("tokenizer_config.json"), format!("{:#}\n", Value::Object(config)).as_bytes())
    }

    /// Takes the templates that stand in a folder beside an adapter; false where there are none.
    ///
    /// # Errors
    /// As [`TextTokenizer::load`].
    pub fn take_templates(&mut self, folder: &Path) -> Result<bool, DataError> {
        let config = read_object(&folder.join("tokenizer_config.json"))?;
        let (source, tool_source) = template_sources(folder, &config)?;
        let Some((text, origin)) = source else { return Ok(false) };
        self.set_chat_template(&text, &origin)?;
        if let Some((text, origin)) = tool_source {
            self.tool_template = Some(self.compile(&text, &origin)?);
        }
        Ok(true)
    }

    /// Some configurations list added tokens that `tokenizer.json` lacks; they are added where their ids fit.
    fn add_missing_tokens(&mut self, config: &Map<String, Value>) {
        let Some(listed) = config.get("added_tokens_decoder").and_then(Value::as_object) else { return };
        let mut tokens: Vec<(u32, &Value)> = listed.iter().filter_map(|(id, token)| Some((id.parse().ok()?, token))).collect();
        tokens.sort_by_key(|(id, _)| *id);
        // All at once: the library builds its index of added tokens anew in each call.
        let (mut next, mut new, mut known) = (self.inner.get_vocab_size(true), Vec::new(), HashSet::new());
        for (id, token) in tokens {
            let Some(content) = token.get("content").and_then(Value::as_str) else { continue };
            let is_known = self.inner.token_to_id(content).is_some() || content.is_empty() || !known.insert(content);
            if is_known || next as u32 != id {
                continue;
            }
            let flag = |name: &str| token.get(name).and_then(Value::as_bool).unwrap_or(false);
            let added = AddedToken::from(content.to_string(), flag("special"))
                .lstrip(flag("lstrip"))
                .rstrip(flag("rstrip"))
                .normalized(flag("normalized"));
            new.push(added);
            next += 1;
        }
        // A token that cannot be added is reported when a text needs it, as an unknown token.
        let bytes = new.iter().map(|token| token.content.len()).sum();
        let _ = in_library(bytes, || self.inner.add_tokens(new));
        self.find_special_ids();
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
        self.special_ids.contains(&id)
    }

    /// Ids and the byte range of the text each came from.
    ///
    /// # Errors
    /// The tokenizer's reason.
    pub(crate) fn encode_with_offsets(&self, text: &str, add_special: bool) -> Result<tokenizers::Encoding, String> {
        // A broken tokenizer.json makes the library panic; that is one more way to fail.
        let encoded = in_library(text.len(), || self.inner.encode(text, add_special));
        let encoded = encoded.unwrap_or_else(|| Err("tokenizer.json is broken: the tokenizer failed inside".into()));
        encoded.map_err(|e| format!("cannot be tokenised: {e}"))
    }

    /// Ids of a text. `add_special` adds what the tokenizer itself puts around a text (not wanted after a chat template);
    /// a text that begins with the beginning-of-text token gets no second one.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] with the tokenizer's reason.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, DataError> {
        let tokens = super::tokens::Tokens::of(text, add_special, self);
        tokens.map(|t| t.ids).map_err(|message| DataError::Tokenizer { path: self.origin.clone(), message })
    }

    /// Text of ids.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] with the tokenizer's reason.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, DataError> {
        let decoded = in_library(size_of_val(ids), || self.inner.decode(ids, skip_special));
        let decoded = decoded.unwrap_or_else(|| Err("tokenizer.json is broken: its decoder failed inside".into()));
        decoded.map_err(|e| DataError::Tokenizer { path: self.origin.clone(), message: e.to_string() })
    }
}

/// Lets the library work on so many bytes; `None` when it failed inside.
pub(super) fn in_library<T>(bytes: usize, work: impl FnOnce() -> T) -> Option<T> {
    panics::of_library(Library::Tokenizer, bytes, work)
}

/// A JSON object, or an empty one where the file is missing.
fn read_object(path: &Path) -> Result<Map<String, Value>, DataError> {
    let fail = |message: String| DataError::Tokenizer { path: path.to_path_buf(), message };
    match files::read(path) {
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

/// Text and file of a template.
type Source = (String, String);

/// The template for all conversations, and the one for conversations with tools.
fn template_sources(folder: &Path, config: &Map<String, Value>) -> Result<(Option<Source>, Option<Source>), DataError> {
    let read = |path: PathBuf| match files::read_text(&path) {
        Ok(text) => Ok(Some((text, path.display().to_string()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(DataError::Tokenizer { path, message: e.to_string() }),
    };
    let mut main = read(folder.join("chat_template.jinja"))?;
    let mut tools = read(folder.join("additional_chat_templates/tool_use.jinja"))?;
    let json = folder.join("chat_template.json");
    let beside = read_object(&json)?;
    let config_file = folder.join("tokenizer_config.json");
    for (object, file) in [(config, config_file), (&beside, json)] {
        let Some(value) = object.get("chat_template") else { continue };
        let from = |text: String| (text, file.display().to_string());
        // A template in a file of its own goes before a list of other ones.
        let same = main.as_ref().is_none_or(|(text, _)| named_template(value, "default").as_ref() == Some(text));
        tools = tools.or_else(|| named_template(value, "tool_use").filter(|_| same).map(from));
        main = main.or_else(|| named_template(value, "default").map(from));
    }
    Ok((main, tools))
}

/// The template of that name of a list of `{name, template}`; `default` is also a lone text, and the first of the list.
fn named_template(value: &Value, name: &str) -> Option<String> {
    if let Some(text) = value.as_str() {
        return (name == "default").then(|| text.to_string());
    }
    let list = value.as_array()?;
    let named = list.iter().find(|t| t.get("name").and_then(Value::as_str) == Some(name));
    named.or(list.first().filter(|_| name == "default"))?.get("template")?.as_str().map(str::to_string)
}

/// BPE dropout makes another text of the same text each time; it is switched off, and that is said.
fn switch_dropout_off(inner: &mut Tokenizer) -> Option<String> {
    let ModelWrapper::BPE(bpe) = inner.get_model() else { return None };
    let share = bpe.dropout.filter(|d| *d > 0.0)?;
    let mut without = bpe.clone();
    without.dropout = None;
    inner.with_model(without);
    Some(format!("tokenizer.json asks for BPE dropout {share}: it is switched off, so that the same text gives the same tokens"))
}
