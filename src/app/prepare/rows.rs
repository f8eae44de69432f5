//! The rows of a configuration: read, split, rendered, tokenised, and counted so that the counts add up.

use std::path::Path;

use super::stage2::{self, StageTwo};
use super::{data_options, template_variables};
use crate::base::error::Fault;
use crate::base::hash::sha256_bytes;
use crate::config::RunConfig;
use crate::data::{
    DataOptions, Dataset, Example, PartCounts, RecordSet, Splits, TemplateReport, TextTokenizer, leakage, read, settle_template, split,
};
use crate::runs::{ChatTemplateRecord, DataFile, DatasetRecord, PartRecord};

/// The rows of a run before they are tokens.
#[derive(Debug)]
pub(crate) struct Sets {
    pub(crate) train: RecordSet,
    pub(crate) validation: Option<RecordSet>,
    pub(crate) test: Option<RecordSet>,
    pub(crate) stage2: Option<Splits>,
}

impl Sets {
    /// Reads and splits what a configuration names.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(crate) fn read(config: &RunConfig, options: &DataOptions) -> Result<Self, Fault> {
        let d = &config.dataset;
        let one = |path: &Path| read(&[path], options);
        let (train, validation, test) = if let Some(path) = &d.path {
            let parts = split(one(path)?, [d.train_split, d.validation_split, d.test_split], config.training.seed)?;
            let some = |set: RecordSet| (!set.records.is_empty()).then_some(set);
            (parts.train, some(parts.validation), some(parts.test))
        } else {
            let path = d.train_path.as_deref().ok_or_else(|| Fault::new("config_invalid", "no dataset is named"))?;
            (one(path)?, d.validation_path.as_deref().map(one).transpose()?, d.test_path.as_deref().map(one).transpose()?)
        };
        let stage2 = d.stage2_path.as_deref().filter(|_| config.training.num_stages == 2);
        let stage2 = stage2.map(|path| stage2::read_rows(config, path, options)).transpose()?;
        Ok(Self { train, validation, test, stage2 })
    }

    /// Each part with its name.
    pub(crate) fn parts(&self) -> Vec<(&'static str, &RecordSet)> {
        let mut all = vec![("train", Some(&self.train)), ("validation", self.validation.as_ref()), ("test", self.test.as_ref())];
        if let Some(second) = &self.stage2 {
            let some = |set: &'_ RecordSet| !set.records.is_empty();
            all.push(("stage 2", Some(&second.train)));
            all.push(("stage 2 validation", Some(&second.validation).filter(|s| some(s))));
            all.push(("stage 2 test", Some(&second.test).filter(|s| some(s))));
        }
        all.into_iter().filter_map(|(name, set)| Some((name, set?))).collect()
    }

    /// The files of all parts, each once.
    fn files(&self) -> Vec<DataFile> {
        let mut files: Vec<DataFile> = Vec::new();
        for file in self.parts().iter().flat_map(|(_, set)| &set.files) {
            let file = DataFile { path: file.path.clone(), sha256: file.sha256.clone(), rows: file.rows };
            if !files.contains(&file) {
                files.push(file);
            }
        }
        files
    }

    /// Rows of validation and test parts that some stage trains too.
    pub(crate) fn leaks(&self) -> Vec<String> {
        let parts = self.parts();
        let trained = parts.iter().filter(|(name, _)| ["train", "stage 2"].contains(name));
        let mut leaks = Vec::new();
        for (_, train) in trained {
            for (name, part) in parts.iter().filter(|(name, _)| name.ends_with("validation") || name.ends_with("test")) {
                let l = leakage(&train.records, &part.records);
                if l.same_rows > 0 {
                    leaks.push(format!("{} of the {name} rows are also trained (the first: {})", l.same_rows, l.first[0]));
                }
            }
        }
        leaks
    }
}

/// The data of a run.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) train: Dataset,
    pub(crate) validation: Option<Dataset>,
    pub(crate) test: Option<Dataset>,
    pub(crate) stage2: Option<StageTwo>,
    pub(crate) record: DatasetRecord,
    pub(crate) template: ChatTemplateRecord,
    /// What a person should know.
    pub(crate) warnings: Vec<String>,
}

impl Prepared {
    /// How long its rows are.
    pub(crate) fn lengths(&self) -> Lengths {
        let second = self.stage2.as_ref();
        let trained = [Some(&self.train), second.map(|s| &s.train)];
        let held_out = [
            self.validation.as_ref(),
            self.test.as_ref(),
            second.and_then(|s| s.validation.as_ref()),
            second.and_then(|s| s.test.as_ref()),
        ];
        let longest = trained.into_iter().flatten().map(|d| d.counts.lengths.max as usize).max().unwrap_or(0);
        let held_out_tokens = held_out.iter().flatten().map(|d| d.counts.tokens as usize).max().unwrap_or(0);
        let longest_held_out = held_out.iter().flatten().flat_map(|d| &d.examples).map(Example::len).max().unwrap_or(0);
        Lengths { longest, held_out_tokens, longest_held_out }
    }
}

/// How long the rows of a run are, in tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lengths {
    /// The longest sequence that any stage trains, before it is cut.
    pub(crate) longest: usize,
    /// All rows of the largest part that is evaluated.
    pub(crate) held_out_tokens: usize,
    /// The longest sequence that is evaluated.
    pub(crate) longest_held_out: usize,
}

