/* /proc, read about this process, a child, a zombie and nobody. */
#include "host/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void memory_that_is_touched_shows_and_its_peak_stays(void **state)
{
    (void)state;
    const size_t size = 32 << 20;
    struct proc_sample before = {0}, during = {0}, after = {0};
    assert_int_equal(proc_sample(getpid(), &before), 0);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(memory, 1, size);
    assert_int_equal(proc_sample(getpid(), &during), 0);
    munmap(memory, size);
    assert_int_equal(proc_sample(getpid(), &after), 0);
    assert_true(during.rss_bytes >= before.rss_bytes + size / 2);
    assert_true(after.rss_bytes + size / 2 <= during.rss_bytes);
    assert_true(after.peak_bytes >= before.rss_bytes + size / 2);
}

static void used_time_shows(void **state)
{
    (void)state;
    struct proc_sample s = {0};
    do
        assert_int_equal(proc_sample(getpid(), &s), 0);
    while (s.user_ns + s.system_ns == 0);
    assert_true(s.threads >= 1);
}

/* A child that waits to be killed, with `extra` more descriptors than we have, and a name that is hard to
 * parse. */
static pid_t start_child(int extra)
{
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int name = open("/proc/self/comm", O_WRONLY);
        if (write(name, ") R 1 (", 7) != 7)
            _exit(1);
        close(name);
        while (extra-- > 0)
            if (dup(ready[0]) < 0)
                _exit(1);
        if (write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void end_child(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_name_with_brackets_does_not_confuse(void **state)
{
    (void)state;
    pid_t pid = start_child(0);
    struct proc_sample s = {0};
    assert_int_equal(proc_sample(pid, &s), 0);
    assert_true(s.rss_bytes > 0);
    assert_true(s.peak_bytes >= s.rss_bytes / 2);
    assert_int_equal(s.threads, 1);
    end_child(pid);
}

static void descriptors_are_counted(void **state)
{
    (void)state;
    long ours = proc_descriptors(getpid());
    int fd = open("/dev/null", O_RDONLY);
    assert_int_equal(proc_descriptors(getpid()), ours + 1);
    close(fd);
    pid_t pid = start_child(5);
    assert_int_equal(proc_descriptors(pid), ours + 2 + 5); /* 2: the pipe */
    end_child(pid);
}

static void a_zombie_has_no_memory(void **state)
{
    (void)state;
    pid_t pid = start_child(0);
    siginfo_t info;
    kill(pid, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    struct proc_sample s = {.rss_bytes = 77};
    assert_int_equal(proc_sample(pid, &s), ERR_SYSTEM);
    assert_int_equal(errno, ESRCH);
    assert_int_equal(s.rss_bytes, 77);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(proc_sample(pid, &s), ERR_SYSTEM);
    assert_int_equal(proc_descriptors(pid), ERR_SYSTEM);
}

static void tcp_memory_is_whole_pages(void **state)
{
    (void)state;
    assert_int_equal(proc_tcp_memory() % (uint64_t)sysconf(_SC_PAGESIZE), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_that_is_touched_shows_and_its_peak_stays),
        cmocka_unit_test(used_time_shows),
        cmocka_unit_test(a_name_with_brackets_does_not_confuse),
        cmocka_unit_test(descriptors_are_counted),
        cmocka_unit_test(a_zombie_has_no_memory),
        cmocka_unit_test(tcp_memory_is_whole_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
