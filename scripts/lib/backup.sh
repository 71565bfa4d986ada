# shellcheck shell=bash
#
# What scripts/backup and scripts/restore share.  Both are installed as
# trifecta-backup and trifecta-restore, so nothing of the checkout is needed.
#
# A backup is a folder with these files:
#
#   trifecta.dump   pg_dump's custom format, of the schema trifecta
#   id.key          the key of job ids: without it nobody can read a job
#   manifest        key=value: what it is, and how many rows each table has
#   SHA256SUMS      of these three

# shellcheck disable=SC2034
FILES=(trifecta.dump id.key manifest)


say()
{
    printf '%s\n' "$*"
}


warn()
{
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}


die()
{
    warn "$*"
    exit 1
}


# usage: prints the comment at the head of the script

usage()
{
    sed -n -e '1,2d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"
}


# options ARGUMENT...: sets CONFIG and FOLDER

options()
{
    CONFIG=${TRIFECTA_CONF-}
    FOLDER=

    while [ $# -gt 0 ]; do
        case $1 in
            -h|--help) usage; exit 0 ;;
            --config)  [ $# -gt 1 ] || { usage >&2; exit 2; }
                       CONFIG=$2; shift ;;
            -*)        usage >&2; exit 2 ;;
            *)         [ -z "$FOLDER" ] || { usage >&2; exit 2; }
                       FOLDER=$1 ;;
        esac
        shift
    done

    [ -n "$FOLDER" ] || { usage >&2; exit 2; }

    if [ -z "$CONFIG" ]; then
        CONFIG=/etc/trifecta/sidecar.conf
    fi

    [ -r "$CONFIG" ] ||
        die "cannot read $CONFIG: name the sidecars' file with --config"
}


needs()
{
    local  tool

    for tool; do
        command -v "$tool" > /dev/null ||
            die "$tool is not there: install PostgreSQL's client programs" \
                "(package postgresql-client) and coreutils"
    done
}


# key NAME: its value, from the environment or the file, as the program reads
# them; what is in neither is empty

key()
{
    local  name=TRIFECTA_${1^^}

    if [ -n "${!name+set}" ]; then
        printf '%s' "${!name}"
        return
    fi

    awk -v key="$1" '
        { sub(/^#.*/, ""); sub(/[ \t]#.*/, "") }
        match($0, /=/) {
            name = substr($0, 1, RSTART - 1)
            value = substr($0, RSTART + 1)
            gsub(/^[ \t]+|[ \t\r]+$/, "", name)
            gsub(/^[ \t]+|[ \t\r]+$/, "", value)
            if (name == key) { printf "%s", value }
        }' "$CONFIG"
}


# connection: sets URL and libpq's environment to those of migrate

connection()
{
    local  file

    URL=$(key pg_admin_url)
    URL=${URL:-$(key pg_url)}
    URL=${URL:-postgresql://127.0.0.1:5432/trifecta}
    file=$(key pg_admin_password_file)

    if [ -n "$file" ]; then
        [ -r "$file" ] || die "cannot read $file (pg_admin_password_file)"
        PGPASSWORD=$(head -n 1 "$file")
        export PGPASSWORD
    fi

    export PGAPPNAME=${0##*/} PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-10}
    export PGCLIENTENCODING=UTF8
}


# ask SQL: one value

ask()
{
    psql -X -q -At -v ON_ERROR_STOP=1 -d "$URL" -c "$1"
}


# sees_all: whoever dumps must pass row-level security

sees_all()
{
    local  who

    who=$(ask "SELECT rolname || ' ' || (rolsuper OR rolbypassrls)
               FROM pg_roles WHERE rolname = current_user") ||
        die "cannot connect to PostgreSQL as pg_admin_url says"

    [ "${who##* }" = true ] ||
        die "the user ${who% *} of pg_admin_url sees only some of the rows" \
            "(row-level security): a superuser, or a role with BYPASSRLS, is" \
            "needed"
}


# rows_of DUMP: "table rows" for each table in it, which reads all of it

rows_of()
{
    pg_restore --data-only -f - "$1" | LC_ALL=C awk '
        in_copy { if ($0 == "\\.") { print table, n; in_copy = 0 } else n++
                  next }
        /^COPY .* FROM stdin;$/ { table = $2; n = 0; in_copy = 1 }' |
        LC_ALL=C sort
}


# manifest NAME: a value of the manifest in FOLDER

manifest()
{
    sed -n "s/^$1=//p" "$FOLDER/manifest"
}
