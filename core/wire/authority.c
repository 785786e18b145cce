#include "wire/authority.h"

#include <arpa/inet.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Unreserved characters, sub-delimiters and escapes. */
static bool is_name(struct slice host)
{
    static const char marks[] = "-._~!$&'()*+,;=";
    for (size_t i = 0; i < host.size; i++) {
        char c = host.at[i];
        char folded = (char)(c | 0x20);
        if (is_digit(c) || (folded >= 'a' && folded <= 'z') || (c != '\0' && strchr(marks, c)))
            continue;
        if (c != '%' || host.size - i < 3 || !is_hex(host.at[i + 1]) || !is_hex(host.at[i + 2]))
            return false;
        i += 2;
    }
    return host.size > 0;
}

/* With its brackets. */
static bool is_v6(struct slice host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (host.size < 2 || host.size - 2 >= sizeof text || memchr(host.at, '\0', host.size))
        return false;
    memcpy(text, host.at + 1, host.size - 2);
    text[host.size - 2] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1;
}

enum { BAD_PORT = AUTHORITY_NO_PORT - 1 };

/* Of ":" and digits; AUTHORITY_NO_PORT for no text. */
static int port_of(struct slice text)
{
    int port = 0;
    if (text.size == 0)
        return AUTHORITY_NO_PORT;
    if (text.at[0] != ':' || text.size < 2 || text.size > 6)
        return BAD_PORT;
    for (size_t i = 1; i < text.size; i++) {
        if (!is_digit(text.at[i]))
            return BAD_PORT;
        port = port * 10 + (text.at[i] - '0');
    }
    return port <= UINT16_MAX ? port : BAD_PORT;
}

bool authority_split(struct slice text, struct slice *ret_host, int *ret_port)
{
    bool bracketed = text.size > 0 && text.at[0] == '[';
    const char *end = text.size > 0 ? memchr(text.at, bracketed ? ']' : ':', text.size) : NULL;
    if (bracketed && end == NULL)
        return false;
    struct slice host = {.at = text.at, .size = end ? (size_t)(end - text.at) + bracketed : text.size};
    int port = port_of((struct slice){.at = text.at + host.size, .size = text.size - host.size});
    if (port == BAD_PORT || !(bracketed ? is_v6(host) : is_name(host)))
        return false;
    *ret_host = host;
    *ret_port = port;
    return true;
}
