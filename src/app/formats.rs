//! The forms that an export can have, by name: what the command line and an assistant may ask for.

use super::export::Format;
use crate::base::error::Fault;
use crate::export::gguf::{AdapterType, Preset};
use crate::export::mlx::Wish;
use crate::export::packed::Scheme;
use crate::model::weights::mlx::GroupMode;

/// A form by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// As it is asked for.
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// Types of its weights that can be asked for.
    pub types: Vec<&'static str>,
    /// The type where none is asked for; `None`: the base's own.
    pub usual: Option<&'static str>,
    /// The form that writes the adapter alone for the same reader.
    pub adapter: Option<&'static str>,
}

/// The types of mlx-lm: groups of 64 (or 32 where rows do not divide), or of the size that is named.
const MLX: [(&str, u32, Option<usize>, GroupMode); 19] = {
    use GroupMode::{Affine, Mxfp4};
    [
        ("q4", 4, None, Affine),
        ("q8", 8, None, Affine),
        ("q6", 6, None, Affine),
        ("q5", 5, None, Affine),
        ("q3", 3, None, Affine),
        ("q2", 2, None, Affine),
        ("mxfp4", 4, Some(32), Mxfp4),
        ("q8-g32", 8, Some(32), Affine),
        ("q6-g32", 6, Some(32), Affine),
        ("q5-g32", 5, Some(32), Affine),
        ("q4-g32", 4, Some(32), Affine),
        ("q3-g32", 3, Some(32), Affine),
        ("q2-g32", 2, Some(32), Affine),
        ("q8-g128", 8, Some(128), Affine),
        ("q6-g128", 6, Some(128), Affine),
        ("q5-g128", 5, Some(128), Affine),
        ("q4-g128", 4, Some(128), Affine),
        ("q3-g128", 3, Some(128), Affine),
        ("q2-g128", 2, Some(128), Affine),
    ]
};

/// The schemes of compressed-tensors.
const SCHEMES: [Scheme; 2] = [Scheme::Fp8, Scheme::W4A16];

