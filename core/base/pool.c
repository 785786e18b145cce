#include "base/pool.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <stdlib.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__

void *pool_take(struct pool *p)
{
    return mem_alloc(p->size);
}

void pool_put(struct pool *p, void *object)
{
    (void)p;
    free(object);
}

void pool_trim(struct pool *p, uint64_t now_ns)
{
    (void)p, (void)now_ns;
}

#else

/* A power of two, at which blocks are aligned: an object's address tells its block. */
enum { BLOCK_SIZE = 64 * 1024 };

static const uint64_t TRIM_EVERY_NS = NS_PER_S;

/* Objects that were put back are a list; behind them come those that never were taken, whose pages the kernel
 * need not have made. */
struct block {
    struct link link; /* in pool->open or pool->empty, in none when full */
    void *free;
    uint32_t used;
    uint32_t fresh;                 /* index of the first that never was taken */
    uint32_t capacity;              /* objects that fit */
    _Alignas(64) uint8_t objects[]; /* at the start of a line of cache */
};

static struct block *block_of(void *object)
{
    uint8_t *at = object;
    return (struct block *)(void *)(at - ((uintptr_t)at & (BLOCK_SIZE - 1)));
}

/* Twice as much is mapped, so that an aligned block is in it, and the rest given back. */
static struct block *block_new(size_t size)
{
    uint8_t *at =
        mmap(NULL, 2 * (size_t)BLOCK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    at = mem_checked(at != MAP_FAILED ? at : NULL, BLOCK_SIZE);
    size_t before = -(uintptr_t)at & (BLOCK_SIZE - 1);
    if (before > 0)
        munmap(at, before);
    munmap(at + before + BLOCK_SIZE, BLOCK_SIZE - before);
    struct block *b = (struct block *)(void *)(at + before);
    link_init(&b->link);
    b->capacity = (uint32_t)((BLOCK_SIZE - sizeof *b) / size);
    return b;
}

static struct block *next_block(struct pool *p)
{
    if (list_empty(&p->empty))
        return block_new(p->size);
    p->empties--;
    if (p->empties < p->never_used)
        p->never_used = p->empties;
    return LIST_OF(list_take(&p->empty), struct block, link);
}

void *pool_take(struct pool *p)
{
    if (list_empty(&p->open))
        list_append(&p->open, &next_block(p)->link);
    struct block *b = LIST_OF(p->open.next, struct block, link);
    void *object = b->free;
    if (object != NULL)
        memcpy(&b->free, object, sizeof b->free);
    else
        object = b->objects + p->size * b->fresh++;
    if (++b->used == b->capacity)
        link_remove(&b->link);
    return object;
}

void pool_put(struct pool *p, void *object)
{
    struct block *b = block_of(object);
    memcpy(object, &b->free, sizeof b->free);
    b->free = object;
    if (b->used-- == b->capacity)
        list_append(&p->open, &b->link);
    if (b->used > 0)
        return;
    list_append(&p->empty, &b->link);
    p->empties++;
}

void pool_trim(struct pool *p, uint64_t now_ns)
{
    if (now_ns - p->trimmed_ns < TRIM_EVERY_NS)
        return;
    p->trimmed_ns = now_ns;
    for (; p->never_used > 0; p->never_used--) {
        munmap(LIST_OF(list_take(&p->empty), struct block, link), BLOCK_SIZE);
        p->empties--;
    }
    p->never_used = p->empties;
}

#endif
