//! The tools, by what they are about, and which of them a server shows.

mod bench;
mod checkpoints;
mod cloud;
mod cloud_estimate;
mod cloud_serve;
mod cloud_storage;
mod cloud_train;
mod compare;
mod configure;
mod data;
mod delete;
mod endpoints;
mod evaluate;
mod export;
mod find;
mod finetune;
mod generate;
mod hub;
mod judging;
mod keep;
mod loaded;
mod make_tools;
mod model;
mod overrides;
mod overview;
mod plan;
mod prepare;
mod preview;
mod project;
mod run;
mod search;
mod settings;
mod start;
mod tokenizer;
mod versions;
mod wait;

pub(super) use self::generate::{answer_with, model_named};
use super::tool::{Row, row};
use crate::base::error::Fault;

/// Tools that belong together, so that a client loads only what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    /// The way from an idea to an exported model.
    Core,
    /// Datasets, and keeping house among runs and models.
    Data,
    /// Rented GPUs.
    Cloud,
}

const SETS: [(&str, Set); 3] = [("core", Set::Core), ("data", Set::Data), ("cloud", Set::Cloud)];

/// All of them, in the order of use.
pub(super) static ALL: [(Row, Set); 61] = [
    (row::<model::Check>(), Set::Core),
    (row::<model::Families>(), Set::Core),
    (row::<model::Info>(), Set::Core),
    (row::<find::Projects>(), Set::Core),
    (row::<project::Generate>(), Set::Core),
    (row::<preview::Preview>(), Set::Core),
    (row::<data::Validate>(), Set::Core),
    (row::<settings::Describe>(), Set::Core),
    (row::<settings::Change>(), Set::Core),
    (row::<plan::Plan>(), Set::Core),
    (row::<configure::Configure>(), Set::Core),
    (row::<start::Start>(), Set::Core),
    (row::<run::Monitor>(), Set::Core),
    (row::<wait::Wait>(), Set::Core),
    (row::<overview::Overview>(), Set::Core),
    (row::<run::Stop>(), Set::Core),
    (row::<run::List>(), Set::Core),
    (row::<evaluate::Evaluate>(), Set::Core),
    (row::<compare::Compare>(), Set::Core),
    (row::<export::Export>(), Set::Core),
    (row::<generate::Generate>(), Set::Core),
    (row::<data::Stats>(), Set::Data),
    (row::<prepare::Prepare>(), Set::Data),
    (row::<find::Datasets>(), Set::Data),
    (row::<make_tools::Make>(), Set::Data),
    (row::<versions::Versions>(), Set::Data),
    (row::<versions::Promote>(), Set::Data),
    (row::<search::Search>(), Set::Data),
    (row::<keep::List>(), Set::Data),
    (row::<keep::Prune>(), Set::Data),
    (row::<keep::Branch>(), Set::Data),
    (row::<delete::Delete>(), Set::Data),
    (row::<tokenizer::TrainTokenizer>(), Set::Data),
    (row::<tokenizer::CompareTokenizers>(), Set::Data),
    (row::<bench::Benchmark>(), Set::Data),
    (row::<finetune::Finetune>(), Set::Data),
    (row::<loaded::Load>(), Set::Data),
    (row::<loaded::List>(), Set::Data),
    (row::<loaded::Unload>(), Set::Data),
    (row::<hub::SearchModels>(), Set::Data),
    (row::<hub::SearchDatasets>(), Set::Data),
    (row::<hub::DownloadModel>(), Set::Data),
    (row::<cloud::Gpus>(), Set::Cloud),
    (row::<cloud::Pods>(), Set::Cloud),
    (row::<cloud::Create>(), Set::Cloud),
    (row::<cloud::PodAction>(), Set::Cloud),
    (row::<cloud_estimate::EstimateCost>(), Set::Cloud),
    (row::<cloud_train::StartTraining>(), Set::Cloud),
    (row::<cloud_train::TrainingLogs>(), Set::Cloud),
    (row::<cloud::Logs>(), Set::Cloud),
    (row::<cloud::AccountTool>(), Set::Cloud),
    (row::<endpoints::List>(), Set::Cloud),
    (row::<endpoints::Create>(), Set::Cloud),
    (row::<endpoints::Update>(), Set::Cloud),
    (row::<endpoints::Delete>(), Set::Cloud),
    (row::<endpoints::Run>(), Set::Cloud),
    (row::<endpoints::Job>(), Set::Cloud),
    (row::<cloud_serve::Serve>(), Set::Cloud),
    (row::<cloud_serve::Served>(), Set::Cloud),
    (row::<cloud_serve::EndServing>(), Set::Cloud),
    (row::<cloud_storage::Manage>(), Set::Cloud),
];

