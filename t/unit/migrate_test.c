/* links: sidecar/db/migrate.c sidecar/base/buf.c */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <trifecta/version.h>

#include "base/buf.h"
#include "db/migrate.h"


#define sum(text)  tf_migrate_checksum(text, sizeof(text) - 1)


/* Another CRC-32, bit by bit, to hold ours against. */

static int32_t
bitwise(const char *data, size_t len)
{
    int       bit;
    size_t    i;
    uint32_t  crc;

    crc = 0xffffffff;

    for (i = 0; i < len; i++) {
        crc ^= (unsigned char) data[i];
        for (bit = 0; bit < 8; bit++) {
            crc = (crc & 1) ? (crc >> 1) ^ 0xedb88320 : crc >> 1;
        }
    }

    return (int32_t) ~crc;
}


static void
checksum_known_answers(void **state)
{
    (void) state;

    /* computed with Perl and with Python's zlib */

    assert_int_equal(sum(""), 0);
    assert_int_equal(sum("a"), -390611389);
    assert_int_equal(sum("123456789"), -873187034);
    assert_int_equal(sum("SELECT '\xc3\xa4';"), 1378765765);
    assert_int_equal(sum("CREATE TABLE a (b integer);\nSELECT 1;\n"),
                     1286074584);
}


static void
checksum_ignores_how_lines_end(void **state)
{
    (void) state;

    assert_int_equal(sum("123\n456\n789\n"), -873187034);
    assert_int_equal(sum("123\r\n456\r\n789"), -873187034);
    assert_int_equal(sum("123\r456\r789\r"), -873187034);
    assert_int_equal(sum("\n\n123456789\r\n\r\n\n"), -873187034);
    assert_int_equal(sum("\xef\xbb\xbf" "123456789"), -873187034);

    /* a mark is only a mark at the start, a lone half of one is text */

    assert_int_not_equal(sum("123\xef\xbb\xbf" "456789"), -873187034);
    assert_int_equal(sum("\xef\xbb"), bitwise("\xef\xbb", 2));
    assert_int_equal(sum("\xef\xbb\xbf"), 0);
    assert_int_not_equal(sum("123 \n456\n789"), -873187034);
}


static void
checksum_agrees_with_another_implementation(void **state)
{
    char      data[512], joined[512];
    size_t    i, n, len;
    unsigned  round, seed;

    (void) state;

    seed = 1;

    for (round = 0; round < 500; round++) {
        len = round;
        n = 0;

        for (i = 0; i < len; i++) {
            seed = seed * 1103515245 + 12345;
            data[i] = (char) (seed >> 16);
            if ((seed >> 8) % 11 == 0) {
                data[i] = (seed & 16) ? '\n' : '\r';
            }
            if (data[i] != '\n' && data[i] != '\r') {
                joined[n++] = data[i];
            }
        }

        if (n >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
            continue;
        }

        assert_int_equal(tf_migrate_checksum(data, len), bitwise(joined, n));
    }
}


static void
versions_are_whole_numbers(void **state)
{
    size_t              i;
    static const char  *bad[] = {
        "", "V", "V1", "V1.sql", "V1_a.sql", "V1__.sql", "V1__a", "v1__a.sql",
        "V__a.sql", "V0__a.sql", "V-1__a.sql", "V+1__a.sql", "V1.1__a.sql",
        "V1_1__a.sql", "V1x__a.sql", "V 1__a.sql", "V1__a.SQL", "V1__a.sqlx",
        "R__a.sql", "U1__a.sql", "V99999999999999999999__a.sql",
        "V1000000__a.sql"
    };

    (void) state;

    assert_int_equal(tf_migrate_version("V1__jobs.sql"), 1);
    assert_int_equal(tf_migrate_version("V0007__a.sql"), 7);
    assert_int_equal(tf_migrate_version("V10__a__b.sql"), 10);
    assert_int_equal(tf_migrate_version("V999999__a.sql"), 999999);
    assert_int_equal(tf_migrate_version("V2__.sql.sql"), 2);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tf_migrate_version(bad[i]), -1);
    }
}


/* A folder with these files; reads it and says what came of it. */

