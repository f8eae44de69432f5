//! The forms that an export can have, by name: what the command line and an assistant may ask for.

use super::export::Format;
use crate::base::error::Fault;
use crate::export::gguf::Preset;
use crate::export::mlx::Groups;

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

/// Groups of mlx-lm.
const GROUP: usize = 64;
const MLX: [(&str, u32); 3] = [("q4", 4), ("q8", 8), ("q2", 2)];

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
        Format::GgufAdapter => row("the adapter alone, for llama.cpp's --lora", vec!["f32"], Some("f32"), None),
        Format::Ollama(_) => row("a folder with a GGUF file and a Modelfile, for `ollama create`", presets(), Some("q4_k_m"), None),
        Format::Safetensors(_) => row(
            "the merged model in Hugging Face's layout, for transformers, vLLM and others",
            dtypes().map(|(name, _)| name).to_vec(),
            None,
            Some("peft"),
        ),
        Format::Peft => row("the adapter in PEFT's form", vec!["f32"], Some("f32"), None),
        Format::Mlx(_) => row("the merged model for mlx-lm", MLX.map(|(name, _)| name).to_vec(), None, Some("mlx-adapter")),
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
        Format::Mlx(None),
        Format::Peft,
        Format::GgufAdapter,
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
        "gguf-adapter" => Format::GgufAdapter,
        "peft" => Format::Peft,
        "mlx-adapter" => Format::MlxAdapter,
        "safetensors" => Format::Safetensors(dtypes().into_iter().find(|(n, _)| Some(*n) == wanted).map(|(_, d)| d)),
        "mlx" => {
            let bits = MLX.iter().find(|(n, _)| Some(*n) == wanted).map(|(_, bits)| *bits);
            Format::Mlx(bits.map(|bits| Groups { bits, group: GROUP }))
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
