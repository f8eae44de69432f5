//! The models of a server: one base, and adapters over it by name.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::load::{LoadedModel, ModelRequest, check_vocabulary, load, stop_ids, tokenizer_for};
use super::models;
use crate::base::error::Fault;
use serde_json::Value;

use crate::data::TextTokenizer;
use crate::data::calls::CallForm;
use crate::data::guide::{Guide, Vocabulary};
use crate::model::Decoder;
use crate::model::generate::Hold;

/// What is served.
#[derive(Debug, Clone)]
pub struct ServeRequest {
    /// The base, or what a run gave: base and adapter.
    pub model: ModelRequest,
    /// What clients call the base; unset: its id on the Hub, or its folder's or file's name.
    pub name: Option<String>,
    /// What clients call the adapter of `model`, where there is one.
    pub adapter_name: String,
    /// Further adapters, with the name of each.
    pub adapters: Vec<(String, PathBuf)>,
}

/// A model that clients ask by its name. Several share the weights of one base.
#[derive(Debug)]
pub struct Served {
    /// Its name.
    pub name: String,
    /// The model.
    pub decoder: Decoder,
    /// Its tokenizer. A chat template without tools has the form of tool calls that comes with the program.
    pub tokenizer: TextTokenizer,
    /// Why it cannot be offered tools.
    pub no_tools: Option<String>,
    /// Ids that end an answer.
    pub stop: Vec<u32>,
    /// What holds answers to a form, made when it is first asked for.
    vocabulary: OnceLock<Result<Vocabulary, String>>,
}

#[derive(Debug)]
struct Held(Guide);

impl Hold for Held {
    fn mask(&mut self) -> Result<Vec<u32>, String> {
        self.0.mask()
    }

    fn took(&mut self, token: u32) -> Result<(), String> {
        self.0.took(token)
    }
}

impl Served {
    fn vocabulary(&self) -> Result<&Vocabulary, String> {
        let made = self.vocabulary.get_or_init(|| Vocabulary::new(self.tokenizer.inner(), &self.stop));
        made.as_ref().map_err(Clone::clone)
    }

    /// Holds an answer to JSON that a schema allows.
    ///
    /// # Errors
    /// In words, when the tokenizer or the schema cannot be held to.
    pub fn hold_to_json(&self, schema: &Value) -> Result<Box<dyn Hold>, String> {
        Ok(Box::new(Held(self.vocabulary()?.json(schema)?)))
    }

    /// Holds an answer to calls of these tools, in the form of the chat template: one, or one and more.
    ///
    /// # Errors
    /// In words, when the tokenizer, the form or a schema cannot be held to.
    pub fn hold_to_calls(&self, tools: &[Value], several: bool) -> Result<Box<dyn Hold>, String> {
        let form = self.tokenizer.template_for(true).and_then(|t| CallForm::of_template(t.source()));
        let form = form.ok_or("the chat template writes no calls of a form that is known here")?;
        Ok(Box::new(Held(self.vocabulary()?.calls(form, tools, several)?)))
    }
}

/// Loads the base, and one model for each adapter.
///
/// # Errors
/// When a file is missing or does not fit, or two have one name.
pub fn models(request: &ServeRequest) -> Result<Vec<Served>, Fault> {
    let base_request = ModelRequest { adapter: None, ..request.model.clone() };
    let name = request.name.clone().unwrap_or_else(|| short_name(&request.model.model));
    let own = request.model.adapter.iter().map(|dir| (request.adapter_name.clone(), dir.clone()));
    let adapters: Vec<(String, PathBuf)> = own.chain(request.adapters.iter().cloned()).collect();
    let mut names = vec![name.clone()];
    for (name, dir) in &adapters {
        if name.is_empty() || names.contains(name) {
            return Err(Fault::new("usage", format!("{}: `{name}` is empty or taken: each model needs a name of its own", dir.display()))
                .hint("give --adapter NAME=DIR, and --name for the base"));
        }
        names.push(name.clone());
    }
    let LoadedModel { decoder, tokenizer, folder } = load(&base_request)?;
    let mut tuned = Vec::new();
    for (name, dir) in adapters {
        let mut decoder = decoder.sharing()?;
        decoder.load_adapter(&dir)?;
        tuned.push(served(name, decoder, tokenizer_for(&folder, Some(&dir))?, &folder)?);
    }
    let mut all = vec![served(name, decoder, tokenizer, &folder)?];
    all.extend(tuned);
    Ok(all)
}

fn served(name: String, decoder: Decoder, mut tokenizer: TextTokenizer, folder: &Path) -> Result<Served, Fault> {
    check_vocabulary(&tokenizer, &decoder)?;
    let no_tools = match tokenizer.chat_template() {
        None => Some("the model has no chat template".to_owned()),
        Some(_) => tokenizer.add_tool_form().err().map(|e| e.to_string()),
    };
    let stop = stop_ids(&tokenizer, folder);
    Ok(Served { name, decoder, tokenizer, no_tools, stop, vocabulary: OnceLock::new() })
}

/// A Hub id and `embedded` as they are; of a path the last part, without `.gguf`.
fn short_name(model: &str) -> String {
    if model == models::EMBEDDED || models::is_hub_id(model) {
        return model.to_owned();
    }
    let path = Path::new(model).canonicalize().unwrap_or_else(|_| PathBuf::from(model));
    let name = path.file_name().map_or_else(|| model.to_owned(), |n| n.to_string_lossy().into_owned());
    name.strip_suffix(".gguf").unwrap_or(&name).to_owned()
}
