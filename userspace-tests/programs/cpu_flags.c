// /proc/cpuinfo names the features of the CPU that programs may use.
#include <string.h>
#include "check.h"

int main(void)
{
    static char line[10000];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file) && strncmp(line, "flags", 5))
        ;
    line[strcspn(line, "\n")] = ' ';
    __builtin_cpu_init();
#define SAME(compiler, linux) CHECK(!__builtin_cpu_supports(compiler) == !strstr(line, " " linux " "))
    SAME("sse3", "pni");
    SAME("avx2", "avx2");
    SAME("avx512f", "avx512f");
    SAME("gfni", "gfni");
    SAME("vaes", "vaes");
    SAME("vpclmulqdq", "vpclmulqdq");
    SAME("avx512vbmi2", "avx512_vbmi2");
    SAME("avx512vnni", "avx512_vnni");
    SAME("avx512bf16", "avx512_bf16");
    SAME("rdpid", "rdpid");
    SAME("serialize", "serialize");
    SAME("movdiri", "movdiri");
    return FINISH();
}
