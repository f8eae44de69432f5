//! Models and datasets of the Hub by words, with what is known of them before anything is fetched.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::client::{Client, Refused, escaped};
use super::{HubOptions, Kind};

/// The longest wait of a search for a Hub that is too busy.
const PATIENCE: Duration = Duration::from_secs(10);
/// Small files that are fetched at once.
const AT_ONCE: usize = 8;
/// Most results of a search.
const MOST: usize = 100;

/// What results are ordered by, the most of it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// Downloads of the last month.
    #[default]
    Downloads,
    /// Likes.
    Likes,
    /// What is talked of now.
    Trending,
    /// The last change.
    Updated,
}

impl Sort {
    fn word(self) -> &'static str {
        match self {
            Self::Downloads => "downloads",
            Self::Likes => "likes",
            Self::Trending => "trendingScore",
            Self::Updated => "lastModified",
        }
    }
}

/// What is searched for.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Words of the name; none: everything.
    pub words: String,
    /// Only of this owner.
    pub owner: Option<String>,
    /// Only with all of these tags, such as `text-generation`, `safetensors`, `license:mit`, `language:de`.
    pub tags: Vec<String>,
    /// Order.
    pub sort: Sort,
    /// Most results, at most 100.
    pub limit: usize,
}

impl Query {
    fn path(&self, kind: Kind, about: &[&str]) -> String {
        let mut path = format!("/api/{}?limit={}&sort={}&direction=-1", kind.plural(), self.limit.clamp(1, MOST), self.sort.word());
        let mut add = |name: &str, value: &str| path += &format!("&{}={}", escaped(name), escaped(value));
        if !self.words.trim().is_empty() {
            add("search", self.words.trim());
        }
        if let Some(owner) = &self.owner {
            add("author", owner);
        }
        self.tags.iter().for_each(|t| add("filter", t));
        about.iter().for_each(|a| add("expand[]", a));
        path
    }
}

/// A model on the Hub.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FoundModel {
    /// `owner/name`.
    pub id: String,
    /// Its commit now.
    pub commit: Option<String>,
    /// Downloads of the last month.
    pub downloads: u64,
    /// Likes.
    pub likes: u64,
    /// As its card says.
    pub licence: Option<String>,
    /// Whether one has to ask for access.
    pub gated: bool,
    /// When it was last changed, UTC.
    pub updated: Option<String>,
    /// What it is for, as its card says.
    pub task: Option<String>,
    /// `architectures[0]` of its config.json.
    pub architecture: Option<String>,
    /// `model_type` of its config.json.
    pub model_type: Option<String>,
    /// Numbers in its safetensors files; of packed weights fewer than the model has.
    pub parameters: Option<u64>,
    /// Bytes of its safetensors files.
    pub bytes: Option<u64>,
}

/// A dataset on the Hub.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FoundDataset {
    /// `owner/name`.
    pub id: String,
    /// Downloads of the last month.
    pub downloads: u64,
    /// Likes.
    pub likes: u64,
    /// As its card says.
    pub licence: Option<String>,
    /// Whether one has to ask for access.
    pub gated: bool,
    /// When it was last changed, UTC.
    pub updated: Option<String>,
    /// How many rows it has, as its card says: `1K<n<10K`.
    pub rows: Option<String>,
    /// Bytes of its main branch, where the Hub says.
    pub bytes: Option<u64>,
    /// Formats of its files: json, csv, parquet, text, ...
    pub formats: Vec<String>,
    /// Languages, by their short names.
    pub languages: Vec<String>,
    /// The beginning of its card.
    pub about: Option<String>,
}

/// Bytes of one number of a safetensors type.
fn bytes_of(dtype: &str) -> u64 {
    match dtype {
        "F64" | "I64" | "U64" => 8,
        "F32" | "I32" | "U32" => 4,
        "F16" | "BF16" | "I16" | "U16" => 2,
        _ => 1,
    }
}

/// Most characters of a text that is shown.
const MOST_SHOWN: usize = 100;

/// A text as it may stand on a terminal: what anybody wrote on the Hub moves no cursor and turns no line around.
fn shown(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| !c.is_control() && !turns(*c)).take(MOST_SHOWN).collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(shown).filter(|t| !t.is_empty())
}

/// The id of a hit; what is none is left out.
fn id(item: &Value) -> Option<String> {
    item["id"].as_str().filter(|id| super::is_id(id)).map(str::to_owned)
}

/// Tags that begin so, without the beginning.
fn tagged(item: &Value, start: &str) -> Vec<String> {
    let tags = item["tags"].as_array().into_iter().flatten();
    tags.filter_map(|t| Some(shown(t.as_str()?.strip_prefix(start)?))).collect()
}

