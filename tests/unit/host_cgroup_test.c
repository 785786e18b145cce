/* Finding cgroups and reading their files, in a made-up tree: machines with v1, v2, both, and containers. */
#include "host/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/place.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char tree[64];

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *ftw)
{
    (void)info, (void)kind, (void)ftw;
    return remove(path);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(tree, sizeof(tree), "/tmp/wsb-cgroup-test-XXXXXX");
    return mkdtemp(tree) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(tree, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *in_tree(const char *path)
{
    static char full[2][512];
    static int turn;
    turn = !turn;
    snprintf(full[turn], sizeof(full[turn]), "%s%s", tree, path);
    return full[turn];
}

static void make_dir(const char *path)
{
    char full[512];
    snprintf(full, sizeof(full), "%s", in_tree(path));
    for (char *slash = full + strlen(tree) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(full, 0755);
        *slash = '/';
    }
    mkdir(full, 0755);
    assert_int_equal(access(full, F_OK), 0);
}

static void make_file(const char *dir, const char *name, const char *text)
{
    char full[768];
    make_dir(dir);
    snprintf(full, sizeof(full), "%s/%s", in_tree(dir), name);
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static const char *read_back(const char *path)
{
    static char text[256];
    FILE *f = fopen(in_tree(path), "r");
    assert_non_null(f);
    size_t size = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[size] = '\0';
    return text;
}

static int open_dir(const char *path)
{
    int fd = open(in_tree(path), O_PATH | O_DIRECTORY);
    assert_true(fd >= 0);
    return fd;
}

static void describe_self(const char *cgroup, const char *mountinfo)
{
    make_file("/proc/self", "cgroup", cgroup);
    make_file("/proc/self", "mountinfo", mountinfo);
}

static void assert_place(enum memlimit_kind kind, const char *mount, const char *own)
{
    struct place p;
    assert_int_equal(place_find(tree, &p), 0);
    assert_int_equal(p.kind, kind);
    assert_string_equal(p.mount, in_tree(mount));
    assert_string_equal(p.own, in_tree(own));
}

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNTS                                                                                            \
    "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"                                             \
    "32 31 0:29 / /sys/fs/cgroup/cpu rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n"                          \
    "35 31 0:32 / /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory\n"

static void v2_is_found_with_our_own_cgroup(void **state)
{
    (void)state;
    describe_self("0::/user.slice/session-2.scope\n", "1 0 8:1 / / rw - ext4 /dev/sda rw\n" V2_MOUNT);
    make_file("/sys/fs/cgroup", "cgroup.controllers", "cpuset cpu io memory pids\n");
    make_dir("/sys/fs/cgroup/user.slice/session-2.scope");
    assert_place(MEMLIMIT_CGROUP_V2, "/sys/fs/cgroup", "/sys/fs/cgroup/user.slice/session-2.scope");
}

static void v2_at_the_root_of_its_namespace(void **state)
{
    (void)state;
    describe_self("0::/\n", V2_MOUNT);
    make_file("/sys/fs/cgroup", "cgroup.controllers", "memory\n");
    assert_place(MEMLIMIT_CGROUP_V2, "/sys/fs/cgroup", "/sys/fs/cgroup");
}

static void v1_is_found_by_its_mount_and_its_line(void **state)
{
    (void)state;
    describe_self("5:cpu,cpuacct:/x\n4:memory:/app/7\n1:name=systemd:/y\n", V1_MOUNTS);
    make_dir("/sys/fs/cgroup/memory/app/7");
    assert_place(MEMLIMIT_CGROUP_V1, "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/app/7");
}

static void v1_with_the_controller_among_others(void **state)
{
    (void)state;
    describe_self("4:cpu,memory:/a\n", "35 31 0:32 / /cg/cpu,memory rw - cgroup cgroup rw,cpu,memory\n");
    make_dir("/cg/cpu,memory/a");
    assert_place(MEMLIMIT_CGROUP_V1, "/cg/cpu,memory", "/cg/cpu,memory/a");
}

static void a_hybrid_machine_uses_the_version_that_has_memory(void **state)
{
    (void)state;
    describe_self("4:memory:/a\n0::/b\n",
                  "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" V1_MOUNTS);
    make_file("/sys/fs/cgroup/unified", "cgroup.controllers", "hugetlb\n");
    make_dir("/sys/fs/cgroup/memory/a");
    assert_place(MEMLIMIT_CGROUP_V1, "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/a");
}

static void a_container_that_mounts_its_own_part(void **state)
{
    (void)state;
    describe_self("4:memory:/docker/abc/in\n",
                  "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro master:1 - cgroup cgroup rw,memory\n");
    make_dir("/sys/fs/cgroup/memory/in");
    assert_place(MEMLIMIT_CGROUP_V1, "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/in");
}

/* A path that only begins like the mounted one is another cgroup. */
static void what_lies_outside_the_mount_falls_back_to_it(void **state)
{
    (void)state;
    const char *paths[] = {"/docker/abcdef", "/other", "/../x", "/docker/abc/gone"};
    for (size_t i = 0; i < 4; i++) {
        char line[64];
        snprintf(line, sizeof(line), "4:memory:%s\n", paths[i]);
        describe_self(line, "35 31 0:32 /docker/abc /m rw - cgroup cgroup rw,memory\n");
        make_dir("/m");
        make_dir("/mdef");
        assert_place(MEMLIMIT_CGROUP_V1, "/m", "/m");
    }
}

static void above_the_root_of_the_namespace_falls_back_to_the_mount(void **state)
{
    (void)state;
    describe_self("0::/../outside\n", V2_MOUNT);
    make_file("/sys/fs/cgroup", "cgroup.controllers", "memory\n");
    make_dir("/sys/fs/outside");
    assert_place(MEMLIMIT_CGROUP_V2, "/sys/fs/cgroup", "/sys/fs/cgroup");
}

static void nothing_that_limits_memory_is_unsupported(void **state)
{
    (void)state;
    struct place p;
    assert_int_equal(place_find(tree, &p), ERR_UNSUPPORTED);
    describe_self("0::/\n5:cpu:/\n", V2_MOUNT "32 31 0:29 / /c rw - cgroup cgroup rw,cpu,memoryx\njunk\n");
    make_file("/sys/fs/cgroup", "cgroup.controllers", "cpu pids\n");
    assert_int_equal(place_find(tree, &p), ERR_UNSUPPORTED);
}

static void v2_limits_go_into_their_files(void **state)
{
    (void)state;
    make_file("/c", "memory.max", "max\n");
    make_file("/c", "memory.swap.max", "max\n");
    make_file("/c", "memory.oom.group", "1\n");
    int dir = open_dir("/c");
    assert_int_equal(cgroup_set_limit(MEMLIMIT_CGROUP_V2, dir, 268435456), 0);
    assert_string_equal(read_back("/c/memory.max"), "268435456");
    assert_int_equal(read_back("/c/memory.swap.max")[0], '0');
    assert_int_equal(read_back("/c/memory.oom.group")[0], '0');
    close(dir);
}

static void v2_without_swap_accounting_is_limited_too(void **state)
{
    (void)state;
    make_file("/c", "memory.max", "max\n");
    int dir = open_dir("/c");
    assert_int_equal(cgroup_set_limit(MEMLIMIT_CGROUP_V2, dir, 1), 0);
    close(dir);
}

static void without_the_limits_file_there_is_no_limit(void **state)
{
    (void)state;
    make_dir("/c");
    int dir = open_dir("/c");
    assert_int_equal(cgroup_set_limit(MEMLIMIT_CGROUP_V2, dir, 1), ERR_SYSTEM);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(cgroup_set_limit(MEMLIMIT_CGROUP_V1, dir, 1), ERR_SYSTEM);
    close(dir);
}

static void v2_figures_are_read(void **state)
{
    (void)state;
    make_file("/c", "memory.current", "1000\n");
    make_file("/c", "memory.peak", "2000\n");
    make_file("/c", "memory.events", "low 1\nhigh 2\nmax 30\noom 4\noom_kill 5\noom_group_kill 6\n");
    make_file("/c", "memory.stat", "anon 7\nfile 8\nsock 900\nshmem 10\n");
    int dir = open_dir("/c");
    struct memlimit_state s = {0};
    assert_int_equal(cgroup_read(MEMLIMIT_CGROUP_V2, dir, &s), 0);
    assert_int_equal(s.usage_bytes, 1000);
    assert_int_equal(s.peak_bytes, 2000);
    assert_int_equal(s.limit_hits, 30);
    assert_int_equal(s.oom_kills, 5);
    assert_int_equal(s.socket_bytes, 900);
    close(dir);
}

static void v2_without_a_peak_reads_0(void **state)
{
    (void)state;
    make_file("/c", "memory.current", "1000\n");
    make_file("/c", "memory.events", "oom_kill 0\n");
    make_file("/c", "memory.stat", "anon 7\n");
    int dir = open_dir("/c");
    struct memlimit_state s = {0};
    assert_int_equal(cgroup_read(MEMLIMIT_CGROUP_V2, dir, &s), 0);
    assert_int_equal(s.peak_bytes, 0);
    assert_int_equal(s.socket_bytes, 0);
    close(dir);
}

static void v1_figures_are_read(void **state)
{
    (void)state;
    make_file("/c", "memory.usage_in_bytes", "1000\n");
    make_file("/c", "memory.max_usage_in_bytes", "2000\n");
    make_file("/c", "memory.failcnt", "30\n");
    make_file("/c", "memory.oom_control", "oom_kill_disable 0\nunder_oom 1\noom_kill 5\n");
    make_file("/c", "memory.kmem.tcp.usage_in_bytes", "900\n");
    int dir = open_dir("/c");
    struct memlimit_state s = {0};
    assert_int_equal(cgroup_read(MEMLIMIT_CGROUP_V1, dir, &s), 0);
    assert_int_equal(s.usage_bytes, 1000);
    assert_int_equal(s.peak_bytes, 2000);
    assert_int_equal(s.limit_hits, 30);
    assert_int_equal(s.oom_kills, 5);
    assert_int_equal(s.socket_bytes, 900);
    close(dir);
}

static void a_failed_reading_leaves_the_state_alone(void **state)
{
    (void)state;
    make_file("/c", "memory.current", "junk\n");
    int dir = open_dir("/c");
    struct memlimit_state s = {.usage_bytes = 77};
    assert_int_equal(cgroup_read(MEMLIMIT_CGROUP_V2, dir, &s), ERR_SYSTEM);
    assert_int_equal(cgroup_read(MEMLIMIT_CGROUP_V1, dir, &s), ERR_SYSTEM);
    assert_int_equal(s.usage_bytes, 77);
    close(dir);
}

static void v2_memory_is_given_to_children_once(void **state)
{
    (void)state;
    make_file("/c", "cgroup.procs", "");
    make_file("/c", "cgroup.subtree_control", "cpu\n");
    int dir = open_dir("/c");
    assert_int_equal(cgroup_delegate(dir), 0);
    assert_string_equal(read_back("/c/cgroup.subtree_control"), "+memory");
    make_file("/c", "cgroup.subtree_control", "cpu memory pids\n");
    assert_int_equal(cgroup_delegate(dir), 0);
    assert_string_equal(read_back("/c/cgroup.subtree_control"), "cpu memory pids\n");
    close(dir);
}

/* The new directory has no cgroup.procs here, so moving there is what fails. */
static void stepping_aside_in_vain_leaves_nothing(void **state)
{
    (void)state;
    make_file("/c", "cgroup.procs", "");
    make_file("/c", "cgroup.subtree_control", "");
    int dir = open_dir("/c");
    char name[64];
    snprintf(name, sizeof(name), "/c/wsb-%d-ctl", (int)getpid());
    assert_int_equal(cgroup_step_aside(dir), ERR_SYSTEM);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(access(in_tree(name), F_OK), -1);
    cgroup_step_back(dir);
    assert_string_equal(read_back("/c/cgroup.subtree_control"), "");
    close(dir);
}

static void stepping_back_waits_for_the_last_of_ours(void **state)
{
    (void)state;
    char aside[64], other[64];
    snprintf(aside, sizeof(aside), "/c/wsb-%d-ctl", (int)getpid());
    snprintf(other, sizeof(other), "/c/wsb-%d-1", (int)getpid());
    make_file("/c", "cgroup.subtree_control", "memory\n");
    make_dir(aside);
    make_dir(other);
    int dir = open_dir("/c");
    cgroup_step_back(dir);
    assert_int_equal(access(in_tree(aside), F_OK), 0);
    assert_string_equal(read_back("/c/cgroup.subtree_control"), "memory\n");
    assert_int_equal(rmdir(in_tree(other)), 0);
    cgroup_step_back(dir);
    assert_int_equal(access(in_tree(aside), F_OK), -1);
    assert_string_equal(read_back("/c/cgroup.subtree_control"), "-memory");
    close(dir);
}

static void only_what_the_dead_left_is_swept(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    char dead[64], dead_ctl[64], in_use[64], ours[64];
    snprintf(dead, sizeof(dead), "/c/wsb-%d-3", (int)pid);
    snprintf(dead_ctl, sizeof(dead_ctl), "/c/wsb-%d-ctl", (int)pid);
    snprintf(in_use, sizeof(in_use), "/c/wsb-%d-4", (int)pid);
    snprintf(ours, sizeof(ours), "/c/wsb-%d-0", (int)getpid());
    const char *stay[] = {ours, "/c/wsb-x-1", "/c/wsb-", "/c/wsb-0-1", "/c/wsb--1-1", "/c/other", in_use};
    make_dir(dead);
    make_dir(dead_ctl);
    for (size_t i = 0; i < 7; i++)
        make_dir(stay[i]);
    make_file(in_use, "still", "here");
    int dir = open_dir("/c");
    cgroup_sweep(dir);
    assert_int_equal(access(in_tree(dead), F_OK), -1);
    assert_int_equal(access(in_tree(dead_ctl), F_OK), -1);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(access(in_tree(stay[i]), F_OK), 0);
    close(dir);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(v2_is_found_with_our_own_cgroup),
        TEST(v2_at_the_root_of_its_namespace),
        TEST(v1_is_found_by_its_mount_and_its_line),
        TEST(v1_with_the_controller_among_others),
        TEST(a_hybrid_machine_uses_the_version_that_has_memory),
        TEST(a_container_that_mounts_its_own_part),
        TEST(what_lies_outside_the_mount_falls_back_to_it),
        TEST(above_the_root_of_the_namespace_falls_back_to_the_mount),
        TEST(nothing_that_limits_memory_is_unsupported),
        TEST(v2_limits_go_into_their_files),
        TEST(v2_without_swap_accounting_is_limited_too),
        TEST(without_the_limits_file_there_is_no_limit),
        TEST(v2_figures_are_read),
        TEST(v2_without_a_peak_reads_0),
        TEST(v1_figures_are_read),
        TEST(a_failed_reading_leaves_the_state_alone),
        TEST(v2_memory_is_given_to_children_once),
        TEST(stepping_aside_in_vain_leaves_nothing),
        TEST(stepping_back_waits_for_the_last_of_ours),
        TEST(only_what_the_dead_left_is_swept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
