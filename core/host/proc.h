/* What /proc says of a process. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct proc_sample {
    uint64_t rss_bytes;  /* statm */
    uint64_t peak_bytes; /* VmHWM of status: the real peak (ru_maxrss survives exec and lies) */
    uint64_t user_ns, system_ns;
    uint64_t threads;
};

/* 0, or ERR_SYSTEM (no such process, or it is a zombie: then there is no memory to read). */
int proc_sample(pid_t pid, struct proc_sample *ret_sample);
/* The same, summed over the process and its descendants (at most 1,023). Memory that they share counts for
 * each of them; the times include those of descendants that have ended and were waited for. */
int proc_sample_family(pid_t pid, struct proc_sample *ret_sample);
/* Open descriptors, or ERR_SYSTEM. */
long proc_descriptors(pid_t pid);
/* What the kernel holds for all TCP sockets of the machine (sockstat "TCP mem": the kernel keeps one figure
 * for all network namespaces), in bytes; 0 if unreadable. */
uint64_t proc_tcp_memory(void);
