//! `elfin run --gdb`: gdb, started as elfin says, finds a position-independent program, its libraries, and what it
//! opens later in its own namespace and in another, and says who has started a thread.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

const PLUGIN: &str = "int plugin_function(void) { return 7; }";
const PROGRAM: &str = r#"
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <pthread.h>
    #include <semaphore.h>
    static sem_t go;
    __attribute__((noinline)) void grandchild(void) { __asm__ volatile(""); }
    static void *run(void *none) { sem_wait(&go); grandchild(); return none; }
    static void *start(void *thread) { pthread_create(thread, 0, run, 0); return thread; }
    int main(void) {
        void *here = dlopen("/app/plugin.so", RTLD_NOW), *there = dlmopen(LM_ID_NEWLM, "/app/plugin.so", RTLD_NOW);
        int (*first)(void) = dlsym(here, "plugin_function"), (*second)(void) = dlsym(there, "plugin_function");
        int status = first() + second();
        pthread_t child, grandchild;
        pthread_create(&child, 0, start, &grandchild);
        pthread_join(child, 0);
        sem_post(&go);
        pthread_join(grandchild, 0);
        return status;
    }
"#;
/// Both copies of the plug-in are stopped in; the status says that the program went on.
const COMMANDS: &str = "\
    set pagination off\n\
    set breakpoint pending on\n\
    break plugin_function\n\
    continue\n\
    backtrace\n\
    continue\n\
    backtrace\n\
    info sharedlibrary\n\
    break grandchild\n\
    continue\n\
    info lineage\n\
    delete\n\
    detach\n";

fn compile(source: &str, output: &Path, arguments: &[&str]) {
    let input = output.with_extension("c");
    fs::write(&input, source).expect("own directory");
    let mut compiler = Command::new("gcc");
    compiler.args(["-O1", "-o"]).arg(output).arg(&input);
    let status = compiler.args(arguments).status().expect("gcc starts");
    assert!(status.success());
}

/// Makes a tree with the program, its plug-in and the C library.
fn tree(root: &Path) {
    for dir in ["app", "lib64", "lib/x86_64-linux-gnu"] {
        fs::create_dir_all(root.join(dir)).expect("own directory");
    }
    let interpreter = "ld-linux-x86-64.so.2";
    let host = Path::new("/lib/x86_64-linux-gnu");
    for name in ["libc.so.6", interpreter] {
        let copy = root.join("lib/x86_64-linux-gnu").join(name);
        fs::copy(host.join(name), copy).expect("the host has a C library");
    }
    let copy = root.join("lib64").join(interpreter);
    fs::copy(host.join(interpreter), copy).expect("the host has a C library");
    compile(PLUGIN, &root.join("app/plugin.so"), &["-shared", "-fPIC"]);
    compile(PROGRAM, &root.join("app/program"), &["-pie", "-fPIE"]);
}

#[test]
fn gdb_finds_the_program_and_what_it_opens() {
    let root = tempfile::tempdir().expect("temporary directory");
    tree(root.path());
    let commands = root.path().join("commands");
    fs::write(&commands, COMMANDS).expect("own directory");
    // Nobody else takes the port in the meantime: the system gives out others first.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let mut elfin = Command::new(env!("CARGO_BIN_EXE_elfin"))
        .arg("run")
        .arg(format!("--gdb={port}"))
        .args(["--cpus=2", "--root"])
        .arg(root.path())
        .args(["--", "/app/program"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("elfin starts");
    let mut lines = BufReader::new(elfin.stderr.take().expect("piped")).lines();
    let line = lines.find_map(|line| {
        let line = line.expect("text");
        Some(line.strip_prefix("elfin: waiting for gdb: ")?.to_owned())
    });
    let line = line.expect("elfin says how to start gdb");
    // gdb itself tries again until QEMU listens.
    let gdb = format!("timeout 100 {line} -nx -batch -x {}", commands.display());
    let mut gdb = Command::new("sh")
        .args(["-c", &gdb])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh starts");
    let mut said = String::new();
    let mut output = gdb.stdout.take().expect("piped");
    output.read_to_string(&mut said).expect("text");
    gdb.wait().expect("gdb was started");
    if !said.contains("detached") {
        elfin.kill().expect("elfin was started");
    }
    let status = elfin.wait().expect("elfin was started");
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert_eq!(status.code(), Some(14), "{said}\n{rest:?}");
    assert_eq!(said.matches("in plugin_function ()").count(), 4, "{said}");
    assert_eq!(said.matches("in main ()").count(), 2, "{said}");
    assert_eq!(said.matches("/app/plugin.so\n").count(), 6, "{said}");
    let lineage = "thread 3, started by 2 (ended), started by 1\n";
    assert_eq!(said.matches(lineage).count(), 1, "{said}");
}
