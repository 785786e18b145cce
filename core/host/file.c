#include "host/file.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int close_keeping_errno(int fd, int err)
{
    int why = errno;
    close(fd);
    errno = why;
    return err;
}

int file_read(int dir, const char *name, char *text, size_t size)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ERR_SYSTEM;
    size_t used = 0;
    ssize_t got = 1;
    while (got > 0 && used < size - 1) {
        got = read(fd, text + used, size - 1 - used);
        if (got < 0)
            return close_keeping_errno(fd, ERR_SYSTEM);
        used += (size_t)got;
    }
    text[used] = '\0';
    close(fd);
    return 0;
}

int file_read_u64(int dir, const char *name, uint64_t *ret_value)
{
    char text[32];
    if (file_read(dir, name, text, sizeof(text)) < 0)
        return ERR_SYSTEM;
    if (sscanf(text, "%" SCNu64, ret_value) == 1)
        return 0;
    errno = EBADMSG;
    return ERR_SYSTEM;
}

int file_write(int dir, const char *name, const char *text)
{
    int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return ERR_SYSTEM;
    ssize_t put = write(fd, text, strlen(text));
    return close_keeping_errno(fd, put < 0 ? ERR_SYSTEM : 0);
}

bool text_figure(const char *text, const char *name, uint64_t *ret_value)
{
    size_t size = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, size) == 0 && (line[size] == ' ' || line[size] == '\t'))
            return sscanf(line + size, "%" SCNu64, ret_value) == 1;
    }
    return false;
}

bool text_has_word(const char *list, const char *word)
{
    static const char separators[] = " ,\n";
    size_t size = strlen(word);
    while (*list) {
        size_t length = strcspn(list, separators);
        if (length == size && memcmp(list, word, size) == 0)
            return true;
        list += length;
        list += strspn(list, separators);
    }
    return false;
}
