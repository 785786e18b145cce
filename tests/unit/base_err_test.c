#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <string.h>

static void codes_are_negative_and_distinct(void **state)
{
    (void)state;
    assert_int_equal(ERR_PROTOCOL, -1);
    assert_true(ERR_RSV_BITS < 0 && ERR_UNSUPPORTED == -ERR_ROWS);
}

static void every_row_has_name_and_text(void **state)
{
    (void)state;
    for (int row = 0; row < ERR_ROWS; row++) {
        assert_true(strlen(err_name(-1 - row)) > 1);
        assert_string_not_equal(err_text(-1 - row), "unknown error");
        int code = err_close_code(-1 - row), status = err_http_status(-1 - row);
        assert_true(code == 0 || (code >= 1000 && code <= 4999));
        assert_true(status == 0 || (status >= 400 && status <= 599));
    }
}

static void facts_come_from_the_right_row(void **state)
{
    (void)state;
    assert_string_equal(err_name(ERR_TOO_BIG), "TOO_BIG");
    assert_string_equal(err_text(ERR_TOO_BIG), "message above the size limit");
    assert_int_equal(err_close_code(ERR_UTF8), 1007);
    assert_int_equal(err_close_code(ERR_MARK), 1013);
    assert_int_equal(err_http_status(ERR_HTTP_METHOD), 405);
    assert_int_equal(err_http_status(ERR_OPTION_VALUE), 0);
}

static void strangers_are_unknown(void **state)
{
    (void)state;
    const int strangers[] = {0, 1, 42, INT_MAX, INT_MIN, -1 - ERR_ROWS, -1000};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        assert_string_equal(err_name(strangers[i]), "?");
        assert_string_equal(err_text(strangers[i]), "unknown error");
        assert_int_equal(err_close_code(strangers[i]), 0);
        assert_int_equal(err_http_status(strangers[i]), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_negative_and_distinct),
        cmocka_unit_test(every_row_has_name_and_text),
        cmocka_unit_test(facts_come_from_the_right_row),
        cmocka_unit_test(strangers_are_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
