//! Where a run's events go: its journal, its manifest, its trackers, and whoever started it.

use super::super::hub::Saves;
use crate::base::error::Fault;
use crate::runs::{EnergyRecord, Journal, Manifest, RunFolder, StageRecord};
use crate::track::energy::{Meter, Total};
use crate::track::{Trackers, energy_plan};
use crate::train::{Event, Observer};

/// Hands each event on to the journal, the manifest's figures, the trackers, and the observer outside.
pub(super) struct Record<'a> {
    pub(super) journal: Journal,
    pub(super) manifest: Manifest,
    folder: &'a RunFolder,
    /// The stage that events belong to, from 1; 0 before the first.
    stage: usize,
    trackers: Trackers,
    saves: Option<Saves>,
    meter: Option<Meter>,
    outside: &'a mut dyn Observer,
}

impl<'a> Record<'a> {
    pub(super) fn new(journal: Journal, manifest: Manifest, folder: &'a RunFolder, outside: &'a mut dyn Observer) -> Self {
        Self { journal, manifest, folder, stage: 0, trackers: Trackers::default(), saves: None, meter: None, outside }
    }

    /// Starts the trackers and the energy meter; the run goes on without those that cannot be started.
    pub(super) fn track(&mut self, device: &str) {
        let plan = energy_plan(&self.manifest, self.folder.path(), device);
        match plan.map(|plan| Meter::start(plan, self.folder.path())).transpose() {
            Ok(meter) => self.meter = meter,
            Err(fault) => self.unmeasured(&fault),
        }
        self.saves = Saves::of(&self.manifest.config, self.folder);
        match Trackers::start(&self.manifest, self.folder.path()) {
            Ok(trackers) => self.trackers = trackers,
            Err(fault) => self.untracked(&fault),
        }
    }

    /// Ends the energy meter; its figures stand in the manifest, which the caller writes.
    pub(super) fn end_meter(&mut self) {
        match self.meter.take().map(Meter::end).transpose() {
            Ok(Some(total)) => self.note_energy(&total),
            Ok(None) => {}
            Err(fault) => self.unmeasured(&fault),
        }
    }

    /// Brings the manifest's energy up to date.
    pub(super) fn measure_energy(&mut self) {
        if let Some(total) = self.meter.as_ref().map(Meter::so_far) {
            self.note_energy(&total);
        }
    }

    fn note_energy(&mut self, total: &Total) {
        for (stage, kwh) in &total.stages {
            if let Some(record) = stage.checked_sub(1).and_then(|i| self.manifest.stages.get_mut(i)) {
                record.energy_kwh = Some(*kwh);
            }
        }
        self.manifest.energy = Some(EnergyRecord {
            kwh: total.kwh,
            emissions_kg: total.kg,
            country_iso_code: total.country.clone(),
            grams_per_kwh: total.grams_per_kwh,
            source: total.source.clone(),
        });
    }

    fn unmeasured(&mut self, fault: &Fault) {
        self.event(&Event::warning("energy", format!("the energy is not tracked: {fault}")));
    }

    /// Gives the trackers what is left, once the manifest on disk says how the run ended.
    pub(super) fn end_tracking(&mut self) {
        let faults = std::mem::take(&mut self.trackers).end(self.folder);
        faults.iter().for_each(|fault| self.untracked(fault));
        for fault in self.saves.take().map(Saves::end).unwrap_or_default() {
            self.event(&Event::warning("upload", format!("a checkpoint was not uploaded: {fault}")));
        }
    }

    fn untracked(&mut self, fault: &Fault) {
        let message = format!("{fault}; what is missing there is kept, and `tallow track sync {}` sends it", self.folder.id());
        self.event(&Event::warning("tracker", message));
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
            self.meter.iter().for_each(|meter| meter.stage(*number));
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
        if let (Event::Checkpoint { path, .. }, Some(saves)) = (event, &mut self.saves) {
            saves.saved(self.stage, path);
        }
        // They read what the journal has written.
        self.trackers.event(event);
        self.outside.event(event);
    }
}
