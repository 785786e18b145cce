/* libwebsockets as either end of an echo:
 *
 *     echo_lws URL --messages N [--deflate]     compares N echoes and closes with 1000
 *     echo_lws serve [--deflate] [--pem FILE]   prints its URL; says of each connection how it ended */
#include "messages.h"

#include "base/buf.h"

#include <libwebsockets.h>

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { SENT_AS_IT_IS = 1 }; /* an extension's answer to PAYLOAD_TX; PMDR_DID_NOTHING inside lws */

enum { BUFFER_BITS = 21 }; /* more than the largest message */

struct outgoing {
    struct outgoing *next;
    size_t size, sent;
    size_t frame; /* payload of each frame but the last */
    bool text, done;
    uint8_t room[LWS_PRE]; /* lws writes the head of a frame before its payload */
    uint8_t at[];
};

struct session {
    struct buf in;
    struct outgoing *first, *last;
    uint16_t close_code;
};

static struct {
    const char *target, *pem;
    bool deflate;
    unsigned long total;
} flags;

static struct rng sent, expected;
static unsigned long heard;
static uint64_t bytes;
static bool deflating, ended, good;

static bool serving(void)
{
    return strcmp(flags.target, "serve") == 0;
}

static void queue(struct lws *wsi, struct session *s, const struct sample *sample)
{
    struct outgoing *o = mem_zero(sizeof *o + sample->size);
    o->size = sample->size;
    o->frame = sample->size / sample->frames + 1;
    o->text = sample->text;
    memcpy(o->at, sample->at, sample->size);
    if (s->first == NULL)
        s->first = o;
    else
        s->last->next = o;
    s->last = o;
    lws_callback_on_writable(wsi);
}

static void queue_next(struct lws *wsi, struct session *s)
{
    struct sample sample = samples_next(&sent);
    queue(wsi, s, &sample);
}

/* lws 4.1 stumbles over what does not fit into one of its buffers: it asserts when the last bytes of a
 * compressed message do not, and under TLS it reads over what it has not inflated yet. */
static void enlarge_buffers(struct lws *wsi)
{
    char bits[8];
    snprintf(bits, sizeof bits, "%d", BUFFER_BITS);
    lws_set_extension_option(wsi, "permessage-deflate", "tx_buf_size", bits);
    lws_set_extension_option(wsi, "permessage-deflate", "rx_buf_size", bits);
}

static void begin(struct lws *wsi, struct session *s)
{
    if (deflating)
        enlarge_buffers(wsi);
    for (unsigned long i = 0; !serving() && i < MESSAGES_UNDER_WAY && i < flags.total; i++)
        queue_next(wsi, s);
}

static void drop_first(struct session *s)
{
    struct outgoing *o = s->first;
    s->first = o->next;
    free(o);
}

/* Sends the next frame. lws may hold on to its bytes until it calls for another one, so only then they are
 * dropped. <0 closes. */
static int send_frame(struct lws *wsi, struct session *s)
{
    if (s->first != NULL && s->first->done)
        drop_first(s);
    struct outgoing *o = s->first;
    if (heard == flags.total && !serving()) {
        lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
        return -1;
    }
    if (o == NULL)
        return 0;
    size_t size = least(o->frame, o->size - o->sent);
    int how = lws_write_ws_flags(o->text ? LWS_WRITE_TEXT : LWS_WRITE_BINARY, o->sent == 0,
                                 o->sent + size == o->size);
    if (lws_write(wsi, o->at + o->sent, size, (enum lws_write_protocol)how) < (int)size)
        return -1;
    o->sent += size;
    o->done = o->sent == o->size;
    lws_callback_on_writable(wsi);
    return 0;
}

/* Compares an echo; <0 when it differs. */
static int compare(struct lws *wsi, struct session *s, const struct sample *got)
{
    struct sample want = samples_next(&expected);
    if (heard == flags.total || !sample_is(&want, got->text, got->at, got->size))
        return -1;
    heard++;
    bytes += got->size;
    if (heard + MESSAGES_UNDER_WAY <= flags.total)
        queue_next(wsi, s);
    lws_callback_on_writable(wsi);
    return 0;
}

static int receive(struct lws *wsi, struct session *s, const void *at, size_t size)
{
    int result = 0;
    buf_append(&s->in, at, size);
    if (lws_remaining_packet_payload(wsi) > 0 || !lws_is_final_fragment(wsi))
        return 0;
    struct sample got = {s->in.at, s->in.size, 1, !lws_frame_is_binary(wsi)};
    if (serving())
        queue(wsi, s, &got);
    else
        result = compare(wsi, s, &got);
    s->in.size = 0;
    return result;
}

