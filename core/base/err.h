/* Errors: one table (err.def), one sign. Functions return 0 or more when all is well, else a negative ERR_.
 */
#pragma once

enum err_row {
#define ERR(name, ...) ERR_ROW_##name,
#include "base/err.def"
#undef ERR
    ERR_ROWS
};

enum err {
    ERR_NONE = 0,
#define ERR(name, ...) ERR_##name = -1 - ERR_ROW_##name,
#include "base/err.def"
#undef ERR
};

/* All four accept any int; one that is not in the table reads as "unknown error", code 0, status 0, name "?".
 */
const char *err_name(int err);
const char *err_text(int err);
int err_close_code(int err);
int err_http_status(int err);
