/* links: sidecar/base/conf.c sidecar/base/keys.c sidecar/base/buf.c */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/conf.h"


/*
 * conf/sidecar.conf is what the table of keys prints, below a few lines for
 * the reader.  "conf_file_test --write" writes it (make conf).
 */

#define FILE_NAME  "conf/sidecar.conf"

static const char  head[] =
    "# The configuration of the sidecar, /etc/trifecta/sidecar.conf: every\n"
    "# key with its default.  Lines are \"key = value\".  Each key can also\n"
    "# be set by the environment: redis_url by TRIFECTA_REDIS_URL.  Secrets\n"
    "# are never values here, only the names of the files they are in.\n"
    "\n";


static char *
expected(void)
{
    char    *text;
    FILE    *out;
    size_t   len;

    out = open_memstream(&text, &len);
    assert_non_null(out);
    assert_true(fputs(head, out) >= 0);
    tf_conf_print(out);
    assert_int_equal(fclose(out), 0);

    return text;
}


static void
test_same_as_table(void **state)
{
    char    *file, *text;
    size_t   len;

    (void) state;

    file = tf_read_file(FILE_NAME, 1 << 20, &len);
    assert_non_null(file);

    text = expected();
    assert_string_equal(file, text);

    free(text);
    free(file);
}


static void
test_loads(void **state)
{
    char       err[256];
    tf_conf_t  conf;

    (void) state;

    assert_int_equal(tf_conf_load(&conf, FILE_NAME, err, sizeof(err)), 0);
    assert_string_equal(conf.redis_url, "redis://127.0.0.1:6379");
    tf_conf_free(&conf);
}


static int
write_file(void)
{
    char  *text;
    FILE  *out;

    out = fopen(FILE_NAME, "w");
    if (out == NULL) {
        perror(FILE_NAME);
        return 1;
    }

    text = expected();
    (void) fputs(text, out);
    free(text);

    return fclose(out) == 0 ? 0 : 1;
}


int
main(int argc, char **argv)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_same_as_table),
        cmocka_unit_test(test_loads),
    };

    if (argc > 1 && strcmp(argv[1], "--write") == 0) {
        return write_file();
    }

    return cmocka_run_group_tests(tests, NULL, NULL);
}
