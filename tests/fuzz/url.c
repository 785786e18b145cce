/* A URL; one that is taken says the same when it is put together again. */
#include "fuzz.h"
#include "wire/url.h"

#include <stdio.h>

enum { TEXT_MAX = 32 + URL_HOST_MAX + URL_TARGET_MAX };

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    struct url url, again;
    char text[TEXT_MAX];
    char *copy = fuzz_text(&at, &size);
    int err = url_parse(copy, &url);
    free(copy);
    EXPECT(err == 0 || err == ERR_OPTION_VALUE);
    if (err < 0)
        return 0;
    EXPECT(url.host[0] != 0 && url.target[0] == '/');
    bool v6 = strchr(url.host, ':') != NULL;
    snprintf(text, sizeof text, "%s://%s%s%s:%u%s", url.secure ? "wss" : "ws", v6 ? "[" : "", url.host,
             v6 ? "]" : "", url.port, url.target);
    EXPECT(url_parse(text, &again) == 0);
    EXPECT(again.secure == url.secure && again.port == url.port);
    EXPECT(strcmp(again.host, url.host) == 0 && strcmp(again.target, url.target) == 0);
    return 0;
}
