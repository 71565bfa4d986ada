#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "extract/extract.h"
#include "extract/json_string.h"
#include "extract/record.h"


/*
 * JSON, in one pass and without a tree: what it holds in memory is the text
 * that it writes.
 *
 * An object within objects is a section, its path the heading; its scalars
 * are one record.  An object in an array is a record, with what is nested in
 * it as "address.city" and "orders[2].price".  An array of scalars is one
 * line.  In JSON lines each line is a record.
 */

typedef struct {
    char      type;             /* '{' or '[' */
    unsigned  item:1;           /* within a record */
    unsigned  record:1;         /* the record itself: its end ends it */
    unsigned  pushed:1;         /* an array whose key is in the path */
    unsigned  index;            /* of an array's next element */
    size_t    path;             /* lengths before it */
    size_t    label;
} tf_json_level_t;

typedef struct {
    tf_extract_t     *ex;
    const char       *data;
    size_t            pos;
    size_t            len;
    int               lines;    /* JSON lines */

    tf_out_t          out;
    tf_record_t       record;
    tf_buf_t          path;
    int               moved;    /* the path is not yet the section's */
    tf_buf_t          label;    /* "orders[2]." and then the key */
    size_t            key;      /* where the key starts in label */
    tf_buf_t          value;
    tf_buf_t          list;     /* scalars of an array */

    tf_json_level_t   levels[TF_DEPTH_MAX];
    unsigned          depth;
} tf_json_t;


static int tf_json_document(tf_json_t *j);
static int tf_json_value(tf_json_t *j);
static int tf_json_open(tf_json_t *j, char type);
static void tf_json_close(tf_json_t *j);
static int tf_json_scalar(tf_json_t *j);
static int tf_json_key(tf_json_t *j);
static void tf_json_put(tf_json_t *j, size_t name, const char *value,
    size_t len);
static void tf_json_flush(tf_json_t *j);
static void tf_json_push(tf_json_t *j, const char *name, size_t len);
static void tf_json_cut(tf_buf_t *b, size_t len);
static void tf_json_blank(tf_json_t *j);
static int tf_json_error(tf_json_t *j, const char *what);


int
tf_extract_json(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text)
{
    int         rc;
    tf_json_t  *j;

    j = calloc(1, sizeof(tf_json_t));
    if (j == NULL) {
        text->failed = 1;
        return 0;
    }

    j->ex = ex;
    j->data = data;
    j->len = len;
    j->lines = strcmp(ex->suffix, ".json") != 0;
    j->out.text = text;
    j->out.limit = ex->limits->v[TF_LIMIT_text];
    j->record.out = &j->out;

    if (len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
        j->pos = 3;
    }

    rc = 0;

    if (j->lines) {
        rc = tf_extract_lines(ex, data, len);
    }

    if (rc == 0) {
        rc = tf_json_document(j);
    }

    if (tf_out_finish(&j->out) != 0 && rc == 0) {
        rc = tf_extract_limit(ex, TF_LIMIT_text, "its text is too large");
    }

    text->failed |= j->path.failed | j->label.failed | j->value.failed
                    | j->list.failed;
    tf_buf_free(&j->path);
    tf_buf_free(&j->label);
    tf_buf_free(&j->value);
    tf_buf_free(&j->list);
    free(j);

    return rc;
}


static int
tf_json_document(tf_json_t *j)
{
    char              c;
    unsigned          n;
    tf_json_level_t  *level;

    tf_record_begin(&j->record);

    for (n = 0; !j->out.over; n++) {

        if (n % 1024 == 0 && tf_extract_late(j->ex) != 0) {
            return -1;
        }

        tf_json_blank(j);

        if (j->pos == j->len) {
            return j->depth == 0 && n > 0 ? 0
                   : tf_json_error(j, "the text ends within a value");
        }

        c = j->data[j->pos];

        if (j->depth == 0) {
            if (n > 0 && !j->lines) {
                return tf_json_error(j, "something follows the value; a file "
                                     "of several values is .jsonl");
            }

            if (tf_json_value(j) != 0) {
                return -1;
            }

            continue;
        }

        level = &j->levels[j->depth - 1];

        if (c == (level->type == '{' ? '}' : ']')) {
            j->pos++;
            tf_json_close(j);

        } else {
            if (level->index++ > 0) {
                if (c != ',') {
                    return tf_json_error(j, "a comma is missing");
                }

                j->pos++;
                tf_json_blank(j);
            }

            if (level->type == '{' && tf_json_key(j) != 0) {
                return -1;
            }

            if (tf_json_value(j) != 0) {
                return -1;
            }
        }

        /* the outermost value has ended: only blanks may follow in .json */

        if (j->depth == 0 && !j->lines) {
            tf_json_blank(j);
            return j->pos == j->len ? 0
                   : tf_json_error(j, "something follows the value; a file "
                                   "of several values is .jsonl");
        }
    }

    return 0;
}