fn licence(item: &Value) -> Option<String> {
    let card = &item["cardData"]["license"];
    let named = text(&item["cardData"]["license_name"]);
    let said = text(card).or_else(|| text(&card[0])).or_else(|| tagged(item, "license:").into_iter().next());
    // `other` is no licence; its name stands beside it.
    if said.as_deref() == Some("other") { named.or(said) } else { said }
}

/// `false`, or how access is given.
fn gated(item: &Value) -> bool {
    !matches!(item["gated"], Value::Bool(false) | Value::Null)
}

impl FoundModel {
    fn of(item: &Value) -> Option<Self> {
        let types = item["safetensors"]["parameters"].as_object();
        let bytes = types.map(|t| t.iter().map(|(d, n)| n.as_u64().unwrap_or(0).saturating_mul(bytes_of(d))).sum());
        Some(Self {
            id: id(item)?,
            commit: text(&item["sha"]),
            downloads: item["downloads"].as_u64().unwrap_or(0),
            likes: item["likes"].as_u64().unwrap_or(0),
            licence: licence(item),
            gated: gated(item),
            updated: text(&item["lastModified"]),
            task: text(&item["pipeline_tag"]),
            architecture: text(&item["config"]["architectures"][0]),
            model_type: text(&item["config"]["model_type"]),
            parameters: item["safetensors"]["total"].as_u64(),
            bytes,
        })
    }
}

impl FoundDataset {
    fn of(item: &Value) -> Option<Self> {
        Some(Self {
            id: id(item)?,
            downloads: item["downloads"].as_u64().unwrap_or(0),
            likes: item["likes"].as_u64().unwrap_or(0),
            licence: licence(item),
            gated: gated(item),
            updated: text(&item["lastModified"]),
            rows: tagged(item, "size_categories:").into_iter().next(),
            bytes: item["mainSize"].as_u64(),
            formats: tagged(item, "format:"),
            languages: tagged(item, "language:"),
            about: item["description"].as_str().map(|t| shown(&t.split_whitespace().collect::<Vec<_>>().join(" "))),
        })
    }
}

fn list<T>(all: &Value, of: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, Refused> {
    let all = all.as_array().ok_or_else(|| Refused::Answer("it is no list".into()))?;
    Ok(all.iter().filter_map(of).collect())
}

/// What is asked of a model.
const ABOUT_MODEL: [&str; 10] =
    ["sha", "downloads", "likes", "gated", "lastModified", "pipeline_tag", "tags", "cardData", "config", "safetensors"];

/// Models by words.
///
/// # Errors
/// Offline, or when the Hub cannot be reached or refuses.
pub fn models(options: &HubOptions, query: &Query) -> Result<Vec<FoundModel>, Refused> {
    list(&Client::new(options, PATIENCE)?.json(&query.path(Kind::Model, &ABOUT_MODEL))?, FoundModel::of)
}

/// What the Hub says of one model.
///
/// # Errors
/// As [`models`].
pub fn model(options: &HubOptions, id: &str) -> Result<FoundModel, Refused> {
    if !super::is_id(id) {
        return Err(Refused::Answer(format!("`{}` is no id of the Hub", shown(id))));
    }
    let about: Vec<String> = ABOUT_MODEL.iter().map(|a| format!("{}={}", escaped("expand[]"), escaped(a))).collect();
    let item = Client::new(options, PATIENCE)?.json(&format!("/api/models/{id}?{}", about.join("&")))?;
    FoundModel::of(&item).ok_or_else(|| Refused::Answer(format!("it does not name {id}")))
}

/// Datasets by words.
///
/// # Errors
/// As [`models`].
pub fn datasets(options: &HubOptions, query: &Query) -> Result<Vec<FoundDataset>, Refused> {
    const ABOUT: [&str; 8] = ["downloads", "likes", "gated", "lastModified", "tags", "cardData", "description", "mainSize"];
    list(&Client::new(options, PATIENCE)?.json(&query.path(Kind::Dataset, &ABOUT))?, FoundDataset::of)
}

/// The text of one small file of each of some models, by id and revision; several are asked for at once, nothing is kept.
///
/// # Errors
/// Offline. What a model's own file could not be had for stands in its place.
pub fn small_files(options: &HubOptions, models: &[(String, String)], file: &str) -> Result<Vec<Result<String, Refused>>, Refused> {
    let client = Client::new(options, PATIENCE)?;
    let path = |(id, revision): &(String, String)| format!("/{id}/resolve/{}/{}", escaped(revision), escaped(file));
    let fetch = |some: &[(String, String)]| some.iter().map(|m| client.text(&path(m))).collect::<Vec<_>>();
    let share = models.len().div_ceil(AT_ONCE).max(1);
    let all = std::thread::scope(|scope| {
        let helpers: Vec<_> = models.chunks(share).map(|some| scope.spawn(move || fetch(some))).collect();
        helpers.into_iter().map(|h| h.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect::<Vec<_>>()
    });
    Ok(all.into_iter().flatten().collect())
}