fn dtypes() -> [(&'static str, safetensors::Dtype); 3] {
    [("f32", safetensors::Dtype::F32), ("bf16", safetensors::Dtype::BF16), ("f16", safetensors::Dtype::F16)]
}

/// What a form is. A new variant does not compile before it has its row here, and then both faces offer it.
fn form(format: Format) -> Form {
    let row = |about, types: Vec<&'static str>, usual, adapter| Form { name: format.name(), about, types, usual, adapter };
    let presets = || Preset::ALL.iter().map(|p| p.name()).collect();
    match format {
        Format::Gguf(_) => {
            row("one file of the merged model for llama.cpp and what is built on it", presets(), Some("q8_0"), Some("gguf-adapter"))
        }
        Format::GgufAdapter(_) => {
            let types = AdapterType::ALL.map(AdapterType::name).to_vec();
            row("the adapter alone, for llama.cpp's --lora", types, Some("f32"), None)
        }
        Format::Ollama(_) => {
            row("a folder with a GGUF file and a Modelfile, for `ollama create`", presets(), Some("q4_k_m"), Some("ollama-adapter"))
        }
        Format::OllamaAdapter(_) => row("the same with the adapter in a file of its own over the base", presets(), Some("q8_0"), None),
        Format::Safetensors(_) => row(
            "the merged model in Hugging Face's layout, for transformers, vLLM and others",
            dtypes().map(|(name, _)| name).to_vec(),
            None,
            Some("peft"),
        ),
        Format::Bnb4 => row("the merged model in bitsandbytes' NF4, for transformers", vec!["nf4"], Some("nf4"), Some("peft")),
        Format::Packed(Scheme::Gptq) => {
            row("the merged model in four bits as GPTQ packs them, for vLLM and others", vec!["int4"], Some("int4"), Some("peft"))
        }
        Format::Packed(Scheme::Awq) => {
            row("the merged model in four bits as AWQ packs them, for vLLM and others", vec!["int4"], Some("int4"), Some("peft"))
        }
        Format::Packed(Scheme::Int8) => {
            row("the merged model in bitsandbytes' 8 bits, for transformers", vec!["int8"], Some("int8"), Some("peft"))
        }
        Format::Packed(Scheme::Fp8 | Scheme::W4A16) => row(
            "the merged model in the form of compressed-tensors, for vLLM",
            SCHEMES.map(Scheme::name).to_vec(),
            Some("fp8"),
            Some("peft"),
        ),
        Format::Peft => row("the adapter in PEFT's form", vec!["f32"], Some("f32"), None),
        Format::Mlx(_) => row("the merged model for mlx-lm", MLX.map(|t| t.0).to_vec(), None, Some("mlx-adapter")),
        Format::MlxAdapter => row("the adapter for mlx-lm", vec!["f32"], Some("f32"), None),
    }
}

/// Every form, the most used first.
pub fn all() -> Vec<Form> {
    let any = Preset::ALL[0];
    let one_of_each = [
        Format::Safetensors(None),
        Format::Gguf(any),
        Format::Ollama(any),
        Format::OllamaAdapter(any),
        Format::Mlx(None),
        Format::Bnb4,
        Format::Packed(Scheme::Int8),
        Format::Packed(Scheme::Fp8),
        Format::Packed(Scheme::Gptq),
        Format::Packed(Scheme::Awq),
        Format::Peft,
        Format::GgufAdapter(AdapterType::F32),
        Format::MlxAdapter,
    ];
    one_of_each.map(form).into()
}

/// The form and the type of its weights; without a type the usual one.
///
/// # Errors
/// When there is no such form, or it has no such type; the hint says which there are.
pub fn parse(name: &str, kind: Option<&str>) -> Result<Format, Fault> {
    let all = all();
    let Some(form) = all.iter().find(|f| f.name == name) else {
        let names: Vec<&str> = all.iter().map(|f| f.name).collect();
        return Err(Fault::new("usage", format!("`{name}` is no export format")).hint(format!("give one of {}", names.join(", "))));
    };
    let wanted = kind.or(form.usual);
    let refuse = || {
        Fault::new("usage", format!("`{}` is no type of {name}", wanted.unwrap_or_default()))
            .hint(format!("give one of {}", form.types.join(", ")))
    };
    if wanted.is_some_and(|w| !form.types.contains(&w)) {
        return Err(refuse());
    }
    let preset = || wanted.and_then(Preset::from_name).ok_or_else(refuse);
    Ok(match name {
        "gguf" => Format::Gguf(preset()?),
        "ollama" => Format::Ollama(preset()?),
        "ollama-adapter" => Format::OllamaAdapter(preset()?),
        "gguf-adapter" => Format::GgufAdapter(wanted.and_then(AdapterType::from_name).ok_or_else(refuse)?),
        "bnb-4bit" => Format::Bnb4,
        "vllm" => Format::Packed(SCHEMES.into_iter().find(|s| Some(s.name()) == wanted).ok_or_else(refuse)?),
        "gptq" => Format::Packed(Scheme::Gptq),
        "awq" => Format::Packed(Scheme::Awq),
        "bnb-8bit" => Format::Packed(Scheme::Int8),
        "peft" => Format::Peft,
        "mlx-adapter" => Format::MlxAdapter,
        "safetensors" => Format::Safetensors(dtypes().into_iter().find(|(n, _)| Some(*n) == wanted).map(|(_, d)| d)),
        "mlx" => {
            let wish = MLX.iter().find(|t| Some(t.0) == wanted);
            Format::Mlx(wish.map(|(_, bits, group, mode)| Wish { bits: *bits, group: *group, mode: *mode }))
        }
        _ => return Err(refuse()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_can_be_asked_for_with_each_of_its_types() {
        for form in all() {
            for kind in form.types.iter().copied().map(Some).chain([None]) {
                let format = parse(form.name, kind).unwrap_or_else(|e| panic!("{} {kind:?}: {}", form.name, e.message));
                assert_eq!(super::form(format), form, "{kind:?}");
            }
            assert!(parse(form.name, Some("q99")).unwrap_err().hint.unwrap().contains(form.types[0]));
            assert!(form.adapter.is_none_or(|name| parse(name, None).is_ok()), "{}", form.name);
        }
        assert_eq!(parse("gguf", Some("q4_k_m")).unwrap(), Format::Gguf(Preset::from_name("q4_k_m").unwrap()));
        assert_eq!(parse("safetensors", None).unwrap(), Format::Safetensors(None));
        assert_eq!(parse("zip", None).unwrap_err().code, "usage");
    }
}
