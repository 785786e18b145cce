#include "peer/lookup.h"

#include "base/count.h"

static struct lookup_job *first(const struct link *list)
{
    return list_empty(list) ? NULL : LIST_OF(list->next, struct lookup_job, link);
}

void lookup_init(struct lookup *l, bool (*begin)(struct lookup *, struct lookup_job *),
                 void (*done)(struct lookup *, struct lookup_job *))
{
    *l = (struct lookup){.begin = begin, .done = done};
    link_init(&l->waiting);
    link_init(&l->busy);
}

void lookup_add(struct lookup *l, struct lookup_job *job)
{
    link_init(&job->link);
    list_append(&l->waiting, &job->link);
    l->waiting_count++;
    count_add(COUNT_auth_waiting, 1);
}

static void leave_queue(struct lookup *l, struct lookup_job *job)
{
    link_remove(&job->link);
    l->waiting_count--;
    count_sub(COUNT_auth_waiting, 1);
}

static void leave_slot(struct lookup *l, struct lookup_job *job)
{
    link_remove(&job->link);
    l->busy_count--;
}

/* In order of time: behind all but those that began when a look-up took longer. */
static void take_slot(struct lookup *l, struct lookup_job *job)
{
    struct link *behind = l->busy.prev;
    while (behind != &l->busy && LIST_OF(behind, struct lookup_job, link)->due_ns > job->due_ns)
        behind = behind->prev;
    list_append(behind->next, &job->link);
    l->busy_count++;
    count_add(COUNT_auth_started, 1);
}

static void finish(struct lookup *l, uint64_t now_ns)
{
    struct lookup_job *job;
    while ((job = first(&l->busy)) != NULL && job->due_ns <= now_ns) {
        leave_slot(l, job);
        l->done(l, job);
    }
}

static void begin(struct lookup *l, const struct lookup_terms *terms, uint64_t now_ns)
{
    struct lookup_job *job;
    while (l->busy_count < terms->slots && (job = first(&l->waiting)) != NULL) {
        leave_queue(l, job);
        if (!l->begin(l, job))
            continue;
        job->due_ns = now_ns + terms->time_ns;
        take_slot(l, job);
    }
}

void lookup_run(struct lookup *l, const struct lookup_terms *terms, uint64_t now_ns)
{
    do {
        finish(l, now_ns);
        begin(l, terms, now_ns);
    } while (l->busy_count > 0 && lookup_next_ns(l) <= now_ns);
}

uint64_t lookup_next_ns(const struct lookup *l)
{
    struct lookup_job *job = first(&l->busy);
    return job != NULL ? job->due_ns : 0;
}

struct lookup_job *lookup_take(struct lookup *l)
{
    struct lookup_job *job = first(&l->busy);
    if (job != NULL) {
        leave_slot(l, job);
        return job;
    }
    job = first(&l->waiting);
    if (job != NULL)
        leave_queue(l, job);
    return job;
}
