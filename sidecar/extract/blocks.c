#define _GNU_SOURCE     /* memmem() */

#include <string.h>

#include "extract/text.h"


/*
 * One line at a time; "open" is the block that is being gathered.  A list
 * goes on over blank lines as long as what follows is an item or indented.
 */

typedef struct {
    const char       *data;
    unsigned          flags;
    tf_block_pt       handler;
    void             *ctx;

    int               is_open;
    tf_block_kind_t   kind;
    size_t            start;
    size_t            last;         /* end of the last line of the block */
    int               blank;        /* the line before was blank */

    char              fence;        /* '`' or '~' inside a fenced block */
    size_t            fence_len;
    int               comment;      /* inside <!-- --> */
} tf_scan_t;

typedef struct {
    const char  *s;                 /* first byte that is no white space */
    size_t       start;
    size_t       len;               /* from s, white space at the end cut */
    size_t       end;               /* of what is visible */
    size_t       next;              /* start of the next line */
    size_t       indent;
} tf_line_t;


static void tf_scan_line(tf_scan_t *scan, tf_line_t *line);
static int tf_scan_fence(tf_scan_t *scan, tf_line_t *line);
static void tf_scan_take(tf_scan_t *scan, tf_line_t *line,
    tf_block_kind_t kind);
static void tf_scan_close(tf_scan_t *scan);
static void tf_line_read(const char *data, size_t pos, size_t end,
    tf_line_t *line);
static int tf_line_is_item(const tf_line_t *line);
static int tf_line_is_shortcode(const tf_line_t *line);
static unsigned tf_line_heading(const tf_line_t *line, size_t *start,
    size_t *end);
static int tf_line_is_rule(const tf_line_t *line);
static int tf_is_fields(const char *data, size_t start, size_t end);


void
tf_blocks_scan(const char *data, size_t start, size_t end, unsigned flags,
    tf_block_pt handler, void *ctx)
{
    size_t     pos;
    tf_line_t  line;
    tf_scan_t  scan;

    memset(&scan, 0, sizeof(tf_scan_t));
    scan.data = data;
    scan.flags = flags;
    scan.handler = handler;
    scan.ctx = ctx;

    for (pos = start; pos < end; pos = line.next) {
        tf_line_read(data, pos, end, &line);
        tf_scan_line(&scan, &line);
    }

    tf_scan_close(&scan);
}


static void
tf_scan_line(tf_scan_t *scan, tf_line_t *line)
{
    size_t    start, end;
    unsigned  level;

    if (scan->comment
        || ((scan->flags & TF_BLOCKS_HEADINGS) && scan->fence == 0
            && line->len >= 4 && memcmp(line->s, "<!--", 4) == 0))
    {
        scan->comment = memmem(line->s, line->len, "-->", 3) == NULL;
        if (!scan->is_open || scan->kind != TF_BLOCK_LIST) {
            tf_scan_close(scan);
        }
        return;
    }

    if (tf_scan_fence(scan, line)) {
        return;
    }

    if (line->len == 0) {
        if (scan->is_open && scan->kind != TF_BLOCK_LIST
            && scan->kind != TF_BLOCK_CODE)
        {
            tf_scan_close(scan);
        }

        scan->blank = 1;
        return;
    }

    if (scan->is_open && scan->kind == TF_BLOCK_LIST
        && (tf_line_is_item(line) || line->indent >= 2 || !scan->blank)
        && !((scan->flags & TF_BLOCKS_HEADINGS) && line->indent == 0
             && tf_line_heading(line, &start, &end)))
    {
        tf_scan_take(scan, line, TF_BLOCK_LIST);
        return;
    }

    if (line->indent >= 4 && (!scan->is_open || scan->kind == TF_BLOCK_CODE)) {
        tf_scan_take(scan, line, TF_BLOCK_CODE);
        return;
    }

    if (tf_line_is_shortcode(line)) {
        tf_scan_close(scan);
        return;
    }

    if (scan->flags & TF_BLOCKS_HEADINGS) {

        level = line->indent < 4 ? tf_line_heading(line, &start, &end) : 0;

        if (level) {
            tf_scan_close(scan);
            start += line->s - scan->data;
            end += line->s - scan->data;
            scan->handler(scan->ctx, TF_BLOCK_HEADING, level, start, end);
            return;
        }

        /* a line that is underlined: the paragraph so far is a heading */

        if (scan->is_open && scan->kind == TF_BLOCK_PROSE && !scan->blank
            && tf_line_is_rule(line)
            && memchr(scan->data + scan->start, '\n',
                      scan->last - scan->start) == NULL)
        {
            scan->is_open = 0;
            scan->handler(scan->ctx, TF_BLOCK_HEADING,
                          line->s[0] == '=' ? 1 : 2, scan->start, scan->last);
            return;
        }
    }

    if (tf_line_is_rule(line)) {
        tf_scan_close(scan);
        return;
    }

    if (line->s[0] == '|') {
        tf_scan_take(scan, line, TF_BLOCK_TABLE);

    } else if (tf_line_is_item(line)) {
        tf_scan_take(scan, line, TF_BLOCK_LIST);

    } else {
        tf_scan_take(scan, line, TF_BLOCK_PROSE);
    }
}


