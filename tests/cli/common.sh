# What the tests of the program share. Source it with the path of the cairn binary as $1. Each test works below $dir, which
# is removed at its end, and ends with `finish`.
# shellcheck shell=bash

set -u
export LC_ALL=C
umask 022

[ $# -ge 1 ] && [ -x "$1" ] || { echo "usage: $0 CAIRN_BINARY" >&2; exit 2; }
cairn=$(readlink -f -- "$1")
dir=$(mktemp -d "${TMPDIR:-/tmp}/cairn-cli.XXXXXX") || exit 2
trap 'chmod -R u+rwx "$dir" 2>/dev/null; rm -rf -- "$dir"' EXIT
trap 'exit 143' HUP INT TERM
store=$dir/store
out=$dir/out
err=$dir/err
failures=0

fail() {
    echo "FAILED at ${BASH_SOURCE[-1]}:${BASH_LINENO[-2]}: $*" >&2
    failures=$((failures + 1))
}

finish() {
    if [ "$failures" -ne 0 ]; then
        echo "$failures failed" >&2
        exit 1
    fi
    exit 0
}

# exits CODE ARG...: runs cairn with ARGs, its streams into $out and $err, and checks its exit code.
exits() {
    local wanted=$1 got=0
    shift
    timeout 60 "$cairn" "$@" >"$out" 2>"$err" || got=$?
    if [ "$got" -ne "$wanted" ]; then
        local line="$*"
        fail "exit $got, not $wanted: cairn ${line:0:300}"
        head -c 600 "$err" >&2
    fi
}

# to_signal ARG... &: runs cairn so that a signal to $! reaches the program once. Without --foreground, timeout sends it to
# its whole group and SIGCONT after it, and a process that gets SIGCONT while the address sanitizer stops it to look for
# leaks never ends.
to_signal() { exec timeout --foreground -k 60 60 "$cairn" "$@"; }

# interrupts SIGNAL ARG...: runs cairn with ARGs and sends the signal at the first sign of progress. $got: its exit code.
interrupts() {
    local signal=$1 pid
    shift
    [ -p "$dir/progress" ] || mkfifo "$dir/progress"
    to_signal "$@" --progress=always >"$out" 2>"$dir/progress" &
    pid=$!
    exec 8<"$dir/progress"
    read -r -n 1 -u 8
    kill -"$signal" "$pid"
    cat <&8 >"$err"
    exec 8<&-
    got=0
    wait "$pid" || got=$?
}

# prints TEXT: standard output was exactly what printf makes of TEXT.
prints() {
    # shellcheck disable=SC2059
    printf "$1" | cmp -s - "$out" || {
        fail "standard output is not '$1' but:"
        head -c 400 "$out" | od -c | head -n 8 >&2
    }
}

# complains WORD...: standard error holds each WORD.
complains() {
    local word
    for word in "$@"; do
        grep -qF -e "$word" "$err" || {
            fail "standard error does not tell '$word' but:"
            head -c 600 "$err" >&2
        }
    done
}

silent() {
    if [ -s "$err" ]; then
        fail "standard error is not empty:"
        head -c 600 "$err" >&2
    fi
}

same() {
    cmp -s -- "$1" "$2" || fail "$1 and $2 differ"
}

# json FILTER: every line of $out is an object, and FILTER holds for all of them as an array. jq is optional: without it
# the lines are only looked at.
json() { json_of "$out" "$1"; }
json_of() {
    if command -v jq >/dev/null; then
        jq -es "$2" "$1" >/dev/null 2>&1 || {
            fail "JSON: $2 does not hold for:"
            head -c 600 "$1" >&2
        }
    elif grep -qvE '^\{.*\}$' "$1" || ! [ -s "$1" ]; then
        fail "$1 is not one object a line"
    fi
}

# tree_list DIR: path, type and checksum of all regular files below it.
tree_list() {
    (cd "$1" && find . -type f -print0 | sort -z | xargs -0 -r sha256sum -z | tr '\0' '\n')
}

# needs_ordered_index: ends the test where the program was built without, after a look at how it says so.
needs_ordered_index() {
    local probe=$dir/probe
    if "$cairn" init "$probe" --ordered 2>"$err"; then
        rm -r "$probe"
        return
    fi
    exits 1 init "$probe" --ordered
    complains cairn:
    [ ! -e "$probe" ] || fail "a refused init left $probe"
    exits 0 init "$probe"
    exits 1 scan "$probe" --reverse
    exits 1 index add "$probe"
    echo 'not checked: built without the ordered index'
    finish
}

# shown_to_hex: lines of keys as they are shown, made hex.
shown_to_hex() {
    awk 'BEGIN { for (i = 1; i < 256; i++) hex[sprintf("%c", i)] = sprintf("%02x", i) }
        {
            line = ""
            for (i = 1; i <= length($0); i++) {
                byte = substr($0, i, 1)
                if (byte == "\\") { line = line substr($0, i + 2, 2); i += 3 } else line = line hex[byte]
            }
            print line
        }'
}