static int
tf_json_value(tf_json_t *j)
{
    char  c;

    tf_json_blank(j);

    if (j->pos == j->len) {
        return tf_json_error(j, "the text ends within a value");
    }

    c = j->data[j->pos];

    if (c == '{' || c == '[') {
        j->pos++;
        return tf_json_open(j, c);
    }

    return tf_json_scalar(j);
}


static int
tf_json_open(tf_json_t *j, char type)
{
    tf_json_level_t  *level, *parent;

    if (j->depth == (unsigned) j->ex->limits->v[TF_LIMIT_depth]) {
        return tf_extract_limit(j->ex, TF_LIMIT_depth, "its values are nested "
                                "more than %u deep", j->depth);
    }

    parent = j->depth ? &j->levels[j->depth - 1] : NULL;
    level = &j->levels[j->depth];
    memset(level, 0, sizeof(tf_json_level_t));
    level->type = type;
    level->path = j->path.len;
    level->label = parent == NULL || parent->type == '{' ? j->key
                                                         : j->label.len;

    if (parent == NULL) {
        level->item = j->lines;
        level->record = j->lines;

    } else if (parent->type == '[') {
        tf_json_flush(j);

        if (!parent->item) {
            /* the first element that is no scalar: the key is a heading */

            if (!parent->pushed && parent->label < j->label.len) {
                tf_json_push(j, j->label.data + parent->label,
                             j->label.len - parent->label);
            }

            parent->pushed = 1;
            tf_json_cut(&j->label, parent->label);
            level->path = j->path.len;
            level->label = j->label.len;
            level->item = 1;
            level->record = 1;

        } else {
            level->item = 1;
            tf_buf_printf(&j->label, "[%u]", parent->index - 1);
        }

    } else {
        level->item = parent->item;

        if (!parent->item && type == '{') {
            tf_record_end(&j->record);
            tf_json_push(j, j->label.data + j->key, j->label.len - j->key);
            tf_json_cut(&j->label, j->key);
        }
    }

    if (level->record) {
        tf_record_begin(&j->record);
    }

    /* what an object's keys are appended to */

    if (level->item && type == '{' && j->label.len) {
        tf_buf_puts(&j->label, ".");
    }

    j->key = j->label.len;
    j->depth++;

    return 0;
}


static void
tf_json_close(tf_json_t *j)
{
    tf_json_level_t  *level;

    level = &j->levels[j->depth - 1];

    if (level->type == '[') {
        tf_json_flush(j);
    }

    j->depth--;

    if (level->record || j->path.len != level->path) {
        tf_record_begin(&j->record);
    }

    if (j->path.len != level->path) {
        tf_json_cut(&j->path, level->path);
        j->moved = 1;
    }

    tf_json_cut(&j->label, level->label);
    j->key = level->label;
}


/*
 * The name of a value is the label.  An array's scalars are gathered.
 */