/* Opens, continues and closes fenced code; 1 if the line was part of it. */

static int
tf_scan_fence(tf_scan_t *scan, tf_line_t *line)
{
    char    c;
    size_t  n;

    c = line->len ? line->s[0] : '\0';

    for (n = 0; (c == '`' || c == '~') && n < line->len && line->s[n] == c;
         n++)
    {
        /* void */
    }

    if (scan->fence) {
        if (line->len) {
            scan->last = line->end;
        }

        if (c == scan->fence && n >= scan->fence_len && n == line->len) {
            scan->fence = 0;
            if (scan->kind != TF_BLOCK_LIST) {
                tf_scan_close(scan);
            }
        }

        return 1;
    }

    if (n < 3 || (c == '`' && memchr(line->s + n, '`', line->len - n))) {
        return 0;
    }

    if (!(scan->is_open && scan->kind == TF_BLOCK_LIST && line->indent >= 2)) {
        tf_scan_close(scan);
        tf_scan_take(scan, line, TF_BLOCK_CODE);

    } else {
        tf_scan_take(scan, line, TF_BLOCK_LIST);
    }

    scan->fence = c;
    scan->fence_len = n;

    return 1;
}


static void
tf_scan_take(tf_scan_t *scan, tf_line_t *line, tf_block_kind_t kind)
{
    if (scan->is_open && scan->kind != kind) {
        tf_scan_close(scan);
    }

    if (!scan->is_open) {
        scan->is_open = 1;
        scan->kind = kind;
        scan->start = (kind == TF_BLOCK_CODE) ? line->start
                                              : (size_t) (line->s
                                                          - scan->data);
    }

    scan->last = line->end;
    scan->blank = 0;
}


static void
tf_scan_close(tf_scan_t *scan)
{
    tf_block_kind_t  kind;

    scan->blank = 0;
    scan->fence = 0;

    if (!scan->is_open) {
        return;
    }

    scan->is_open = 0;
    kind = scan->kind;

    if (kind == TF_BLOCK_PROSE
        && tf_is_fields(scan->data, scan->start, scan->last))
    {
        kind = TF_BLOCK_FIELDS;
    }

    scan->handler(scan->ctx, kind, 0, scan->start, scan->last);
}