impl Lengths {
    /// Rows that nobody has seen: as long as they may be.
    pub(crate) fn unknown(most: usize) -> Self {
        Self { longest: most, held_out_tokens: usize::MAX, longest_held_out: most }
    }
}

/// Sets the chat template of a run: once, for all parts.
///
/// # Errors
/// When the setting names no template, or a broken one.
pub(crate) fn settle(config: &RunConfig, tokenizer: &mut TextTokenizer, sets: &Sets) -> Result<TemplateReport, Fault> {
    let d = &config.dataset;
    let all: Vec<&RecordSet> = sets.parts().into_iter().map(|(_, set)| set).collect();
    Ok(settle_template(tokenizer, Some(&d.chat_template), &template_variables(d)?, &all)?)
}

/// Reads, splits, renders and tokenises. The tokenizer gets the chat template of the run.
///
/// # Errors
/// Files that cannot be read, rows that are errors, parts without a usable row.
pub(crate) fn data(config: &RunConfig, tokenizer: &mut TextTokenizer) -> Result<Prepared, Fault> {
    let options = data_options(&config.dataset, config.training.max_seq_length, config.training.quality_weight_multiplier);
    let sets = Sets::read(config, &options)?;
    let mut warnings = tokenizer.notes().to_vec();
    let template = settle(config, tokenizer, &sets)?;
    warnings.extend(template.notes);
    warnings.extend(sets.leaks());
    let tokenizer = &*tokenizer;
    let encode = |set: &RecordSet| Dataset::encode(set, tokenizer, &options);
    let encode_part = |set: &Option<RecordSet>| set.as_ref().map(encode).transpose();
    let train = encode(&sets.train)?;
    let (validation, test) = (encode_part(&sets.validation)?, encode_part(&sets.test)?);
    let encoded = [Some(&train), validation.as_ref(), test.as_ref()];
    let named = sets.parts().into_iter().zip(encoded.into_iter().flatten());
    named.for_each(|((name, set), dataset)| note(name, set, dataset, &mut warnings));
    let tools = (tokenizer, &options);
    let second = sets.stage2.as_ref();
    let stage2 = second.map(|rows| stage2::encode(config, rows, &train, tools, &mut warnings)).transpose()?;
    let record = DatasetRecord {
        files: sets.files(),
        train: part(&sets.train, &train),
        validation: sets.validation.as_ref().zip(validation.as_ref()).map(|(s, d)| part(s, d)),
        test: sets.test.as_ref().zip(test.as_ref()).map(|(s, d)| part(s, d)),
        stage2: stage2.as_ref().map(|s| s.record.clone()),
    };
    let template = ChatTemplateRecord { name: template.name, sha256: template_hash(tokenizer) };
    Ok(Prepared { train, validation, test, stage2, record, template, warnings })
}

fn template_hash(tokenizer: &TextTokenizer) -> Option<String> {
    let main = tokenizer.chat_template()?.source();
    let tools = tokenizer.tool_template().map(|t| t.source()).unwrap_or_default();
    Some(sha256_bytes(format!("{main}{tools}").as_bytes()))
}

/// The rows that a run is trained on, under the template that the tokenizer has.
///
/// # Errors
/// As [`data`].
pub(crate) fn train_rows(config: &RunConfig, tokenizer: &TextTokenizer) -> Result<Dataset, Fault> {
    let options = data_options(&config.dataset, config.training.max_seq_length, config.training.quality_weight_multiplier);
    Ok(Dataset::encode(&Sets::read(config, &options)?.train, tokenizer, &options)?)
}

/// What became of a part.
pub(super) fn part(set: &RecordSet, dataset: &Dataset) -> PartRecord {
    let c = PartCounts::of("part", set, dataset);
    PartRecord {
        rows: c.rows,
        used_rows: c.used_rows,
        left_out: c.left_out,
        sequences: c.sequences,
        cut: c.cut,
        tokens: c.tokens,
        trained_tokens: c.trained_tokens,
        fingerprint: dataset.fingerprint.clone(),
    }
}

/// What a person should know of a part.
pub(super) fn note(name: &str, set: &RecordSet, dataset: &Dataset, warnings: &mut Vec<String>) {
    let c = &dataset.counts;
    let part = part(set, dataset);
    if c.truncated > 0 {
        let (cut, all, lost) = (c.truncated, dataset.len(), c.cut_tokens);
        warnings.push(format!("{name}: {cut} of {all} sequences are longer than max_seq_length and were cut ({lost} tokens lost)"));
    }
    if part.left_out > 0 {
        let first = dataset.problems.first().map(|p| format!(" (the first: {}: {})", p.at, p.message)).unwrap_or_default();
        warnings.push(format!("{name}: {} of {} rows were left out{first}", part.left_out, part.rows));
    }
    if c.unended_turns > 0 {
        warnings.push(format!("{name}: {} answers have no end-of-turn token: the model would not learn to stop", c.unended_turns));
    }
    let files = set.files.iter().flat_map(|f| &f.unread);
    let unread: Vec<String> = files.chain(&dataset.unread).map(|u| format!("{} ({} rows)", u.name, u.rows)).collect();
    // Split parts share a file: once is enough.
    if !unread.is_empty() && (name == "train" || name == "stage 2") {
        warnings.push(format!("{name}: fields that nothing reads: {}", unread.join(", ")));
    }
    if c.tools_ignored > 0 {
        warnings.push(format!("{name}: the chat template leaves out the tools of {} rows", c.tools_ignored));
    }
}
