/* Sends that leave together: io_uring takes hundreds with one system call.
 *
 *     batch_send, batch_send ... -> batch_flush -> outcomes
 *
 * There is one ring for the process. */
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
 * may flush those before. */
void batch_send(int fd, struct iovec piece, int32_t *outcome);
/* Sends all that is noted; costs nothing when nothing is. */
void batch_flush(void);
