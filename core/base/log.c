#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1024, LINES_A_SECOND = 100 };

static const char *log_role = "-";
static enum log_level log_level = LOG_INFO;

/* Of the second under way. */
static struct {
    time_t second;
    unsigned written;
    unsigned left_out;
} quota;

/* On the stack, so that it can be written when there is no memory left. */
struct line {
    char text[LINE_MAX_BYTES];
    size_t size;
};

void log_setup(const char *role)
{
    log_role = role;
}

void log_set_level(enum log_level level)
{
    log_level = level;
}

static void add_args(struct line *line, const char *format, va_list args)
{
    size_t room = sizeof line->text - line->size;
    int length = vsnprintf(line->text + line->size, room, format, args);
    if (length > 0)
        line->size += (size_t)length < room ? (size_t)length : room - 1;
}

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_args(line, format, args);
    va_end(args);
}

static void begin(struct line *line)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    line->size = strftime(line->text, sizeof line->text, "%Y-%m-%dT%H:%M:%S", &utc);
    add(line, ".%03ldZ wsb %s %ld: ", now.tv_nsec / 1000000, log_role, (long)getpid());
}

/* What a peer sent may end up in a line: it must not begin another one, nor steer the terminal. */
static void mask_control(struct line *line)
{
    for (size_t i = 0; i < line->size; i++)
        if ((unsigned char)line->text[i] < ' ' || line->text[i] == 0x7F)
            line->text[i] = '?';
}

/* A reader of our stderr who stops reading must not stop us. A pipe that polls writable takes a whole line.
 */
static bool writable(void)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) != 0;
}

static void write_out(struct line *line)
{
    mask_control(line);
    line->text[line->size++] = '\n'; /* over the NUL of vsnprintf */
    if (write(STDERR_FILENO, line->text, line->size) < 0)
        return; /* nowhere left to complain */
}

static void say_left_out(void)
{
    struct line line;
    begin(&line);
    add(&line, "%u lines left out", quota.left_out);
    write_out(&line);
    quota.left_out = 0;
}

static bool within_quota(enum log_level level)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec != quota.second) {
        quota.second = now.tv_sec;
        quota.written = 0;
    }
    if (!writable() || (level > LOG_ERROR && quota.written >= LINES_A_SECOND)) {
        quota.left_out++;
        return false;
    }
    quota.written++;
    return true;
}

void log_line(enum log_level level, const char *format, ...)
{
    int saved = errno;
    if (level > log_level || !within_quota(level)) {
        errno = saved;
        return;
    }
    struct line line;
    if (quota.left_out > 0)
        say_left_out();
    begin(&line);
    va_list args;
    va_start(args, format);
    add_args(&line, format, args);
    va_end(args);
    write_out(&line);
    errno = saved;
}

void log_panic(const char *file, int line_number, const char *format, ...)
{
    struct line line;
    begin(&line);
    add(&line, "%s:%d: ", file, line_number);
    va_list args;
    va_start(args, format);
    add_args(&line, format, args);
    va_end(args);
    write_out(&line);
    abort();
}
