//! /sys: CPUs, the one memory node, disks, huge pages.
use super::{
    disks,
    generated::{self, Filled},
    procfs::system::memory_kib,
    tree::{Kind, Node, dev},
};
use abi::Errno;
use alloc::{format, string::String, sync::Arc};
use linux_raw_sys::general as linux;
use machine::arch::cpu;

fn cpu_list() -> String {
    match cpu::count() {
        1 => "0\n".into(),
        count => format!("0-{}\n", count - 1),
    }
}

fn mask(bits: u64) -> String {
    format!("{bits:x}\n")
}

/// All CPUs.
fn cpu_mask() -> String {
    mask(u64::MAX >> (64 - cpu::count().clamp(1, 64)))
}

/// Makes the root, with what `add` adds to it.
pub fn make(add: fn(&Arc<Node>) -> Result<(), Errno>) -> Arc<Node> {
    let root = Filled::new(dev::SYS, move |sys| {
        populate(sys)?;
        add(sys)
    });
    Node::new(dev::SYS, linux::S_IFDIR | 0o555, Kind::listing(root))
}

fn populate(sys: &Arc<Node>) -> Result<(), Errno> {
    let cpus = generated::directory(sys, "devices/system/cpu")?;
    for name in ["online", "possible", "present"] {
        generated::file(&cpus, name, cpu_list)?;
    }
    generated::file(&cpus, "kernel_max", || "63\n".into())?;
    for index in 0..cpu::count() {
        let topology = generated::directory(&cpus, &format!("cpu{index}/topology"))?;
        generated::file(&topology, "core_id", move || format!("{index}\n"))?;
        generated::file(&topology, "physical_package_id", || "0\n".into())?;
        let own = move || mask(1 << (index % 64));
        generated::file(&topology, "thread_siblings", own)?;
        generated::file(&topology, "core_cpus", own)?;
        generated::file(&topology, "core_siblings", cpu_mask)?;
        let list = move || format!("{index}\n");
        generated::file(&topology, "thread_siblings_list", list)?;
        generated::file(&topology, "core_cpus_list", list)?;
        generated::file(&topology, "core_siblings_list", cpu_list)?;
    }
    let nodes = generated::directory(sys, "devices/system/node")?;
    for name in ["online", "possible", "has_cpu", "has_memory"] {
        generated::file(&nodes, name, || "0\n".into())?;
    }
    let node = generated::directory(&nodes, "node0")?;
    generated::file(&node, "cpulist", cpu_list)?;
    generated::file(&node, "cpumap", cpu_mask)?;
    generated::file(&node, "distance", || "10\n".into())?;
    generated::file(&node, "meminfo", || {
        let (total, free) = memory_kib();
        let used = total - free.min(total);
        format!(
            "Node 0 MemTotal: {total:>8} kB\nNode 0 MemFree: {free:>8} kB\nNode 0 MemUsed: {used:>8} kB\n"
        )
    })?;
    generated::directory(sys, "dev/char")?;
    disks::populate(sys)?;
    let pages = generated::directory(sys, "kernel/mm/transparent_hugepage")?;
    for name in ["enabled", "defrag"] {
        generated::file(&pages, name, || "always madvise [never]\n".into())?;
    }
    generated::file(&pages, "hpage_pmd_size", || "2097152\n".into())
}