static char *
folder(const char *files, tf_migrations_t *m)
{
    int          rc;
    char         dir[] = "/tmp/tf-migrate.XXXXXX", name[64];
    char        *err;
    FILE        *f;
    size_t       len;
    tf_buf_t     path = TF_BUF_INIT;
    const char  *p;

    err = calloc(1, TF_MIGRATE_ERR);
    assert_non_null(err);
    assert_non_null(mkdtemp(dir));

    for (p = files; *p; p += len + (p[len] == ' ')) {
        len = strcspn(p, " ");
        (void) snprintf(name, sizeof(name), "%.*s", (int) len, p);

        tf_buf_reset(&path);
        tf_buf_printf(&path, "%s/%s", dir, name);
        f = fopen(path.data, "w");
        assert_non_null(f);
        (void) fprintf(f, "-- %s\n", name);
        (void) fclose(f);
    }

    rc = tf_migrations_read(m, dir, err);

    for (p = files; *p; p += len + (p[len] == ' ')) {
        len = strcspn(p, " ");
        tf_buf_reset(&path);
        tf_buf_printf(&path, "%s/%.*s", dir, (int) len, p);
        (void) unlink(path.data);
    }

    (void) rmdir(dir);
    tf_buf_free(&path);

    assert_int_equal(rc == 0, err[0] == '\0');

    return err;
}


/* TF_PG_SCHEMA files, the last one first. */

static void
all_files(char *files, size_t size)
{
    int     i;
    size_t  n;

    n = 0;

    for (i = TF_PG_SCHEMA; i > 0; i--) {
        n += (size_t) snprintf(files + n, size - n, "%sV%d__some_thing_%d.sql",
                               n ? " " : "", i, i);
    }
}


static void
folder_is_sorted_by_version(void **state)
{
    char             files[4096], more[4200], expected[64], *err;
    long             i;
    tf_migrations_t  m;

    (void) state;

    all_files(files, sizeof(files));
    (void) snprintf(more, sizeof(more), "%s README.md .V9__x.sql notes.txt",
                    files);

    err = folder(more, &m);
    assert_string_equal(err, "");
    free(err);

    assert_int_equal(m.n, TF_PG_SCHEMA);

    for (i = 0; i < (long) m.n; i++) {
        assert_int_equal(m.list[i].version, i + 1);
        (void) snprintf(expected, sizeof(expected), "some thing %ld", i + 1);
        assert_string_equal(m.list[i].description, expected);
        (void) snprintf(expected, sizeof(expected),
                        "-- V%ld__some_thing_%ld.sql\n", i + 1, i + 1);
        assert_string_equal(m.list[i].sql, expected);
        assert_int_equal(m.list[i].checksum,
                         bitwise(expected, strlen(expected) - 1));
    }

    tf_migrations_free(&m);
}


static void
folder_with_a_gap_a_double_or_a_stranger_is_refused(void **state)
{
    char             files[4096], more[4200], *err;
    tf_migrations_t  m;

    (void) state;

    all_files(files, sizeof(files));

    err = folder("", &m);
    assert_non_null(strstr(err, "goes up to version 0"));
    free(err);

    err = folder("V1__a.sql V3__c.sql", &m);
    assert_non_null(strstr(err, "version 2 is missing"));
    assert_non_null(strstr(err, "V3__c.sql"));
    free(err);

    err = folder("V1__a.sql V01__b.sql V2__c.sql", &m);
    assert_non_null(strstr(err, "version 1 is there twice"));
    assert_non_null(strstr(err, "V01__b.sql and V1__a.sql"));
    free(err);

    (void) snprintf(more, sizeof(more), "%s R__views.sql", files);
    err = folder(more, &m);
    assert_non_null(strstr(err, "\"R__views.sql\""));
    free(err);

    (void) snprintf(more, sizeof(more), "%s V%d__newer.sql", files,
                    TF_PG_SCHEMA + 1);
    err = folder(more, &m);
    assert_non_null(strstr(err, "the folder of the same release"));
    free(err);
}


/* The history that fits the files, to be made unfit. */

