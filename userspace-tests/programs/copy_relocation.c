// A program at a fixed address uses data of a shared object: it gets a copy that the object uses, too.
// shared: copy_relocation-data.so -DDATA
// flags: -no-pie -fno-pie
// link: copy_relocation-data.so
struct record { int number; const char *text; };
#ifdef DATA
struct record shared_record = {7, "seven"};
int shared_table[1000] = {1, 2, 3};
const char *shared_name = "library";
int read_number(void) { return shared_record.number; }
int sum_table(void)
{
    int sum = 0;
    for (int i = 0; i < 1000; i++)
        sum += shared_table[i];
    return sum;
}
int function(void) { return 5; }
int (*address_of_function(void))(void) { return function; }
struct record *address_of_record(void) { return &shared_record; }
#else
#include <stdio.h>
extern struct record shared_record;
extern int shared_table[1000];
extern const char *shared_name;
int read_number(void), sum_table(void), function(void);
int (*address_of_function(void))(void);
struct record *address_of_record(void);
int main(void)
{
    printf("%d %s %s\n", shared_record.number, shared_record.text, shared_name);
    shared_record.number = 8;
    printf("%d\n", read_number());
    printf("%d\n", sum_table());
    shared_table[999] = 100;
    printf("%d\n", sum_table());
    printf("%d %d\n", address_of_record() == &shared_record, address_of_function() == function);
    fprintf(stdout, "%d\n", function());
    return 0;
}
#endif
