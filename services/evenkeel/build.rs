//! Builds the dashboard's files into the binary, so that it is served without an installation beside it. Where they
//! are not there, none are.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// More than the dashboard will ever need; past it somebody built something else.
const BYTES_MAX: u64 = 4 << 20;

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let dist = here.join("../dashboard/dist");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", dist.display());
    let mut files = Vec::new();
    if dist.is_dir() {
        collect(&dist, &mut files)?;
    }
    files.sort();
    let mut text = String::from("/// The files, by path.\npub const PAGES: &[evenkeel_gateway::Page] = &[\n");
    let mut total = 0;
    for file in files {
        let bytes = fs::read(&file)?;
        total += bytes.len() as u64;
        let path = file.strip_prefix(&dist).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        let file = file.canonicalize()?;
        let _ = writeln!(
            text,
            "    evenkeel_gateway::Page {{ path: {:?}, bytes: include_bytes!({:?}), tag: \"{:016x}\" }},",
            format!("/{path}"),
            file.to_string_lossy(),
            hash(&bytes)
        );
    }
    assert!(total <= BYTES_MAX, "the pages of the dashboard are larger than {BYTES_MAX} bytes");
    text.push_str("];\n");
    fs::write(PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("pages.rs"), text)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            files.push(path);
        }
    }
    Ok(())
}

/// FNV-1a, 64 bits: names a content, protects from nothing.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
