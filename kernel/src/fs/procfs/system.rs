//! The rest of /proc: the machine and the kernel.
use crate::{
    arch::cpu,
    drivers,
    fs::{descriptor, generated, pipe, tree::Node},
    mm::{PAGE, frame, space},
    process,
    sync::Mutex,
    syscall::{
        Errno,
        process::{RELEASE, VERSION, hostname},
    },
    time::{self, Instant},
};
use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::{
    arch::x86_64::{__cpuid, __cpuid_count},
    fmt::Write,
};

const MOUNTS: [(&str, &str, &str, &str); 5] = [
    ("/dev/root", "/", "erofs", "8:1"),
    ("udev", "/dev", "devtmpfs", "0:5"),
    ("tmpfs", "/dev/shm", "tmpfs", "0:23"),
    ("proc", "/proc", "proc", "0:21"),
    ("sysfs", "/sys", "sysfs", "0:22"),
];

/// /proc/mounts
pub fn mounts() -> String {
    let mut text = String::new();
    for (source, place, kind, _) in MOUNTS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{source} {place} {kind} rw,relatime 0 0");
    }
    text
}

/// /proc/self/mountinfo
pub fn mountinfo() -> String {
    let mut text = String::new();
    for (id, (source, place, kind, device)) in MOUNTS.into_iter().enumerate() {
        let _ = writeln!(
            text,
            "{} 1 {device} / {place} rw,relatime - {kind} {source} rw",
            id + 1
        );
    }
    text
}

/// CPUID bits with Linux's names: (leaf, subleaf, register 0..=3 for eax..edx, names from bit 0 on, `-` for none).
const FLAGS: [(u32, u32, usize, &str); 9] = [
    (
        1,
        0,
        3,
        "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts acpi mmx fxsr sse sse2 ss \
         ht tm ia64 pbe",
    ),
    (
        0x8000_0001,
        0,
        3,
        "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm 3dnowext 3dnow",
    ),
    (
        1,
        0,
        2,
        "pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid dca sse4_1 sse4_2 x2apic \
         movbe popcnt tsc_deadline_timer aes xsave - avx f16c rdrand hypervisor",
    ),
    (
        0x8000_0001,
        0,
        2,
        "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - lwp fma4 tce",
    ),
    (
        7,
        0,
        1,
        "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f avx512dq rdseed adx smap \
         avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd sha_ni avx512bw avx512vl",
    ),
    // Without what the kernel would have to switch on: umip, pku, la57, shstk, ibt.
    (
        7,
        0,
        2,
        "- avx512vbmi - - - waitpkg avx512_vbmi2 - gfni vaes vpclmulqdq avx512_vnni avx512_bitalg - avx512_vpopcntdq - - - - - - \
         - rdpid - - cldemote - movdiri movdir64b",
    ),
    (
        7,
        0,
        3,
        "- - avx512_4vnniw avx512_4fmaps fsrm - - - avx512_vp2intersect - md_clear - - - serialize - tsxldtrk - - - - - amx_bf16 \
         avx512_fp16 amx_tile amx_int8",
    ),
    (7, 1, 0, "- - - - avx_vnni avx512_bf16"),
    (0xd, 1, 0, "xsaveopt xsavec xgetbv1 xsaves"),
];

fn leaf(leaf: u32, subleaf: u32) -> [u32; 4] {
    if __cpuid(leaf & 0x8000_0000).eax < leaf {
        return [0; 4];
    }
    let result = __cpuid_count(leaf, subleaf);
    [result.eax, result.ebx, result.ecx, result.edx]
}

fn text_of(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let text = String::from_utf8_lossy(&bytes);
    text.trim_matches(['\0', ' ']).into()
}

fn cpuinfo() -> String {
    let [_, b, c, d] = leaf(0, 0);
    let vendor = text_of(&[b, d, c]);
    let name = text_of(
        &[
            leaf(0x8000_0002, 0),
            leaf(0x8000_0003, 0),
            leaf(0x8000_0004, 0),
        ]
        .concat(),
    );
    let [signature, misc, ..] = leaf(1, 0);
    let base_family = signature >> 8 & 0xf;
    let family = if base_family == 0xf {
        base_family + (signature >> 20 & 0xff)
    } else {
        base_family
    };
    let mut model = signature >> 4 & 0xf;
    if base_family == 6 || base_family == 0xf {
        model |= signature >> 12 & 0xf0;
    }
    let stepping = signature & 0xf;
    let clflush = (misc >> 8 & 0xff) * 8;
    let mhz = leaf(0x16, 0)[0] & 0xffff;
    let sizes = leaf(0x8000_0008, 0)[0];
    let cache = leaf(0x8000_0006, 0)[2] >> 16;
    let mut flags = String::new();
    for (number, subleaf, register, names) in FLAGS {
        let bits = leaf(number, subleaf)[register];
        for (bit, name) in names.split_ascii_whitespace().enumerate() {
            if name != "-" && bits >> bit & 1 != 0 {
                let _ = write!(flags, "{}{name}", if flags.is_empty() { "" } else { " " });
            }
        }
    }
    let count = cpu::count();
    let mut text = String::new();
    for index in 0..count {
        let _ = write!(
            text,
            "processor\t: {index}\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\n\
             model name\t: {name}\nstepping\t: {stepping}\ncpu MHz\t\t: {mhz}.000\ncache size\t: {cache} KB\n\
             physical id\t: 0\nsiblings\t: {count}\ncore id\t\t: {index}\ncpu cores\t: {count}\napicid\t\t: {index}\n\
             initial apicid\t: {index}\nfpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: {}\nwp\t\t: yes\n\
             flags\t\t: {flags}\nbugs\t\t:\nbogomips\t: {}.00\nclflush size\t: {clflush}\ncache_alignment\t: 64\n\
             address sizes\t: {} bits physical, {} bits virtual\npower management:\n\n",
            leaf(0, 0)[0],
            mhz * 2,
            sizes & 0xff,
            sizes >> 8 & 0xff,
        );
    }
    text
}

