// Transfers money between accounts of an SQLite database in the directory it is given, each transfer a transaction that also adds
// a row to a journal of its own. `transactions DIR ROUNDS MODE`: says first which row is the last, having checked that all before
// it are there and that no money is lost; then prints the number of each row once it is committed. MODE is SQLite's journal_mode.
// Debian's header may be missing where its library is not: the few functions that are needed are declared here.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct sqlite3 sqlite3;
typedef struct sqlite3_stmt sqlite3_stmt;
enum { OK = 0, ROW = 100, ACCOUNTS = 50, EACH = 1000 };
int sqlite3_open(const char *, sqlite3 **);
int sqlite3_close(sqlite3 *);
int sqlite3_exec(sqlite3 *, const char *, int (*)(void *, int, char **, char **), void *, char **);
int sqlite3_prepare_v2(sqlite3 *, const char *, int, sqlite3_stmt **, const char **);
int sqlite3_step(sqlite3_stmt *);
const unsigned char *sqlite3_column_text(sqlite3_stmt *, int);
int sqlite3_finalize(sqlite3_stmt *);
const char *sqlite3_errmsg(sqlite3 *);

static sqlite3 *db;

static void must(int holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "%s: %s\n", what, sqlite3_errmsg(db));
    exit(1);
}

static void run(const char *statement)
{
    must(sqlite3_exec(db, statement, 0, 0, 0) == OK, statement);
}

// The first column of the first row.
static const char *value(const char *query)
{
    static char text[1000];
    sqlite3_stmt *statement;
    must(sqlite3_prepare_v2(db, query, -1, &statement, 0) == OK, query);
    must(sqlite3_step(statement) == ROW, query);
    snprintf(text, sizeof text, "%s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    return text;
}

static void is(const char *query, const char *expected)
{
    const char *found = value(query);
    if (!strcmp(found, expected)) return;
    fprintf(stderr, "%s: %s, not %s\n", query, found, expected);
    exit(1);
}

int main(int count, char **arguments)
{
    char text[1000];
    if (count != 4) return 2;
    snprintf(text, sizeof text, "%s/bank.db", arguments[1]);
    must(sqlite3_open(text, &db) == OK, text);
    snprintf(text, sizeof text, "PRAGMA journal_mode = %s", arguments[3]);
    is(text, arguments[3]);
    // FULL leaves it open whether the journal is removed for good (journal_mode delete).
    run("PRAGMA synchronous = EXTRA");
    is("PRAGMA integrity_check", "ok");
    run("BEGIN");
    run("CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY, amount INTEGER, note TEXT)");
    run("CREATE TABLE IF NOT EXISTS transfer (id INTEGER PRIMARY KEY, source INTEGER, target INTEGER, note TEXT)");
    run("CREATE INDEX IF NOT EXISTS notes ON transfer (note)");
    if (!atoi(value("SELECT count(*) FROM account")))
        for (int i = 0; i < ACCOUNTS; i++) {
            snprintf(text, sizeof text, "INSERT INTO account VALUES (%d, %d, '')", i, EACH);
            run(text);
        }
    run("COMMIT");
    snprintf(text, sizeof text, "%d", ACCOUNTS * EACH);
    is("SELECT sum(amount) FROM account", text);
    long last = atol(value("SELECT coalesce(max(id), 0) FROM transfer"));
    snprintf(text, sizeof text, "%ld", last);
    is("SELECT count(*) FROM transfer", text);
    printf("%ld\n", last);
    fflush(stdout);
    for (long row = last + 1; row <= last + atol(arguments[2]); row++) {
        long source = row * 7919 % ACCOUNTS, target = row * 104729 % ACCOUNTS;
        run("BEGIN IMMEDIATE");
        snprintf(text, sizeof text, "UPDATE account SET amount = amount - 1, note = 'to %ld' WHERE id = %ld", row, source);
        run(text);
        snprintf(text, sizeof text, "UPDATE account SET amount = amount + 1, note = 'from %ld' WHERE id = %ld", row, target);
        run(text);
        // Some fill several pages.
        snprintf(text, sizeof text, "INSERT INTO transfer VALUES (%ld, %ld, %ld, hex(randomblob(%ld)))", row, source, target,
                 row % 10 ? 60L : 6000L);
        run(text);
        run("COMMIT");
        printf("%ld\n", row);
        fflush(stdout);
    }
    sqlite3_close(db);
    return 0;
}
