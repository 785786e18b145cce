/* Incremental UTF-8 check (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF). */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum utf8_state { UTF8_START = 0, UTF8_INVALID = 1 /* every other value: inside a sequence */ };

/* Reads on from `state` (UTF8_START at the beginning) and returns the new one: UTF8_INVALID as soon as no
 * continuation could make the text valid, UTF8_START when it ends at a border of characters. */
uint8_t utf8_check(uint8_t state, const uint8_t *bytes, size_t size);
