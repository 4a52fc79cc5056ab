// The ways into the kernel and out again. Offsets named here are those of `TrapFrame` and `PerCpu`.
//
// GS is the program's while its code runs and the per-CPU block's while the kernel's does; `swapgs` exchanges the two. What
// tells interrupted code of the kernel's apart is that its stack pointer and its instruction pointer lie in the upper half.
// Between `swapgs` and the switch of stacks both interrupts and traps are off.

.macro SAVE_XMM
    .irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movaps [rsp + 16 * \i], xmm\i
    .endr
.endm

// ---- Exceptions and interrupts --------------------------------------------------------------------------------
// Every gate lands on an IST stack, because code with a red zone may have been interrupted.
.text
.balign 16
.globl elfin_trap_stubs
elfin_trap_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    push 0
    .endif
    push vector
    jmp elfin_trap_common
    .set vector, vector + 1
    .endr

.balign 16
elfin_trap_common:
    // On the landing stack: vector, error, rip, cs, rflags, rsp, ss.
    push rax
    push rbx
    push rcx
    mov rax, [rsp + 64]                 // the interrupted stack pointer
    mov rcx, [rsp + 40]                 // and instruction pointer
    and rcx, rax
    js 1f
    swapgs
    mov rcx, gs:[{kstack}]
    jmp 2f
1:  lea rcx, [rax - 128]                // past the kernel's own red zone
    and rcx, -16
2:  sub rcx, {frame_size}
    .irp i, 0,1,2,3,4,5,6
    mov rbx, [rsp + 24 + 8 * \i]
    mov [rcx + {vector} + 8 * \i], rbx
    .endr
    pop rbx
    mov [rcx + {rcx}], rbx
    pop rbx
    mov [rcx + {rbx}], rbx
    pop rbx
    mov [rcx + {rax}], rbx
    mov rsp, rcx
    mov [rsp + {rdx}], rdx
    mov [rsp + {rsi}], rsi
    mov [rsp + {rdi}], rdi
    mov [rsp + {rbp}], rbp
    mov [rsp + {r8}], r8
    mov [rsp + {r9}], r9
    mov [rsp + {r10}], r10
    mov [rsp + {r11}], r11
    mov [rsp + {r12}], r12
    mov [rsp + {r13}], r13
    mov [rsp + {r14}], r14
    mov [rsp + {r15}], r15
    SAVE_XMM
    cld
    mov rdi, rsp
    call {trap}

// Goes on with the frame at %rsp. Interrupts are off.
.globl elfin_trap_return
elfin_trap_return:
    .irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movaps xmm\i, [rsp + 16 * \i]
    .endr
    add rsp, 256
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rbp
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    mov rax, [rsp + 24]                 // where it goes on, and on which stack
    and rax, [rsp + 48]
    js 1f
    swapgs
1:  pop rax
    add rsp, 16
    iretq

// Non-maskable interrupts come between `swapgs` and the switch of stacks, too, so what they do must not depend on GS: let
// the program be interrupted again, whatever it has popped into its flags (`watchdog`). After a panic they stop the CPU.
.balign 16
.globl elfin_nmi
elfin_nmi:
    cmp byte ptr [rip + elfin_nmi_stops], 0
    jne elfin_trap_stubs + 2 * 16
    cmp qword ptr [rsp], 0              // where it goes on
    js 1f
    or dword ptr [rsp + 16], 0x200
1:  iretq

.bss
.globl elfin_nmi_stops
elfin_nmi_stops:
    .byte 0
.text

// (frame): enters the program; the frame lies on the kernel stack.
.globl elfin_enter_user
elfin_enter_user:
    cli
    mov rsp, rdi
    jmp elfin_trap_return

// ---- System calls ---------------------------------------------------------------------------------------------
// SFMASK has cleared IF, DF and TF. %rcx holds the return address, %r11 the flags.
.balign 16
.globl elfin_syscall_entry
elfin_syscall_entry:
    swapgs
    mov gs:[{scratch}], rsp
    mov rsp, gs:[{kstack}]
    push 0x10
    push gs:[{scratch}]
    push r11
    push 0x08
    push rcx
    push rax
    push {syscall_vector}
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    sub rsp, 256
    SAVE_XMM
    mov rdi, rsp
    call {syscall}
    jmp elfin_trap_return

