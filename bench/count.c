// A plugin of QEMU's that counts instructions: all that are executed, and all that are translated, of a whole run and up to
// each mark. A mark is an instruction that does nothing, `nopl MARK+n(%rax)`: bench/operations.c has them before and after
// what is measured.
//
//     gcc -O2 -shared -fPIC -o count.so count.c
//     qemu-system-x86_64 … -plugin ./count.so,out=FILE
//
// FILE then has a line `total EXECUTED TRANSLATED` and a line `mark N EXECUTED` for each mark that was met, in order.
// An iteration of a repeated string instruction counts as one. Debian's QEMU loads plugins, but no package has the header; the
// declarations are those of version 1 of the interface (QEMU, docs/devel/tcg-plugins.rst).

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { QEMU_PLUGIN_INLINE_ADD_U64 = 0, QEMU_PLUGIN_CB_NO_REGS = 0 };

int qemu_plugin_version = 1;

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *, uint64_t);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);

enum { MARK = 0x5e1f0000, MOST_MARKS = 4096 };

static FILE *out;
static uint64_t executed, translated;
static struct { uint32_t number; uint64_t executed; } marks[MOST_MARKS];
static size_t mark_count;

static void mark(unsigned cpu, void *number)
{
    (void)cpu;
    if (mark_count < MOST_MARKS) {
        marks[mark_count].number = (uintptr_t)number;
        marks[mark_count++].executed = executed;
    }
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    size_t count = qemu_plugin_tb_n_insns(block);
    translated += count;
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
        const uint8_t *bytes = qemu_plugin_insn_data(insn);
        uint32_t word = 0;
        if (qemu_plugin_insn_size(insn) == 7 && bytes[0] == 0x0f && bytes[1] == 0x1f && bytes[2] == 0x80)
            memcpy(&word, bytes + 3, 4);
        if ((word & 0xffff0000) == MARK)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, mark, QEMU_PLUGIN_CB_NO_REGS, (void *)(uintptr_t)(word & 0xffff));
        else
            qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, &executed, 1);
    }
}

static void finish(qemu_plugin_id_t id, void *nothing)
{
    (void)id, (void)nothing;
    fprintf(out, "total %llu %llu\n", (unsigned long long)executed, (unsigned long long)translated);
    for (size_t i = 0; i < mark_count; i++)
        fprintf(out, "mark %u %llu\n", marks[i].number, (unsigned long long)marks[i].executed);
    fclose(out);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4))
            out = fopen(argv[i] + 4, "w");
    if (!out) {
        fprintf(stderr, "count: give a file that can be written: out=FILE\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_atexit_cb(id, finish, NULL);
    return 0;
}
