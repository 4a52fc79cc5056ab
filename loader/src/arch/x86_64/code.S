// The code PLT slots and TLS descriptors point at. It exists once, is never written, and belongs to no thread.
//
// SAVE_ALL/RESTORE_ALL: every register an argument or a live value can be in, on the application's own stack.
// Between them %rbx points at the saved registers: 0 r11, 8 r10, 16 r9, 24 r8, 32 rdi, 40 rsi, 48 rdx, 56 rcx,
// 64 rax, 72 rbx, 80 whatever was on the stack before.

.pushsection .text.elfin_loader_arch, "ax", @progbits

.macro ELFIN_SAVE_ALL
    push rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    push rax
    .cfi_adjust_cfa_offset 8
    push rcx
    .cfi_adjust_cfa_offset 8
    push rdx
    .cfi_adjust_cfa_offset 8
    push rsi
    .cfi_adjust_cfa_offset 8
    push rdi
    .cfi_adjust_cfa_offset 8
    push r8
    .cfi_adjust_cfa_offset 8
    push r9
    .cfi_adjust_cfa_offset 8
    push r10
    .cfi_adjust_cfa_offset 8
    push r11
    .cfi_adjust_cfa_offset 8
    mov rbx, rsp
    .cfi_def_cfa_register rbx
    and rsp, -64
    sub rsp, [rip + {save_size}]
    mov eax, [rip + {save_mask}]
    test eax, eax
    jz 2f
    // The header must be zero but for what XSAVE writes: XRSTOR checks it.
    xor edx, edx
    mov [rsp + 512], rdx
    mov [rsp + 520], rdx
    mov [rsp + 528], rdx
    mov [rsp + 536], rdx
    mov [rsp + 544], rdx
    mov [rsp + 552], rdx
    mov [rsp + 560], rdx
    mov [rsp + 568], rdx
    xsave64 [rsp]
    jmp 3f
2:  fxsave64 [rsp]
3:
.endm

.macro ELFIN_RESTORE_ALL
    mov eax, [rip + {save_mask}]
    test eax, eax
    jz 2f
    xor edx, edx
    xrstor64 [rsp]
    jmp 3f
2:  fxrstor64 [rsp]
3:  mov rsp, rbx
    .cfi_def_cfa_register rsp
    pop r11
    .cfi_adjust_cfa_offset -8
    pop r10
    .cfi_adjust_cfa_offset -8
    pop r9
    .cfi_adjust_cfa_offset -8
    pop r8
    .cfi_adjust_cfa_offset -8
    pop rdi
    .cfi_adjust_cfa_offset -8
    pop rsi
    .cfi_adjust_cfa_offset -8
    pop rdx
    .cfi_adjust_cfa_offset -8
    pop rcx
    .cfi_adjust_cfa_offset -8
    pop rax
    .cfi_adjust_cfa_offset -8
    pop rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbx
.endm

// Copies the symbol, the flags and the frame's size from the call at %rdi to the stack, and back; loads the first
// four arguments of an auditor's function.
.macro ELFIN_AUDIT_BEGIN
    push rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    mov rbx, rdi
    sub rsp, 48
    .cfi_adjust_cfa_offset 48
    .irp i, 0,1,2,3,4
    mov rax, [rbx + 8 + 8 * \i]
    mov [rsp + 8 * \i], rax
    .endr
    mov rdi, rsp
    mov esi, [rbx + 48]
    mov rdx, [rbx + 56]
    mov rcx, [rbx + 64]
.endm

.macro ELFIN_AUDIT_END
    .irp i, 3,4
    mov rdx, [rsp + 8 * \i]
    mov [rbx + 8 + 8 * \i], rdx
    .endr
    add rsp, 48
    .cfi_adjust_cfa_offset -48
    pop rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbx
    ret
.endm

// PLT0 jumps here with the object (GOT[1]) and the relocation index pushed. Resolves, then jumps to the target
// with every register as the caller of the PLT entry left it; %r11 is the PLT's own (psABI).
.globl elfin_loader_plt_entry
.hidden elfin_loader_plt_entry
.type elfin_loader_plt_entry, @function
elfin_loader_plt_entry:
    .cfi_startproc
    .cfi_adjust_cfa_offset 16
    ELFIN_SAVE_ALL
    cld
    mov rdi, [rbx + 80]
    mov rsi, [rbx + 88]
    call [rip + {bind}]
    mov [rbx + 88], rax
    ELFIN_RESTORE_ALL
    mov r11, [rsp + 8]
    add rsp, 16
    .cfi_adjust_cfa_offset -16
    jmp r11
    .cfi_endproc
.size elfin_loader_plt_entry, . - elfin_loader_plt_entry

