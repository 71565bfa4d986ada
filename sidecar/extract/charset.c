#include <errno.h>
#include <iconv.h>
#include <string.h>
#include <strings.h>

#include "extract/charset.h"
#include "extract/text.h"


typedef struct {
    const char  *alias;
    const char  *name;          /* iconv's */
} tf_charset_t;


/* What mails and pages call them.  Latin 1 means windows-1252 there. */

static const tf_charset_t  tf_charsets[] = {
    { "utf-8",           "UTF-8"       }, { "utf8",         "UTF-8"       },
    { "us-ascii",        "UTF-8"       }, { "ascii",        "UTF-8"       },
    { "iso-8859-1",      "WINDOWS-1252" }, { "latin1",      "WINDOWS-1252" },
    { "windows-1252",    "WINDOWS-1252" }, { "cp1252",      "WINDOWS-1252" },
    { "iso-8859-2",      "ISO-8859-2"  }, { "iso-8859-3",   "ISO-8859-3"  },
    { "iso-8859-4",      "ISO-8859-4"  }, { "iso-8859-5",   "ISO-8859-5"  },
    { "iso-8859-6",      "ISO-8859-6"  }, { "iso-8859-7",   "ISO-8859-7"  },
    { "iso-8859-8",      "ISO-8859-8"  }, { "iso-8859-9",   "ISO-8859-9"  },
    { "iso-8859-10",     "ISO-8859-10" }, { "iso-8859-13",  "ISO-8859-13" },
    { "iso-8859-14",     "ISO-8859-14" }, { "iso-8859-15",  "ISO-8859-15" },
    { "iso-8859-16",     "ISO-8859-16" }, { "windows-1250", "CP1250"      },
    { "windows-1251",    "CP1251"      }, { "windows-1253", "CP1253"      },
    { "windows-1254",    "CP1254"      }, { "windows-1255", "CP1255"      },
    { "windows-1256",    "CP1256"      }, { "windows-1257", "CP1257"      },
    { "windows-1258",    "CP1258"      }, { "koi8-r",       "KOI8-R"      },
    { "koi8-u",          "KOI8-U"      }, { "utf-16",       "UTF-16"      },
    { "utf-16le",        "UTF-16LE"    }, { "utf-16be",     "UTF-16BE"    },
    { "utf-32le",        "UTF-32LE"    }, { "utf-32be",     "UTF-32BE"    },
    { "shift_jis",       "SHIFT_JIS"   }, { "shift-jis",    "SHIFT_JIS"   },
    { "euc-jp",          "EUC-JP"      }, { "iso-2022-jp",  "ISO-2022-JP" },
    { "euc-kr",          "EUC-KR"      }, { "gb2312",       "GBK"         },
    { "gbk",             "GBK"         }, { "gb18030",      "GB18030"     },
    { "big5",            "BIG5"        }, { "tis-620",      "TIS-620"     },
    { NULL,              NULL          }
};


static void tf_charset_iconv(iconv_t cd, size_t unit, const char *data,
    size_t len, tf_buf_t *out);
static void tf_charset_utf8(const char *data, size_t len, tf_buf_t *out);


#define TF_REPLACEMENT  "\xef\xbf\xbd"


int
tf_charset_decode(const char *charset, size_t namelen, const char *data,
    size_t len, tf_buf_t *out)
{
    size_t               unit;
    iconv_t              cd;
    const tf_charset_t  *row;

    for (row = tf_charsets; row->alias != NULL; row++) {
        if (strlen(row->alias) == namelen
            && strncasecmp(row->alias, charset, namelen) == 0)
        {
            break;
        }
    }

    if (row->alias == NULL) {
        return -1;
    }

    if (strcmp(row->name, "UTF-8") == 0) {
        tf_charset_utf8(data, len, out);
        return 0;
    }

    cd = iconv_open("UTF-8", row->name);
    if (cd == (iconv_t) -1) {
        return -1;
    }

    unit = strncmp(row->name, "UTF-16", 6) == 0 ? 2
           : strncmp(row->name, "UTF-32", 6) == 0 ? 4 : 1;

    tf_charset_iconv(cd, unit, data, len, out);

    (void) iconv_close(cd);

    return 0;
}


/* Bytes that mean nothing are stepped over by one unit of the encoding. */

static void
tf_charset_iconv(iconv_t cd, size_t unit, const char *data, size_t len,
    tf_buf_t *out)
{
    char    piece[4096], *in, *to;
    size_t  left, room;

    in = (char *) data;
    left = len;

    while (left && !out->failed) {
        to = piece;
        room = sizeof(piece);

        if (iconv(cd, &in, &left, &to, &room) != (size_t) -1) {
            tf_buf_append(out, piece, (size_t) (to - piece));
            break;
        }

        tf_buf_append(out, piece, (size_t) (to - piece));

        if (errno == E2BIG) {
            continue;
        }

        tf_buf_puts(out, TF_REPLACEMENT);

        if (errno != EILSEQ || left < unit) {
            break;          /* it ends within a character */
        }

        in += unit;
        left -= unit;
    }
}


static void
tf_charset_utf8(const char *data, size_t len, tf_buf_t *out)
{
    size_t  n;

    while (len && !out->failed) {
        n = tf_utf8_valid(data, len);
        tf_buf_append(out, data, n);

        if (n < len) {
            tf_buf_puts(out, TF_REPLACEMENT);
            n++;
        }

        data += n;
        len -= n;
    }
}


const char *
tf_charset_wide(const char *data, size_t len, size_t *skip)
{
    size_t  i, n, nul[2];

    *skip = 0;

    if (len >= 4 && memcmp(data, "\xff\xfe\0\0", 4) == 0) {
        *skip = 4;
        return "UTF-32LE";
    }

    if (len >= 4 && memcmp(data, "\0\0\xfe\xff", 4) == 0) {
        *skip = 4;
        return "UTF-32BE";
    }

    if (len >= 2 && memcmp(data, "\xff\xfe", 2) == 0) {
        *skip = 2;
        return "UTF-16LE";
    }

    if (len >= 2 && memcmp(data, "\xfe\xff", 2) == 0) {
        *skip = 2;
        return "UTF-16BE";
    }

    n = len < 1024 ? len / 2 * 2 : 1024;
    nul[0] = 0;
    nul[1] = 0;

    for (i = 0; i < n; i++) {
        nul[i % 2] += (data[i] == '\0');
    }

    if (n >= 4 && nul[0] == 0 && nul[1] >= n / 4) {
        return "UTF-16LE";
    }

    if (n >= 4 && nul[1] == 0 && nul[0] >= n / 4) {
        return "UTF-16BE";
    }

    return NULL;
}


void
tf_charset_clean(char *s, size_t len)
{
    size_t  i, n;

    for (i = 0; i < len; i++) {
        if (((unsigned char) s[i] < 0x20 && s[i] != '\n' && s[i] != '\t'
             && s[i] != '\r') || s[i] == 0x7f)
        {
            s[i] = ' ';
        }
    }

    for (n = 0; n < len; n++) {
        n += tf_utf8_valid(s + n, len - n);

        if (n < len) {
            s[n] = '?';
        }
    }
}
