#include "role/record.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUFFER_SIZE = 1024 * 1024 };

struct record {
    FILE *file;
    const char *cohort;
    bool broken; /* told about */
};

struct record *record_open(const char *path, const char *cohort)
{
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return NULL;
    struct record *r = mem_zero(sizeof *r);
    r->file = file;
    r->cohort = cohort;
    setvbuf(file, NULL, _IOFBF, BUFFER_SIZE);
    return r;
}

void record_flush(struct record *r)
{
    if (r == NULL || (fflush(r->file) == 0 && ferror(r->file) == 0) || r->broken)
        return;
    r->broken = true;
    log_line(LOG_ERROR, "record: %s: the file is not whole", strerror(errno));
}

void record_close(struct record *r)
{
    if (r == NULL)
        return;
    record_flush(r);
    fclose(r->file);
    free(r);
}

void record_sent(struct record *r, uint64_t client, uint64_t sequence, uint64_t now_ns)
{
    if (r != NULL)
        fprintf(r->file, "S %s/%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", r->cohort, client, sequence, now_ns);
}

void record_answered(struct record *r, uint64_t client, uint64_t sequence, const struct replay_id *id,
                     uint64_t now_ns)
{
    char text[REPLAY_ID_SIZE];
    if (r == NULL)
        return;
    if (id == NULL) {
        fprintf(r->file, "N %s/%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", r->cohort, client, sequence, now_ns);
        return;
    }
    replay_id_write(id, text);
    fprintf(r->file, "A %s/%" PRIu64 " %" PRIu64 " %s %" PRIu64 "\n", r->cohort, client, sequence, text,
            now_ns);
}

void record_opened(struct record *r, uint64_t client, uint64_t now_ns)
{
    if (r != NULL)
        fprintf(r->file, "O %s/%" PRIu64 " %" PRIu64 "\n", r->cohort, client, now_ns);
}

void record_lost(struct record *r, uint64_t client, int code, uint64_t now_ns)
{
    if (r != NULL)
        fprintf(r->file, "L %s/%" PRIu64 " %d %" PRIu64 "\n", r->cohort, client, code, now_ns);
}

void record_recovered(struct record *r, uint64_t client, const struct replay_recovered *recovered,
                      uint64_t now_ns)
{
    char text[REPLAY_ID_SIZE];
    if (r == NULL)
        return;
    replay_id_write(&recovered->at, text);
    fprintf(r->file, "R %s/%" PRIu64 " %d %s %" PRIu64 "\n", r->cohort, client, recovered->recovered, text,
            now_ns);
}

void record_delivered(struct record *r, uint64_t client, const struct replay_id *id,
                      const struct stamp *stamp, uint64_t now_ns)
{
    char text[REPLAY_ID_SIZE] = "-";
    if (r == NULL)
        return;
    if (id != NULL)
        replay_id_write(id, text);
    fprintf(r->file, "D %s/%" PRIu64 " %s %" PRIu32 " %" PRIu64 " %" PRIu64 "\n", r->cohort, client, text,
            stamp->publisher, stamp->sequence, now_ns);
}

void record_cut(struct record *r, uint64_t client, const char *state, uint64_t now_ns)
{
    if (r != NULL)
        fprintf(r->file, "K %s/%" PRIu64 " %s %" PRIu64 "\n", r->cohort, client, state, now_ns);
}