// PLT0 jumps here in objects whose calls auditors are told of (la_x86_64_gnu_pltenter, la_x86_64_gnu_pltexit). Nothing
// is written into the GOT, so every call comes here. %rbx points at the saved registers, as above; below them is the
// saved state, and below that the record that `audit::calls` works with (`PltCall`): {record} bytes, the last of them,
// from {record_frame} on, the size of the caller's frame, where the saved registers and the legacy state are, and where
// the upper halves of the vector registers, or 0.
.globl elfin_loader_plt_audited
.hidden elfin_loader_plt_audited
.type elfin_loader_plt_audited, @function
elfin_loader_plt_audited:
    .cfi_startproc
    .cfi_adjust_cfa_offset 16
    ELFIN_SAVE_ALL
    cld
    mov rcx, rsp
    sub rsp, {record}
    mov qword ptr [rsp + {record_frame}], -1
    mov [rsp + {record_frame} + 8], rbx
    mov [rsp + {record_frame} + 16], rcx
    xor edx, edx
    mov rax, [rip + {ymm_offset}]
    lea rsi, [rax + rcx]
    test rax, rax
    cmovz rsi, rdx
    mov [rsp + {record_frame} + 24], rsi
    mov rax, [rip + {zmm_offset}]
    lea rsi, [rax + rcx]
    test rax, rax
    cmovz rsi, rdx
    mov [rsp + {record_frame} + 32], rsi
    mov [rsp + {record_rbp}], rbp
    mov rdi, [rbx + 80]
    mov rsi, [rbx + 88]
    mov rdx, rsp
    call [rip + {bind_audited}]
    mov [rbx], rax                      // restored into %r11
    mov rcx, [rsp + {record_frame}]
    test rcx, rcx
    jns 7f
    // Nobody wants to know when the function returns.
    add rsp, {record}
    .cfi_remember_state
    ELFIN_RESTORE_ALL
    add rsp, 16
    .cfi_adjust_cfa_offset -16
    jmp r11
    .cfi_restore_state
    // The function gets a copy of as much of the caller's frame as its arguments take.
7:  mov r11, [rsp + {record_frame} + 16]
    add rcx, 8
    and rcx, -16
    sub rsp, rcx
    mov rdi, rsp
    lea rsi, [rbx + 104]
    rep movsb
    mov eax, [rip + {save_mask}]
    test eax, eax
    jz 2f
    xor edx, edx
    xrstor64 [r11]
    jmp 3f
2:  fxrstor64 [r11]
3:  mov r11, [rbx]
    mov r10, [rbx + 8]
    mov r9, [rbx + 16]
    mov r8, [rbx + 24]
    mov rdi, [rbx + 32]
    mov rsi, [rbx + 40]
    mov rdx, [rbx + 48]
    mov rcx, [rbx + 56]
    mov rax, [rbx + 64]
    call r11
    // Its results take the places of the arguments they share registers with.
    mov [rbx + 64], rax
    mov [rbx + 48], rdx
    mov rsp, rbx
    and rsp, -64
    sub rsp, [rip + {save_size}]
    mov eax, [rip + {save_mask}]
    test eax, eax
    jz 2f
    xor edx, edx
    xsave64 [rsp]
    jmp 3f
2:  fxsave64 [rsp]
3:  cld
    sub rsp, {record}
    mov rdx, rsp
    sub rsp, 256
    mov rcx, rsp
    mov rdi, [rbx + 80]
    mov rsi, [rbx + 88]
    call [rip + {plt_exit}]
    add rsp, 256 + {record}
    ELFIN_RESTORE_ALL
    add rsp, 16
    .cfi_adjust_cfa_offset -16
    ret
    .cfi_endproc
.size elfin_loader_plt_audited, . - elfin_loader_plt_audited

// Call an auditor's la_x86_64_gnu_pltenter and la_x86_64_gnu_pltexit, as elfin_loader_audit_symbind does.
.globl elfin_loader_audit_pltenter
.hidden elfin_loader_audit_pltenter
.type elfin_loader_audit_pltenter, @function
elfin_loader_audit_pltenter:
    .cfi_startproc
    ELFIN_AUDIT_BEGIN
    mov r8, [rbx + 80]
    lea r9, [rsp + 24]
    lea rax, [rsp + 32]
    push rax
    .cfi_adjust_cfa_offset 8
    push [rbx + 72]
    .cfi_adjust_cfa_offset 8
    call [rbx]
    add rsp, 16
    .cfi_adjust_cfa_offset -16
    ELFIN_AUDIT_END
    .cfi_endproc
.size elfin_loader_audit_pltenter, . - elfin_loader_audit_pltenter

.globl elfin_loader_audit_pltexit
.hidden elfin_loader_audit_pltexit
.type elfin_loader_audit_pltexit, @function
elfin_loader_audit_pltexit:
    .cfi_startproc
    ELFIN_AUDIT_BEGIN
    mov r8, [rbx + 80]
    mov r9, [rbx + 88]
    push rax
    .cfi_adjust_cfa_offset 8
    push [rbx + 72]
    .cfi_adjust_cfa_offset 8
    call [rbx]
    add rsp, 16
    .cfi_adjust_cfa_offset -16
    ELFIN_AUDIT_END
    .cfi_endproc
.size elfin_loader_audit_pltexit, . - elfin_loader_audit_pltexit

