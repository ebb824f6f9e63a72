#!/bin/bash
# Standard streams that fail or are not there: never silent, never another file in their place.
. "$(dirname "$0")/common.sh"
exits 0 init "$store"
head -c 3000000 /dev/urandom >"$dir/big"
printf small >"$dir/small"
exits 0 put "$store" big "$dir/big"
exits 0 put "$store" small "$dir/small"

# to_stdout ARG...: exit 1 with a message when standard output is full, broken or closed.
to_stdout() {
    local got=0
    "$cairn" "$@" >/dev/full 2>"$err" || got=$?
    [ "$got" = 1 ] || fail "exit $got on a full output: $*"
    complains 'standard output' 'No space left'
    [ "$(wc -l <"$err")" = 1 ] || fail "more than one message: $(cat "$err")"
    got=0
    "$cairn" "$@" >&- 2>"$err" || got=$?
    [ "$got" = 1 ] || fail "exit $got on a closed output: $*"
    complains 'standard output' 'Bad file descriptor'
    # The reader is gone before the first byte.
    mkfifo "$dir/pipe"
    (exec 3<>"$dir/pipe" 4>"$dir/pipe" 3<&-
        got=0
        "$cairn" "$@" >&4 2>"$err" || got=$?
        exit "$got")
    got=$?
    rm "$dir/pipe"
    [ "$got" = 1 ] || fail "exit $got on a broken pipe: $*"
    complains 'standard output' 'Broken pipe'
}
to_stdout get "$store" big
to_stdout get "$store" small
to_stdout scan "$store"
to_stdout scan "$store" --values
to_stdout scan "$store" --values --json
to_stdout stat "$store" small
to_stdout stats "$store"
to_stdout verify "$store" --json
to_stdout --version
to_stdout put --help
mkdir "$dir/tree"
printf t >"$dir/tree/t"
to_stdout put-tree -q --json "$store" "$dir/tree"
to_stdout get-tree -q -v "$store" "$dir/back"

# A reader that stops early.
"$cairn" get "$store" big 2>"$err" | head -c 10 >/dev/null
[ "${PIPESTATUS[0]}" = 1 ] || fail 'a pipe that broke half-way'
complains 'Broken pipe'

# No standard input: nothing is stored, and the store is not damaged by a file in its place.
got=0
"$cairn" put "$store" closed <&- 2>"$err" || got=$?
[ "$got" = 1 ] || fail "exit $got without standard input"
complains 'standard input' 'Bad file descriptor'
exits 3 get "$store" closed
"$cairn" put "$store" closed "$dir/small" <&- >&- 2>&- || fail 'put without streams'
"$cairn" verify "$store" <&- >/dev/null 2>&- || fail 'verify without streams'
"$cairn" get "$store" absent >&- 2>&-
[ $? = 3 ] || fail 'get of an absent key without streams'
exits 0 get "$store" closed
prints small
exits 0 verify "$store"

# Progress: never where it was not asked for, always where it was; never on standard output.
exits 0 get "$store" big -o "$dir/copy"
silent
exits 0 get "$store" big -o "$dir/copy" --progress=never
silent
exits 0 put "$store" big "$dir/big" --progress=always
prints ''
complains '100%' '2.9 MiB of 2.9 MiB'
exits 0 get "$store" big --progress=always
same "$out" "$dir/big"
complains '100%'
exits 0 put-tree "$store" "$dir/tree" --progress always -q
complains '100%' '1 B of 1 B'
exits 0 get-tree "$store" "$dir/back" --progress always -q
complains '100%'
exits 0 verify "$store" --progress always
complains '100%'

finish
