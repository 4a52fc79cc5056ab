//! `elfin run --profile FILE`: how often which stack of functions was met, a line a stack, `OUTERMOST;…;INNERMOST
//! COUNT`, as flame graph tools (flamegraph.pl, inferno, speedscope) read it.
//!
//! The kernel counts stacks of the program and names their functions; where the kernel itself was is an address, whose
//! name is in the kernel's file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use goblin::elf::{Elf, sym};

/// How often a second what runs is looked at.
pub(super) const RATE: u64 = 1000;

/// Writes the profile that is in a record.
pub(super) fn write(file: &Path, program: &str, record: &[u8], kernel: &Path) -> Result<()> {
    let kernel = fs::read(kernel).context("cannot read the kernel")?;
    let names = functions(&kernel);
    let text = folded(program, &String::from_utf8_lossy(record), &names);
    fs::write(file, text).with_context(|| format!("cannot write the profile {}", file.display()))
}

/// The kernel's functions by their addresses.
fn functions(kernel: &[u8]) -> BTreeMap<u64, String> {
    let Ok(elf) = Elf::parse(kernel) else {
        return BTreeMap::new();
    };
    let functions = elf
        .syms
        .iter()
        .filter(|symbol| sym::st_type(symbol.st_info) == sym::STT_FUNC);
    let named = functions.filter_map(|symbol| {
        let name = elf.strtab.get_at(symbol.st_name)?;
        Some((
            symbol.st_value,
            format!("{:#}", rustc_demangle::demangle(name)),
        ))
    });
    named.collect()
}

/// Counts the stacks in a record.
fn folded(program: &str, record: &str, names: &BTreeMap<u64, String>) -> String {
    let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
    for line in record.lines() {
        if let Some(sample) = line.strip_prefix("sample ") {
            let Some((count, stack)) = sample.split_once(' ') else {
                continue;
            };
            let stack = format!("{program};{stack}");
            *stacks.entry(stack).or_default() += count.parse().unwrap_or(0);
        } else if let [address, _, _, "kernel"] = line.split_whitespace().collect::<Vec<_>>()[..] {
            let address = address.parse().unwrap_or(0);
            let name = names.range(..=address).next_back();
            let name = name.map_or("?", |(_, name)| name);
            *stacks.entry(format!("[kernel];{name}")).or_default() += 1;
        }
    }
    let lines = stacks
        .iter()
        .map(|(stack, count)| format!("{stack} {count}\n"));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_counted() {
        let record = "now 9 lost 0\n1 2 3 call read\n4096 4096 3 kernel \n4200 4200 0 kernel\n9 9 0 kernel \n\
                      sample 3 main;f\nsample 2 main;f\nsample 1 main\n";
        let names = BTreeMap::from([(4096, "idle".to_owned())]);
        assert_eq!(
            folded("a", record, &names),
            "[kernel];? 1\n[kernel];idle 2\na;main 1\na;main;f 5\n"
        );
    }
}
