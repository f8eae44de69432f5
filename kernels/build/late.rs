//! NVIDIA's libraries bound late: the program defines their functions itself, as jumps that find the
//! real one when it is first called (`src/cuda/libraries.rs`), so it starts where there is no driver.
//!
//! The libraries below link `-lcuda`, `-lcublas` and others. Here are empty ones of these names for a
//! machine that has none; where the toolkit has them, the linker finds nothing left to take from them.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

/// Libraries that candle-core and candle-kernels ask the linker for.
const LINKED: [&str; 6] = ["cuda", "cublas", "cublasLt", "curand", "nvrtc", "cudart"];

/// True where the jumps are written for the target's processor and system.
pub fn possible() -> bool {
    let is = |name: &str, what: &str| env::var(name).is_ok_and(|v| v == what);
    is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ARCH", "x86_64")
}

/// Writes the jumps, the list of what they bind, and the empty libraries.
pub fn build(list: &Path, out: &Path) {
    println!("cargo:rerun-if-changed={}", list.display());
    let text = fs::read_to_string(list).unwrap_or_else(|e| panic!("{}: {e}", list.display()));
    let (mut jumps, mut table, mut count) = (String::new(), String::new(), 0);
    let mut library = "";
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            library = name;
            continue;
        }
        for function in line.split_whitespace() {
            writeln!(jumps, "{}", jump(function, count)).expect("a string");
            writeln!(table, "    (Name::{}, {function:?}),", variant(library)).expect("a string");
            count += 1;
        }
    }
    let asm = format!(".pushsection .text.tallow_cuda,\"ax\",@progbits\n{jumps}{BIND}.popsection\n");
    fs::write(out.join("jumps.s"), asm).expect("OUT_DIR can be written");
    let table = format!("const FUNCTIONS: [(Name, &str); {count}] = [\n{table}];\n");
    fs::write(out.join("functions.rs"), table).expect("OUT_DIR can be written");
    let empty = out.join("empty");
    fs::create_dir_all(&empty).expect("OUT_DIR can be written");
    for name in LINKED {
        fs::write(empty.join(format!("lib{name}.a")), "!<arch>\n").expect("OUT_DIR can be written");
    }
    println!("cargo:rustc-link-search=native={}", empty.display());
}

fn variant(library: &str) -> &'static str {
    match library {
        "cuda" => "Driver",
        "cublas" => "Cublas",
        "cublasLt" => "CublasLt",
        "curand" => "Curand",
        "nvrtc" => "Nvrtc",
        _ => panic!("no library of the name {library}"),
    }
}

/// One function: through its slot where it is bound, else to the part that binds it.
fn jump(function: &str, index: usize) -> String {
    format!(
        ".globl {function}\n.hidden {function}\n.type {function},@function\n\
         {function}:\n mov r11, qword ptr [rip + {{slots}} + {}]\n test r11, r11\n je 2f\n jmp r11\n\
         2: mov r11d, {index}\n jmp .Ltallow_cuda_bind",
        8 * index
    )
}

/// Keeps every register that an argument may lie in, and goes on to what `bind` returns.
const BIND: &str = "\
.Ltallow_cuda_bind:
 push rdi
 push rsi
 push rdx
 push rcx
 push r8
 push r9
 push rax
 sub rsp, 128
 movups [rsp], xmm0
 movups [rsp + 16], xmm1
 movups [rsp + 32], xmm2
 movups [rsp + 48], xmm3
 movups [rsp + 64], xmm4
 movups [rsp + 80], xmm5
 movups [rsp + 96], xmm6
 movups [rsp + 112], xmm7
 mov edi, r11d
 call {bind}
 mov r11, rax
 movups xmm0, [rsp]
 movups xmm1, [rsp + 16]
 movups xmm2, [rsp + 32]
 movups xmm3, [rsp + 48]
 movups xmm4, [rsp + 64]
 movups xmm5, [rsp + 80]
 movups xmm6, [rsp + 96]
 movups xmm7, [rsp + 112]
 add rsp, 128
 pop rax
 pop r9
 pop r8
 pop rcx
 pop rdx
 pop rsi
 pop rdi
 jmp r11
";
