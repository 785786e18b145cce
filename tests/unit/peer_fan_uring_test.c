/* All of peer_fan_test, with sends that leave together by io_uring. */
#define BY_IO_URING true
#include "peer_fan_test.c" // NOLINT(bugprone-suspicious-include)
