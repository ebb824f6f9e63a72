#!/bin/bash
# backup: a second store that holds the same, brought up to date by the next one, whatever stops it; and nothing else is ever
# touched.
. "$(dirname "$0")/common.sh"
kept=$dir/kept # what the store holds
dest=$dir/dest

fill() { # fill DIR COUNT SIZE: files of random bytes, named by number
    mkdir -p "$1"
    head -c $(($2 * $3)) /dev/urandom | split -a 4 --numeric-suffixes=1 -b "$3" - "$1/"
}
picture() { # picture DIR: every name, size and content below it
    (cd "$1" && find . -type f -printf '%P %s\n' -exec sha256sum {} + | sort)
}
holds() { # holds STORE DIR: it is sound and holds just these files
    exits 0 verify "$1"
    rm -rf "$dir/back"
    exits 0 get-tree -q "$1" "$dir/back"
    tree_list "$2" >"$dir/list1"
    tree_list "$dir/back" >"$dir/list2"
    same "$dir/list1" "$dir/list2"
}

fill "$kept" 300 5000
fill "$dir/large" 12 300000
for file in "$dir/large"/*; do cp "$file" "$kept/large-${file##*/}"; done
exits 0 init "$store"

# Of an empty store, and then of what is there.
exits 0 backup "$store" "$dest"
exits 0 verify "$dest"
exits 0 scan "$dest"
prints ''
exits 0 put-tree -q "$store" "$kept"
exits 0 backup "$store" "$dest" --json
silent
json 'length == 1 and .[0].bytes > 5e6 and .[0].bytes == .[0].bytes_kept + .[0].bytes_shared + .[0].bytes_copied'
holds "$dest" "$kept"
holds "$store" "$kept"

# Nothing new: nothing is brought but the index.
exits 0 backup "$store" "$dest" --json
json '.[0].bytes_kept > 5e6 and .[0].bytes_shared + .[0].bytes_copied < 2e6'
holds "$dest" "$kept"

# In words, and with progress.
exits 0 backup "$store" "$dest" --progress=always
for field in bytes bytes_kept bytes_shared bytes_copied; do
    grep -qE "^$field +[0-9]+  \([0-9.]+ ([KM]i)?B\)$" "$out" || fail "backup does not tell $field: $(cat "$out")"
done
complains '100%'

# The store goes its own way, and the backup stays what it was, until the next one.
cp -r "$kept" "$dir/then"
rm "$kept"/*[13579]
mapfile -t odd < <(cd "$dir/then" && ls -d -- *[13579])
exits 0 delete "$store" "${odd[@]}"
exits 0 compact "$store" --full
holds "$dest" "$dir/then"
holds "$store" "$kept"
exits 0 backup "$store" "$dest"
holds "$dest" "$kept"

# --copy shares no file, and keeps the holes of large values.
exits 0 backup "$store" "$dir/copy" --copy --json
json '.[0].bytes_shared == 0 and .[0].bytes_copied > 2e6'
[ -z "$(find "$dir/copy" -type f -links +1)" ] || fail 'a copy has a file with another link'
holds "$dir/copy" "$kept"
taken=$(du -s -B1 "$dir/copy" | cut -f1)
[ "$taken" -lt $(($(du -s -B1 "$kept" | cut -f1) * 13 / 10 + 4194304)) ] || fail "a copy takes $taken"

# Without its store a backup is one like every other, and then it is no backup any more.
cp "$kept/0002" "$dir/own"
mv "$store" "$dir/away"
holds "$dest" "$kept"
exits 0 put "$dest" own "$dir/own"
exits 0 compact "$dest" --full
cp -r "$kept" "$dir/with-own" && cp "$dir/own" "$dir/with-own/own"
holds "$dest" "$dir/with-own"
mv "$dir/away" "$store"
holds "$store" "$kept"
picture "$dest" >"$dir/before"
exits 1 backup "$store" "$dest"
complains "$dest" 'written to'
exits 1 backup "$store" "$dest" --json
json_of "$err" '.[0].error == "CAIRN_EXISTS" and .[0].exit == 1'
picture "$dest" >"$dir/after"
same "$dir/before" "$dir/after"

# What is no backup of this store is left alone.
mkdir "$dir/letters" && echo dear >"$dir/letters/letter"
exits 4 backup "$store" "$dir/letters"
complains letter
[ "$(ls -A "$dir/letters")" = letter ] || fail 'backup wrote among other files'
exits 0 init "$dir/other"
picture "$dir/other" >"$dir/before"
exits 1 backup "$store" "$dir/other"
picture "$dir/other" >"$dir/after"
same "$dir/before" "$dir/after"
exits 6 backup "$store" "$store"
exits 1 backup "$store" "$dir/no/such"
complains "$dir/no/such"
echo file >"$dir/file"
exits 1 backup "$store" "$dir/file"
[ "$(cat "$dir/file")" = file ] || fail 'backup wrote over a file'
exits 4 backup "$dir/nowhere" "$dir/new"
[ ! -e "$dir/new" ] || fail 'backup of nothing made something'
exits 2 backup "$store"
exits 2 backup "$store" "$dir/new" more
exits 2 backup "$store" "$dir/new" --full
[ ! -e "$dir/new" ] || fail 'a refused backup made something'
holds "$store" "$kept"

# kill -9 at any moment, of the first and of later ones: the earlier backup, or none; and the next one is whole.
dest=$dir/killed
copied=
for pause in 0.001 0.002 0.004 0.006 0.01 0.015 0.02 0.03 0.05; do
    "$cairn" backup "$store" "$dest" --copy >"$out" 2>"$err" &
    pid=$!
    sleep "$pause"
    {
        kill -KILL "$pid"
        wait "$pid"
    } 2>/dev/null
    if [ -e "$dest/CAIRN" ]; then
        copied=yes
        exits 0 verify "$dest"
    else
        [ -z "$copied" ] || fail 'a backup is gone'
        exits 4 verify "$dest"
    fi
    exits 0 verify "$store"
    exits 0 put "$store" 0002 "$dir/large/0003"
    exits 0 put "$store" 0002 "$kept/0002"
done
exits 0 backup "$store" "$dest" --copy
holds "$dest" "$kept"
[ -z "$(find "$dest" -name '*.NEW' -o -name '*.tab')" ] || fail "left over: $(ls "$dest")"

finish
