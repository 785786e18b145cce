/* One line a call to stderr, "wsb ROLE PID: text" behind a time stamp, written with a single write(2).
 *
 * At most 100 lines a second: ten thousand evictions at once must not turn into ten thousand writes. The next
 * line after that says how many were left out. Errors are left out only when nobody takes them: a stderr that
 * is not read does not block. */
#pragma once

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* role: a literal, named in each line. */
void log_setup(const char *role);
/* Lines above the level are dropped; LOG_INFO at first. */
void log_set_level(enum log_level level);
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Says where and why, then abort(): for broken invariants only. */
#define PANIC(...) log_panic(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void log_panic(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
