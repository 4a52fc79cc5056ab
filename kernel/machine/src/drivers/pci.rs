//! PCI: configuration space, addresses for BARs that the firmware left alone, MSI-X.
//!
//! Only bus 0 is looked at: `elfin run` puts every device there. INTx, bridges and I/O BARs are left alone.
use super::{
    dma::DmaHal,
    virtio::{self, Failure},
};
use crate::{
    acpi,
    arch::{interrupt::MsiTarget, pci as ports},
    mm::kernel_map::map_physical,
};
use alloc::vec::Vec;
use core::{ops::Range, ptr::NonNull};
use virtio_drivers::transport::pci::{
    PciTransport, VIRTIO_VENDOR_ID,
    bus::{
        BarInfo, Command, ConfigurationAccess, DeviceFunction, HeaderType, MemoryBarType, PciRoot,
    },
};

const PAGE: u64 = 4096;
/// What one bus takes in the memory-mapped configuration space.
const BUS_SIZE: usize = 1 << 20;
/// Where memory BARs go that have no address yet: QEMU keeps this range free for PCI on all its x86 machines (microvm's
/// configuration space begins where it ends), and firmware that assigns addresses does so here, too.
const WINDOW: Range<u64> = 0xc000_0000..0xe000_0000;
const MSIX_CAPABILITY: u8 = 0x11;
const MSIX_ENABLE: u32 = 1 << 31;
const MSIX_MASK_ALL: u32 = 1 << 30;

/// A device's registers in memory.
#[derive(Clone, Copy)]
pub(super) struct Mmio {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: device registers may be accessed from any CPU; what order makes sense is up to the drivers.
unsafe impl Send for Mmio {}
// SAFETY: as above.
unsafe impl Sync for Mmio {}

macro_rules! access {
    ($read:ident $write:ident $type:ty) => {
        /// Reads a register.
        pub(super) fn $read(&self, offset: usize) -> $type {
            let register = self.register(offset, size_of::<$type>());
            // SAFETY: the register lies within a mapping of the device's registers and is aligned.
            unsafe { register.cast::<$type>().read_volatile() }
        }

        /// Writes a register.
        pub(super) fn $write(&self, offset: usize, value: $type) {
            let register = self.register(offset, size_of::<$type>());
            // SAFETY: the register lies within a mapping of the device's registers and is aligned.
            unsafe { register.cast::<$type>().write_volatile(value) }
        }
    };
}

impl Mmio {
    /// Maps registers, for good.
    pub(super) fn map(phys: u64, len: usize) -> Self {
        let first = phys & !(PAGE - 1);
        let end = (phys + len as u64).next_multiple_of(PAGE);
        let page = map_physical(first, (end - first) as usize, false);
        let start = NonNull::new(page.wrapping_add((phys - first) as usize));
        Self {
            start: start.expect("mappings are not at address 0"),
            len,
        }
    }

    /// Where they are mapped.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    fn register(&self, offset: usize, size: usize) -> *mut u8 {
        let register = self.start.as_ptr().wrapping_add(offset);
        assert!(offset + size <= self.len && (register as usize).is_multiple_of(size));
        register
    }

    access!(read16 write16 u16);
    access!(read32 write32 u32);
}

/// Ways to the configuration space.
#[derive(Clone, Copy)]
enum Config {
    /// Mapped to memory (ECAM).
    Memory(Mmio),
    /// Through I/O ports.
    Ports,
}

/// Where QEMU's microvm has its configuration space; it says so in the DSDT only, whose byte code nobody here runs.
const MICROVM_ECAM: u64 = 0xe000_0000;

impl Config {
    fn find() -> Self {
        match acpi::mcfg() {
            Some((base, 0, _)) => Self::Memory(Mmio::map(base, BUS_SIZE)),
            _ if ports::is_there() => Self::Ports,
            _ => Self::Memory(Mmio::map(MICROVM_ECAM, BUS_SIZE)),
        }
    }
}

fn port_address(function: DeviceFunction, register: u8) -> u32 {
    u32::from(function.bus) << 16
        | u32::from(function.device) << 11
        | u32::from(function.function) << 8
        | u32::from(register & 0xfc)
}

fn memory_offset(function: DeviceFunction, register: u8) -> usize {
    usize::from(function.device) << 15
        | usize::from(function.function) << 12
        | usize::from(register & 0xfc)
}

impl ConfigurationAccess for Config {
    fn read_word(&self, function: DeviceFunction, register: u8) -> u32 {
        match self {
            Self::Memory(registers) => registers.read32(memory_offset(function, register)),
            Self::Ports => ports::read(port_address(function, register)),
        }
    }

