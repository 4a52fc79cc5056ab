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

    // Equal input, equal image, whoever asks for it.
    let again = cache.path().join("again");
    let output = Command::new("sh")
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_elfin"))
        .args(["build", "-o", name(&again), "--root", &layer])
        .env("XDG_CACHE_HOME", cache.path())
        .output();
    assert!(output.expect("sh starts").status.success());
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
    // The second time, the image is there already. What the kernel is told says how fast the host's clock runs as well.
    let again = text(&elfin(cache.path(), &arguments).stdout);
    let without_config = |line: &str| {
        let words = line.split_whitespace();
        words
            .filter(|word| !word.ends_with(".config"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(without_config(&again), without_config(&line));
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

/// Copies what `/usr/bin/python3` of this machine needs to compile modules into `dir`; returns its version.
fn install_python(dir: &Path) -> String {
    let program = fs::canonicalize("/usr/bin/python3").expect("the host has Python");
    let name = program.file_name().expect("a file").to_string_lossy();
    let version = name.trim_start_matches("python").to_owned();
    let lib = format!("usr/lib/python{version}");
    install(dir, &format!("usr/bin/python{version}"), &name_of(&program));
    for part in ["", "collections", "encodings", "importlib", "re"] {
        let host = Path::new("/").join(&lib).join(part);
        for entry in fs::read_dir(host).expect("the host has Python's modules") {
            let path = entry.expect("readable").path();
            let module = path.extension().is_some_and(|end| end == "py");
            if module && !path.is_symlink() {
                install(dir, &name_of(&path)[1..], &name_of(&path));
            }
        }
    }
    let listed = Command::new("ldd").arg(&program).output();
    let listed = text(&listed.expect("ldd starts").stdout);
    for path in listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        install(dir, &format!("usr{path}"), path);
    }
    version
}

fn name_of(path: &Path) -> String {
    name(path).to_owned()
}

#[test]
fn modules_are_compiled_from_the_images_files() {
    if !has("mkfs.erofs") || !has("fsck.erofs") {
        eprintln!("skipped: erofs-utils is not installed");
        return;
    }
    let (cache, root) = (
        tempfile::tempdir().expect("temporary directory"),
        tempfile::tempdir().expect("temporary directory"),
    );
    let version = install_python(root.path());
    let lib = root.path().join(format!("usr/lib/python{version}"));
    let source = root.path().join("etc/python/sitecustomize.py");
    fs::create_dir_all(source.parent().expect("a directory")).expect("own directory");
    fs::write(&source, "ORIGIN = 'image'\n").expect("own directory");
    let time = FileTime::from_unix_time(1_500_000_000, 0);
    filetime::set_file_mtime(&source, time).expect("own file");
    // This machine may have such a file, too, and another one.
    symlink("/etc/python/sitecustomize.py", lib.join("sitecustomize.py")).expect("own directory");
    fs::write(lib.join("broken.py"), "def\n").expect("own directory");
    for place in ["app", "usr/share"] {
        let dir = root.path().join(place);
        fs::create_dir_all(&dir).expect("own directory");
        fs::write(dir.join("own.py"), "").expect("own directory");
    }

    let image = cache.path().join("image");
    let arguments = ["build", "-o", name(&image), "--root", name(root.path())];
    let output = elfin(cache.path(), &arguments);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let broken = format!("stay uncompiled: /usr/lib/python{version}/broken.py: SyntaxError\n");
    assert!(said.contains(&broken), "{said}");
    let out = cache.path().join("out");
    let fsck = Command::new("fsck.erofs")
        .arg(format!("--extract={}", name(&out)))
        .arg(&image)
        .output()
        .expect("fsck.erofs starts");
    assert!(fsck.status.success(), "{}", text(&fsck.stderr));
    assert!(out.join("app/__pycache__").exists() && !out.join("usr/share/__pycache__").exists());
    let packed = out.join(format!("usr/lib/python{version}"));
    let program = "import glob, marshal, os, sys
lib = sys.argv[1]
[site] = glob.glob(lib + '/__pycache__/sitecustomize.*.pyc')
data = open(site, 'rb').read()
code = marshal.loads(data[16:])
print(int.from_bytes(data[8:12], 'little'), code.co_filename, 'image' in code.co_consts)
tag = site.split('sitecustomize')[1]
print([name for name in os.listdir(lib) if name.endswith('.py')
       and not os.path.exists(lib + '/__pycache__/' + name[:-3] + tag)])
";
    let seen = Command::new("/usr/bin/python3")
        .args(["-c", program, name(&packed)])
        .output()
        .expect("Python starts");
    let expected =
        format!("1500000000 /usr/lib/python{version}/sitecustomize.py True\n['broken.py']\n");
    assert_eq!(text(&seen.stdout), expected, "{}", text(&seen.stderr));
}

#[test]
fn warnings_are_of_what_will_be_missing() {
    if !has("mkfs.erofs") {
        eprintln!("skipped: erofs-utils is not installed");
        return;
    }
    let (cache, root) = program();
    for path in [
        "usr/lib/x86_64-linux-gnu/libc.so.6",
        "usr/lib64/ld-linux-x86-64.so.2",
    ] {
        install(root.path(), path, &format!("/{path}"));
    }
    let link = |at: &str, options: &[&str]| {
        let file = root.path().join(at);
        fs::create_dir_all(file.parent().expect("a directory")).expect("own directory");
        let built = Command::new("gcc")
            .args([
                "-xc",
                "/dev/null",
                "-xnone",
                "-nostdlib",
                "-Wl,--no-as-needed",
                "-Wl,--allow-shlib-undefined",
            ])
            .args(options)
            .arg("-o")
            .arg(&file)
            .current_dir(root.path())
            .output()
            .expect("gcc starts");
        assert!(built.status.success(), "{}", text(&built.stderr));
    };
    // As in a JDK: libawt is opened after libjvm, which no directory of its own leads to.
    link(
        "opt/jdk/lib/server/libjvm.so",
        &["-shared", "-Wl,-soname,libjvm.so"],
    );
    link(
        "opt/jdk/lib/libawt.so",
        &["-shared", "opt/jdk/lib/server/libjvm.so"],
    );
    // Nowhere, and where a program will not look.
    link("opt/libgone.so", &["-shared", "-Wl,-soname,libgone.so"]);
    link("opt/libplugin.so", &["-shared", "opt/libgone.so"]);
    fs::remove_file(root.path().join("opt/libgone.so")).expect("own file");
    let entry = ["-nostartfiles", "-Wl,-e0"];
    link(
        "opt/program",
        &[entry[0], entry[1], "opt/jdk/lib/server/libjvm.so"],
    );

    let image = cache.path().join("image");
    let arguments = ["build", "-o", name(&image), "--root", name(root.path())];
    let said = text(&elfin(cache.path(), &arguments).stderr);
    let lines: Vec<&str> = said.lines().collect();
    let [plugin, program] = lines.as_slice() else {
        panic!("{said}");
    };
    assert!(
        plugin.contains("/opt/libplugin.so needs libgone.so, which is not in the image"),
        "{plugin}"
    );
    assert!(
        program.contains(
            "/opt/program needs libjvm.so, which is only at /opt/jdk/lib/server/libjvm.so"
        ) && program.ends_with("--env LD_LIBRARY_PATH=/opt/jdk/lib/server`"),
        "{program}"
    );
}
