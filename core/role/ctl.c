#include "role/ctl.h"

#include "base/buf.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int ctl_send(int fd, const char *verb, uint64_t seq, const char *const *settings)
{
    struct buf out = {0};
    int count = 0;
    buf_printf(&out, "%s %llu", verb, (unsigned long long)seq);
    for (; settings != NULL && settings[count] != NULL; count++) {
        if (strchr(settings[count], '\n') != NULL)
            break;
        buf_printf(&out, "\n%s", settings[count]);
    }
    int err = 0;
    if ((settings != NULL && settings[count] != NULL) || out.size > CTL_SIZE_MAX || count > CTL_SETTINGS_MAX)
        err = ERR_OPTION_VALUE;
    else if (send(fd, out.at, out.size, MSG_NOSIGNAL) < 0)
        err = ERR_SYSTEM;
    buf_free(&out);
    return err;
}

static int parse(struct ctl_message *m)
{
    char *line = m->text;
    char *blank = strchr(line, ' ');
    int count = 0;
    if (blank == NULL)
        return ERR_CLOSED;
    *blank = '\0';
    m->verb = line;
    m->seq = strtoull(blank + 1, &line, 10);
    while (*line == '\n' && count < CTL_SETTINGS_MAX) {
        *line++ = '\0';
        m->setting[count++] = line;
        line += strcspn(line, "\n");
    }
    m->setting[count] = NULL;
    return *line == '\0' ? 1 : ERR_CLOSED;
}

int ctl_receive(int fd, struct ctl_message *ret_message)
{
    ssize_t size;
    do
        size = recv(fd, ret_message->text, CTL_SIZE_MAX, 0);
    while (size < 0 && errno == EINTR);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (size <= 0)
        return ERR_CLOSED;
    ret_message->text[size] = '\0';
    return parse(ret_message);
}