    fn write_word(&mut self, function: DeviceFunction, register: u8, data: u32) {
        match self {
            Self::Memory(registers) => registers.write32(memory_offset(function, register), data),
            // SAFETY: only this module and the virtio-drivers crate write to the configuration space: addresses out of
            // `WINDOW`, command bits, MSI-X.
            Self::Ports => unsafe { ports::write(port_address(function, register), data) },
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}

/// Number of a function's base address registers.
const BARS: usize = 6;
/// Where they are, and the command register.
const BAR: u8 = 0x10;
const COMMAND: u8 = 4;
/// What asks a BAR which of its bits can be set.
const ALL_ONES: u32 = u32::MAX;

/// A function of the bus.
struct Found {
    function: DeviceFunction,
    /// Its virtio device type, if it has one.
    kind: Option<u16>,
    bars: Bars,
}

/// BARs as they were found: their values, and the bits that can be set in each. Asking for these has a function not
/// decode any address for a moment, and a hypervisor map all memory anew, twice; so it is done once.
#[derive(Clone, Copy, Default)]
struct Bars {
    values: [u32; BARS],
    masks: [u32; BARS],
}

/// The register of a BAR.
fn bar_register(index: u8) -> u8 {
    BAR + 4 * index
}

/// Which BAR a register is.
fn bar_index(register: u8) -> Option<usize> {
    let at = usize::from(register.checked_sub(BAR)? / 4);
    (at < BARS).then_some(at)
}

/// A configuration space that answers for the BARs of a function itself.
struct Known {
    config: Config,
    bars: Bars,
    /// Those that were asked for the bits that can be set.
    asked: [bool; BARS],
}

impl Known {
    fn root(config: Config, bars: Bars) -> PciRoot<Self> {
        PciRoot::new(Self {
            config,
            bars,
            asked: [false; BARS],
        })
    }
}

impl ConfigurationAccess for Known {
    fn read_word(&self, function: DeviceFunction, register: u8) -> u32 {
        match bar_index(register) {
            Some(at) if self.asked[at] => self.bars.masks[at],
            Some(at) => self.bars.values[at],
            None if register == COMMAND => {
                // Nobody has to keep it from decoding.
                let decodes = Command::IO_SPACE | Command::MEMORY_SPACE;
                self.config.read_word(function, register) & !u32::from(decodes.bits())
            }
            None => self.config.read_word(function, register),
        }
    }

    /// BARs are asked and put back as they were; nothing else is written.
    fn write_word(&mut self, _: DeviceFunction, register: u8, data: u32) {
        if let Some(at) = bar_index(register) {
            self.asked[at] = data == ALL_ONES;
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self { ..*self }
    }
}

/// The PCI bus.
pub(super) struct Bus {
    root: PciRoot<Config>,
    config: Config,
    found: Vec<Found>,
    /// The parts of [`WINDOW`] that BARs have.
    used: Vec<Range<u64>>,
}

impl Bus {
    /// Looks at everything on the bus.
    pub(super) fn scan() -> Self {
        let config = Config::find();
        let mut bus = Self {
            root: PciRoot::new(config),
            config,
            found: Vec::new(),
            used: Vec::new(),
        };
        let functions: Vec<_> = bus.root.enumerate_bus(0).collect();
        for (function, info) in functions {
            ::log::debug!("pci {function}: {info}");
            if info.header_type == HeaderType::Standard {
                let is_virtio = info.vendor_id == VIRTIO_VENDOR_ID;
                let kind = is_virtio.then(|| virtio::kind(info.device_id)).flatten();
                let bars = bus.ask_bars(function);
                bus.found.push(Found {
                    function,
                    kind,
                    bars,
                });
                let bars = bus.known(function).bars(function).unwrap_or_default();
                let ranges = bars
                    .iter()
                    .flatten()
                    .filter_map(BarInfo::memory_address_size);
                bus.used.extend(
                    ranges
                        .filter(|&(address, _)| address != 0)
                        .map(|(address, size)| address..address + size),
                );
            }
        }
        bus
    }

    /// Asks a function for its BARs, while it decodes no addresses.
    fn ask_bars(&mut self, function: DeviceFunction) -> Bars {
        let (_, command) = self.root.get_status_command(function);
        let silent = command - (Command::IO_SPACE | Command::MEMORY_SPACE);
        if silent != command {
            self.root.set_command(function, silent);
        }
        let mut bars = Bars::default();
        let (values, masks) = (&mut bars.values, &mut bars.masks);
        for (index, (value, mask)) in (0u8..).zip(values.iter_mut().zip(masks)) {
            let register = bar_register(index);
            *value = self.config.read_word(function, register);
            self.config.write_word(function, register, ALL_ONES);
            *mask = self.config.read_word(function, register);
            self.config.write_word(function, register, *value);
        }
        if silent != command {
            self.root.set_command(function, command);
        }
        bars
    }

    /// The bus as it was found, for questions after a function's BARs.
    fn known(&self, function: DeviceFunction) -> PciRoot<Known> {
        let found = self.found.iter().find(|found| found.function == function);
        Known::root(
            self.config,
            found.map(|found| found.bars).unwrap_or_default(),
        )
    }

    /// The functions that speak modern virtio or may, with their virtio device types.
    pub(super) fn virtio_functions(&self) -> Vec<(DeviceFunction, u16)> {
        let found = self.found.iter();
        found
            .filter_map(|found| Some((found.function, found.kind?)))
            .collect()
    }

    /// Lets a function decode its memory BARs and use memory itself, having given addresses to the BARs without one.
    pub(super) fn prepare(&mut self, function: DeviceFunction) -> Result<(), Failure> {
        let bars = self.known(function).bars(function)?;
        for (index, bar) in (0u8..).zip(&bars) {
            if let Some(BarInfo::Memory {
                address_type,
                address: 0,
                size,
                ..
            }) = *bar
            {
                let address = self.free_address(size).ok_or(Failure::NoAddress(index))?;
                match address_type {
                    MemoryBarType::Width64 => self.root.set_bar_64(function, index, address),
                    MemoryBarType::Width32 => self.root.set_bar_32(function, index, address as u32),
                    MemoryBarType::Below1MiB => return Err(Failure::NoAddress(index)),
                }
                self.used.push(address..address + size);
            }
        }
        let read = |index| self.config.read_word(function, bar_register(index));
        let values = [0, 1, 2, 3, 4, 5].map(read);
        if let Some(found) = self
            .found
            .iter_mut()
            .find(|found| found.function == function)
        {
            found.bars.values = values;
        }
        let (_, command) = self.root.get_status_command(function);
        let wanted = Command::MEMORY_SPACE | Command::BUS_MASTER | Command::INTERRUPT_DISABLE;
        self.root.set_command(function, command | wanted);
        Ok(())
    }

    /// The lowest part of the window that nobody has, aligned to its size.
    fn free_address(&self, size: u64) -> Option<u64> {
        let mut start = WINDOW.start.next_multiple_of(size);
        while let Some(used) = self
            .used
            .iter()
            .find(|used| used.start < start.saturating_add(size) && start < used.end)
        {
            start = used.end.checked_next_multiple_of(size)?;
        }
        (start.checked_add(size)? <= WINDOW.end).then_some(start)
    }

    /// The virtio-drivers crate's view of a function.
    pub(super) fn transport(&mut self, function: DeviceFunction) -> Result<PciTransport, Failure> {
        Ok(PciTransport::new::<DmaHal, _>(
            &mut self.known(function),
            function,
        )?)
    }

    /// Address and size of a memory BAR.
    pub(super) fn bar(&mut self, function: DeviceFunction, index: u8) -> Option<(u64, u64)> {
        let bar = self.known(function).bar_info(function, index).ok()??;
        bar.memory_address_size()
            .filter(|&(address, _)| address != 0)
    }

    /// Reads the configuration space.
    pub(super) fn read(&self, function: DeviceFunction, register: u8) -> u32 {
        self.config.read_word(function, register)
    }

    /// Capabilities with an id: the offset and the third and fourth byte of each.
    pub(super) fn capabilities(
        &self,
        function: DeviceFunction,
        id: u8,
    ) -> impl Iterator<Item = (u8, u16)> {
        let all = self
            .root
            .capabilities(function)
            .filter(move |capability| capability.id == id);
        all.map(|capability| (capability.offset, capability.private_header))
    }

    /// Makes a function signal interrupts by MSI-X; all its vectors are masked then.
    pub(super) fn enable_msix(&mut self, function: DeviceFunction) -> Option<VectorTable> {
        let (capability, control) = self.capabilities(function, MSIX_CAPABILITY).next()?;
        let entries = control & 0x7ff;
        let place = self.read(function, capability + 4);
        let offset = place & !7;
        let (address, size) = self.bar(function, (place & 7) as u8)?;
        let len = (usize::from(entries) + 1) * VECTOR_SIZE;
        if u64::from(offset) + len as u64 > size {
            return None;
        }
        let table = VectorTable {
            registers: Mmio::map(address + u64::from(offset), len),
        };
        let header = self.read(function, capability);
        self.config
            .write_word(function, capability, header | MSIX_ENABLE | MSIX_MASK_ALL);
        for vector in 0..=entries {
            table.mask(vector, true);
        }
        self.config.write_word(
            function,
            capability,
            (header | MSIX_ENABLE) & !MSIX_MASK_ALL,
        );
        Some(table)
    }
}

const VECTOR_SIZE: usize = 16;

/// A function's MSI-X table.
pub(super) struct VectorTable {
    registers: Mmio,
}

impl VectorTable {
    fn mask(&self, vector: u16, masked: bool) {
        self.registers
            .write32(usize::from(vector) * VECTOR_SIZE + 12, masked.into());
    }

    /// Directs a vector to a target and unmasks it.
    pub(super) fn set(&self, vector: u16, target: &MsiTarget) {
        let entry = usize::from(vector) * VECTOR_SIZE;
        self.mask(vector, true);
        self.registers.write32(entry, target.address as u32);
        self.registers
            .write32(entry + 4, (target.address >> 32) as u32);
        self.registers.write32(entry + 8, target.data);
        self.mask(vector, false);
    }
}
