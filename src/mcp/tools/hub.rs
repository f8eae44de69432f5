//! The Hugging Face Hub: searches, and models into the cache.

use std::cell::RefCell;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::hub;
use crate::base::error::Fault;
use crate::base::progress;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};
use crate::model::hub::{Query, Sort};

/// What results are ordered by.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SortName {
    Downloads,
    Likes,
    Trending,
    Updated,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchIn {
    /// Words of the name.
    search_query: Option<String>,
    owner: Option<String>,
    /// Such as license:mit, language:de.
    tags: Option<Vec<String>>,
    /// Default downloads.
    sort: Option<SortName>,
    /// Default 10.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u64>,
}

impl SearchIn {
    fn query(self) -> Result<Query, Fault> {
        let tags = self.tags.unwrap_or_default();
        let lengths = self.search_query.iter().chain(&self.owner).chain(&tags).map(String::len);
        within("search_query (the longest of its words)", lengths.max().unwrap_or(0), 0, 200)?;
        within("tags (their number)", tags.len(), 0, 20)?;
        let sort = match self.sort {
            None | Some(SortName::Downloads) => Sort::Downloads,
            Some(SortName::Likes) => Sort::Likes,
            Some(SortName::Trending) => Sort::Trending,
            Some(SortName::Updated) => Sort::Updated,
        };
        let limit = within("limit", self.limit.unwrap_or(10), 1, 100)? as usize;
        Ok(Query { words: self.search_query.unwrap_or_default(), owner: self.owner, tags, sort, limit })
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FitOut {
    /// nf4, q8 or bf16.
    quantization: String,
    /// LoRA of rank 16, one row of 512 tokens a step.
    train_bytes: u64,
    fits: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ModelOut {
    id: String,
    downloads: u64,
    likes: u64,
    licence: Option<String>,
    /// One has to ask for access on its page.
    gated: bool,
    updated: Option<String>,
    parameters: Option<u64>,
    /// Of its weights.
    bytes: Option<u64>,
    /// Left out: it cannot be trained here.
    family: Option<String>,
    why_not: Option<String>,
    cached: bool,
    memory: Vec<FitOut>,
    /// config: by the memory plan. parameters: estimated from their number.
    basis: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ModelsOut {
    /// The device that results are held against.
    device: String,
    device_bytes: u64,
    models: Vec<ModelOut>,
}

/// search_models
pub(super) struct SearchModels;

impl Tool for SearchModels {
    const NAME: &'static str = "search_models";
    const TITLE: &'static str = "Search models on the Hub";
    const ABOUT: &'static str = "Text models of the Hugging Face Hub: licence, downloads, access, whether this program can train them, and \
        what of them fits this machine.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Inspect;
    type In = SearchIn;
    type Out = ModelsOut;

    fn call(input: SearchIn, _: &Shared, _: &Call) -> Result<ModelsOut, Fault> {
        let found = hub::search_models(&hub::Search { query: input.query()?, task: None })?;
        let fit = |f: hub::Fit| FitOut { quantization: f.quantization.into(), train_bytes: f.train_bytes, fits: f.fits };
        let model = |m: hub::ModelHit| ModelOut {
            id: m.found.id,
            downloads: m.found.downloads,
            likes: m.found.likes,
            licence: m.found.licence,
            gated: m.found.gated,
            updated: m.found.updated,
            parameters: m.found.parameters,
            bytes: m.found.bytes,
            family: m.family,
            why_not: m.why_not,
            cached: m.cached,
            memory: m.fits.into_iter().map(fit).collect(),
            basis: m.basis.map(str::to_owned),
        };
        let models = found.models.into_iter().map(model).collect();
        Ok(ModelsOut { device: found.machine.device, device_bytes: found.machine.bytes, models })
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DatasetOut {
    id: String,
    downloads: u64,
    likes: u64,
    licence: Option<String>,
    gated: bool,
    updated: Option<String>,
    /// As its card says.
    rows: Option<String>,
    bytes: Option<u64>,
    formats: Vec<String>,
    /// JSON, CSV or Parquet, which are read here.
    readable: bool,
    languages: Vec<String>,
    about: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DatasetsFoundOut {
    datasets: Vec<DatasetOut>,
}

/// search_datasets
pub(super) struct SearchDatasets;

impl Tool for SearchDatasets {
    const NAME: &'static str = "search_datasets";
    const TITLE: &'static str = "Search datasets on the Hub";
    const ABOUT: &'static str = "Datasets of the Hugging Face Hub: rows, size, licence, formats, languages, downloads.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Inspect;
    type In = SearchIn;
    type Out = DatasetsFoundOut;

    fn call(input: SearchIn, _: &Shared, _: &Call) -> Result<DatasetsFoundOut, Fault> {
        let dataset = |d: hub::DatasetHit| DatasetOut {
            id: d.found.id,
            downloads: d.found.downloads,
            likes: d.found.likes,
            licence: d.found.licence,
            gated: d.found.gated,
            updated: d.found.updated,
            rows: d.found.rows,
            bytes: d.found.bytes,
            formats: d.found.formats,
            readable: d.readable,
            languages: d.found.languages,
            about: d.found.about,
        };
        Ok(DatasetsFoundOut { datasets: hub::datasets(&input.query()?)?.datasets.into_iter().map(dataset).collect() })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DownloadIn {
    /// owner/name.
    model_name: String,
    /// Branch, tag or commit. Default main.
    revision: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DownloadOut {
    success: bool,
    model_name: String,
    commit: String,
    path: String,
    bytes: u64,
    /// What was not here before.
    fetched_bytes: u64,
}

/// download_model
pub(super) struct DownloadModel;

impl Tool for DownloadModel {
    const NAME: &'static str = "download_model";
    const TITLE: &'static str = "Download a model";
    const ABOUT: &'static str = "Bring a model from the Hub into the Hugging Face cache. Goes on where an earlier call broke off; hashes \
        and the room on the disk are checked.";
    const HINTS: Hints = Hints { idempotent: true, ..Hints::MAKE.reaching_out() };
    const LANE: Lane = Lane::Data;
    type In = DownloadIn;
    type Out = DownloadOut;

    fn call(input: DownloadIn, shared: &Shared, call: &Call) -> Result<DownloadOut, Fault> {
        let model = shared.roots.model(&input.model_name)?;
        within("revision (its length)", input.revision.as_ref().map_or(1, String::len), 1, 200)?;
        let told = Rising::new(call.clone());
        let done = progress::heard(move |moment| told.hear(moment), || hub::download(&model, input.revision.as_deref()))?;
        Ok(DownloadOut {
            success: true,
            model_name: done.model,
            commit: done.commit,
            path: done.path.display().to_string(),
            bytes: done.bytes,
            fetched_bytes: done.fetched_bytes,
        })
    }
}

/// Progress of one file after another, as one count that only rises.
struct Rising {
    call: Call,
    /// The work at hand, its units done, and those of all work before it.
    state: RefCell<(String, u64, u64)>,
}

impl Rising {
    fn new(call: Call) -> Self {
        Self { call, state: RefCell::default() }
    }

    fn hear(&self, moment: progress::Moment) {
        let mut state = self.state.borrow_mut();
        let (what, done, before) = &mut *state;
        if what != moment.what {
            *before += *done;
            (*what, *done) = (moment.what.to_owned(), 0);
        } else if moment.done <= *done {
            return;
        }
        *done = moment.done;
        let message = format!("{}: {} of {} {}", moment.what, moment.done, moment.total, moment.unit);
        self.call.tell((*before + *done) as f64, None, message);
    }
}
