#!/bin/bash
# Paths that are no store of ours, or that somebody holds: the exit code, a message that names the path, and nothing changed.
. "$(dirname "$0")/common.sh"

every_command() { # EXIT PATH
    local wanted=$1 path=$2 line verb words
    exits "$wanted" put "$path" k "$dir/x"
    complains "$path"
    for line in 'get k' 'stat k' 'delete k' 'delete --prefix k' scan stats verify compact; do
        read -ra words <<<"$line"
        exits "$wanted" "${words[0]}" "$path" "${words[@]:1}"
        complains "$path"
        prints ''
    done
    for verb in add drop rebuild; do
        exits "$wanted" index "$verb" "$path"
        complains "$path"
        prints ''
    done
    exits "$wanted" put-tree "$path" "$dir/tree"
    exits "$wanted" get-tree "$path" "$dir/back"
    exits "$wanted" get "$path" k --json
    json_of "$err" "length == 1 and .[0].exit == $wanted"
}
printf x >"$dir/x"
mkdir "$dir/tree"
printf t >"$dir/tree/t"

# Missing; below something missing.
every_command 4 "$dir/missing"
every_command 4 "$dir/missing/too"
[ ! -e "$dir/missing" ] || fail 'something made a store'

# A file.
printf 'not a store' >"$dir/file"
every_command 4 "$dir/file"
[ "$(cat "$dir/file")" = 'not a store' ] || fail 'the file was changed'
exits 4 init "$dir/missing/too/deep"

# A directory that is somebody else's.
mkdir "$dir/foreign"
printf mine >"$dir/foreign/data"
every_command 4 "$dir/foreign"
[ "$(ls -A "$dir/foreign")" = data ] || fail "a foreign directory now holds: $(ls -A "$dir/foreign")"

# An empty directory is no store for put, and may become one by init.
mkdir "$dir/empty"
every_command 4 "$dir/empty"
[ -z "$(ls -A "$dir/empty")" ] || fail 'something was made in an empty directory'
exits 0 init "$dir/empty"
exits 0 put "$dir/empty" k "$dir/x"

# Held by a writer that waits for the rest of its value: busy for all, and as it was once it is let go. More than a pipe
# holds was taken from the writer by the time that head is done, so it has the store by then.
exits 0 init "$store"
exits 0 put "$store" k "$dir/x"
head -c 200000 /dev/urandom >"$dir/first"
mkfifo "$dir/fifo"
timeout 60 "$cairn" put "$store" slow - <"$dir/fifo" 2>"$dir/holder_err" &
holder=$!
exec 9>"$dir/fifo"
head -c 200000 "$dir/first" >&9
every_command 6 "$store"
printf second >&9
exec 9>&-
wait "$holder" || fail "the holder failed: $(cat "$dir/holder_err")"
exits 0 get "$store" slow
{ cat "$dir/first"; printf second; } | cmp -s - "$out" || fail 'the value of the holder'
exits 0 get "$store" k
prints x

# The holder is killed: nothing of its value is there, and the store is free at once.
"$cairn" put "$store" killed - <"$dir/fifo" 2>/dev/null &
holder=$!
exec 9>"$dir/fifo"
head -c 3000000 /dev/zero >&9
exits 6 stat "$store" k
{
    kill -9 "$holder"
    exec 9>&-
    wait "$holder"
} 2>/dev/null
exits 3 get "$store" killed
exits 0 put "$store" k2 "$dir/x"
exits 0 verify "$store"

# Readers share it with each other, not with a writer. The one that writes to the pipe has the store when the pipe opens.
mkfifo "$dir/slow_reader"
timeout 60 "$cairn" get "$store" slow -o "$dir/slow_reader" &
reader=$!
exec 8<"$dir/slow_reader"
exits 0 get "$store" k
prints x
exits 0 verify "$store"
exits 6 put "$store" k3 "$dir/x"
cat <&8 >"$out"
exec 8<&-
wait "$reader" || fail 'the reader failed'
{ cat "$dir/first"; printf second; } | cmp -s - "$out" || fail 'the value of the slow reader'
exits 0 put "$store" k3 "$dir/x"

finish
