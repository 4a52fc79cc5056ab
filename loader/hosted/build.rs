//! Links `elfin-hosted` without libc, static, and far away from where programs and libraries go: Debian's python is
//! fixed at 0x400000, and mmap works downward from the stack.

fn main() {
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--image-base=0x200000000000",
        "-Wl,--build-id=none",
        "-Wl,-z,max-page-size=4096",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
