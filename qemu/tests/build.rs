//! The `elfin` program itself, on directory trees: what it packs, what it warns of, and what it
//! says when something is missing. Nothing here boots or uses the network.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use filetime::FileTime;
use tempfile::TempDir;

fn elfin(cache: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_elfin"))
        .args(arguments)
        .env("XDG_CACHE_HOME", cache)
        .output()
        .expect("elfin starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn name(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

fn install(dir: &Path, at: &str, host: &str) {
    let target = dir.join(at);
    fs::create_dir_all(target.parent().expect("inside dir")).expect("directories");
    fs::copy(host, &target).expect("the host has this file");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).expect("own file");
}

fn has(tool: &str) -> bool {
    Command::new(tool).arg("--help").output().is_ok()
}

/// A cache and a directory with `/bin/true`, but without the C library it needs.
fn program() -> (TempDir, TempDir) {
    let root = tempfile::tempdir().expect("temporary directory");
    install(root.path(), "usr/bin/true", "/bin/true");
    fs::write(root.path().join("data.txt"), "some data\n").expect("own directory");
    let time = FileTime::from_unix_time(1_500_000_000, 0);
    filetime::set_file_mtime(root.path().join("data.txt"), time).expect("own file");
    symlink("data.txt", root.path().join("link")).expect("own directory");
    (tempfile::tempdir().expect("temporary directory"), root)
}

#[test]
fn builds_an_image_of_a_directory() {
    if !has("mkfs.erofs") || !has("fsck.erofs") {
        eprintln!("skipped: erofs-utils is not installed");
        return;
    }
    let (cache, root) = program();
    let image = cache.path().join("image");
    let layer = format!("{}:/opt/app", name(root.path()));
    let arguments = ["build", "-o", name(&image), "--root", &layer];
    let output = elfin(cache.path(), &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
    let warnings = text(&output.stderr);
    assert!(
        warnings.contains("/opt/app/usr/bin/true needs libc.so.6, which is not in the image"),
        "{warnings}"
    );

    let meta = fs::metadata(&image).expect("an image");
    assert_eq!(meta.len() % (2 << 20), 0);
    let out = cache.path().join("out");
    let fsck = Command::new("fsck.erofs")
        .arg(format!("--extract={}", name(&out)))
        .arg(&image)
        .output()
        .expect("fsck.erofs starts");
    assert!(fsck.status.success(), "{}", text(&fsck.stderr));
    let data = out.join("opt/app/data.txt");
    assert_eq!(fs::read(&data).expect("packed"), b"some data\n");
    let time = FileTime::from_last_modification_time(&fs::metadata(&data).expect("packed"));
    assert_eq!(time.unix_seconds(), 1_500_000_000);
    let link = fs::read_link(out.join("opt/app/link")).expect("packed");
    assert_eq!(link, Path::new("data.txt"));
    for place in ["bin", "dev", "proc", "tmp", "etc/passwd"] {
        assert!(out.join(place).exists(), "{place}");
    }

    // Equal input, equal image.
    let again = cache.path().join("again");
    elfin(
        cache.path(),
        &["build", "-o", name(&again), "--root", &layer],
    );
    let read = |path| fs::read(path).expect("an image");
    assert!(read(image) == read(again));
}

#[test]
fn a_missing_program_is_named() {
    let (cache, root) = program();
    let output = elfin(
        cache.path(),
        &["run", "--root", name(root.path()), "nothere"],
    );
    assert_eq!(output.status.code(), Some(125));
    let error = text(&output.stderr);
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(
        error.starts_with("elfin: the program nothere is not in "),
        "{error}"
    );
    assert!(error.contains("/usr/bin/nothere"), "{error}");
}

#[test]
fn a_missing_library_is_named() {
    let (cache, root) = program();
    let output = elfin(cache.path(), &["run", "--root", name(root.path()), "true"]);
    assert_eq!(output.status.code(), Some(125));
    let error = text(&output.stderr);
    assert!(
        error.contains("/usr/bin/true needs libc.so.6, which is not in "),
        "{error}"
    );
    assert!(error.contains("/usr/lib/x86_64-linux-gnu"), "{error}");
}

#[test]
fn a_missing_interpreter_is_named() {
    let (cache, root) = program();
    let script = root.path().join("usr/bin/script");
    fs::write(&script, "#!/usr/bin/nopython -u\n").expect("own directory");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("own file");
    let output = elfin(
        cache.path(),
        &["run", "--root", name(root.path()), "script"],
    );
    assert_eq!(output.status.code(), Some(125));
    let error = text(&output.stderr);
    assert!(
        error.contains("needs the interpreter /usr/bin/nopython"),
        "{error}"
    );
}

#[test]
fn a_bad_image_is_one_clear_line() {
    let (cache, root) = program();
    let data = root.path().join("data.txt");
    for (image, reason) in [
        (root.path().join("none"), "cannot open the image"),
        (data, "is not an EROFS image"),
        (root.path().to_owned(), "use --root"),
    ] {
        let output = elfin(cache.path(), &["run", "--image", name(&image), "true"]);
        assert_eq!(output.status.code(), Some(125));
        let error = text(&output.stderr);
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_dry_run_prints_a_command_line() {
    if !has("mkfs.erofs") {
        eprintln!("skipped: erofs-utils is not installed");
        return;
    }
    let (cache, root) = program();
    let library = "usr/lib/x86_64-linux-gnu/libc.so.6";
    install(root.path(), library, &format!("/{library}"));
    let linker = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
    install(root.path(), linker, &format!("/{linker}"));
    let arguments = [
        "run",
        "--dry-run",
        "--cpus",
        "3",
        "--root",
        name(root.path()),
        "true",
    ];
    let output = elfin(cache.path(), &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let line = text(&output.stdout);
    assert_eq!(line.lines().count(), 1);
    assert!(line.starts_with("qemu-system-x86_64 "), "{line}");
    assert!(
        line.contains(" -smp 3 ") && line.contains("virtio-pmem-pci"),
        "{line}"
    );
    // The second time, the image is there already.
    assert_eq!(text(&elfin(cache.path(), &arguments).stdout), line);
}

#[test]
fn development_files_are_written_where_they_are_found() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let output = elfin(dir.path(), &["sdk", name(&dir.path().join("sdk"))]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let source = "#include <elfin.h>\n#include <errno.h>\n\
        int main(void) { return elfin_code_unregister(1) == ENOSYS ? 0 : 1; }\n";
    fs::write(dir.path().join("main.c"), source).expect("own directory");
    let built = Command::new("gcc")
        .args(["-Isdk/include", "main.c", "-Lsdk/lib", "-lelfin"])
        .arg("-Wl,-rpath,$ORIGIN/sdk/lib")
        .current_dir(dir.path())
        .output()
        .expect("gcc starts");
    assert!(built.status.success(), "{}", text(&built.stderr));
    // Linux' dynamic linker leaves the library's own functions in place.
    let status = Command::new(dir.path().join("a.out")).status();
    assert!(status.expect("a.out starts").success());
    assert!(dir.path().join("sdk/lib/pkgconfig/elfin.pc").exists());
}

#[test]
fn development_files_in_an_image_are_in_the_systems_places() {
    if !has("mkfs.erofs") || !has("fsck.erofs") {
        eprintln!("skipped: erofs-utils is not installed");
        return;
    }
    let (cache, root) = program();
    let image = cache.path().join("image");
    let arguments = [
        "build",
        "--dev",
        "-o",
        name(&image),
        "--root",
        name(root.path()),
    ];
    let output = elfin(cache.path(), &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let out = cache.path().join("out");
    let fsck = Command::new("fsck.erofs")
        .arg(format!("--extract={}", name(&out)))
        .arg(&image)
        .output()
        .expect("fsck.erofs starts");
    assert!(fsck.status.success(), "{}", text(&fsck.stderr));
    let link = fs::read_link(out.join("usr/lib/libelfin.so")).expect("packed");
    assert_eq!(link, Path::new("libelfin.so.1"));
    let cache = fs::read(out.join("etc/ld.so.cache")).expect("packed");
    let listed = b"/lib/libelfin.so.1\0";
    assert!(cache.windows(listed.len()).any(|part| part == listed));
    assert!(out.join("usr/include/elfin.h").exists());
}
