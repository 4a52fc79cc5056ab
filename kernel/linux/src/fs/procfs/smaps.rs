//! /proc/PID/smaps and smaps_rollup: how much of each mapping, and of all, is in memory. Which pages processes share,
//! and which have been written, is not looked at: pages count whole in each process, and are clean if a file is mapped.
use super::status;
use crate::process::Process;
use alloc::{format, string::String};
use core::fmt::Write;
use machine::mm::space::{MapsLine, Prot};

/// Bytes in memory.
#[derive(Clone, Copy, Default)]
struct Resident {
    rss: usize,
    shared_clean: usize,
    shared_dirty: usize,
    private_clean: usize,
    private_dirty: usize,
    anonymous: usize,
}

impl Resident {
    fn of(area: &MapsLine) -> Self {
        let rss = area.rss;
        let is_file = area.ino != 0;
        let mut resident = Self {
            rss,
            ..Self::default()
        };
        match (is_file, area.shared) {
            (true, true) => resident.shared_clean = rss,
            (true, false) => resident.private_clean = rss,
            (false, true) => resident.shared_dirty = rss,
            (false, false) => {
                resident.private_dirty = rss;
                resident.anonymous = rss;
            }
        }
        resident
    }

    fn add(&mut self, other: Self) {
        self.rss += other.rss;
        self.shared_clean += other.shared_clean;
        self.shared_dirty += other.shared_dirty;
        self.private_clean += other.private_clean;
        self.private_dirty += other.private_dirty;
        self.anonymous += other.anonymous;
    }

    /// The lines of smaps, or those of smaps_rollup, which has more.
    fn write(&self, text: &mut String, is_rollup: bool) {
        line(text, "Rss", self.rss);
        line(text, "Pss", self.rss);
        line(text, "Pss_Dirty", self.shared_dirty + self.private_dirty);
        if is_rollup {
            line(text, "Pss_Anon", self.anonymous);
            line(text, "Pss_File", self.shared_clean + self.private_clean);
            line(text, "Pss_Shmem", self.shared_dirty);
        }
        let lines = [
            ("Shared_Clean", self.shared_clean),
            ("Shared_Dirty", self.shared_dirty),
            ("Private_Clean", self.private_clean),
            ("Private_Dirty", self.private_dirty),
            ("Referenced", self.rss),
            ("Anonymous", self.anonymous),
            ("LazyFree", 0),
            ("AnonHugePages", 0),
            ("ShmemPmdMapped", 0),
            ("FilePmdMapped", 0),
            ("Shared_Hugetlb", 0),
            ("Private_Hugetlb", 0),
            ("Swap", 0),
            ("SwapPss", 0),
            ("Locked", 0),
        ];
        for (name, bytes) in lines {
            line(text, name, bytes);
        }
    }
}

fn line(text: &mut String, name: &str, bytes: usize) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:<15} {:>8} kB", format!("{name}:"), bytes / 1024);
}

/// smaps
pub(super) fn smaps(process: &Process) -> String {
    let mut text = String::new();
    for area in status::mappings(process) {
        text += &status::maps_line(&area);
        line(&mut text, "Size", area.end - area.start);
        line(&mut text, "KernelPageSize", 4096);
        line(&mut text, "MMUPageSize", 4096);
        Resident::of(&area).write(&mut text, false);
        let _ = writeln!(text, "THPeligible:           0");
        text += "VmFlags:";
        for (prot, flag) in [
            (Prot::READ, " rd"),
            (Prot::WRITE, " wr"),
            (Prot::EXEC, " ex"),
        ] {
            if area.prot.contains(prot) {
                text += flag;
            }
        }
        text += if area.shared {
            " sh mr mw me ms \n"
        } else {
            " mr mw me \n"
        };
    }
    text
}

/// smaps_rollup
pub(super) fn rollup(process: &Process) -> String {
    let areas = status::mappings(process);
    let mut all = Resident::default();
    for area in &areas {
        all.add(Resident::of(area));
    }
    let start = areas.first().map_or(0, |area| area.start);
    let end = areas.last().map_or(0, |area| area.end);
    let range = format!("{start:08x}-{end:08x} ---p 00000000 00:00 0 ");
    let mut text = format!("{range:<73}[rollup]\n");
    all.write(&mut text, true);
    text
}
