// The functions the compiler calls by itself, and the copies to and from the program's memory.
// In assembly: the compiler may turn a loop in Rust into a call of the function it is in. `rep movsq` and not `movsb`,
// because emulators take them one step at a time; so pages are cleared by vector instructions.

.text
.balign 16
.globl memcpy
.type memcpy, @function
memcpy:
    mov rax, rdi
    mov rcx, rdx
    shr rcx, 3
    rep movsq
    mov ecx, edx
    and ecx, 7
    rep movsb
    ret

.balign 16
.globl memmove
.type memmove, @function
memmove:
    mov rcx, rdi
    sub rcx, rsi
    cmp rcx, rdx
    jae memcpy
    mov rax, rdi
    std
    lea rdi, [rdi + rdx - 1]
    lea rsi, [rsi + rdx - 1]
    mov ecx, edx
    and ecx, 7
    rep movsb
    sub rdi, 7
    sub rsi, 7
    mov rcx, rdx
    shr rcx, 3
    rep movsq
    cld
    ret

.balign 16
.globl memset
.type memset, @function
memset:
    mov r8, rdi
    movzx eax, sil
    mov r9, 0x0101010101010101
    imul rax, r9
    cmp rdx, 256
    jae 2f
1:  mov rcx, rdx
    shr rcx, 3
    rep stosq
    mov ecx, edx
    and ecx, 7
    rep stosb
    mov rax, r8
    ret
2:  movq xmm0, rax
    punpcklqdq xmm0, xmm0
3:  .irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movups [rdi + 16 * \i], xmm0
    .endr
    add rdi, 256
    sub rdx, 256
    cmp rdx, 256
    jae 3b
    jmp 1b

.balign 16
.globl memcmp
.globl bcmp
.type memcmp, @function
.type bcmp, @function
memcmp:
bcmp:
    cmp rdx, 8
    jb 2f
1:  mov rax, [rdi]
    mov rcx, [rsi]
    cmp rax, rcx
    jne 4f
    add rdi, 8
    add rsi, 8
    sub rdx, 8
    cmp rdx, 8
    jae 1b
2:  test rdx, rdx
    jz 5f
3:  movzx eax, byte ptr [rdi]
    movzx ecx, byte ptr [rsi]
    sub eax, ecx
    jnz 6f
    inc rdi
    inc rsi
    dec rdx
    jnz 3b
    jmp 5f
4:  bswap rax
    bswap rcx
    cmp rax, rcx
    sbb eax, eax
    or eax, 1
    ret
5:  xor eax, eax
6:  ret

.balign 16
.globl strlen
.type strlen, @function
strlen:
    xor eax, eax
1:  cmp byte ptr [rdi + rax], 0
    je 2f
    inc rax
    jmp 1b
2:  ret

.globl rust_eh_personality
.globl _Unwind_Resume
rust_eh_personality:
_Unwind_Resume:
    ud2

// ---- The program's memory -------------------------------------------------------------------------------------
// A fault between elfin_user_start and elfin_user_end that cannot be satisfied goes on at elfin_user_fault.
.balign 16
.globl elfin_user_start
elfin_user_start:

// (to, from, length) -> bytes not copied
.globl elfin_user_copy
elfin_user_copy:
    mov rcx, rdx
    shr rcx, 3
    and edx, 7
1:  rep movsq
    mov ecx, edx
    xor edx, edx
2:  rep movsb
    xor eax, eax
    ret

// (to, length) -> bytes not cleared
.globl elfin_user_zero
elfin_user_zero:
    xor eax, eax
    mov rcx, rsi
    mov rdx, rsi
    shr rcx, 3
    and edx, 7
    rep stosq
    mov ecx, edx
    xor edx, edx
    rep stosb
    xor eax, eax
    ret

// (address, *value) -> 0 or not
.globl elfin_user_load_u32
elfin_user_load_u32:
    mov edx, [rdi]
    mov [rsi], edx
    xor eax, eax
    ret

// (address, old, new, *found) -> 0 or not
.globl elfin_user_cmpxchg_u32
elfin_user_cmpxchg_u32:
    mov r8, rcx
    mov eax, esi
    mov ecx, edx
    lock cmpxchg [rdi], ecx
    mov [r8], eax
    xor eax, eax
    ret

.globl elfin_user_end
elfin_user_end:

// Any number but 0 says "fault"; for the copies a count that is not too small: callers go on bytewise where it matters.
.globl elfin_user_fault
elfin_user_fault:
    cld
    lea rax, [rcx * 8 + rdx]
    test rax, rax
    jnz 1f
    inc eax
1:  ret
