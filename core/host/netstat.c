#include "host/netstat.h"

#include "host/file.h"
#include "base/bytes.h"
#include "base/err.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The longest so far, with every figure at its widest, is below 9 KiB. */
enum { NETSTAT_TEXT_MAX = 16384 };

#define KIND_COUNTER "counter"
#define KIND_GAUGE   "gauge"

const struct netstat_row netstat_rows[NETSTAT_IDS] = {
#define NETSTAT(line, name, kind, help) {#line, #name, KIND_##kind, help},
#include "host/netstat.def"
#undef NETSTAT
};

/* What is up to the next blank or newline, and moves `at` behind it. False at the end of the line, and for a
 * word that the end of the text may have cut. */
static bool next_word(const char **at, struct slice *ret_word)
{
    const char *from = *at + strspn(*at, " ");
    size_t size = strcspn(from, " \n");
    if (size == 0 || from[size] == '\0')
        return false;
    *ret_word = (struct slice){.at = from, .size = size};
    *at = from + size;
    return true;
}

static void note(struct slice line, struct slice name, struct slice value, struct netstat *figures)
{
    for (int i = 0; i < NETSTAT_IDS; i++) {
        if (!slice_is(name, netstat_rows[i].name) || !slice_is(line, netstat_rows[i].line))
            continue;
        char *end;
        long long figure = strtoll(value.at, &end, 10);
        if (end == value.at + value.size && figure >= 0)
            figures->value[i] = figure;
    }
}

/* A pair of lines that begin alike: "Tcp: A B\nTcp: 1 2\n". */
static void parse_pair(const char *names, const char *values, struct netstat *figures)
{
    struct slice line, name, value, same;
    if (!next_word(&names, &line) || !next_word(&values, &same) || !slice_same(line, same))
        return;
    line.size--; /* the colon */
    while (next_word(&names, &name) && next_word(&values, &value))
        note(line, name, value, figures);
}

static void parse_text(const char *text, struct netstat *figures)
{
    for (const char *next; (next = strchr(text, '\n')); text = next + 1)
        parse_pair(text, next + 1, figures);
}

void netstat_parse(const char *snmp, const char *netstat, struct netstat *ret_figures)
{
    for (int i = 0; i < NETSTAT_IDS; i++)
        ret_figures->value[i] = -1;
    parse_text(snmp, ret_figures);
    parse_text(netstat, ret_figures);
}

int netstat_read(struct netstat *ret_figures)
{
    char snmp[NETSTAT_TEXT_MAX], netstat[NETSTAT_TEXT_MAX];
    if (file_read(AT_FDCWD, "/proc/self/net/snmp", snmp, sizeof(snmp)) < 0 ||
        file_read(AT_FDCWD, "/proc/self/net/netstat", netstat, sizeof(netstat)) < 0)
        return ERR_SYSTEM;
    netstat_parse(snmp, netstat, ret_figures);
    return 0;
}
