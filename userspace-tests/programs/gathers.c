// hosted: too
//
// Gathers of AVX2 with each index register, if the processor offers AVX2; without it there is nothing to be wrong. Some
// releases of QEMU take index register 4 for none: `elfin run` asks those for a processor without AVX2.
#include "check.h"

static const int indices[8] = {7, 1, 3, 2, 6, 0, 5, 4};
static const long wide[4] = {5, 0, 7, 2};

#define GATHER(index, into, mask)                                                                    \
    do {                                                                                             \
        int narrow[8], table[8] = {10, 11, 12, 13, 14, 15, 16, 17};                                  \
        double doubles[4], numbers[8] = {.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5};                     \
        __asm__ volatile("vmovdqu %2, %%ymm" #index "\n\t"                                           \
                         "vpcmpeqd %%ymm" #mask ", %%ymm" #mask ", %%ymm" #mask "\n\t"               \
                         "vpgatherdd %%ymm" #mask ", (%3,%%ymm" #index ",4), %%ymm" #into "\n\t"     \
                         "vmovdqu %%ymm" #into ", %0\n\t"                                            \
                         "vmovdqu %4, %%ymm" #index "\n\t"                                           \
                         "vpcmpeqd %%ymm" #mask ", %%ymm" #mask ", %%ymm" #mask "\n\t"               \
                         "vgatherqpd %%ymm" #mask ", (%5,%%ymm" #index ",8), %%ymm" #into "\n\t"     \
                         "vmovdqu %%ymm" #into ", %1\n\tvzeroupper"                                  \
                         : "=m"(narrow), "=m"(doubles)                                               \
                         : "m"(indices), "r"(table), "m"(wide), "r"(numbers), "m"(table), "m"(numbers) \
                         : "xmm" #index, "xmm" #into, "xmm" #mask);                                  \
        for (int i = 0; i < 8; i++)                                                                  \
            CHECK(narrow[i] == table[indices[i]]);                                                   \
        for (int i = 0; i < 4; i++)                                                                  \
            CHECK(doubles[i] == numbers[wide[i]]);                                                   \
    } while (0)

int main(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) {
        GATHER(0, 1, 2);
        GATHER(1, 2, 3);
        GATHER(2, 3, 4);
        GATHER(3, 4, 5);
        GATHER(4, 5, 6);
        GATHER(5, 6, 7);
        GATHER(6, 7, 8);
        GATHER(7, 8, 9);
        GATHER(8, 9, 10);
        GATHER(9, 10, 11);
        GATHER(10, 11, 12);
        GATHER(11, 12, 13);
        GATHER(12, 13, 14);
        GATHER(13, 14, 15);
        GATHER(14, 15, 0);
        GATHER(15, 0, 1);
    }
    return FINISH();
}
