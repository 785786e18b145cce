/* Many sends in one system call: io_uring without a library, no more of it than the floor needs. */
#pragma once

#include <stddef.h>

enum { RING_ENTRIES = 4096 };

struct ring;

/* NULL when the kernel has none, or lets nobody use it (errno). */
struct ring *ring_new(void);
/* Notes a send; the bytes stay until ring_submit is back. */
void ring_send(struct ring *r, int fd, const void *at, size_t size, void *owner);
/* Sends all that is noted. Calls done with each owner and what its send returned. */
void ring_submit(struct ring *r, void (*done)(void *owner, int sent));
