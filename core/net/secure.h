/* What stream.h says, of a stream that carries TLS. Internal to this room.
 *
 * OpenSSL never sees a full descriptor: what that does not take at once is kept here, encrypted, and leaves
 * first. Otherwise a record that waits would have to be written again with the same bytes, which a queue may
 * have dropped in the meantime. Nothing new is encrypted while something waits, so it is one record or two.
 */
#pragma once

#include "net/stream.h"

struct secure;

/* NULL without memory. */
struct secure *secure_new(int fd, struct tls_context *c);
void secure_free(struct secure *s);

enum io secure_handshake(struct secure *s);
bool secure_resumed(const struct secure *s);
const char *secure_error(const struct secure *s);
enum io secure_read(struct secure *s, void *into, size_t size, size_t *ret_size);
size_t secure_pending(const struct secure *s);
enum io secure_writev(struct secure *s, const struct iovec *vector, int count, size_t *ret_size);
bool secure_unsent(const struct secure *s);
void secure_shutdown(struct secure *s);