/// Total and free memory in KiB.
pub fn memory_kib() -> (usize, usize) {
    let (total, free) = frame::counts();
    (total * (PAGE / 1024), free * (PAGE / 1024))
}

fn meminfo() -> String {
    let (total, free) = memory_kib();
    let used = total - free.min(total);
    let mut text = String::new();
    for (name, value) in [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", used),
        ("Inactive", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", used),
        ("Mapped", 0),
        ("Shmem", 0),
        ("Slab", 0),
        ("CommitLimit", total),
        ("Committed_AS", used),
        ("HugePages_Total", 0),
        ("HugePages_Free", 0),
        ("Hugepagesize", 2048),
    ] {
        let unit = if name.starts_with("HugePages") {
            ""
        } else {
            " kB"
        };
        let _ = writeln!(text, "{:<15} {value:>8}{unit}", format!("{name}:"));
    }
    text
}

fn stat() -> String {
    let processes = process::processes();
    let used: u64 = processes.iter().map(|one| one.cpu_time_ns()).sum();
    let processes = processes.len();
    let busy = used / 10_000_000;
    let cpus = cpu::count() as u64;
    let up = Instant::now().0 / 10_000_000;
    let idle = (up * cpus).saturating_sub(busy);
    let mut text = format!("cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\n");
    for index in 0..cpus {
        let (busy, idle) = (busy / cpus, idle / cpus);
        let _ = writeln!(text, "cpu{index} {busy} 0 0 {idle} 0 0 0 0 0 0");
    }
    let boot = (time::realtime_ns().saturating_sub(Instant::now().0)) / 1_000_000_000;
    let _ = write!(
        text,
        "intr 0\nctxt 0\nbtime {boot}\nprocesses {processes}\nprocs_running 1\nprocs_blocked 0\n"
    );
    text
}

fn uptime() -> String {
    let centis = Instant::now().0 / 10_000_000;
    let (whole, part) = (centis / 100, centis % 100);
    format!("{whole}.{part:02} 0.00\n")
}

/// A random UUID.
fn uuid() -> String {
    let mut bytes = [0; 16];
    drivers::random::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text
}

static BOOT_ID: Mutex<Option<String>> = Mutex::new(None);

/// Fills /proc but for the program's own directory.
pub fn populate(proc: &Arc<Node>) -> Result<(), Errno> {
    generated::file(proc, "cpuinfo", cpuinfo)?;
    generated::file(proc, "meminfo", meminfo)?;
    generated::file(proc, "stat", stat)?;
    generated::file(proc, "uptime", uptime)?;
    generated::link(proc, "mounts", "self/mounts")?;
    generated::file(proc, "version", || {
        format!("Linux version {RELEASE} (elfin) {VERSION}\n")
    })?;
    generated::file(proc, "loadavg", || {
        let threads = process::thread_ids();
        let newest = threads.last().unwrap_or(&0);
        format!("0.00 0.00 0.00 1/{} {newest}\n", threads.len())
    })?;
    generated::file(proc, "filesystems", || {
        "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\n\terofs\n".into()
    })?;
    let kernel = generated::directory(proc, "sys/kernel")?;
    for (name, text) in [
        ("osrelease", RELEASE),
        ("ostype", "Linux"),
        ("version", VERSION),
        ("pid_max", "4194304"),
        ("threads-max", "65536"),
        ("cap_last_cap", "40"),
        ("ngroups_max", "65536"),
        ("randomize_va_space", "2"),
    ] {
        generated::file(&kernel, name, move || format!("{text}\n"))?;
    }
    generated::file(&kernel, "hostname", || {
        format!("{}\n", String::from_utf8_lossy(&hostname()))
    })?;
    let random = generated::directory(proc, "sys/kernel/random")?;
    generated::file(&random, "uuid", uuid)?;
    generated::file(&random, "boot_id", || {
        BOOT_ID.lock().get_or_insert_with(uuid).clone()
    })?;
    let vm = generated::directory(proc, "sys/vm")?;
    generated::file(&vm, "overcommit_memory", || "0\n".into())?;
    generated::file(&vm, "max_map_count", || format!("{}\n", space::MAX_AREAS))?;
    let fs = generated::directory(proc, "sys/fs")?;
    generated::file(&fs, "pipe-max-size", || format!("{}\n", pipe::CAPACITY))?;
    generated::file(&fs, "nr_open", || format!("{}\n", descriptor::MAX_LIMIT))
}
