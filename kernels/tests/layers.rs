//! Which parts of this crate know each other: contracts name no back end, back ends do not name each other,
//! and `backend.rs` alone chooses between them.

use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A public operation: it checks operands and hands them on.
    Contract,
    Cpu,
    Cuda,
}

fn part(file: &str) -> Option<Part> {
    let own_folders = ["attention/cpu.rs", "attention/decode.rs", "lora/cpu.rs"];
    let inner = |folder: &str| file.starts_with(folder) && file != format!("{folder}mod.rs");
    match file {
        _ if file.starts_with("cuda/") => Some(Part::Cuda),
        _ if file.starts_with("cpu/") || own_folders.contains(&file) || inner("matmul/") => Some(Part::Cpu),
        "activation.rs" | "cross_entropy.rs" | "elementwise.rs" | "embedding.rs" | "geglu.rs" | "norm.rs" | "rope.rs" | "scale.rs"
        | "weight.rs" => Some(Part::Contract),
        _ if ["attention/", "lora/", "matmul/", "optim/", "quant/"].iter().any(|f| file.starts_with(f)) => Some(Part::Contract),
        _ => None,
    }
}

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), out);
        } else if entry.path().extension().is_some_and(|e| e == "rs") {
            out.push(entry.path());
        }
    }
}

#[test]
fn back_ends_are_known_to_the_dispatch_alone() {
    let src = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).expect("cargo sets it").join("src");
    let mut all = Vec::new();
    files(&src, &mut all);
    let (mut wrong, mut seen) = (Vec::new(), [0; 3]);
    for path in all {
        let name = path.strip_prefix(&src).unwrap().to_string_lossy().replace('\\', "/");
        let Some(part) = part(&name) else { continue };
        seen[part as usize] += 1;
        let text = fs::read_to_string(&path).unwrap();
        for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")) {
            let refused: &[&str] = match part {
                Part::Contract => &["crate::cpu", "crate::cuda"],
                Part::Cpu => &["crate::cuda"],
                Part::Cuda => &["crate::cpu"],
            };
            if refused.iter().any(|r| line.contains(r)) {
                wrong.push(format!("{name}:{}: {}", i + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen.iter().all(|&n| n >= 10), "the test no longer finds the parts: {seen:?}");
}
