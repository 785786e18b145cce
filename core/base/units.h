/* Numbers with units, as people write them: the one parser for options, scripts and the command line. */
#pragma once

#include <stddef.h>

/* kind        written as                                  value is in
 * COUNT       "500", "10k"                                 1
 * SIZE        "4096", "64KiB", "1MiB", "2GiB", "64kB"      bytes
 * DURATION    "250ms", "2s", "1.5m", "1h", "10us", "0"     nanoseconds
 * RATE        "200/s", "30/m", "200" (a second)            events per second
 * BYTE_RATE   "64KiB/s", "4096/s"                          bytes per second
 * RATIO       "1.6", "50%"                                1
 * Whole numbers for COUNT; KiB MiB GiB are powers of 1024, kB MB GB and k M powers of 1000. */
enum unit_kind { UNIT_COUNT, UNIT_SIZE, UNIT_DURATION, UNIT_RATE, UNIT_BYTE_RATE, UNIT_RATIO, UNIT_KINDS };

/* 0 and the value, or ERR_OPTION_VALUE (junk, negative, missing or unknown unit, above 2^53, not finite). */
int units_parse(enum unit_kind kind, const char *text, double *ret_value);
/* Shortest readable text, three significant digits ("64 KiB", "12.3 ms", "200/s"); returns `text`. */
char *units_format(enum unit_kind kind, double value, char *text, size_t size);
/* What units_parse accepts, for error messages: "a size in bytes, such as 64KiB". */
const char *units_accepted(enum unit_kind kind);
