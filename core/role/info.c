/* The parts of the public interface that only look things up. */
#include "role/config.h"
#include "base/count.h"
#include "base/err.h"
#include "version.h"
#include "wsb.h"

#include <string.h>

const char *wsb_version(void)
{
    return WSB_VERSION;
}

const char *wsb_error_text(int error)
{
    return err_text(error);
}

bool wsb_options(const char *role_name, size_t index, struct wsb_option *ret_option)
{
    enum role role;
    size_t count;
    if (config_role(role_name, &role) < 0)
        return false;
    const struct option *o = config_options(role, &count);
    if (index >= count)
        return false;
    o += index;
    *ret_option =
        (struct wsb_option){o->name, config_type_name(o->type), o->fallback, o->choices, o->help, o->live};
    return true;
}

bool wsb_count(const char *name, uint64_t *ret_value)
{
    for (size_t i = 0; i < COUNT_IDS; i++) {
        if (strcmp(name, count_rows[i].name) == 0) {
            *ret_value = count_get((enum count_id)i);
            return true;
        }
    }
    return false;
}
