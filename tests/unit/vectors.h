/* The conformance table tests/vectors: a row a line, # begins a comment,
 *
 *     SECTION | server, client or both | input | expectation | sentence
 *     SECTION | server, client or both | input | expectation | sentence | by
 *
 * `by` says with which byte at the latest an error has to be told. Input and expectation are written in
 * words, numbers and BYTES, which are pieces joined by '+', each "text" with C escapes or hex digits, each
 * repeated by *N. What does not parse makes the cursor bad, and all later takes take nothing.
 *
 * Each row is read whole, byte by byte, and cut in two at every offset, or where next_cut says. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row {
    const char *file;
    int line;
    char *section, *role, *input, *expected, *sentence;
    char *by; /* NULL for none */
};

static inline bool complain(const struct row *row, const char *what)
{
    print_error("%s:%d: RFC %s: %s\n    %s\n", row->file, row->line, row->section, what, row->sentence);
    return false;
}

struct cursor {
    const char *at;
    bool bad;
};

static inline bool take(struct cursor *c, const char *word)
{
    size_t size = strlen(word);
    c->at += strspn(c->at, " ");
    if (c->bad || strncmp(c->at, word, size) != 0)
        return false;
    c->at += size;
    return true;
}

static inline void need(struct cursor *c, const char *word)
{
    if (!take(c, word))
        c->bad = true;
}

static inline bool at_end(struct cursor *c)
{
    c->at += strspn(c->at, " ");
    return *c->at == '\0';
}

static inline uint64_t take_number(struct cursor *c)
{
    char *end;
    uint64_t number = strtoull(c->at, &end, 10);
    c->bad = c->bad || end == c->at;
    c->at = end;
    return number;
}

static inline int hex_of(char c)
{
    const char *digits = "0123456789abcdef", *found = c != '\0' ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

static inline bool take_pair(struct cursor *c, struct buf *out)
{
    int high = hex_of(c->at[0]), low = high >= 0 ? hex_of(c->at[1]) : -1;
    if (low < 0)
        return false;
    uint8_t byte = (uint8_t)(high << 4 | low);
    buf_append(out, &byte, 1);
    c->at += 2;
    return true;
}

static inline void take_escape(struct cursor *c, struct buf *out)
{
    static const char names[] = "rnt\"\\", bytes[] = "\r\n\t\"\\";
    char name = *c->at;
    const char *found = name != '\0' ? strchr(names, name) : NULL;
    if (found == NULL && name != 'x') {
        c->bad = true;
        return;
    }
    c->at++;
    if (found)
        buf_append(out, bytes + (found - names), 1);
    else if (!take_pair(c, out))
        c->bad = true;
}

static inline void take_string(struct cursor *c, struct buf *out)
{
    while (!c->bad && *c->at != '"') {
        char byte = *c->at;
        if (byte == '\0')
            c->bad = true;
        else if (c->at++, byte == '\\')
            take_escape(c, out);
        else
            buf_append(out, &byte, 1);
    }
    need(c, "\"");
}

static inline void take_bytes(struct cursor *c, struct buf *out)
{
    do {
        struct buf piece = {0};
        if (take(c, "\""))
            take_string(c, &piece);
        else
            while (take_pair(c, &piece))
                ;
        uint64_t times = *c->at == '*' ? (c->at++, take_number(c)) : 1;
        for (uint64_t i = 0; !c->bad && i < times; i++)
            buf_append(out, piece.at ? piece.at : (const uint8_t *)"", piece.size);
        buf_free(&piece);
    } while (!c->bad && take(c, "+"));
}

/* A name of the table of errors, at the end of a text: 0 when it is none. */
static inline int take_err(struct cursor *c)
{
    for (int err = -1; err >= -ERR_ROWS; err--)
        if (strcmp(c->at + strspn(c->at, " "), err_name(err)) == 0) {
            c->at += strlen(c->at);
            return err;
        }
    return 0;
}

/* Splits at " | "; false when there are not as many fields as there have to be. */
static inline bool split_row(char *line, struct row *row)
{
    char **field[] = {&row->section, &row->role, &row->input, &row->expected, &row->sentence, &row->by};
    enum { FIELDS = sizeof field / sizeof field[0] };
    size_t count = 0;
    line[strcspn(line, "\n")] = '\0';
    for (char *next = line; next != NULL; count++) {
        if (count == FIELDS)
            return false;
        *field[count] = next;
        char *end = strstr(next, " | ");
        next = end != NULL ? end + 3 : NULL;
        if (end != NULL)
            *end = '\0';
    }
    return count >= FIELDS - 1 && *row->sentence != '\0';
}

static inline bool run_row(const struct row *row, bool (*run)(const struct row *row, bool server))
{
    bool both = strcmp(row->role, "both") == 0;
    bool server = both || strcmp(row->role, "server") == 0;
    bool client = both || strcmp(row->role, "client") == 0;
    if (!server && !client)
        return complain(row, "no such role");
    bool fine = !server || run(row, true);
    return (!client || run(row, false)) && fine;
}

struct table {
    const char *file;
    bool (*run)(const struct row *row, bool server); /* says what is wrong */
    size_t rows, deadlines;                          /* found */
};

/* A test whose state is a struct table. */
static inline void run_table(void **state)
{
    struct table *table = *state;
    char line[4096];
    FILE *file = fopen(table->file, "r");
    int failures = 0;
    assert_non_null(file);
    for (int number = 1; fgets(line, sizeof line, file); number++) {
        struct row row = {.file = table->file, .line = number, .section = line, .sentence = line};
        if (line[0] == '#' || line[0] == '\n')
            continue;
        table->rows++;
        failures += split_row(line, &row) ? !run_row(&row, table->run) : !complain(&row, "not its fields");
        table->deadlines += row.by != NULL;
    }
    fclose(file);
    assert_int_equal(failures, 0);
}

/* What a program of tables is run with. */
struct tables {
    struct table *table;
    size_t count, rows_min, deadlines_min;
};

/* Its state is a struct tables whose tables have been run. */
static inline void the_table_is_whole(void **state)
{
    const struct tables *all = *state;
    size_t rows = 0, deadlines = 0;
    for (size_t i = 0; i < all->count; i++)
        rows += all->table[i].rows, deadlines += all->table[i].deadlines;
    print_message("# %zu rows, %zu with a deadline\n", rows, deadlines);
    assert_true(rows >= all->rows_min && deadlines >= all->deadlines_min);
}

enum { TABLES_MAX = 16 };

/* Runs every table as a test of its own, and counts the rows of all. The status to exit with. */
static inline int run_tables(struct tables *all)
{
    struct CMUnitTest tests[TABLES_MAX + 1] = {0};
    for (size_t i = 0; i < all->count; i++)
        tests[i] = (struct CMUnitTest){all->table[i].file, run_table, NULL, NULL, &all->table[i]};
    tests[all->count] = (struct CMUnitTest){"the_table_is_whole", the_table_is_whole, NULL, NULL, all};
    return cmocka_run_group_tests(tests, NULL, NULL); /* what is left empty is no test */
}
