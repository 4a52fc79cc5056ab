//! `examples/dask`: a cluster of machines computes what one process does, though a worker is killed meanwhile.

use std::path::Path;
use std::process::Command;

#[test]
fn a_cluster_computes_what_one_process_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let run = root
        .expect("the crate lies in a workspace")
        .join("examples/dask/run");
    let output = Command::new(run)
        .arg("--kill")
        .env("ELFIN", env!("CARGO_BIN_EXE_elfin"))
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{error}");
    for words in [
        "40 singular values of 800,000 numbers, as one process gets them",
        "worker2 was killed after 10 of 40 pieces",
        "800,000 words, 1000 different ones, as one process counts them",
        "the dashboard answers: 200",
    ] {
        assert!(text.contains(words), "{text}{error}");
    }
}