/// A tool by its name, whether it is shown or not.
pub(super) fn find(name: &str) -> Option<Row> {
    ALL.iter().map(|(row, _)| *row).find(|row| row.name == name)
}

/// Which tools a server shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    sets: Vec<Set>,
    read_only: bool,
}

impl Choice {
    /// By the names of toolsets; none is `core`.
    pub(super) fn new(names: &[String], read_only: bool) -> Result<Self, Fault> {
        let mut sets = Vec::new();
        for name in names.iter().flat_map(|n| n.split(',')).map(str::trim).filter(|n| !n.is_empty()) {
            match SETS.iter().find(|(known, _)| *known == name) {
                Some((_, set)) => sets.push(*set),
                None if name == "all" => sets.extend(SETS.map(|(_, set)| set)),
                None => {
                    let known: Vec<&str> = SETS.iter().map(|(known, _)| *known).collect();
                    return Err(Fault::new("usage", format!("there is no toolset `{name}`"))
                        .hint(format!("choose among {}, all", known.join(", "))));
                }
            }
        }
        if sets.is_empty() {
            sets.push(Set::Core);
        }
        Ok(Self { sets, read_only })
    }

    /// All tools.
    pub(super) fn everything() -> Self {
        Self { sets: SETS.map(|(_, set)| set).into(), read_only: false }
    }

    /// The tools that are shown.
    pub(super) fn tools(&self) -> impl Iterator<Item = Row> + '_ {
        ALL.iter().filter(|(row, set)| self.refusal(row, *set).is_none()).map(|(row, _)| *row)
    }

    /// A tool that may be called, or why not; `None` for a name that is no tool's.
    pub(super) fn find(&self, name: &str) -> Option<Result<Row, Fault>> {
        let (row, set) = ALL.iter().find(|(row, _)| row.name == name)?;
        Some(self.refusal(row, *set).map_or(Ok(*row), Err))
    }

    fn refusal(&self, row: &Row, set: Set) -> Option<Fault> {
        if !self.sets.contains(&set) {
            let name = SETS.iter().find(|(_, s)| *s == set).map_or("all", |(name, _)| name);
            return Some(
                Fault::new("tool_not_served", format!("{} belongs to toolset `{name}`, which this server does not show", row.name))
                    .hint("whoever runs the server can add the toolset"),
            );
        }
        (self.read_only && !row.read_only).then(|| {
            Fault::new("read_only", format!("{} changes something, and this server only reads", row.name))
                .hint("whoever runs the server can start it without read-only")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toolsets_and_read_only() {
        let names = |sets: &[&str], read_only| {
            let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
            Choice::new(&sets, read_only).map(|c| c.tools().map(|row| row.name).collect::<Vec<_>>())
        };
        let (core, all) = (names(&[], false).unwrap(), names(&["all"], false).unwrap());
        assert!(core.contains(&"start_training") && !core.contains(&"delete_run"));
        assert_eq!((names(&["core,data,cloud"], false).unwrap(), all.len()), (all.clone(), ALL.len()));
        assert_eq!(names(&["data,cloud"], false).unwrap().len(), all.len() - core.len());
        let reading = names(&["all"], true).unwrap();
        assert!(reading.contains(&"list_runs"));
        for writes in [
            "start_training",
            "delete_run",
            "prune_checkpoints",
            "branch_run",
            "set_config",
            "export_model",
            "evaluate_model",
            "promote_model",
            "runpod_create_pod",
            "runpod_pod_action",
            "runpod_start_training",
        ] {
            assert!(all.contains(&writes) && !reading.contains(&writes), "{writes}");
        }
        assert_eq!(names(&["clouds"], false).unwrap_err().code, "usage");
        let core = Choice::new(&[], true).unwrap();
        assert_eq!(core.find("delete_run").unwrap().unwrap_err().code, "tool_not_served");
        assert_eq!(core.find("start_training").unwrap().unwrap_err().code, "read_only");
        assert!(core.find("nothing").is_none() && core.find("list_runs").unwrap().is_ok());
    }
}
