# shellcheck shell=bash
#
# Fetching from Debian with a source list of our own, so that the machine's
# configuration is neither used as a whole (it may name third parties whose
# servers or keys are broken) nor changed.


# tf_apt_lists DIR SUITE
#
# Writes source lists to DIR, derived from the machine's own Debian entries
# (one-line and deb822 files), as deb and deb-src.  An empty SUITE keeps the
# machine's suite; another one replaces its name (bookworm-security becomes
# trixie-security).

tf_apt_lists()
{
    local  dir=$1 suite=$2 own f

    # shellcheck disable=SC1091
    own=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
    suite=${suite:-$own}

    mkdir -p "$dir"

    {
        for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
            [ -r "$f" ] || continue
            awk '
                $1 == "deb" {
                    opts = ""; i = 2
                    if ($i ~ /^\[/) {
                        do { opts = opts " " $i } while ($(i++) !~ /\]$/)
                    }
                    if ($0 ~ / main( |$)/) print $i "|" $(i + 1) "|" opts
                }' "$f"
        done

        for f in /etc/apt/sources.list.d/*.sources; do
            [ -r "$f" ] || continue
            awk '
                function put(    n, m, i, j, u, s, opt) {
                    if (types ~ /deb/ && comps ~ /main/ &&
                        tolower(enabled) != "no") {
                        n = split(uris, u, " "); m = split(suites, s, " ")
                        opt = (signed ~ /^\//) ? "[signed-by=" signed "]" : ""
                        for (i = 1; i <= n; i++)
                            for (j = 1; j <= m; j++)
                                print u[i] "|" s[j] "|" opt
                    }
                    types = uris = suites = comps = signed = enabled = ""
                }
                /^#/ { next }
                /^[ \t]*$/ { put(); next }
                {
                    k = tolower($1); v = $0; sub(/^[^:]*:[ \t]*/, "", v)
                    if (k == "types:") types = v
                    else if (k == "uris:") uris = v
                    else if (k == "suites:") suites = v
                    else if (k == "components:") comps = v
                    else if (k == "signed-by:") signed = v
                    else if (k == "enabled:") enabled = v
                }
                END { put() }' "$f"
        done
    } | while IFS='|' read -r uri name opts; do

        # Debian's own suites only; third parties use other names, or
        # another component than main
        case $name in
            "$own"|"$own"-security|"$own"-updates) ;;
            stable|stable-security|stable-updates) ;;
            *) continue ;;
        esac

        case $name in
            *-security) name=$suite-security ;;
            *-updates)  name=$suite-updates ;;
            *)          name=$suite ;;
        esac

        echo "deb $opts $uri $name main"
        echo "deb-src $opts $uri $name main"
    done | sort -u > "$dir/trifecta.list"

    if [ ! -s "$dir/trifecta.list" ]; then
        printf '%s\n' \
            "deb http://deb.debian.org/debian $suite main" \
            "deb-src http://deb.debian.org/debian $suite main" \
            "deb-src http://deb.debian.org/debian-security $suite-security main" \
            > "$dir/trifecta.list"
    fi

    # a machine may do without the entry for security, but what it runs may
    # come from there
    if ! grep -q -e '-security' "$dir/trifecta.list"; then
        sed -n -e "s,deb-src \\(.*\\)[^ ]*://.*,deb-src \\1http://deb.debian.org/debian-security $suite-security main,p" \
            "$dir/trifecta.list" | head -1 > "$dir/security.list"
    fi
}


# tf_apt TMP SUITE apt-get-arguments...
#
# apt-get with lists and cache below TMP; works as a user too, as long as it
# installs nothing.

tf_apt()
{
    local  tmp=$1 suite=$2

    shift 2

    if [ ! -e "$tmp/lists.d/trifecta.list" ]; then
        tf_apt_lists "$tmp/lists.d" "$suite"
        mkdir -p "$tmp/lists/partial" "$tmp/cache/archives/partial"
    fi

    tf_apt_with apt-get "$tmp" -q -y -o APT::Sandbox::User=root \
        -o Acquire::Retries=3 -o Acquire::Languages=none "$@"
}


# tf_apt_with apt-get|apt-cache TMP arguments...

tf_apt_with()
{
    local  program=$1 tmp=$2

    shift 2

    "$program" \
        -o Dir::Etc::sourcelist=/dev/null \
        -o Dir::Etc::sourceparts="$tmp/lists.d" \
        -o Dir::State::lists="$tmp/lists" \
        -o Dir::Cache="$tmp/cache" \
        "$@"
}


# tf_apt_source TMP SUITE package [VERSION...]
#
# The unpacked, patched source lands below TMP/src.  A version may be a
# pattern; the first that can be had is taken, of a pattern (or without any)
# the newest: lists may name files that are gone again.

tf_apt_source()
{
    local  tmp=$1 suite=$2 package=$3 known pattern version

    shift 3

    # an entry that does not exist in some mirror must not spoil the rest
    tf_apt "$tmp" "$suite" update || true
    mkdir -p "$tmp/src"

    known=$(tf_apt_with apt-cache "$tmp" showsrc --only-source "$package" |
            sed -n 's/^Version: //p' | sort -rVu)

    for pattern in "${@:-*}"; do
        for version in $known; do
            # shellcheck disable=SC2254
            case $version in
                $pattern) ;;
                *)        continue ;;
            esac

            if (cd "$tmp/src" &&
                tf_apt "$tmp" "$suite" source "$package=$version")
            then
                return 0
            fi
            rm -rf "${tmp:?}"/src/*
        done
    done

    return 1
}
