/* Sends that leave together: io_uring takes hundreds with one system call, which is half of what they cost.
 *
 *     batch_send, batch_send ... -> batch_flush -> outcomes
 *
 * There is one ring for the process, so that whoever is about to reuse memory that is being sent can flush it
 * without knowing whose it is. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Sets the ring up for the first who asks. 0, or ERR_SYSTEM with errno: the kernel has none or refuses it. */
int batch_open(void);
/* The last one to close frees the ring. */
void batch_close(void);

/* Notes a send of a plain socket's; what the socket has no room for stays out, as with MSG_DONTWAIT. The
 * bytes and *outcome have to stay where they are until batch_flush has set it to bytes sent or to -errno. It
 * may flush those before. Returns how many bytes it takes at most. */
uint32_t batch_send(int fd, struct iovec piece, int32_t *outcome);
/* Sends all that is noted; costs nothing when nothing is. */
void batch_flush(void);
