//! Volumes with many names in a machine with little memory: what nobody uses is forgotten, what is in use is not.

#[path = "support/program.rs"]
mod program;
mod support;

use support::{Volumes, text};

const NAMES: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK(what) do { if (!(what)) { perror(#what); return 1; } } while (0)

static long available(void)
{
    FILE *file = fopen("/proc/meminfo", "r");
    char line[100];
    long kib = 0;
    while (fgets(line, sizeof line, file))
        sscanf(line, "MemAvailable: %ld", &kib);
    fclose(file);
    return kib;
}

int main(void)
{
    char name[64], text[64];
    struct stat of, again;
    CHECK(!mkdir("/data/a", 0700) && !mkdir("/data/a/b", 0700) && !mkdir("/data/a/b/c", 0700));
    CHECK(!chdir("/data/a/b/c"));
    int kept = open("/data/a/kept", O_CREAT | O_RDWR, 0600);
    CHECK(write(kept, "kept", 4) == 4 && !fstat(kept, &of));
    int closed = open("/data/a/closed", O_CREAT | O_RDWR, 0600);
    CHECK(write(closed, "written", 7) == 7 && !close(closed));
    int watch = inotify_init();
    CHECK(inotify_add_watch(watch, "/data/a", IN_MODIFY) == 1);
    for (int i = 0; i < 1500; i++) {
        if (i % 500 == 0) {
            sprintf(name, "/data/d%d", i / 500);
            CHECK(!mkdir(name, 0700));
        }
        sprintf(name, "/data/d%d/%d", i / 500, i);
        CHECK(mknod(name, S_IFREG | 0600, 0) == 0);
    }
    long before = available();
    for (int i = 0; i < 10000; i++) {
        sprintf(name, "/data/none-%d", i);
        CHECK(stat(name, &again));
    }
    printf("%s\n", before - available() < 700 ? "forgotten" : "kept");
    CHECK(getcwd(text, sizeof text));
    puts(text);
    CHECK(!stat("../../kept", &again));
    printf("%s\n", of.st_ino == again.st_ino && of.st_mtim.tv_nsec == again.st_mtim.tv_nsec ? "the same" : "another");
    CHECK(pread(kept, text, 9, 0) == 4 && write(kept, "!", 1) == 1);
    CHECK(read(watch, text, sizeof text) > 0);
    puts(text + sizeof(struct inotify_event));
    closed = open("/data/a/closed", O_RDONLY);
    CHECK(read(closed, text, sizeof text) == 7);
    printf("%.7s\n", text);
    for (int i = 0; i < 1500; i++) {
        sprintf(name, "/data/d%d/%d", i / 500, i);
        CHECK(!unlink(name));
    }
    puts("gone");
}
"#;

#[test]
fn names_that_nobody_uses_are_forgotten() {
    let volumes = Volumes::new();
    let root = program::program(NAMES, &["-static"]);
    let root = root.path().display().to_string();
    let machine = ["run", "--cpus", "1", "--memory", "24M", "-v", "data:/data"];
    let output = volumes.elfin(&[&machine[..], &["--root", &root, "/program"]].concat());
    assert_eq!(
        (&*text(&output.stdout), &*text(&output.stderr)),
        (
            "forgotten\n/data/a/b/c\nthe same\nkept\nwritten\ngone\n",
            ""
        )
    );
    volumes.is_sound("data");
}
