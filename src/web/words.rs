//! What a use case says to assistants and at a shell, said to a person in front of the page.

use crate::base::error::Fault;

/// Words for a client of tools or a shell, and what stands for them on the page.
const WORDS: [(&str, &str); 12] = [
    ("start_training goes on with it", "Start goes on with it"),
    ("start_training", "Start"),
    ("stop_training", "Pause or Cancel"),
    ("configure_training_run makes a new run", "New run makes another one"),
    ("configure_training_run", "New run"),
    ("monitor_training_progress", "the run's page"),
    ("evaluate_model, export_model and generate_text can use it", "`tallow eval`, `tallow export` and `tallow generate` can use it"),
    ("list_runs shows them", "the list of runs shows them"),
    ("list_runs", "the list of runs"),
    ("promote_model", "`tallow models promote`"),
    ("evaluate_model", "`tallow eval`"),
    ("or start the server with another root", "or start `tallow web` with another folder"),
];

/// A fault as the page shows it.
pub(super) fn for_page(fault: Fault) -> Fault {
    let said = |text: String| WORDS.iter().fold(text, |text, (from, to)| if text.contains(from) { text.replace(from, to) } else { text });
    Fault { code: fault.code, message: said(fault.message), hint: fault.hint.map(said) }
}
