/* The small text files of /proc and of cgroups. `dir` and `name` as for openat(2). Internal to this room. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The beginning of the file, terminated, as far as `size` goes. 0 or ERR_SYSTEM with errno. */
int file_read(int dir, const char *name, char *text, size_t size);
/* A file that holds one number. 0 or ERR_SYSTEM with errno (EBADMSG: no number). */
int file_read_u64(int dir, const char *name, uint64_t *ret_value);
/* Into a file that exists. 0 or ERR_SYSTEM with errno. */
int file_write(int dir, const char *name, const char *text);

/* The number behind `name` on the line that begins with it; false when there is none. */
bool text_figure(const char *text, const char *name, uint64_t *ret_value);
/* Whether a list separated by spaces, commas or newlines has the word. */
bool text_has_word(const char *list, const char *word);