static void
fits(tf_migrations_t *m, tf_history_t *h, tf_applied_t *rows)
{
    size_t                 i;
    static tf_migration_t  files[3];

    memset(h, 0, sizeof(tf_history_t));
    memset(rows, 0, 4 * sizeof(tf_applied_t));

    for (i = 0; i < 3; i++) {
        files[i].version = (long) i + 1;
        files[i].checksum = -100 - (int32_t) i;
        files[i].script = "V?__x.sql";

        rows[i].version = (long) i + 1;
        rows[i].checksum = -100 - (int32_t) i;
        rows[i].has_checksum = 1;
        rows[i].success = 1;
        (void) snprintf(rows[i].type, sizeof(rows[i].type), "SQL");
        (void) snprintf(rows[i].script, sizeof(rows[i].script), "V?__x.sql");
    }

    m->list = files;
    m->n = 3;
    h->list = rows;
    h->n = 3;
    h->exists = 1;
}


static void
plan_starts_behind_what_was_applied(void **state)
{
    char             err[TF_MIGRATE_ERR];
    size_t           n;
    tf_history_t     h;
    tf_applied_t     rows[4];
    tf_migrations_t  m;

    (void) state;

    for (n = 0; n <= 3; n++) {
        fits(&m, &h, rows);
        h.n = n;
        assert_int_equal(tf_migrate_plan(&m, &h, err), (long) n);
    }

    /* what Flyway found there when it came counts as applied */

    fits(&m, &h, rows);
    (void) snprintf(rows[0].type, sizeof(rows[0].type), "BASELINE");
    rows[0].version = 2;
    h.n = 1;
    assert_int_equal(tf_migrate_plan(&m, &h, err), 2);

    rows[1].version = 3;
    rows[1].checksum = -102;
    h.n = 2;
    assert_int_equal(tf_migrate_plan(&m, &h, err), 3);
}


static void
plan_refuses_a_history_that_does_not_fit(void **state)
{
    char             err[TF_MIGRATE_ERR];
    tf_history_t     h;
    tf_applied_t     rows[4];
    tf_migrations_t  m;

    (void) state;

    fits(&m, &h, rows);
    rows[1].checksum = 7;
    assert_int_equal(tf_migrate_plan(&m, &h, err), -1);
    assert_non_null(strstr(err, "was changed after it was applied"));
    assert_non_null(strstr(err, "database has checksum 7"));
    assert_non_null(strstr(err, "file has -101"));
    assert_non_null(strstr(err, "V4__<what>.sql"));

    fits(&m, &h, rows);
    rows[1].has_checksum = 0;
    rows[1].checksum = 0;
    assert_int_equal(tf_migrate_plan(&m, &h, err), 3);

    fits(&m, &h, rows);
    rows[3] = rows[2];
    rows[3].version = 4;
    h.n = 4;
    assert_int_equal(tf_migrate_plan(&m, &h, err), -1);
    assert_non_null(strstr(err, "newer than this program"));

    fits(&m, &h, rows);
    rows[1] = rows[2];
    h.n = 2;
    assert_int_equal(tf_migrate_plan(&m, &h, err), -1);
    assert_non_null(strstr(err, "out of order"));

    fits(&m, &h, rows);
    rows[1] = rows[0];
    assert_int_equal(tf_migrate_plan(&m, &h, err), -1);
    assert_non_null(strstr(err, "out of order"));

    fits(&m, &h, rows);
    rows[2].success = 0;
    assert_int_equal(tf_migrate_plan(&m, &h, err), -1);
    assert_non_null(strstr(err, "failed"));

    fits(&m, &h, rows);
    (void) snprintf(rows[2].type, sizeof(rows[2].type), "UNDO_SQL");
    assert_int_equal(tf_migrate_plan(&m, &h, err), -1);
    assert_non_null(strstr(err, "UNDO_SQL"));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(checksum_known_answers),
        cmocka_unit_test(checksum_ignores_how_lines_end),
        cmocka_unit_test(checksum_agrees_with_another_implementation),
        cmocka_unit_test(versions_are_whole_numbers),
        cmocka_unit_test(folder_is_sorted_by_version),
        cmocka_unit_test(folder_with_a_gap_a_double_or_a_stranger_is_refused),
        cmocka_unit_test(plan_starts_behind_what_was_applied),
        cmocka_unit_test(plan_refuses_a_history_that_does_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
