//! QEMU's command line for one machine.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::accel::Chosen;
use super::escape::escape;
use super::gdb::Meeting;
use super::mounts::{Disk, Share};
use super::net::Net;
use super::options::Machine as Model;
use crate::shell::quote;

fn option(start: &str, path: &Path, end: &str) -> OsString {
    let mut text = OsString::from(start);
    text.push(escape(path));
    text.push(end);
    text
}

/// Everything about the virtual machine but where its streams go.
pub(super) struct Machine {
    pub(super) model: Model,
    pub(super) accel: Chosen,
    /// QEMU's name of the processor, with its features.
    pub(super) cpu: String,
    pub(super) cpus: u32,
    pub(super) memory: u64,
    pub(super) kernel: PathBuf,
    pub(super) image: PathBuf,
    pub(super) image_size: u64,
    /// Where it waits for gdb, if it does.
    pub(super) gdb: Option<Meeting>,
    /// Directories of the host.
    pub(super) shares: Vec<Share>,
    pub(super) net: Net,
    /// Volumes.
    pub(super) disks: Vec<Disk>,
    /// Whether it says what happened when.
    pub(super) is_recorded: bool,
}

/// QEMU's ends of the sockets that carry the machine's streams.
pub(super) struct Plugs {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) control: OwnedFd,
    pub(super) log: OwnedFd,
    /// Where it says what happened when, if it is to.
    pub(super) record: Option<OwnedFd>,
}

/// Where the streams of a machine go, as `-chardev` options without their ids.
struct Streams {
    stdin: String,
    stdout: String,
    stderr: String,
    control: String,
    log: String,
    record: String,
}

/// A command that still needs its file descriptors plugged in.
pub(super) struct Prepared<'a> {
    qemu: &'a Path,
    machine: &'a Machine,
    config: PathBuf,
}

impl Machine {
    /// Prepares to run this machine with the program `qemu` and an inherited configuration file.
    pub(super) fn command<'a>(&'a self, qemu: &'a Path, config: &std::fs::File) -> Prepared<'a> {
        Prepared {
            qemu,
            machine: self,
            config: super::inherited_path(config),
        }
    }

    /// A command line for a shell, with the streams on the shell's own.
    pub(super) fn shell_line(&self, config: &Path, verbose: bool) -> String {
        let streams = Streams {
            stdin: "null".to_owned(),
            stdout: "file,path=/dev/stdout,append=on".to_owned(),
            stderr: "file,path=/dev/stderr,append=on".to_owned(),
            control: "null".to_owned(),
            log: if verbose {
                "file,path=/dev/stderr,append=on".to_owned()
            } else {
                "null".to_owned()
            },
            record: "null".to_owned(),
        };
        std::iter::once(OsString::from("qemu-system-x86_64"))
            .chain(self.arguments(config, &streams))
            .map(|word| quote(&word))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn arguments(&self, config: &Path, streams: &Streams) -> Vec<OsString> {
        let mut list: Vec<OsString> = Vec::new();
        let mut add = |words: &[&OsStr]| list.extend(words.iter().map(|word| (*word).to_owned()));
        macro_rules! add {
            ($($word:expr),+) => { add(&[$(OsStr::new(&$word)),+]) };
        }
        let pmem = self.model == Model::Q35;
        match self.model {
            Model::Q35 => {
                add!("-M", "q35,usb=off,sata=off,smbus=off,vmport=off");
            }
            Model::Microvm => {
                add!("-M", "microvm,pcie=on,acpi=on,pit=on,pic=on,rtc=on");
            }
        }
        match self.accel {
            Chosen::Kvm => add!("-accel", "kvm"),
            Chosen::Tcg => add!("-accel", "tcg,thread=multi"),
        }
        add!("-cpu", &self.cpu);
        add!(
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none"
        );
        add!("-smp", self.cpus.to_string());
        if pmem {
            // Room for the image behind the memory, aligned as generously as QEMU may want it.
            let most = self.memory.next_multiple_of(1 << 30)
                + self.image_size.next_multiple_of(1 << 30)
                + (1 << 30);
            add!(
                "-m",
                format!("{}k,slots=1,maxmem={}k", self.memory >> 10, most >> 10)
            );
        } else {
            add!("-m", format!("{}k", self.memory >> 10));
        }
        add!("-kernel", self.kernel, "-initrd", config);
        if pmem {
            let size = format!(",share=on,readonly=on,size={}", self.image_size);
            let start = "memory-backend-file,id=root,mem-path=";
            add!("-object", option(start, &self.image, &size));
            add!("-device", "virtio-pmem-pci,memdev=root");
        } else {
            let end = ",if=none,id=root,format=raw,readonly=on";
            add!("-drive", option("file=", &self.image, end));
            add!("-device", "virtio-blk-pci,drive=root");
        }
        for Share {
            tag,
            dir,
            read_only,
        } in &self.shares
        {
            let read_only = if *read_only { ",readonly=on" } else { "" };
            let end = format!(",security_model=none,multidevs=remap{read_only}");
            let start = format!("local,id={tag},path=");
            add!("-fsdev", option(&start, dir, &end));
            add!(
                "-device",
                format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}")
            );
        }
        for [name, value] in self.net.arguments() {
            add!(name, value);
        }
        for Disk {
            name,
            file,
            read_only,
        } in &self.disks
        {
            let read_only = if *read_only { ",readonly=on" } else { "" };
            // QEMU would stop the machine, and say nothing, when the host's disk is full.
            let how = "format=raw,cache=writeback,discard=unmap,werror=report";
            let end = format!(",if=none,id={name},{how}{read_only}");
            add!("-drive", option("file=", file, &end));
            add!(
                "-device",
                format!("virtio-blk-pci,drive={name},serial={name}")
            );
        }
        add!("-device", "virtio-rng-pci", "-device", "virtio-serial-pci");
        let ports = [
            ("stdin", &streams.stdin),
            ("stdout", &streams.stdout),
            ("stderr", &streams.stderr),
            ("control", &streams.control),
        ];
        for (number, (name, stream)) in (1..).zip(ports) {
            let (kind, rest) = stream.split_once(',').unwrap_or((stream, ""));
            let comma = if rest.is_empty() { "" } else { "," };
            add!("-chardev", format!("{kind},id={name}{comma}{rest}"));
            add!(
                "-device",
                format!("virtserialport,nr={number},name=elfin.{name},chardev={name}")
            );
        }
        let (kind, rest) = streams.log.split_once(',').unwrap_or((&streams.log, ""));
        let comma = if rest.is_empty() { "" } else { "," };
        add!("-chardev", format!("{kind},id=log{comma}{rest}"));
        add!("-serial", "chardev:log");
        if self.is_recorded {
            let (kind, rest) = streams
                .record
                .split_once(',')
                .unwrap_or((&streams.record, ""));
            let comma = if rest.is_empty() { "" } else { "," };
            add!("-chardev", format!("{kind},id=record{comma}{rest}"));
            add!("-device", "isa-debugcon,iobase=0xe9,chardev=record");
        }
        add!("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04");
        if let Some(meeting) = &self.gdb {
            add!("-S", "-gdb", meeting.for_qemu());
        }
        list
    }
}

