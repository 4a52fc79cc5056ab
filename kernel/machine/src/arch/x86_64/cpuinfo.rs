//! What /proc/cpuinfo says of the processor: CPUID in Linux' words.

use super::cpu;
use alloc::{string::String, vec::Vec};
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::fmt::Write;

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

/// Its lines for all CPUs.
pub fn text() -> String {
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
