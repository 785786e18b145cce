#include "base/units.h"

#include "base/clock.h"
#include "base/err.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])
/* Up to here a double holds every whole number. */
#define LARGEST 0x1p53

struct unit {
    const char *name;
    double factor;
};

static const struct unit thousands[] = {{"", 1}, {"k", 1e3}, {"M", 1e6}};
static const struct unit bytes[] = {
    {"B", 1}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30},
    {"", 1},  {"kB", 1e3},     {"MB", 1e6},     {"GB", 1e9},
};
static const struct unit times[] = {
    {"ns", 1}, {"us", NS_PER_US}, {"ms", NS_PER_MS}, {"s", NS_PER_S}, {"m", 60e9}, {"h", 3600e9},
};
static const struct unit ratios[] = {{"", 1}, {"%", 0.01}};
static const struct unit whole[] = {{"", 1}};
static const struct unit per_second[] = {{"/s", 1}, {"/m", 60}, {"/h", 3600}, {"", 1}};

/* Text is a number, a scale and a period: 64 KiB /s. */
static const struct kind {
    const struct unit *scale;
    size_t scales;
    size_t shown; /* so many of the scales, ascending, are used by units_format */
    const struct unit *period;
    size_t periods;
    const char *gap; /* between number and unit in units_format */
    const char *accepted;
} kinds[UNIT_KINDS] = {
    [UNIT_COUNT] = {thousands, COUNT_OF(thousands), COUNT_OF(thousands), whole, 1, "",
                    "a whole number, such as 500 or 10k"},
    [UNIT_SIZE] = {bytes, COUNT_OF(bytes), 4, whole, 1, " ", "a size in bytes, such as 64KiB"},
    [UNIT_DURATION] = {times, COUNT_OF(times), COUNT_OF(times), whole, 1, " ",
                       "a duration with its unit, such as 250ms or 2s"},
    [UNIT_RATE] = {thousands, COUNT_OF(thousands), COUNT_OF(thousands), per_second, COUNT_OF(per_second), "",
                   "a rate, such as 200/s or 30/m"},
    [UNIT_BYTE_RATE] = {bytes, COUNT_OF(bytes), 4, per_second, COUNT_OF(per_second) - 1, " ",
                        "bytes in a time, such as 64KiB/s"},
    [UNIT_RATIO] = {ratios, COUNT_OF(ratios), 1, whole, 1, "", "a ratio, such as 1.6 or 50%"},
};

/* The factor of the unit called exactly that, 0 when there is none. */
static double factor_of(const struct unit *unit, size_t count, const char *name, size_t size)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(unit[i].name) == size && memcmp(unit[i].name, name, size) == 0)
            return unit[i].factor;
    return 0;
}

/* What one of the named unit is worth, scale by period; 0 when there is no such unit. */
static long double worth_of(const struct kind *k, const char *name)
{
    size_t scale_size = strcspn(name, "/");
    double scale = factor_of(k->scale, k->scales, name, scale_size);
    double period = factor_of(k->period, k->periods, name + scale_size, strlen(name + scale_size));
    return period > 0 ? (long double)scale / period : 0;
}

/* The size of the plain decimal number that text begins with, 0 when it does not: strtold would also take
 * spaces, signs, exponents, hexadecimals and "inf". */
static size_t number_size(const char *text)
{
    static const char digits[] = "0123456789";
    size_t size = strspn(text, digits);
    if (size == 0 || text[size] != '.')
        return size;
    size_t decimals = strspn(text + size + 1, digits);
    return decimals ? size + 1 + decimals : 0;
}

int units_parse(enum unit_kind kind, const char *text, double *ret_value)
{
    size_t size = number_size(text);
    char *end;
    /* long double: 2^53 + 1 must be seen to be too much before it is rounded to 2^53 */
    long double number = strtold(text, &end);
    if (size == 0 || end != text + size)
        return ERR_OPTION_VALUE;
    bool bare_zero = number == 0 && *end == '\0';
    long double worth = bare_zero ? 1 : worth_of(&kinds[kind], end);
    if (worth == 0 || !(number * worth <= LARGEST))
        return ERR_OPTION_VALUE;
    double value = (double)(number * worth);
    if (kind == UNIT_COUNT && value != floor(value))
        return ERR_OPTION_VALUE;
    *ret_value = value;
    return 0;
}

static double round_to_three_digits(double number)
{
    double size = fabs(number);
    double steps = size < 9.995 ? 100 : size < 99.95 ? 10 : 1;
    return round(number * steps) / steps;
}

char *units_format(enum unit_kind kind, double value, char *text, size_t size)
{
    const struct kind *k = &kinds[kind];
    const struct unit *unit = k->scale, *largest = k->scale + k->shown - 1;
    while (unit < largest &&
           fabs(round_to_three_digits(value / unit->factor)) >= unit[1].factor / unit->factor)
        unit++;
    snprintf(text, size, "%.15g%s%s%s", round_to_three_digits(value / unit->factor), k->gap, unit->name,
             k->period[0].name);
    return text;
}

const char *units_accepted(enum unit_kind kind)
{
    return kinds[kind].accepted;
}
