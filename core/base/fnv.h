/* FNV-1a, 64 bits: keys and fingerprints, not for hostile input. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define FNV_START 0xcbf29ce484222325ULL

/* Goes on from `hash` (FNV_START at first) over more bytes. */
uint64_t fnv_add(uint64_t hash, const void *bytes, size_t size);
