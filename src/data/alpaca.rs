//! The prompt that Stanford Alpaca put around an instruction: what tokenizers without a chat template get.

const WITH_INPUT: &str = "Below is an instruction that describes a task, paired with an input that provides further context. \
Write a response that appropriately completes the request.";
const WITHOUT_INPUT: &str = "Below is an instruction that describes a task. Write a response that appropriately completes the request.";

/// Everything before the answer.
pub(super) fn prompt(system: Option<&str>, instruction: &str, input: Option<&str>) -> String {
    let head = system.unwrap_or(if input.is_some() { WITH_INPUT } else { WITHOUT_INPUT });
    let input = input.map(|i| format!("### Input:\n{i}\n\n")).unwrap_or_default();
    format!("{head}\n\n### Instruction:\n{instruction}\n\n{input}### Response:\n")
}
