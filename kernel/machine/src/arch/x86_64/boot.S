// From PVH's 32-bit entry, and from the processors' 16-bit start-up code, to 64-bit Rust at the kernel's high address.
// The page tables here map the first GiB of physical memory three times (at 0, at the direct map, at -2 GiB); Rust
// replaces them, and only starting processors pass through them again.

.set BASE, 0xffffffff80000000
.set FIRST_PLACE, 0xffff808000000000
.set PLACES, 64000                      // a GiB apart: behind the last there is room for what 46 address bits reach

.section .note.Xen, "a", @note
    .balign 4
    .long 4, 4, 18                      // name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long elfin_pvh_start - BASE

.section .text.boot, "ax", @progbits
.code32
.globl elfin_pvh_start
elfin_pvh_start:
    cld
    mov esp, offset elfin_boot_stack_top - BASE
    mov edi, ebx                        // hvm_start_info
    lgdt [elfin_boot_gdtr - BASE]
    call elfin_enter_long_mode
    .byte 0xea                          // ljmp 0x08, 1f
    .long 1f - BASE
    .word 0x08
.code64
1:  mov edi, edi
    movabs rax, offset elfin_boot_high
    jmp rax
elfin_boot_high:
    mov rsp, offset elfin_boot_stack_top
    // Where the direct map lies: anywhere, so that no wild pointer of a program's is sure to hit the kernel's memory.
    mov eax, 1
    cpuid
    bt ecx, 30                          // RDRAND
    jnc 1f
    rdrand rax
    jc 2f
1:  rdtsc
    shl rdx, 32
    or rax, rdx
    movabs rcx, 0x9e3779b97f4a7c15      // its low bits are what differs from boot to boot
    imul rax, rcx
    shr rax, 32
2:  xor edx, edx
    mov ecx, PLACES
    div rcx
    shl rdx, 30
    movabs rcx, FIRST_PLACE
    add rdx, rcx
    mov [rip + {direct_map}], rdx
    mov rax, rdx
    shr rax, 30
    and eax, 511
    lea rcx, [rip + elfin_boot_pdpt_direct]
    mov esi, offset elfin_boot_pd - BASE + 3
    mov [rcx + 8 * rax], rsi
    shr rdx, 39
    and edx, 511
    lea rcx, [rip + elfin_boot_pml4]
    mov esi, offset elfin_boot_pdpt_direct - BASE + 3
    mov [rcx + 8 * rdx], rsi
    xor ebp, ebp
    call elfin_boot_cpu
    ud2

.code32
// Sets everything up for long mode; the far jump is the caller's.
elfin_enter_long_mode:
    mov eax, cr4
    or eax, 0x620                       // PAE, OSFXSR, OSXMMEXCPT: Rust code uses SSE
    mov cr4, eax
    mov eax, offset elfin_boot_pml4 - BASE
    mov cr3, eax
    mov ecx, 0xc0000080                 // EFER
    rdmsr
    or eax, 0x901                       // NXE, LME, SCE
    wrmsr
    mov eax, cr0
    and eax, 0x9ffffffb                 // not CD, NW, EM
    or eax, 0x80010023                  // PG, WP, NE, MP, PE
    mov cr0, eax
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    ret

// Copied to a page below 1 MiB, whose address is a multiple of 4096 and held in %cs.
.code16
.globl elfin_ap_trampoline
elfin_ap_trampoline:
    cli
    cld
    mov ax, cs
    mov ds, ax
    .byte 0x66, 0x0f, 0x01, 0x16        // lgdtl elfin_ap_gdtr
    .word elfin_ap_gdtr - elfin_ap_trampoline
    mov eax, cr0
    or eax, 1
    mov cr0, eax
    .byte 0x66, 0xea                    // ljmpl 0x18, elfin_ap_32
    .long elfin_ap_32 - BASE
    .word 0x18
.balign 4
elfin_ap_gdtr:
    .word 4 * 8 - 1
    .long elfin_boot_gdt - BASE
.globl elfin_ap_trampoline_end
elfin_ap_trampoline_end:

.code32
elfin_ap_32:
    mov ax, 0x10
    mov ds, ax
    mov ss, ax
    mov esp, offset elfin_ap_boot_stack_top - BASE
    call elfin_enter_long_mode
    .byte 0xea
    .long 1f - BASE
    .word 0x08
.code64
1:  movabs rax, offset elfin_ap_high
    jmp rax
elfin_ap_high:
    mov rax, [rip + elfin_ap_root]      // the stack is only in the kernel's own tables
    mov cr3, rax
    mov rsp, [rip + elfin_ap_stack]
    xor ebp, ebp
    call elfin_start_cpu
    ud2

.section .rodata.boot, "a", @progbits
.balign 8
elfin_boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff            // 0x08: 64-bit code
    .quad 0x00cf93000000ffff            // 0x10: data
    .quad 0x00cf9b000000ffff            // 0x18: 32-bit code
elfin_boot_gdtr:
    .word 4 * 8 - 1
    .long elfin_boot_gdt - BASE

.section .data.boot, "aw", @progbits
.balign 4096
elfin_boot_pml4:
    .quad elfin_boot_pdpt_low - BASE + 3
    .fill 510, 8, 0
    .quad elfin_boot_pdpt_high - BASE + 3
elfin_boot_pdpt_direct:
    .fill 512, 8, 0
elfin_boot_pdpt_low:
    .quad elfin_boot_pd - BASE + 3
    .fill 511, 8, 0
elfin_boot_pdpt_high:
    .fill 510, 8, 0
    .quad elfin_boot_pd - BASE + 3
    .quad 0
elfin_boot_pd:
    .set address, 0
    .rept 512
    .quad address + 0x83
    .set address, address + 0x200000
    .endr
.globl elfin_ap_root
elfin_ap_root:
    .quad 0
.globl elfin_ap_stack
elfin_ap_stack:
    .quad 0

.section .bss.boot, "aw", @nobits
.balign 16
    .skip 65536
elfin_boot_stack_top:
    .skip 256
elfin_ap_boot_stack_top:
.text
