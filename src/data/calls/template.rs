//! Which form a chat template writes.

use super::CallForm;

/// The form by the words in a template's text. The most particular marks are asked first: many templates
/// hold `tool_call` as the name of a variable, few hold `<parameter=`.
pub(super) fn form_of(source: &str) -> Option<CallForm> {
    let has = |mark: &str| source.contains(mark);
    if has("<use_mcp_tool") {
        Some(CallForm::McpXml)
    } else if has("<parameter=") {
        Some(CallForm::QwenXml)
    } else if has("[TOOL_CALLS]") {
        Some(CallForm::Mistral)
    } else if has("<tool_call>") {
        Some(CallForm::Hermes)
    } else if has(">>>") || has("<function=") {
        Some(CallForm::Functionary)
    } else if has("<|python_tag|>") || has("\"parameters\": ") {
        Some(CallForm::Llama3)
    } else if has("tool_calls") {
        Some(CallForm::Json)
    } else {
        None
    }
}
