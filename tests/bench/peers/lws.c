/* libwebsockets: lws PORT RATE SIZE [tls=PEM] [deflate] */
#include "../beat.h"

#include "base/bytes.h"

#include <libwebsockets.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WAITING_MAX = 256 };

/* What has been published and not been sent to all. Each session knows how far it is. */
static struct {
    struct beat beat;
    uint64_t published;
    uint8_t *message[WAITING_MAX]; /* each behind LWS_PRE bytes of room */
} the;

struct session {
    uint64_t next;
};

static int send_next(struct lws *wsi, struct session *s)
{
    if (s->next + WAITING_MAX < the.published)
        s->next = the.published - WAITING_MAX; /* too slow: the oldest are gone */
    if (s->next == the.published)
        return 0;
    uint8_t *at = the.message[s->next++ % WAITING_MAX] + LWS_PRE;
    if (lws_write(wsi, at, the.beat.size, LWS_WRITE_TEXT) < 0)
        return -1;
    if (s->next < the.published)
        lws_callback_on_writable(wsi);
    return 0;
}

static void publish_due(struct lws *wsi)
{
    bool any = false;
    while (beat_due(&the.beat, the.message[the.published % WAITING_MAX] + LWS_PRE)) {
        the.published++;
        any = true;
    }
    if (any)
        lws_callback_on_writable_all_protocol_vhost(lws_get_vhost(wsi), lws_get_protocol(wsi));
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t size)
{
    (void)in;
    (void)size;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED: ((struct session *)user)->next = the.published; return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE: return send_next(wsi, user);
    case LWS_CALLBACK_RAW_RX_FILE: publish_due(wsi); return 0;
    default: return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {.name = "feed", .callback = on_event, .per_session_data_size = sizeof(struct session)}, {0}};
static const struct lws_extension extensions[] = {
    {"permessage-deflate", lws_extension_callback_pm_deflate, "permessage-deflate"}, {0}};

static struct lws_vhost *vhost_new(uint16_t port, const char *pem, bool deflate,
                                   struct lws_context **ret_context)
{
    struct lws_context_creation_info info = {
        .port = port,
        .iface = "127.0.0.1",
        .protocols = protocols,
        .extensions = deflate ? extensions : NULL,
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | (pem ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT : 0),
        .ssl_cert_filepath = pem,
        .ssl_private_key_filepath = pem,
    };
    struct lws_context *context = lws_create_context(&info);
    *ret_context = context;
    return context ? lws_create_vhost(context, &info) : NULL;
}

int main(int count, char **words)
{
    uint16_t port;
    const char *pem = NULL;
    bool deflate = false;
    lws_set_log_level(LLL_ERR, NULL);
    if (!beat_read(words, &port, &the.beat))
        return 64;
    for (int i = 4; i < count; i++)
        if (strncmp(words[i], "tls=", 4) == 0)
            pem = words[i] + 4;
        else
            deflate = deflate || strcmp(words[i], "deflate") == 0;
    for (int i = 0; i < WAITING_MAX; i++)
        the.message[i] = mem_zero(LWS_PRE + the.beat.size);
    struct lws_context *context;
    struct lws_vhost *vhost = vhost_new(port, pem, deflate, &context);
    if (vhost == NULL)
        return 1;
    beat_announce(&the.beat, pem ? "wss" : "ws", (uint16_t)lws_get_vhost_listen_port(vhost));
    lws_sock_file_fd_type timer = {.filefd = (lws_filefd_type)(long long)the.beat.timer_fd};
    if (lws_adopt_descriptor_vhost(vhost, LWS_ADOPT_RAW_FILE_DESC, timer, "feed", NULL) == NULL)
        return 1;
    for (;;)
        lws_service(context, 0);
}
