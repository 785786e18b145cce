/* What the controller and a worker say to each other: one SOCK_SEQPACKET packet a message,
 *
 *     verb SEQ \n name=value \n name=value ...
 *
 * Commands carry a number of the controller's, the answer ("reply") repeats it; notices have number 0. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { CTL_SIZE_MAX = 64 * 1024, CTL_SETTINGS_MAX = 256 };

struct ctl_message {
    const char *verb;
    uint64_t seq;
    const char *setting[CTL_SETTINGS_MAX + 1]; /* "name=value", NULL-terminated */
    char text[CTL_SIZE_MAX + 1];               /* what the pointers point into */
};

/* 0, ERR_SYSTEM with errno, or ERR_OPTION_VALUE: too much, or a value with a line break. Settings may be
 * NULL. */
int ctl_send(int fd, const char *verb, uint64_t seq, const char *const *settings);
/* 1: a message; 0: none yet (the descriptor does not block); ERR_CLOSED: the other side is gone, or talks
 * nonsense. */
int ctl_receive(int fd, struct ctl_message *ret_message);
