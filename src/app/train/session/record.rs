//! Where a run's events go: its journal, its manifest, and whoever started it.

use crate::runs::{Journal, Manifest, RunFolder, StageRecord};
use crate::train::{Event, Observer};

/// Hands each event on to the journal, the manifest's figures, and the observer outside.
pub(super) struct Record<'a> {
    pub(super) journal: Journal,
    pub(super) manifest: Manifest,
    folder: &'a RunFolder,
    /// The stage that events belong to, from 1; 0 before the first.
    stage: usize,
    outside: &'a mut dyn Observer,
}

impl<'a> Record<'a> {
    pub(super) fn new(journal: Journal, manifest: Manifest, folder: &'a RunFolder, outside: &'a mut dyn Observer) -> Self {
        Self { journal, manifest, folder, stage: 0, outside }
    }

    /// The record of a stage, made where there is none.
    pub(super) fn stage(&mut self, number: usize, iterations: u64) -> &mut StageRecord {
        let stages = &mut self.manifest.stages;
        while stages.len() < number {
            stages.push(StageRecord { stage: stages.len() + 1, iterations, ..StageRecord::default() });
        }
        &mut stages[number - 1]
    }

    /// Keeps the manifest's figures fresh; they are written at each checkpoint.
    fn note(&mut self, event: &Event) {
        if let Event::Stage { number, .. } = event {
            self.stage = *number;
        }
        let Some(record) = self.stage.checked_sub(1).and_then(|i| self.manifest.stages.get_mut(i)) else { return };
        match event {
            Event::Step { step, loss, .. } => {
                record.iterations_done = *step;
                record.last_loss = Some(*loss);
            }
            Event::Eval { step, loss, best: true, .. } => (record.best_step, record.best_loss) = (Some(*step), Some(*loss)),
            Event::Checkpoint { path, .. } => {
                record.last_checkpoint = Some(self.folder.relative(path));
                // Only a convenience for readers: the checkpoint itself is complete without it.
                if let Err(fault) = self.folder.write_manifest(&self.manifest) {
                    self.journal.note(&format!("the manifest could not be written: {fault}"));
                }
            }
            _ => {}
        }
    }
}

impl Observer for Record<'_> {
    fn event(&mut self, event: &Event) {
        self.journal.event(event);
        self.note(event);
        self.outside.event(event);
    }
}
