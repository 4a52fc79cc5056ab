//! Whether this host can run virtual CPUs itself (KVM) or QEMU must translate (TCG).

use std::fs::{self, OpenOptions};

use anyhow::{Result, bail};

use clap::ValueEnum;

/// How the virtual CPUs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accel {
    /// KVM if this host has it, else TCG
    Auto,
    /// The processor's own virtualisation
    Kvm,
    /// QEMU's translator
    Tcg,
}

/// How the virtual CPUs run, decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    Kvm,
    Tcg,
}

/// Decides what `wish` means on this host.
pub(super) fn choose(wish: Accel) -> Result<Chosen> {
    match (wish, kvm_obstacle()) {
        (Accel::Tcg, _) | (Accel::Auto, Some(_)) => Ok(Chosen::Tcg),
        (Accel::Kvm | Accel::Auto, None) => Ok(Chosen::Kvm),
        (Accel::Kvm, Some(why)) => bail!("no KVM here: {why}"),
    }
}

/// Why KVM cannot be used, if so. The device alone proves nothing: containers may have it on
/// processors that cannot virtualise.
fn kvm_obstacle() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if !can_virtualise(&info) {
        return Some("the processor offers neither vmx nor svm".to_owned());
    }
    let device = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    device.err().map(|error| format!("/dev/kvm: {error}"))
}

fn can_virtualise(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter(|line| line.starts_with("flags"))
        .flat_map(str::split_whitespace)
        .any(|flag| flag == "vmx" || flag == "svm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_decide() {
        assert!(can_virtualise("processor: 0\nflags\t\t: fpu vmx sse\n"));
        assert!(can_virtualise("flags : svm"));
        assert!(!can_virtualise(
            "flags : fpu vmx_not\nvmx flags : vnmi\nname: svm\n"
        ));
        assert_eq!(choose(Accel::Tcg).unwrap(), Chosen::Tcg);
    }
}