static void finish(struct session *s)
{
    while (s->first != NULL)
        drop_first(s);
    buf_free(&s->in);
    good = heard == flags.total;
    ended = true;
    if (serving())
        printf("%s, closed with %d\n", deflating ? "permessage-deflate" : "plain", s->close_code);
    else /* lws does not tell the code of the answer to our Close */
        printf("%lu messages, %llu bytes, %s, closed with %d\n", heard, (unsigned long long)bytes,
               deflating ? "permessage-deflate" : "plain", good ? 1000 : 1006);
    deflating = false;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t size)
{
    switch ((int)reason) {
    case LWS_CALLBACK_ESTABLISHED:
    case LWS_CALLBACK_CLIENT_ESTABLISHED: begin(wsi, user); return 0;
    case LWS_CALLBACK_RECEIVE:
    case LWS_CALLBACK_CLIENT_RECEIVE: return receive(wsi, user, in, size);
    case LWS_CALLBACK_SERVER_WRITEABLE:
    case LWS_CALLBACK_CLIENT_WRITEABLE: return send_frame(wsi, user);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        ((struct session *)user)->close_code = size < 2 ? 1005 : get_u16(in);
        return 0;
    case LWS_CALLBACK_CLOSED:
    case LWS_CALLBACK_CLIENT_CLOSED: finish(user); return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        fprintf(stderr, "no connection: %.*s\n", (int)size, in ? (const char *)in : "");
        ended = true;
        return 0;
    default: return 0;
    }
}

static int on_deflate(struct lws_context *context, const struct lws_extension *ext, struct lws *wsi,
                      enum lws_extension_callback_reasons reason, void *user, void *in, size_t size)
{
    if (reason == LWS_EXT_CB_CONSTRUCT || reason == LWS_EXT_CB_CLIENT_CONSTRUCT)
        deflating = true;
    /* The first of what PAYLOAD_TX is given. Compressing an empty message is another assert. */
    const struct lws_tokens *payload = in;
    if (reason == LWS_EXT_CB_PAYLOAD_TX && payload->token != NULL && payload->len == 0)
        return SENT_AS_IT_IS;
    return lws_extension_callback_pm_deflate(context, ext, wsi, reason, user, in, size);
}

static const struct lws_protocols protocols[] = {{.name = "echo",
                                                  .callback = on_event,
                                                  .per_session_data_size = sizeof(struct session),
                                                  .rx_buffer_size = 1 << BUFFER_BITS},
                                                 {0}};
static const struct lws_extension extensions[] = {
    {"permessage-deflate", on_deflate, "permessage-deflate; client_max_window_bits"}, {0}};

static struct lws_context *context_new(void)
{
    struct lws_context_creation_info info = {
        .port = serving() ? 0 : CONTEXT_PORT_NO_LISTEN,
        .iface = serving() ? "127.0.0.1" : NULL,
        .protocols = protocols,
        .extensions = flags.deflate ? extensions : NULL,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .ssl_cert_filepath = flags.pem,
        .ssl_private_key_filepath = flags.pem,
    };
    struct lws_context *context = lws_create_context(&info);
    struct lws_vhost *vhost = context ? lws_create_vhost(context, &info) : NULL;
    if (vhost == NULL)
        exit(1);
    if (serving())
        printf("serving %s://127.0.0.1:%d/\n", flags.pem ? "wss" : "ws", lws_get_vhost_listen_port(vhost));
    return context;
}

static void connect_to(struct lws_context *context, char *url)
{
    const char *scheme, *host, *path;
    int port;
    if (lws_parse_uri(url, &scheme, &host, &port, &path) != 0)
        exit(64);
    struct lws_client_connect_info info = {
        .context = context,
        .vhost = lws_get_vhost_by_name(context, "default"),
        .address = host,
        .host = host,
        .port = port,
        .path = "/echo",
        .ssl_connection = strcmp(scheme, "wss") != 0 ? 0
                                                     : LCCSCF_USE_SSL | LCCSCF_ALLOW_SELFSIGNED |
                                                           LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK,
        .local_protocol_name = "echo",
    };
    lws_client_connect_via_info(&info);
}

static bool read_flags(int count, char **words)
{
    static const struct option known[] = {{"messages", required_argument, NULL, 'n'},
                                          {"deflate", no_argument, NULL, 'd'},
                                          {"pem", required_argument, NULL, 'p'},
                                          {0}};
    for (int flag; (flag = getopt_long(count, words, "", known, NULL)) != -1;)
        switch (flag) {
        case 'n': flags.total = strtoul(optarg, NULL, 10); break;
        case 'd': flags.deflate = true; break;
        case 'p': flags.pem = optarg; break;
        default: return false;
        }
    flags.target = words[optind];
    return flags.target != NULL;
}

int main(int count, char **words)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    lws_set_log_level(LLL_ERR, NULL);
    if (!read_flags(count, words))
        return 64;
    samples_begin(&sent, 8);
    samples_begin(&expected, 8);
    struct lws_context *context = context_new();
    if (!serving())
        connect_to(context, words[optind]);
    while (serving() || !ended)
        lws_service(context, 0);
    lws_context_destroy(context);
    return good ? 0 : 1;
}