// ---- Direct calls ---------------------------------------------------------------------------------------------
// Called by the program with up to four integer arguments on its own stack, through a stub that puts the gate's number into
// %r8d. What a gate leaves on that stack, its frame, is for unwinders: from %rbp = CFA - 16 down lie %rbp, the flags, %rbx,
// %r12-%r15.
.balign 16
.globl elfin_gate_common
elfin_gate_common:
    .cfi_startproc
    push rbp
    .cfi_adjust_cfa_offset 8
    .cfi_offset rbp, -16
    mov rbp, rsp
    .cfi_def_cfa_register rbp
    pushfq                              // TF among them, which ends here: traps are the program's
    push rbx
    push r12
    push r13
    push r14
    push r15
    push 2
    popfq                               // IF, TF and DF off
    swapgs
    mov rsp, gs:[{kstack}]
    push rdi
    push rsi
    push rdx
    push rcx
    push r8
    push r8
    mov rdi, rbp
    call {gate_stack}
    pop r8
    pop r8
    pop rcx
    pop rdx
    pop rsi
    pop rdi
    mov rsp, rax
    push 0
    push rbp                            // where `call_user` looks for the gate's frame
    sti
    call {gate}
    push rax
    push rax
    cli                                 // what comes after the question finds the program's stack
    call {gate_pending}
    mov ecx, eax
    pop rax
    pop rax
    swapgs
    lea rsp, [rbp - 8]
    or dword ptr [rsp], 0x200           // as a system call: interrupts are on whatever the program has popped
    test ecx, ecx
    jz 1f
    sti
    push rax
    mov eax, 24                         // sched_yield: delivers signals on its way out
    syscall
    pop rax
1:  popfq
    pop rbp
    .cfi_def_cfa rsp, 8
    ret
    .cfi_endproc

// (entry, its four arguments, the program's stack pointer, kernel stack for entries or 0, place for the kernel's stack
// pointer, the gate's frame): calls a function of the program, for which the gate's caller is the next frame.
.globl elfin_call_user
elfin_call_user:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    sub rsp, 8                          // entries start at a multiple of 16
    mov [r8], rsp
    test rcx, rcx
    cmovz rcx, rsp
    mov rax, rdi
    mov r10, rsi
    cli
    mov gs:[{kstack}], rcx
    swapgs
    mov rsp, rdx
    .cfi_startproc
    .cfi_escape 0x0f, 5, 0x77, 0, 0x06, 0x23, 16    // DW_CFA_def_cfa_expression: breg7 0, deref, plus_uconst 16
    .cfi_offset rbp, -16
    .cfi_offset rbx, -32
    .cfi_offset r12, -40
    .cfi_offset r13, -48
    .cfi_offset r14, -56
    .cfi_offset r15, -64
    mov rdi, [r10]
    mov rsi, [r10 + 8]
    mov rdx, [r10 + 16]
    mov rcx, [r10 + 24]
    xor ebp, ebp
    sti
    mov [rsp], r9
    call rax
    mov rdi, rsp
    push 2
    .cfi_escape 0x0f, 5, 0x77, 8, 0x06, 0x23, 16    // breg7 8, deref, plus_uconst 16
    popfq                               // IF, TF and DF off
    .cfi_endproc
    swapgs
    mov rsp, gs:[{kstack}]
    push rax
    push rax
    call {called}
    mov rdi, rax
    mov rax, [rsp]                      // its result

// (the kernel's stack pointer): returns from `elfin_call_user`, which falls into it, and from `elfin_resume_user`.
.globl elfin_leave_user
elfin_leave_user:
    mov rsp, rdi
    sti
    cld
    add rsp, 8
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret

// (frame, kernel stack for entries or 0, place for the kernel's stack pointer): goes on with interrupted code of the program.
// Comes back through `elfin_leave_user`.
.globl elfin_resume_user
elfin_resume_user:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    sub rsp, 8
    mov [rdx], rsp
    test rsi, rsi
    cmovz rsi, rsp
    cli
    mov gs:[{kstack}], rsi
    mov rsp, rdi
    jmp elfin_trap_return

// Where a call of the program returns to that `elfin_resume_user` has gone on with.
.globl elfin_call_finished
elfin_call_finished:
    ud2

// Called as a function of the program: on the way back from the system call, handlers of pending signals run.
.globl elfin_take_signals
elfin_take_signals:
    .cfi_startproc
    mov eax, 24                         // sched_yield
    syscall
    ret
    .cfi_endproc

// ---- Context switch -------------------------------------------------------------------------------------------
// (save the stack pointer here, the new stack pointer): everything the C ABI lets a function clobber is dead.
.globl elfin_switch
elfin_switch:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    mov [rdi], rsp
    mov rsp, rsi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret

// Where a new kernel thread starts: %r12 is the argument.
.globl elfin_kernel_thread_start
elfin_kernel_thread_start:
    xor ebp, ebp
    mov rdi, r12
    call {thread_start}
    ud2

// Where a new thread of the program starts: its frame lies at %rsp.
.globl elfin_user_thread_start
elfin_user_thread_start:
    mov rdi, rsp
    call {user_start}
    jmp elfin_trap_return
