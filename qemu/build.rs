//! Builds the kernel and hands its path to the crate, which embeds it: `target/release/elfin` is
//! then one self-contained file. `ELFIN_KERNEL_PREBUILT` names a kernel to embed instead.

use std::env;
use std::path::PathBuf;
use std::process::Command;

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
}

fn build_kernel() -> PathBuf {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let root = manifest
        .parent()
        .expect("the crate lies in the workspace")
        .to_path_buf();
    for input in ["kernel", "loader/src", "loader/Cargo.toml", "Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    // The target directory differs from the outer cargo's, whose lock is held while we run.
    let target_dir = root.join("target/kernel");
    let mut cargo = Command::new(env::var_os("CARGO").expect("set by cargo"));
    cargo
        .current_dir(&root)
        .args(["build", "--release", "-p", "kernel", "--target", TARGET])
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
    target_dir.join(TARGET).join("release/elfin-kernel")
}