// void *__tls_get_addr(tls_index *): an ordinary call, so the slow path need not save anything.
.globl elfin_loader_tls_get_addr
.hidden elfin_loader_tls_get_addr
.type elfin_loader_tls_get_addr, @function
elfin_loader_tls_get_addr:
    .cfi_startproc
    mov rdx, fs:8
    mov rax, [rdi]
    cmp rax, [rdx + {len}]
    jae 4f
    mov rax, [rdx + rax * 8 + {slots}]
    test rax, rax
    jz 4f
    add rax, [rdi + 8]
    ret
// Old compilers call this with a misaligned stack.
4:  push rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    mov rbp, rsp
    .cfi_def_cfa_register rbp
    and rsp, -16
    call [rip + {tls_get_addr}]
    mov rsp, rbp
    .cfi_def_cfa_register rsp
    pop rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbp
    ret
    .cfi_endproc
.size elfin_loader_tls_get_addr, . - elfin_loader_tls_get_addr

// r_brk of r_debug: debuggers put a breakpoint here.
.globl elfin_loader_debug_state
.hidden elfin_loader_debug_state
.type elfin_loader_debug_state, @function
elfin_loader_debug_state:
    ret
.size elfin_loader_debug_state, . - elfin_loader_debug_state

// TLS descriptor functions: %rax points at the descriptor, whose second word is the argument; the result, an
// offset from the thread pointer, goes into %rax; every other register is preserved.
.globl elfin_loader_tlsdesc_static
.hidden elfin_loader_tlsdesc_static
.type elfin_loader_tlsdesc_static, @function
elfin_loader_tlsdesc_static:
    .cfi_startproc
    mov rax, [rax + 8]
    ret
    .cfi_endproc
.size elfin_loader_tlsdesc_static, . - elfin_loader_tlsdesc_static

// An undefined weak symbol: the address is the addend.
.globl elfin_loader_tlsdesc_undefined
.hidden elfin_loader_tlsdesc_undefined
.type elfin_loader_tlsdesc_undefined, @function
elfin_loader_tlsdesc_undefined:
    .cfi_startproc
    mov rax, [rax + 8]
    sub rax, fs:0
    ret
    .cfi_endproc
.size elfin_loader_tlsdesc_undefined, . - elfin_loader_tlsdesc_undefined

// The argument is the address of a tls_index.
.globl elfin_loader_tlsdesc_dynamic
.hidden elfin_loader_tlsdesc_dynamic
.type elfin_loader_tlsdesc_dynamic, @function
elfin_loader_tlsdesc_dynamic:
    .cfi_startproc
    push rdi
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rdi, 0
    push rsi
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rsi, 0
    mov rdi, [rax + 8]
    mov rsi, fs:8
    mov rax, [rdi]
    cmp rax, [rsi + {len}]
    jae 5f
    mov rax, [rsi + rax * 8 + {slots}]
    test rax, rax
    jz 5f
    add rax, [rdi + 8]
    jmp 6f
5:  push rax
    .cfi_adjust_cfa_offset 8
    ELFIN_SAVE_ALL
    cld
    call [rip + {tls_get_addr}]
    mov [rbx + 64], rax
    ELFIN_RESTORE_ALL
    add rsp, 8
    .cfi_adjust_cfa_offset -8
6:  sub rax, fs:0
    pop rsi
    .cfi_adjust_cfa_offset -8
    .cfi_restore rsi
    pop rdi
    .cfi_adjust_cfa_offset -8
    .cfi_restore rdi
    ret
    .cfi_endproc
.size elfin_loader_tlsdesc_dynamic, . - elfin_loader_tlsdesc_dynamic

// int dl_iterate_phdr(callback, data): hands over who called, for it lists the caller's namespace.
.globl elfin_loader_iterate_phdr
.hidden elfin_loader_iterate_phdr
.type elfin_loader_iterate_phdr, @function
elfin_loader_iterate_phdr:
    .cfi_startproc
    mov rdx, [rsp]
    jmp [rip + {iterate_phdr}]
    .cfi_endproc
.size elfin_loader_iterate_phdr, . - elfin_loader_iterate_phdr

// uintptr_t (SymbolCall *): calls an auditor's la_symbind64. The symbol and the words behind it lie on the stack
// meanwhile, as they would if ld.so had called.
.globl elfin_loader_audit_symbind
.hidden elfin_loader_audit_symbind
.type elfin_loader_audit_symbind, @function
elfin_loader_audit_symbind:
    .cfi_startproc
    ELFIN_AUDIT_BEGIN
    lea r8, [rsp + 24]
    mov r9, [rbx + 72]
    call [rbx]
    ELFIN_AUDIT_END
    .cfi_endproc
.size elfin_loader_audit_symbind, . - elfin_loader_audit_symbind

// Two functions to recognise a function pointer of libc's by: a dlerror, and a clock_gettime.
.globl elfin_loader_probe_dlerror
.hidden elfin_loader_probe_dlerror
elfin_loader_probe_dlerror:
    mov eax, {magic}
    ret
.globl elfin_loader_probe_clock
.hidden elfin_loader_probe_clock
elfin_loader_probe_clock:
    mov qword ptr [rsi], {magic}
    xor eax, eax
    ret
.popsection