static int
tf_json_scalar(tf_json_t *j)
{
    size_t            i, n;
    const char       *s, *wrong;
    tf_json_level_t  *level;
    static const char *words[] = { "true", "false", "null" };

    tf_buf_reset(&j->value);
    s = j->data + j->pos;

    if (*s == '"') {
        wrong = tf_json_string(j->data, j->len, &j->pos, &j->value);
        if (wrong != NULL) {
            return tf_json_error(j, wrong);
        }

    } else {
        for (n = 0; j->pos + n < j->len
             && strchr(",]} \t\r\n", s[n]) == NULL; n++)
        {
            /* void */
        }

        for (i = 0; i < 3; i++) {
            if (strlen(words[i]) == n && memcmp(words[i], s, n) == 0) {
                break;
            }
        }

        if (i == 3) {
            for (i = 0; i < n && strchr("0123456789+-.eE", s[i]); i++) {
                /* void */
            }

            if (n == 0 || i < n || n > 400
                || (s[0] != '-' && (s[0] < '0' || s[0] > '9')))
            {
                return tf_json_error(j, "this is no value");
            }
        }

        if (*s != 'n') {
            tf_buf_append(&j->value, s, n);
        }

        j->pos += n;
    }

    if (j->value.len == 0) {
        goto done;
    }

    level = j->depth ? &j->levels[j->depth - 1] : NULL;

    if (level != NULL && level->type == '[') {
        if (j->value.len > TF_RECORD_LONG
            || j->list.len + j->value.len > TF_RECORD_LONG)
        {
            tf_json_flush(j);
        }

        if (j->value.len > TF_RECORD_LONG) {
            tf_json_put(j, level->label, j->value.data, j->value.len);

        } else {
            if (j->list.len) {
                tf_buf_puts(&j->list, ", ");
            }
            tf_buf_append(&j->list, j->value.data, j->value.len);
        }

    } else {
        tf_json_put(j, level == NULL || !level->item ? j->key : 0,
                    j->value.data, j->value.len);
    }

done:

    if (j->depth && j->levels[j->depth - 1].type == '{') {
        tf_json_cut(&j->label, j->key);
    }

    if (j->depth == 0 && j->lines) {
        tf_record_begin(&j->record);
    }

    return 0;
}


/* The scalars of an array so far, as one line. */

static void
tf_json_flush(tf_json_t *j)
{
    tf_json_level_t  *level;

    if (j->list.len) {
        level = &j->levels[j->depth - 1];
        tf_json_put(j, level->item ? 0 : level->label, j->list.data,
                    j->list.len);
        tf_buf_reset(&j->list);
    }
}


static void
tf_json_put(tf_json_t *j, size_t name, const char *value, size_t len)
{
    if (j->moved) {
        tf_out_path(&j->out, j->path.len ? j->path.data : "");
        j->moved = 0;
    }

    tf_record_field(&j->record,
                    j->label.len > name ? j->label.data + name : "",
                    j->label.len > name ? j->label.len - name : 0,
                    value, len);
}


static void
tf_json_push(tf_json_t *j, const char *name, size_t len)
{
    if (len > TF_TEXT_HEADING_MAX) {
        len = tf_utf8_floor(name, TF_TEXT_HEADING_MAX);
    }

    if (j->path.len) {
        tf_buf_puts(&j->path, " > ");
    }

    tf_buf_append(&j->path, name, len);
    tf_record_begin(&j->record);
    j->moved = 1;
}


static void
tf_json_cut(tf_buf_t *b, size_t len)
{
    if (b->len > len) {
        b->len = len;
        b->data[len] = '\0';
    }
}


static int
tf_json_key(tf_json_t *j)
{
    const char  *wrong;

    if (j->pos == j->len || j->data[j->pos] != '"') {
        return tf_json_error(j, "a name in quotes is missing");
    }

    tf_json_cut(&j->label, j->key);

    wrong = tf_json_string(j->data, j->len, &j->pos, &j->label);
    if (wrong != NULL) {
        return tf_json_error(j, wrong);
    }

    if (j->label.len - j->key > TF_TEXT_HEADING_MAX) {
        tf_json_cut(&j->label, tf_utf8_floor(j->label.data, j->key
                                             + TF_TEXT_HEADING_MAX));
    }

    tf_json_blank(j);

    if (j->pos == j->len || j->data[j->pos] != ':') {
        return tf_json_error(j, "a colon is missing");
    }

    j->pos++;

    return 0;
}


static void
tf_json_blank(tf_json_t *j)
{
    while (j->pos < j->len && strchr(" \t\r\n", j->data[j->pos]) != NULL) {
        j->pos++;
    }
}


/* The innermost reason is kept; what is said after it is less exact. */

static int
tf_json_error(tf_json_t *j, const char *what)
{
    size_t       line;
    const char  *s, *nl, *end;

    line = 1;
    end = j->data + j->pos;

    for (s = j->data; (nl = memchr(s, '\n', (size_t) (end - s))) != NULL;
         s = nl + 1)
    {
        line++;
    }

    return tf_extract_refuse(j->ex, "not JSON: line %zu: %s", line, what);
}
