#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROOM = 64 * 1024 };

/* stderr goes into a pipe between these two; what was written is what the pipe holds. */
static int saved_stderr, ends[2];

static void capture(void)
{
    saved_stderr = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
}

static void captured(char text[ROOM])
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(ends[1]);
    ssize_t size = read(ends[0], text, ROOM - 1);
    close(ends[0]);
    text[size > 0 ? size : 0] = '\0';
}

static const char *message_of(const char *line)
{
    const char *colon = strstr(line, ": ");
    return colon ? colon + 2 : "";
}

static void a_line_names_time_role_and_process(void **state)
{
    (void)state;
    char line[ROOM], expected[64];
    log_setup("server");
    log_set_level(LOG_INFO);
    capture();
    log_line(LOG_INFO, "port %d", 9001);
    captured(line);
    snprintf(expected, sizeof expected, "Z wsb server %ld: port 9001\n", (long)getpid());
    assert_string_equal(line + strlen("2000-01-01T00:00:00.000"), expected);
    assert_int_equal(line[4], '-');
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[19], '.');
}

static void lines_above_the_level_are_dropped(void **state)
{
    (void)state;
    char text[ROOM];
    log_setup("server");
    log_set_level(LOG_WARN);
    capture();
    log_line(LOG_DEBUG, "no");
    log_line(LOG_INFO, "no");
    log_line(LOG_WARN, "yes");
    captured(text);
    assert_string_equal(message_of(text), "yes\n");
}

static void a_call_is_one_line_whatever_it_holds(void **state)
{
    (void)state;
    char text[ROOM];
    log_setup("server");
    log_set_level(LOG_INFO);
    capture();
    log_line(LOG_ERROR, "a\nb\r\x1b[31m\x7f %s", "\xC3\xA9");
    captured(text);
    assert_string_equal(message_of(text), "a?b??[31m? \xC3\xA9\n");
}

static void a_long_line_is_cut(void **state)
{
    (void)state;
    char text[ROOM];
    log_setup("server");
    log_set_level(LOG_INFO);
    capture();
    log_line(LOG_ERROR, "%03000d", 1);
    captured(text);
    assert_in_range(strlen(text), 500, 1024);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void a_flood_is_cut_but_for_errors(void **state)
{
    (void)state;
    static char text[ROOM];
    int lines = 0;
    log_set_level(LOG_INFO);
    capture();
    for (int i = 0; i < 5000; i++)
        log_line(LOG_INFO, "flood");
    log_line(LOG_ERROR, "fire");
    captured(text);
    for (const char *at = text; (at = strstr(at, "flood")) != NULL; at++)
        lines++;
    assert_in_range(lines, 1, 300); /* the clock may turn to another second meanwhile */
    assert_non_null(strstr(text, " lines left out\n"));
    assert_non_null(strstr(text, "fire\n"));
}

static void errno_survives(void **state)
{
    (void)state;
    char text[ROOM];
    capture();
    close(STDERR_FILENO);
    errno = EAGAIN;
    log_line(LOG_ERROR, "to nowhere");
    int after = errno;
    captured(text);
    assert_int_equal(after, EAGAIN);
}

static void panic_says_where_and_aborts(void **state)
{
    (void)state;
    char text[ROOM], expected[128];
    log_setup("server");
    log_set_level(LOG_ERROR);
    int line = __LINE__ + 5;
    capture();
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        PANIC("%d is odd", 3);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    captured(text);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    snprintf(expected, sizeof expected, "%s:%d: 3 is odd\n", __FILE__, line);
    assert_string_equal(message_of(text), expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_names_time_role_and_process),
        cmocka_unit_test(lines_above_the_level_are_dropped),
        cmocka_unit_test(a_call_is_one_line_whatever_it_holds),
        cmocka_unit_test(a_long_line_is_cut),
        cmocka_unit_test(a_flood_is_cut_but_for_errors),
        cmocka_unit_test(errno_survives),
        cmocka_unit_test(panic_says_where_and_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
