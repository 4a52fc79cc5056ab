// Floating point, bit for bit: printing, parsing, libm, rounding modes, exceptions, long double; and qsort.
// flags: -frounding-math
// link: -lm
#include <fenv.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"

static int by_value(const void *a, const void *b)
{
    double x = *(double *)a, y = *(double *)b;
    return (x > y) - (x < y);
}
static void bits(const char *what, double value)
{
    uint64_t raw;
    memcpy(&raw, &value, 8);
    printf("%-10s %.17g %a %016llx\n", what, value, value, (unsigned long long)raw);
}

int main(void)
{
    double values[] = {0.1, 1e-320, -0.0, 1.0 / 3, 1e308, 123456789.125, NAN, INFINITY, -INFINITY, DBL_MIN, DBL_EPSILON};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        printf("%f %e %g %a %.0f %+.3e|%12.4f|%-12.2e|\n", values[i], values[i], values[i], fabs(values[i]), values[i], values[i], values[i], values[i]);
    const char *texts[] = {"0x1.8p3", "1e400", "-1e-400", "nan", "infinity", "2.2250738585072014e-308", "9007199254740993", ".5e1x"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *end;
        bits(texts[i], strtod(texts[i], &end));
        printf("  rest \"%s\"\n", end);
    }
    volatile double x = 0.7, y = 3.3;
    bits("sin", sin(x)), bits("cos", cos(x)), bits("tan", tan(x)), bits("exp", exp(x)), bits("log", log(x));
    bits("pow", pow(x, y)), bits("atan2", atan2(x, y)), bits("sinh", sinh(x)), bits("cbrt", cbrt(x)), bits("gamma", tgamma(y));
    bits("erf", erf(x)), bits("fmod", fmod(y, x)), bits("hypot", hypot(x, y)), bits("fma", fma(x, y, 1e-17)), bits("sqrt", sqrt(x));
    bits("sin large", sin(1e22)), bits("j0", j0(x)), bits("expm1", expm1(1e-10)), bits("sinf", sinf((float)x));
    volatile long double third = 1.0L / 3;
    printf("%.25Lf %La %Lg\n", third, third, powl(third, 2.5L));
    int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
    for (int i = 0; i < 4; i++) {
        fesetround(modes[i]);
        volatile double one = 1, three = 3;
        printf("%d %.20f %.20f %ld\n", i, one / three, -one / three, lrint(2.5 * one));
    }
    fesetround(FE_TONEAREST);
    feclearexcept(FE_ALL_EXCEPT);
    volatile double zero = 0, big = DBL_MAX;
    volatile double r = 1 / zero;
    printf("divide by zero %d\n", fetestexcept(FE_DIVBYZERO) != 0);
    r = big * big;
    printf("overflow %d\n", fetestexcept(FE_OVERFLOW) != 0);
    r = zero / zero;
    printf("invalid %d\n", fetestexcept(FE_INVALID) != 0);
    (void)r;

    enum { COUNT = 20000 };
    double *numbers = malloc(COUNT * sizeof *numbers), sum = 0;
    uint32_t state = 1;
    for (int i = 0; i < COUNT; i++) {
        state = state * 1664525 + 1013904223;
        numbers[i] = state / 4294967296.0;
    }
    qsort(numbers, COUNT, sizeof *numbers, by_value);
    for (int i = 1; i < COUNT; i++) {
        CHECK(numbers[i - 1] <= numbers[i]);
        sum += numbers[i] * i;
    }
    bits("sum", sum);
    double *found = bsearch(&numbers[777], numbers, COUNT, sizeof *numbers, by_value);
    CHECK(found && *found == numbers[777]);
    free(numbers);
    return FINISH();
}
