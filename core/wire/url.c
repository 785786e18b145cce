#include "wire/url.h"

#include "base/bytes.h"
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

static int parse_port(const char *text, size_t size, uint16_t *ret_port)
{
    unsigned port = 0;
    if (size == 0 || size > 5)
        return ERR_OPTION_VALUE;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return ERR_OPTION_VALUE;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    if (port == 0 || port > UINT16_MAX)
        return ERR_OPTION_VALUE;
    *ret_port = (uint16_t)port;
    return 0;
}

/* Splits "host", "host:port", "[v6]" or "[v6]:port". */
static int parse_authority(struct slice authority, struct url *url)
{
    const char *end = authority.at + authority.size;
    const char *host = authority.at;
    const char *host_end;
    if (authority.size > 0 && *host == '[') {
        host_end = memchr(host, ']', authority.size);
        if (host_end == NULL)
            return ERR_OPTION_VALUE;
        host++;
    } else {
        host_end = memchr(host, ':', authority.size);
        if (host_end == NULL)
            host_end = end;
    }
    size_t host_size = (size_t)(host_end - host);
    if (host_size == 0 || host_size >= URL_HOST_MAX)
        return ERR_OPTION_VALUE;
    memcpy(url->host, host, host_size);
    url->host[host_size] = '\0';
    if (strpbrk(url->host, "@ \t\r\n") != NULL)
        return ERR_OPTION_VALUE;
    const char *rest = host_end < end && *host_end == ']' ? host_end + 1 : host_end;
    if (rest == end)
        return 0;
    return *rest == ':' ? parse_port(rest + 1, (size_t)(end - rest - 1), &url->port) : ERR_OPTION_VALUE;
}

int url_parse(const char *text, struct url *ret_url)
{
    static const char plain[] = "ws://", secure[] = "wss://";
    struct url url = {.port = 80};
    if (strncmp(text, plain, sizeof plain - 1) == 0) {
        text += sizeof plain - 1;
    } else if (strncmp(text, secure, sizeof secure - 1) == 0) {
        url.secure = true;
        url.port = 443;
        text += sizeof secure - 1;
    } else {
        return ERR_OPTION_VALUE;
    }
    struct slice authority = {text, strcspn(text, "/?#")};
    if (parse_authority(authority, &url) < 0)
        return ERR_OPTION_VALUE;
    const char *target = text + authority.size;
    if (strpbrk(target, "# \t\r\n") != NULL)
        return ERR_OPTION_VALUE;
    int size = snprintf(url.target, sizeof url.target, "%s%s", *target == '/' ? "" : "/", target);
    if (size < 0 || (size_t)size >= sizeof url.target)
        return ERR_OPTION_VALUE;
    *ret_url = url;
    return 0;
}
