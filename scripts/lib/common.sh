# shellcheck shell=bash
#
# What the scripts share: where they are, and how they talk.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck disable=SC2034
LIB=$ROOT/scripts/lib


say()
{
    printf '%s\n' "$*"
}


step()
{
    printf '==> %s\n' "$*"
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


# build TARGET...: make, one at a time in this folder

build()
{
    mkdir -p "$ROOT/build"
    flock "$ROOT/build/lock" \
        make -C "$ROOT" --no-print-directory -j"$(nproc)" "$@"
}


# usage: prints the comment at the head of the script

usage()
{
    sed -n -e '1,2d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"
}