impl Prepared<'_> {
    /// Whether the machine says what happened when.
    pub(super) fn is_recorded(&self) -> bool {
        self.machine.is_recorded
    }

    /// What QEMU inherits besides its streams and its configuration.
    pub(super) fn inherited(&self) -> Vec<&OwnedFd> {
        self.machine.net.inherited()
    }

    /// The command, with the machine's streams on the sockets `plugs`.
    pub(super) fn command(&self, plugs: &Plugs) -> Command {
        let socket = |fd: &OwnedFd| format!("socket,fd={}", fd.as_raw_fd());
        let streams = Streams {
            stdin: socket(&plugs.stdin),
            stdout: socket(&plugs.stdout),
            stderr: socket(&plugs.stderr),
            control: socket(&plugs.control),
            log: socket(&plugs.log),
            record: plugs.record.as_ref().map_or_else(String::new, socket),
        };
        let mut command = Command::new(self.qemu);
        command.args(self.machine.arguments(&self.config, &streams));
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    fn machine(model: Model) -> Machine {
        Machine {
            model,
            accel: Chosen::Tcg,
            cpu: "max,avx2=off".to_owned(),
            cpus: 2,
            memory: 64 << 20,
            kernel: "/k".into(),
            image: "/it's, an image".into(),
            image_size: 4 << 20,
            gdb: None,
            shares: Vec::new(),
            net: Net::alone(),
            disks: Vec::new(),
            is_recorded: false,
        }
    }

    #[test]
    fn lines_can_be_pasted() {
        let line = machine(Model::Q35).shell_line(Path::new("/c"), false);
        assert!(line.starts_with("qemu-system-x86_64 -M q35"), "{line}");
        assert!(line.contains(
            r"'memory-backend-file,id=root,mem-path=/it'\''s,, an image,share=on,readonly=on,size=4194304'"
        ));
        assert!(line.contains("-m 65536k,slots=1,maxmem="));
        assert!(line.contains("-chardev null,id=stdin "));
        // Without `append`, QEMU would cut short a file that the shell's output goes to.
        assert!(line.contains("-chardev file,id=stdout,path=/dev/stdout,append=on "));
        assert!(line.contains(" -cpu max,avx2=off "), "{line}");
    }

    #[test]
    fn microvm_has_a_disk_instead() {
        let line = machine(Model::Microvm).shell_line(Path::new("/c"), true);
        assert!(line.contains("virtio-blk-pci") && !line.contains("pmem"));
        assert!(line.contains("-chardev file,id=log,path=/dev/stderr"));
    }

    #[test]
    fn commas_are_doubled() {
        assert_eq!(
            escape(Path::new(OsStr::from_bytes(b",\xff"))),
            OsStr::from_bytes(b",,\xff")
        );
    }
}
