#include "base/err.h"

struct err_fact {
    const char *name;
    const char *text;
    int close_code;
    int http_status;
};

static const struct err_fact facts[ERR_ROWS] = {
#define ERR(name, close_code, http_status, text) [ERR_ROW_##name] = {#name, text, close_code, http_status},
#include "base/err.def"
#undef ERR
};

static const struct err_fact unknown = {"?", "unknown error", 0, 0};

static const struct err_fact *fact_of(int err)
{
    int row = -1 - err;
    return row >= 0 && row < ERR_ROWS ? &facts[row] : &unknown;
}

const char *err_name(int err)
{
    return fact_of(err)->name;
}

const char *err_text(int err)
{
    return fact_of(err)->text;
}

int err_close_code(int err)
{
    return fact_of(err)->close_code;
}

int err_http_status(int err)
{
    return fact_of(err)->http_status;
}
