# shellcheck shell=bash
#
# The processes of a private stack: started detached, found again, replaced
# when they died, stopped.
#
# What runs is written to $RUN/pid/<name>: "<pid> <start time> <checksum>".
# A pid alone says nothing after a while; with its start time (from /proc) it
# names one process for ever.  The checksum covers configuration and program:
# a process that was started with others is replaced.
#
# Each process is the leader of a session of its own.  It outlives the shell,
# and what a killed leader leaves behind (nginx' workers, which would keep
# the ports) is found by the session.

# shellcheck disable=SC2034
NAMES=(redis postgres sidecar nginx)


stack_init()
{
    RUN=${TRIFECTA_RUN:-$ROOT/.run}

    case $RUN in
        /*) ;;
        *)  RUN=$PWD/$RUN ;;
    esac
}


# One of "up" and "down" at a time.

stack_lock()
{
    exec 9> "$RUN/lock"
    flock -w 300 9 || die "another up or down is at work in $RUN"
}


# proc_stat PID: sets P_STATE and P_START; false when there is none

proc_stat()
{
    local  line

    { read -r line < "/proc/$1/stat"; } 2>/dev/null || return 1
    line=${line##*) }
    # shellcheck disable=SC2086
    set -- $line
    P_STATE=$1
    P_START=${20}
}


# proc_read NAME: sets PID and SUM of a process that lives.  False when it
# does not; PID is then the dead one, or empty when its number belongs to
# somebody else by now.

proc_read()
{
    local  start

    PID='' SUM=''
    [ -r "$RUN/pid/$1" ] || return 1
    read -r PID start SUM < "$RUN/pid/$1" || return 1

    proc_stat "$PID" || return 1

    if [ "$P_START" != "$start" ]; then
        PID=''
        return 1
    fi

    [ "$P_STATE" != Z ] && [ "$P_STATE" != X ]
}


# proc_start NAME CHECKSUM COMMAND...
#
# The file is written before the program runs: whatever happens to this shell
# or to the disk, what runs is in a file.

proc_start()
{
    local  name=$1 sum=$2 ready

    shift 2

    # descriptor 9 is the lock; nobody may inherit it
    ready=$(
        {
            cd /
            proc_stat "$BASHPID"
            echo "$BASHPID $P_START $sum" > "$RUN/pid/$name" || exit 1
            echo yes
            exec setsid "$@" < /dev/null >> "$RUN/log/$name.log" 2>&1 9>&-
        } &
    )

    [ -n "$ready" ] || die "cannot write $RUN/pid/$name"
}


# session PID: the living processes of its session, itself included

session()
{
    local  dir line sid=$1

    for dir in /proc/[0-9]*; do
        { read -r line < "$dir/stat"; } 2>/dev/null || continue
        line=${line##*) }
        # shellcheck disable=SC2086
        set -- $line
        # state ppid pgrp session
        if [ "$4" = "$sid" ] && [ "$1" != Z ]; then
            echo "${dir#/proc/}"
        fi
    done
}


gone()
{
    ! proc_stat "$1" || [ "$P_STATE" = Z ]
}


# wait_gone PID SECONDS

wait_gone()
{
    local  end=$((SECONDS + $2))

    until gone "$1"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}


# proc_stop NAME SIGNAL SECONDS: politely, then not.  What a dead leader left
# goes, too.  False when it did not run.

proc_stop()
{
    local  name=$1 signal=$2 seconds=$3 rc=1 pid left

    if proc_read "$name"; then
        rc=0
        kill -s "$signal" "$PID" 2>/dev/null || true
        # one that is stopped (SIGSTOP) hears nothing
        kill -s CONT "$PID" 2>/dev/null || true

        if ! wait_gone "$PID" "$seconds"; then
            warn "$name ($PID) does not stop on SIG$signal; SIGKILL"
            kill -s KILL "$PID" 2>/dev/null || true
            wait_gone "$PID" 5 || true
        fi
    fi

    if [ -n "$PID" ]; then
        left=$(session "$PID")
        if [ -n "$left" ]; then
            # shellcheck disable=SC2086
            kill -s KILL $left 2>/dev/null || true
            for pid in $left; do
                wait_gone "$pid" 5 || true
            done
        fi
    fi

    rm -f "$RUN/pid/$name"
    return "$rc"
}


# A port on which somebody listens, on whatever address.

port_busy()
{
    local  hex

    hex=$(printf '%04X' "$1")
    awk -v p=":$hex" '$4 == "0A" && substr($2, length($2) - 4) == p { f = 1 }
                      END { exit !f }' /proc/net/tcp /proc/net/tcp6 2>/dev/null
}


# listens PID PORTS: the process itself has the listening sockets; that
# somebody answers on a port does not say who

listens()
{
    local  port hex inode found inodes

    for port in $2; do
        hex=$(printf '%04X' "$port")
        found=

        mapfile -t inodes < <(awk -v p=":$hex" '
            $4 == "0A" && substr($2, length($2) - 4) == p { print $10 }' \
            /proc/net/tcp /proc/net/tcp6 2>/dev/null)

        for inode in "${inodes[@]}"; do
            if find "/proc/$1/fd" -lname "socket:?$inode?" 2>/dev/null |
               grep -q .
            then
                found=1
            fi
        done

        [ -n "$found" ] || return 1
    done
}


# wait_http URL SECONDS: until it answers 200

wait_http()
{
    local  end=$((SECONDS + $2))

    until [ "$(curl -s -o /dev/null -m 2 -w '%{http_code}' "$1")" = 200 ]; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}


# log_tail NAME: for a message on what went wrong

log_tail()
{
    warn "last lines of $RUN/log/$1.log:"
    tail -n 12 "$RUN/log/$1.log" 2>/dev/null | sed 's/^/    /' >&2 || true
}


# checksum FILE...: of their contents (programs: of size and time)

checksum()
{
    local  f

    for f in "$@"; do
        case $f in
            *.conf) cat "$f" ;;
            *)      stat -Lc '%n %s %Y %i' "$f" ;;
        esac
    done | cksum | tr -d ' '
}