static void
tf_line_read(const char *data, size_t pos, size_t end, tf_line_t *line)
{
    size_t       stop;
    const char  *nl;

    nl = memchr(data + pos, '\n', end - pos);
    stop = nl == NULL ? end : (size_t) (nl - data);

    line->start = pos;
    line->next = nl == NULL ? end : stop + 1;
    line->indent = 0;

    while (pos < stop && (data[pos] == ' ' || data[pos] == '\t')) {
        line->indent += data[pos] == '\t' ? 4 : 1;
        pos++;
    }

    while (stop > pos && (data[stop - 1] == ' ' || data[stop - 1] == '\t'
                          || data[stop - 1] == '\r'))
    {
        stop--;
    }

    line->s = data + pos;
    line->len = stop - pos;
    line->end = stop;
}


static int
tf_line_is_item(const tf_line_t *line)
{
    size_t  n;

    if (line->len >= 2 && strchr("-*+", line->s[0]) != NULL
        && (line->s[1] == ' ' || line->s[1] == '\t'))
    {
        return 1;
    }

    for (n = 0; n < line->len && n < 9 && line->s[n] >= '0'
         && line->s[n] <= '9'; n++)
    {
        /* void */
    }

    return n > 0 && n + 1 < line->len
           && (line->s[n] == '.' || line->s[n] == ')')
           && (line->s[n + 1] == ' ' || line->s[n + 1] == '\t');
}


/* A template tag of a site generator ("{{< note >}}") alone on its line. */

static int
tf_line_is_shortcode(const tf_line_t *line)
{
    return line->len >= 5 && memcmp(line->s, "{{", 2) == 0
           && memcmp(line->s + line->len - 2, "}}", 2) == 0
           && memmem(line->s, line->len - 2, "}}", 2) == NULL;
}


/*
 * "## Text ## {#anchor}": the level, and where the text is, from line->s.
 */

static unsigned
tf_line_heading(const tf_line_t *line, size_t *start, size_t *end)
{
    size_t       s, e;
    unsigned     level;
    const char  *mark;

    for (level = 0; level < line->len && line->s[level] == '#'; level++) {
        /* void */
    }

    if (level == 0 || level > 6
        || (level < line->len && line->s[level] != ' '
            && line->s[level] != '\t'))
    {
        return 0;
    }

    s = level;
    e = line->len;

    mark = memmem(line->s + s, e - s, "{#", 2);
    if (mark != NULL && line->s[e - 1] == '}') {
        e = mark - line->s;
    }

    while (s < e && (line->s[s] == ' ' || line->s[s] == '\t')) {
        s++;
    }

    while (e > s && (line->s[e - 1] == ' ' || line->s[e - 1] == '\t'
                     || line->s[e - 1] == '#'))
    {
        e--;
    }

    *start = s;
    *end = e;

    return level;
}


/* "---", "===", "* * *": all of one mark, with spaces. */

static int
tf_line_is_rule(const tf_line_t *line)
{
    size_t  i, n;

    if (line->len < 3 || strchr("-=*_", line->s[0]) == NULL) {
        return 0;
    }

    for (i = 0, n = 0; i < line->len; i++) {
        if (line->s[i] == line->s[0]) {
            n++;

        } else if (line->s[i] != ' ') {
            return 0;
        }
    }

    return n >= 3;
}


/* Whether each line is "Name: value"; one line alone is as good as prose. */

static int
tf_is_fields(const char *data, size_t start, size_t end)
{
    size_t     pos, i, lines;
    tf_line_t  line;

    for (pos = start, lines = 0; pos < end; pos = line.next, lines++) {
        tf_line_read(data, pos, end, &line);

        if (line.len == 0 || line.s[0] < 'A' || line.s[0] > 'Z') {
            return 0;
        }

        for (i = 1; i < line.len && i < 32 && line.s[i] != ':'; i++) {
            if (!((line.s[i] | 0x20) >= 'a' && (line.s[i] | 0x20) <= 'z')
                && line.s[i] != ' ' && line.s[i] != '-')
            {
                return 0;
            }
        }

        if (i + 2 >= line.len || line.s[i] != ':' || line.s[i + 1] != ' ') {
            return 0;
        }
    }

    return lines > 1;
}
