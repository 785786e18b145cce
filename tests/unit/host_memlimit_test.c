/* The memory limit for real: what it kills, what it counts, and that nothing of it stays. */
#include "host/memlimit.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MIB = 1 << 20, LIMIT = 32 * MIB };

/* What a failing test has not freed, so that it leaves no cgroup. */
static struct memlimit *held[4];

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        memlimit_free(held[i]);
        held[i] = NULL;
    }
    return 0;
}

static struct memlimit **hold(void)
{
    struct memlimit **free_slot = held;
    while (*free_slot)
        free_slot++;
    return free_slot;
}

static void release(struct memlimit *m)
{
    for (size_t i = 0; i < 4; i++)
        if (held[i] == m)
            held[i] = NULL;
    memlimit_free(m);
}

static struct memlimit *cgroup_or_skip(void)
{
    char why[512];
    struct memlimit *m = *hold() = memlimit_new(LIMIT, true, why, sizeof(why));
    if (memlimit_kind(m) == MEMLIMIT_RLIMIT) {
        print_message("[  SKIPPED ] no memory cgroup to be had: %s\n", why);
        skip();
    }
    assert_string_equal(why, "");
    return m;
}

static void *map(size_t size)
{
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* Runs `body` under the limit in a child; its wait status. */
static int run_under(const struct memlimit *m, int (*body)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(memlimit_enter(m) < 0 ? 99 : body());
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int use_twice_the_limit(void)
{
    void *memory = map(2 * LIMIT);
    if (memory == MAP_FAILED)
        return 1;
    memset(memory, 1, 2 * LIMIT);
    return 0;
}

static int use_half_the_limit(void)
{
    void *memory = map(LIMIT / 2);
    if (memory == MAP_FAILED)
        return 1;
    memset(memory, 1, LIMIT / 2);
    return 0;
}

static void the_kernel_kills_above_the_limit_and_counts_it(void **state)
{
    (void)state;
    struct memlimit *m = cgroup_or_skip();
    struct memlimit_state before = {0}, after = {0};
    assert_int_equal(memlimit_read(m, &before), 0);
    assert_int_equal(before.oom_kills, 0);
    int status = run_under(m, use_twice_the_limit);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_int_equal(memlimit_read(m, &after), 0);
    assert_int_equal(after.oom_kills, 1);
    assert_true(after.limit_hits > 0);
    assert_in_range(after.peak_bytes, LIMIT / 2, LIMIT);
    release(m);
}

static void below_the_limit_nothing_happens(void **state)
{
    (void)state;
    struct memlimit *m = cgroup_or_skip();
    struct memlimit_state after = {0};
    int status = run_under(m, use_half_the_limit);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(memlimit_read(m, &after), 0);
    assert_int_equal(after.oom_kills, 0);
    assert_in_range(after.peak_bytes, LIMIT / 2, LIMIT);
    release(m);
}

static void the_directory_is_ours_and_gone_afterwards(void **state)
{
    (void)state;
    struct memlimit *m = cgroup_or_skip(), *second = cgroup_or_skip();
    char path[PATH_MAX], name[64];
    snprintf(path, sizeof(path), "%s", memlimit_path(m));
    snprintf(name, sizeof(name), "/wsb-%d-", (int)getpid());
    assert_non_null(strstr(path, name));
    assert_string_not_equal(memlimit_path(second), path);
    assert_int_equal(access(path, F_OK), 0);
    release(m);
    assert_int_equal(access(path, F_OK), -1);
    snprintf(path, sizeof(path), "%s", memlimit_path(second));
    assert_int_equal(access(path, F_OK), 0);
    release(second);
    assert_int_equal(access(path, F_OK), -1);
}

/* A child under the limit that does `body`, says so, and waits to be killed. */
static pid_t start_under(const struct memlimit *m, int (*body)(void))
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ready[0]);
        if (memlimit_enter(m) < 0 || body() != 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static int end_soon(void)
{
    ualarm(50000, 0);
    return use_half_the_limit();
}

/* The last process is still there, or on its way out, when free begins. */
static void freeing_waits_for_the_last_process_to_leave(void **state)
{
    (void)state;
    struct memlimit *m = cgroup_or_skip();
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s", memlimit_path(m));
    pid_t pid = start_under(m, end_soon);
    release(m);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Into a connection that nobody reads. */
static int fill_a_socket(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int listening = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listening, (struct sockaddr *)&at, size) < 0 || listen(listening, 1) < 0 ||
        getsockname(listening, (struct sockaddr *)&at, &size) < 0 ||
        connect(client, (struct sockaddr *)&at, size) < 0 || accept(listening, NULL, NULL) < 0)
        return 1;
    static char bytes[65536];
    while (send(client, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        continue;
    return 0;
}

static void memory_of_sockets_is_counted(void **state)
{
    (void)state;
    struct memlimit *m = cgroup_or_skip();
    struct memlimit_state s = {0};
    pid_t pid = start_under(m, fill_a_socket);
    assert_int_equal(memlimit_read(m, &s), 0);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(s.socket_bytes >= 65536);
}

static void what_a_dead_process_left_is_swept(void **state)
{
    (void)state;
    struct memlimit *m = cgroup_or_skip();
    char dir[PATH_MAX], dead[PATH_MAX + 64], alive[PATH_MAX + 64];
    snprintf(dir, sizeof(dir), "%s", memlimit_path(m));
    dirname(dir);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    snprintf(dead, sizeof(dead), "%s/wsb-%d-0", dir, (int)pid);
    snprintf(alive, sizeof(alive), "%s/wsb-%d-0", dir, (int)getppid());
    assert_int_equal(mkdir(dead, 0755), 0);
    assert_int_equal(mkdir(alive, 0755), 0);
    release(cgroup_or_skip());
    assert_int_equal(access(dead, F_OK), -1);
    assert_int_equal(rmdir(alive), 0);
    release(m);
}

/* In a child that has become nobody. */
static int ask_as_nobody(void)
{
    char why[512];
    if (setgid(65534) < 0 || setuid(65534) < 0)
        return 1;
    struct memlimit *m = memlimit_new(LIMIT, true, why, sizeof(why));
    if (memlimit_kind(m) != MEMLIMIT_RLIMIT)
        return 2;
    if (!strstr(why, "cgroup") || !(strstr(why, "denied") || strstr(why, "mounted") || strstr(why, "only")))
        return 3;
    if (memlimit_path(m)[0] != '\0')
        return 4;
    memlimit_free(m);
    return 0;
}

static void without_permission_it_is_an_rlimit_and_says_why(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        print_message("[  SKIPPED ] only root can become nobody\n");
        skip();
    }
    struct memlimit *unlimited = memlimit_new(RLIM_INFINITY, false, NULL, 0);
    int status = run_under(unlimited, ask_as_nobody);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    memlimit_free(unlimited);
}

static int twice_the_limit_is_refused(void)
{
    struct rlimit core;
    if (getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_max != 0)
        return 1;
    return map(2 * LIMIT) == MAP_FAILED && errno == ENOMEM ? 0 : 2;
}

static void an_rlimit_refuses_memory_and_keeps_no_account(void **state)
{
    (void)state;
    char why[64] = "x";
    struct memlimit *m = memlimit_new(LIMIT, false, why, sizeof(why));
    assert_string_equal(why, "");
    assert_int_equal(memlimit_kind(m), MEMLIMIT_RLIMIT);
    assert_string_equal(memlimit_path(m), "");
    int status = run_under(m, twice_the_limit_is_refused);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    struct memlimit_state s = {.usage_bytes = 77};
    assert_int_equal(memlimit_read(m, &s), ERR_UNSUPPORTED);
    assert_int_equal(s.usage_bytes, 77);
    memlimit_free(m);
    memlimit_free(NULL);
}

static void the_kinds_have_names(void **state)
{
    (void)state;
    assert_string_equal(memlimit_kind_name(MEMLIMIT_CGROUP_V2), "cgroup v2");
    assert_string_equal(memlimit_kind_name(MEMLIMIT_CGROUP_V1), "cgroup v1");
    assert_string_equal(memlimit_kind_name(MEMLIMIT_RLIMIT), "RLIMIT_DATA");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_kernel_kills_above_the_limit_and_counts_it),
        TEST(below_the_limit_nothing_happens),
        TEST(the_directory_is_ours_and_gone_afterwards),
        TEST(freeing_waits_for_the_last_process_to_leave),
        TEST(memory_of_sockets_is_counted),
        TEST(what_a_dead_process_left_is_swept),
        TEST(without_permission_it_is_an_rlimit_and_says_why),
        TEST(an_rlimit_refuses_memory_and_keeps_no_account),
        TEST(the_kinds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
