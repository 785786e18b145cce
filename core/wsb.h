/* wsb: a WebSocket broadcast server and a swarm of clients, as a C library.
 *
 *     #include <ev.h>
 *     #include <stdio.h>
 *     #include <wsb.h>
 *
 *     int main(void)
 *     {
 *         const char *settings[] = {"port=9001", "high_water_mark=256KiB", "feed_rate=10/s", NULL};
 *         char why[256];
 *         struct wsb_server *server = wsb_server_new(EV_DEFAULT, settings, why, sizeof why);
 *         if (server == NULL) {
 *             fprintf(stderr, "%s\n", why);
 *             return 1;
 *         }
 *         ev_run(EV_DEFAULT, 0); // until a callback of yours calls wsb_server_stop, and its done() ev_break
 *         wsb_server_free(server);
 *         return 0;
 *     }
 *
 * Everything runs on the caller's libev loop and its one thread; nothing blocks. Settings are "name=value"
 * texts, NULL-terminated, with the names, units and defaults that wsb_options lists (or: wsb help serve).
 * Functions that return int return 0, or a negative error that wsb_error_text explains; `why` then holds one
 * line that names the option, the value and what would be accepted. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ev_loop;
struct wsb_server;
struct wsb_swarm;

const char *wsb_version(void);
const char *wsb_error_text(int error);

struct wsb_option {
    const char *name;
    const char *type;     /* count size duration rate byte_rate ratio boolean text choice */
    const char *fallback; /* the default, as one would write it */
    const char *choices;  /* "a|b|c" where type is choice, else "" */
    const char *help;
    bool live; /* may change while running */
};

/* The option at `index` of "server" or "swarm"; false past the last, or for another role. */
bool wsb_options(const char *role, size_t index, struct wsb_option *ret_option);

/* Listens and serves. NULL when a setting is wrong or the address cannot be had. */
struct wsb_server *wsb_server_new(struct ev_loop *loop, const char *const *settings, char *why,
                                  size_t why_size);
uint16_t wsb_server_port(const struct wsb_server *server);
/* Changes live options; all of them or, on error, none. */
int wsb_server_set(struct wsb_server *server, const char *const *settings, char *why, size_t why_size);
/* Broadcasts to every subscriber of the topic; returns to how many. The text has to be UTF-8, which is not
 * checked, and shorter than 2 GiB. */
uint32_t wsb_server_publish(struct wsb_server *server, const char *topic, const void *text, size_t size);
/* Reads certificate and key again, for new connections; on error the old ones stay. */
int wsb_server_reload(struct wsb_server *server, char *why, size_t why_size);
/* The certificate in PEM, for clients that have to trust a self-signed one; NULL without TLS. Dies with the
 * server. */
const char *wsb_server_certificate(const struct wsb_server *server);
/* Stops listening and closes: drain with 1012 (service restart) spread over drain_window, stop with 1001
 * (going away) at once. Who is on the way in, or waits in the accept queue, is answered 503 within
 * evict_grace; with reuse_port, new connections go to the other server on the port from then on. done(arg) is
 * called once nobody is connected any more; the server may be freed in it. A later stop or drain takes the
 * place of an earlier one, whose done is then not called. */
void wsb_server_drain(struct wsb_server *server, void (*done)(void *arg), void *arg);
void wsb_server_stop(struct wsb_server *server, void (*done)(void *arg), void *arg);
/* Resets what is still connected. NULL is accepted. */
void wsb_server_free(struct wsb_server *server);

/* A client of a swarm with reconnect=script that has to be told how long to wait. */
struct wsb_swarm_lost {
    uint64_t client;      /* from 0 up to clients - 1 */
    uint64_t attempt;     /* which one it would make, from 1 up; 1 is the first since it was open */
    uint64_t previous_ms; /* how long it waited before the attempt that failed, 0 where that was no retry */
    int code; /* the close code as it saw it, 1006 for none; the HTTP status where that refused it */
};

/* What a swarm tells its owner, connected and finished at most once. Each may be NULL. */
struct wsb_swarm_events {
    /* Every client was open once or will not try again: opened those, failed these. */
    void (*connected)(void *arg, uint64_t opened, uint64_t failed);
    void (*finished)(void *arg); /* the publishing schedule is over */
    void *arg;
    /* reconnect=script: these wait until wsb_swarm_retry, however long it takes; false to be asked again a
     * little later. At most 200 at once, at the end of a turn of the loop. */
    bool (*retries)(void *arg, const struct wsb_swarm_lost *lost, size_t count);
};

/* Begins to connect its clients at connect_rate. NULL when a setting is wrong. */
struct wsb_swarm *wsb_swarm_new(struct ev_loop *loop, const char *const *settings,
                                const struct wsb_swarm_events *events, char *why, size_t why_size);
int wsb_swarm_set(struct wsb_swarm *swarm, const char *const *settings, char *why, size_t why_size);
/* Answers `retries`: "CLIENT=MS" settings, milliseconds, or "CLIENT=never"; all of them or, on error, none. A
 * client that does not wait for an answer is passed over. */
int wsb_swarm_retry(struct wsb_swarm *swarm, const char *const *answers, char *why, size_t why_size);
/* Time zero of stalls, slow reading and the publishing schedule. */
void wsb_swarm_start(struct wsb_swarm *swarm);
/* Closes every client with 1000; done(arg) once all are closed. */
void wsb_swarm_stop(struct wsb_swarm *swarm, void (*done)(void *arg), void *arg);
void wsb_swarm_free(struct wsb_swarm *swarm);

/* A counter or gauge of this process by its name in count.def ("connections_open"); false for an unknown one.
 * They are the process's: with more than one server in it, the queue gauges are those of whichever wrote
 * last. */
bool wsb_count(const char *name, uint64_t *ret_value);

#ifdef __cplusplus
}
#endif
