// LANG is C.UTF-8: wide characters, case, collation and messages go by it; other locales are refused.
// args:
// args: german
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>
#include <time.h>
#include "check.h"

int main(int argc, char **argv)
{
    (void)argv;
    printf("%s\n", setlocale(LC_ALL, 0));
    if (argc > 1) {
        printf("%s\n", setlocale(LC_ALL, "xx_XX.UTF-8") ? "have it" : "refused");
        return 0;
    }
    printf("%s\n", setlocale(LC_ALL, ""));
    printf("%s %zu\n", nl_langinfo(CODESET), (size_t)MB_CUR_MAX);
    wchar_t wide[32];
    size_t length = mbstowcs(wide, "Größe 日本 😀", 32);
    printf("%zu wide characters\n", length);
    for (size_t i = 0; i < length; i++)
        wide[i] = towupper(wide[i]);
    printf("%ls\n", wide);
    printf("%d %d\n", iswalpha(L'ß') != 0, wcwidth(L'日'));
    CHECK(mbstowcs(wide, "\xff\xfe", 32) == (size_t)-1 && errno == EILSEQ);
    CHECK(strcoll("a", "B") > 0);
    printf("%s, %s\n", strerror(ENOENT), strerror(12345));
    time_t zero = 0;
    struct tm *calendar = localtime(&zero);
    char text[60];
    strftime(text, sizeof text, "%c %Z", calendar);
    puts(text);
    printf("%'d %.2f\n", 1234567, 1.5);
    return FINISH();
}
