//! Builds the kernel and hands its path to the crate, which embeds it: `target/release/elfin` is
//! then one self-contained file. `ELFIN_KERNEL_PREBUILT` names a kernel to embed instead. So too
//! with the library that programs link with for Elfin's own functions.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest, Sha256};

const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    println!("cargo:rerun-if-env-changed=ELFIN_KERNEL_PREBUILT");
    let kernel = match env::var_os("ELFIN_KERNEL_PREBUILT") {
        Some(path) => {
            let path = PathBuf::from(path);
            println!("cargo:rerun-if-changed={}", path.display());
            path
        }
        None => build_kernel(),
    };
    let kernel = kernel
        .canonicalize()
        .unwrap_or_else(|error| panic!("no kernel at {}: {error}", kernel.display()));
    println!("cargo:rustc-env=ELFIN_KERNEL_IMAGE={}", kernel.display());
    // The name it has in the cache: here, and not at each start.
    let bytes = std::fs::read(&kernel)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", kernel.display()));
    let hash = Sha256::digest(&bytes);
    let name: String = hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    println!("cargo:rustc-env=ELFIN_KERNEL_NAME={name}");
    println!(
        "cargo:rustc-env=ELFIN_LIBRARY={}",
        build_library().display()
    );
}

fn build_library() -> PathBuf {
    let include = workspace().join("include");
    println!("cargo:rerun-if-changed={}", include.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo")).join("libelfin.so.1");
    // It needs no other library, so that it can be used with any.
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"])
        .args(["-nostdlib", "-s", "-Wl,-soname,libelfin.so.1", "-o"])
        .arg(&out)
        .arg(include.join("libelfin.c"))
        .status()
        .unwrap_or_else(|error| panic!("cannot start cc for libelfin: {error}"));
    assert!(status.success(), "libelfin does not build: {status}");
    out
}

fn workspace() -> PathBuf {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    manifest
        .parent()
        .expect("the crate lies in the workspace")
        .to_path_buf()
}

fn build_kernel() -> PathBuf {
    let root = workspace();
    for input in ["kernel", "loader/src", "loader/Cargo.toml", "Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    // The target directory differs from the outer cargo's, whose lock is held while we run.
    let target_dir = root.join("target/kernel");
    let mut cargo = Command::new(env::var_os("CARGO").expect("set by cargo"));
    cargo
        .current_dir(&root)
        .args([
            "build",
            "--profile",
            "kernel",
            "-p",
            "kernel",
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(&target_dir);
    // What the outer cargo (or clippy) set for this crate must not leak into the kernel's build.
    for name in [
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WORKSPACE_WRAPPER",
        "CLIPPY_ARGS",
        "CLIPPY_CONF_DIR",
    ] {
        cargo.env_remove(name);
    }
    let status = cargo
        .status()
        .unwrap_or_else(|error| panic!("cannot start cargo for the kernel: {error}"));
    assert!(status.success(), "the kernel does not build: {status}");
    target_dir.join(TARGET).join("kernel/elfin-kernel")
}
