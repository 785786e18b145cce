#include "host/place.h"

#include "host/file.h"
#include "base/err.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct mount {
    char top[PATH_MAX]; /* the cgroup that is mounted, as /proc/self/cgroup would call it */
    char at[PATH_MAX];
};

/* "36 35 0:32 TOP AT rw,relatime shared:9 - cgroup cgroup rw,memory"; the part before the dash varies. */
static bool parse_mount(const char *line, enum memlimit_kind kind, struct mount *ret_mount)
{
    char type[16], options[256];
    struct mount m;
    const char *dash = strstr(line, " - ");
    if (!dash || sscanf(dash, " - %15s %*s %255s", type, options) != 2)
        return false;
    bool wanted = kind == MEMLIMIT_CGROUP_V2
                      ? strcmp(type, "cgroup2") == 0
                      : strcmp(type, "cgroup") == 0 && text_has_word(options, "memory");
    if (!wanted || sscanf(line, "%*s %*s %*s %4095s %4095s", m.top, m.at) != 2)
        return false;
    *ret_mount = m;
    return true;
}

/* "4:memory:/a/b" in v1, "0::/a/b" in v2: where the path begins, NULL when it is another hierarchy's. */
static const char *parse_membership(char *line, enum memlimit_kind kind)
{
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path)
        return NULL;
    *path = '\0';
    path[1 + strcspn(path + 1, "\n")] = '\0';
    bool wanted =
        kind == MEMLIMIT_CGROUP_V2 ? strcmp(line, "0:") == 0 : text_has_word(controllers + 1, "memory");
    return wanted ? path + 1 : NULL;
}

static FILE *open_self(const char *root, const char *name)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/proc/self/%s", root, name) >= PATH_MAX)
        return NULL;
    return fopen(path, "re");
}

static bool find_mount(const char *root, enum memlimit_kind kind, struct mount *ret_mount)
{
    FILE *mounts = open_self(root, "mountinfo");
    if (!mounts)
        return false;
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    while (!found && getline(&line, &size, mounts) > 0)
        found = parse_mount(line, kind, ret_mount);
    free(line);
    fclose(mounts);
    return found;
}

/* Our cgroup as a path below the mounted one: "" for that itself, and when ours lies outside of it, as in a
 * container that sees a part of the host's tree. */
static void find_tail(const char *root, enum memlimit_kind kind, const char *top, char tail[PATH_MAX])
{
    tail[0] = '\0';
    FILE *memberships = open_self(root, "cgroup");
    if (!memberships)
        return;
    size_t top_size = strcmp(top, "/") == 0 ? 0 : strlen(top);
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, memberships) > 0) {
        const char *path = parse_membership(line, kind);
        if (!path || strncmp(path, top, top_size) != 0 || path[top_size] != '/')
            continue;
        const char *below = path + top_size;
        if (below[1] != '\0' && strncmp(below, "/..", 3) != 0 && strlen(below) < PATH_MAX)
            memcpy(tail, below, strlen(below) + 1);
    }
    free(line);
    fclose(memberships);
}

static bool has_memory(const char *dir)
{
    char path[PATH_MAX], controllers[1024];
    return snprintf(path, sizeof(path), "%s/cgroup.controllers", dir) < PATH_MAX &&
           file_read(AT_FDCWD, path, controllers, sizeof(controllers)) == 0 &&
           text_has_word(controllers, "memory");
}

static bool find_kind(const char *root, enum memlimit_kind kind, struct place *place)
{
    struct mount mount;
    char tail[PATH_MAX];
    if (!find_mount(root, kind, &mount))
        return false;
    find_tail(root, kind, mount.top, tail);
    place->kind = kind;
    if (snprintf(place->mount, PATH_MAX, "%s%s", root, mount.at) >= PATH_MAX)
        return false;
    if (snprintf(place->own, PATH_MAX, "%s%s", place->mount, tail) >= PATH_MAX ||
        access(place->own, F_OK) < 0)
        memcpy(place->own, place->mount, PATH_MAX);
    return true;
}

int place_find(const char *root, struct place *ret_place)
{
    /* Where both versions are mounted, one of them has the memory controller. */
    struct place place;
    if ((find_kind(root, MEMLIMIT_CGROUP_V2, &place) && has_memory(place.mount)) ||
        find_kind(root, MEMLIMIT_CGROUP_V1, &place)) {
        *ret_place = place;
        return 0;
    }
    return ERR_UNSUPPORTED;
}
