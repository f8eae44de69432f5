//! The base model's tokenizer: byte-level BPE, each digit a token of its own, trained on the corpus.

use serde_json::{Value, json};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, Tokenizer};

use super::corpus::documents;
use crate::base::error::Fault;

/// Special tokens in the order of their ids, from 0.
pub const SPECIAL: [&str; 4] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"];
/// Ends a document.
pub const END_OF_TEXT: u32 = 0;
/// Ends a turn.
pub const END_OF_TURN: u32 = 2;
/// Padding; never seen in training.
pub const PAD: u32 = 3;

const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

fn fault(e: &dyn std::fmt::Display) -> Fault {
    Fault::new("tokenizer_training", format!("the tokenizer could not be trained: {e}"))
}

/// Trains `vocab_size` tokens on `count` documents of this seed.
///
/// # Errors
/// The tokenizer library's own.
pub fn train(vocab_size: usize, seed: u64, count: usize) -> Result<Tokenizer, Fault> {
    let mut tokenizer = Tokenizer::new(BPE::default());
    let bytes = ByteLevel::new(false, true, true);
    let parts = vec![PreTokenizerWrapper::Digits(Digits::new(true)), PreTokenizerWrapper::ByteLevel(bytes)];
    tokenizer.with_pre_tokenizer(Some(Sequence::new(parts))).with_decoder(Some(bytes));
    let trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(vocab_size)
        .special_tokens(SPECIAL.iter().map(|t| AddedToken::from((*t).to_owned(), true)).collect())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    // Special tokens are no text: nothing is merged across or from them.
    let pieces = documents(seed, count)
        .flat_map(|d| d.split("<|im_start|>").flat_map(|p| p.split("<|im_end|>")).map(str::to_owned).collect::<Vec<_>>());
    let pieces: Vec<String> = pieces.filter(|p| !p.is_empty()).collect();
    tokenizer.train(&mut TrainerWrapper::from(trainer), pieces.into_iter()).map_err(|e| fault(&e))?;
    // Set once more: only now do their ids stand in the vocabulary that is saved.
    let special: Vec<AddedToken> = SPECIAL.iter().map(|t| AddedToken::from((*t).to_owned(), true).normalized(false)).collect();
    tokenizer.add_special_tokens(special).map_err(|e| fault(&e))?;
    Ok(tokenizer)
}

/// `tokenizer_config.json`, as transformers reads it too.
pub fn config(max_positions: usize) -> Value {
    let added: serde_json::Map<String, Value> = SPECIAL
        .iter()
        .enumerate()
        .map(|(id, t)| {
            (
                id.to_string(),
                json!({"content": t, "lstrip": false, "normalized": false, "rstrip": false, "single_word": false, "special": true}),
            )
        })
        .collect();
    json!({
        "added_tokens_decoder": added,
        "chat_template": CHATML,
        "clean_up_tokenization_spaces": false,
        "eos_token": "<|im_end|>",
        "model_max_length": max_positions,
        "pad_token": "<|pad|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_twice_gives_the_same_tokenizer() {
        let text = |t: &Tokenizer| t.to_string(false).unwrap();
        let a = train(400, 3, 300).unwrap();
        assert_eq!(text(&a), text(&train(400, 3, 300).unwrap()));
        for (id, token) in SPECIAL.iter().enumerate() {
            assert_eq!(a.token_to_id(token), Some(id as u32));
        }
        let given = "<|im_start|>user\nAt 17:45 in Oslo<|im_end|>\n";
        let ids = a.encode(given, false).unwrap();
        assert_eq!(ids.get_ids()[0], 1);
        assert_eq!(a.decode(ids.get_ids(), false).unwrap(), given);
    }
}
