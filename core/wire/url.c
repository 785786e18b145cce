#include "wire/url.h"

#include "base/bytes.h"
#include "base/err.h"
#include "wire/authority.h"

#include <stdio.h>

static int parse_authority(struct slice authority, struct url *url)
{
    struct slice host;
    int port;
    if (!authority_split(authority, &host, &port) || port == 0)
        return ERR_OPTION_VALUE;
    if (*host.at == '[')
        host = (struct slice){.at = host.at + 1, .size = host.size - 2};
    if (host.size >= URL_HOST_MAX)
        return ERR_OPTION_VALUE;
    memcpy(url->host, host.at, host.size);
    url->host[host.size] = '\0';
    if (port != AUTHORITY_NO_PORT)
        url->port = (uint16_t)port;
    return 0;
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
