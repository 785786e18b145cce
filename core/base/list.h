/* Intrusive doubly linked ring. A head is a link of its own; a link that is in no list points at itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct link {
    struct link *next, *prev;
};

#define LIST_OF(link_at, type, field) ((type *)(void *)((char *)(link_at)-offsetof(type, field)))

static inline void link_init(struct link *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct link *head)
{
    return head->next == head;
}

/* Out of whatever list it is in; harmless when in none. */
static inline void link_remove(struct link *l)
{
    l->next->prev = l->prev;
    l->prev->next = l->next;
    link_init(l);
}

/* To the end of the list, for a link that is in none. */
static inline void list_enter(struct link *head, struct link *l)
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}

/* The same out of any other it was in. */
static inline void list_append(struct link *head, struct link *l)
{
    link_remove(l);
    list_enter(head, l);
}

/* The first link, removed, or NULL. */
static inline struct link *list_take(struct link *head)
{
    if (list_empty(head))
        return NULL;
    struct link *l = head->next;
    link_remove(l);
    return l;
}
