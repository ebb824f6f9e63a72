#!/bin/bash
# put-tree and get-tree: every regular file of a tree in and out, whatever its name.
. "$(dirname "$0")/common.sh"
exits 0 init "$store"

tree=$dir/tree
mkdir -p "$tree/sub/deep" "$tree/empty dir" "$tree/sub.d"
printf 1 >"$tree/plain"
printf 22 >"$tree/with space"
printf 333 >"$tree/new"$'\n'line
printf 4444 >"$tree/not utf8 "$'\xff\xfe'
printf 55555 >"$tree/back\\slash"
: >"$tree/sub/empty"
printf 666666 >"$tree/sub/deep/é"
printf x >"$tree/sub.d/file"
printf y >"$tree/sub-file"
printf z >"$tree/-dash"
printf q >"$tree/..hidden"
head -c 3000000 /dev/urandom >"$tree/sub/big"
head -c 1048576 /dev/urandom >"$tree/sub/mebibyte"
chmod 600 "$tree/plain"
ln -s plain "$tree/link"
ln -s sub "$tree/dirlink"
ln -s /nowhere "$tree/dangling"
mkfifo "$tree/fifo"

exits 0 put-tree "$store" "$tree"
prints ''
complains 'stored 13 files' 'skipped 4' 'failed 0'
exits 0 get-tree "$store" "$dir/back"
prints ''
complains 'wrote 13 files'
tree_list "$tree" >"$dir/list1"
tree_list "$dir/back" >"$dir/list2"
same "$dir/list1" "$dir/list2"
[ "$(wc -l <"$dir/list1")" -ge 13 ] || fail 'the list of files is too short'
[ -z "$(find "$dir/back" -type l -o -type p -o -name '.cairn-*')" ] || fail 'get-tree made what is no file of the tree'

# Small values are got many at a time, and larger ones in pieces: more of them than are got together, of sizes around the
# largest that is.
mkdir "$dir/many"
for i in {1..300}; do
    head -c $((i % 9 == 0 ? 65535 + i / 9 % 5 : i % 11 == 0 ? 69632 + i / 11 % 3 - 1 : i)) /dev/urandom >"$dir/many/$i"
done
exits 0 init "$dir/many store"
exits 0 put-tree -q "$dir/many store" "$dir/many"
exits 0 get-tree "$dir/many store" "$dir/many back"
complains 'wrote 300 files'
diff -r "$dir/many" "$dir/many back" >"$dir/difference" || fail "many values: $(head -n 3 "$dir/difference")"

# -v: each key on standard output, in the byte order of the paths, as it is shown; what was skipped on standard error.
exits 0 put-tree -v "$store" "$tree"
(cd "$tree" && find . -type f -print0 | sort -z | tr '\0\n' '\n\001' | sed 's,^\./,,') | sed \
    -e 's/\\/\\x5c/g' -e 's/\x01/\\x0a/g' -e 's/\xff\xfe/\\xff\\xfe/g' >"$dir/keys"
same "$out" "$dir/keys"
complains 'fifo: skipped: FIFO' 'link: skipped: symbolic link'
exits 0 put-tree -v -z -q "$store" "$tree"
(cd "$tree" && find . -type f -print0 | sort -z | sed -z 's,^\./,,') >"$dir/keys"
same "$out" "$dir/keys"
exits 0 put-tree -q "$store" "$tree"
prints ''
silent

# --json: one object a file, then the summary.
exits 0 put-tree --json "$store" "$tree"
silent
json 'length == 14 and (.[:13] | all(has("key_b64") and has("size"))) and (map(select(has("key"))) | length) == 12
    and (.[13] | has("key_b64") | not) and .[13].files == 13 and .[13].skipped == 4 and .[13].failed == 0
    and .[13].bytes == (.[:13] | map(.size) | add)'
exits 0 get-tree --json "$store" "$dir/back"
json 'length == 14 and (.[13] | .files == 13 and .refused == 0 and .failed == 0 and (has("key_b64") | not))'
exits 0 get-tree "$store" -v "$dir/back"
[ "$(wc -l <"$out")" = 13 ] || fail 'get-tree -v does not print each key'

# get-tree replaces regular files, keeps their mode, and leaves the others alone.
printf changed >"$dir/back/plain"
printf other >"$dir/back/other"
chmod 600 "$dir/back/plain"
exits 0 get-tree "$store" "$dir/back"
[ "$(cat "$dir/back/plain")" = 1 ] || fail 'get-tree did not replace a file'
[ "$(stat -c %a "$dir/back/plain")" = 600 ] || fail 'get-tree changed the mode of a file'
[ "$(cat "$dir/back/other")" = other ] || fail 'get-tree touched a file that is no key'

# --prefix: verbatim in front; only those, and without it, on the way back.
mkdir "$dir/small"
printf a >"$dir/small/a"
exits 0 put-tree "$store" "$dir/small" --prefix pre/
exits 0 put-tree "$store" "$dir/small" --prefix=pre
exits 0 put-tree "$store" "$dir/small" --prefix='p\xff' --key-enc=esc
exits 0 get "$store" pre/a
prints a
exits 0 get "$store" prea
prints a
exits 0 get "$store" --key-enc=hex 70ff61
prints a
exits 0 get-tree "$store" "$dir/back2" --prefix pre/
[ "$(find "$dir/back2" -type f)" = "$dir/back2/a" ] || fail "--prefix gave: $(find "$dir/back2")"
exits 8 get-tree "$store" "$dir/back3" --prefix pre
[ "$(find "$dir/back3" -type f)" = "$dir/back3/a" ] || fail "--prefix gave: $(find "$dir/back3")"
complains 'pre/a' absolute
exits 0 get-tree "$store" "$dir/back4" --prefix nothing
complains 'wrote 0 files'
exits 0 init "$dir/plain" --no-ordered
exits 0 put-tree "$dir/plain" "$dir/small" --prefix pre/
exits 0 put-tree "$dir/plain" "$dir/small" --prefix other/
exits 0 get-tree "$dir/plain" "$dir/back5" --prefix pre/ --progress=always
[ "$(find "$dir/back5" -type f)" = "$dir/back5/a" ] || fail "--prefix gave: $(find "$dir/back5")"
complains 'wrote 1 files' '100%  1 B of 1 B'

# A tree that changes underneath, and one that holds the store.
if [ "$(id -u)" -ne 0 ]; then
    chmod 0 "$tree/plain" "$tree/sub.d"
    exits 1 put-tree "$store" "$tree" --prefix r/
    complains 'plain' 'sub.d' 'Permission denied' 'failed 2'
    exits 0 get "$store" r/sub-file
    chmod 600 "$tree/plain"
    chmod 700 "$tree/sub.d"
fi
mkdir "$dir/around"
printf f >"$dir/around/f"
exits 0 init "$dir/around/zstore"
exits 0 put-tree -v "$dir/around/zstore" "$dir/around"
prints 'f\n'
complains 'zstore: skipped: the store itself'
exits 8 get-tree "$dir/around/zstore" "$dir/around/zstore"
exits 0 verify "$dir/around/zstore"

# Paths far longer than the system takes at once, and directories beyond the number of open files.
(
    cd "$dir" && mkdir far && cd far || exit 1
    long=$(head -c 200 /dev/zero | tr '\0' d)
    for _ in {1..150}; do
        mkdir "$long" && cd -P "$long" || exit 1
        printf x >aa
        printf y >zz
    done
) || fail 'cannot make a deep tree'
exits 0 init "$dir/far store"
# shellcheck disable=SC2016
bash -c 'ulimit -n 100; exec "$@"' - "$cairn" put-tree "$dir/far store" "$dir/far" --json >"$out" || fail 'put-tree of a deep tree'
tail -n 1 "$out" >"$dir/summary"
json_of "$dir/summary" '.[0] == {"files":300,"bytes":300,"skipped":0,"failed":0}'
exits 0 get-tree "$dir/far store" "$dir/far back" --json
tail -n 1 "$out" >"$dir/summary"
json_of "$dir/summary" '.[0] == {"files":300,"bytes":300,"refused":0,"failed":0}'
exits 0 put-tree -v "$dir/far store" "$dir/far back"
sort -c "$out" || fail 'a deep tree is not walked in order'
[ "$(awk '{ if (length($0) > n) n = length($0) } END { print n }' "$out")" = 30152 ] || fail 'the longest path is not there'
exits 8 put-tree "$dir/far store" "$dir/far" --prefix "$(head -c 65530 /dev/zero | tr '\0' p)"
complains 'too long for a key'
exits 0 put-tree "$dir/far store" "$dir/small" --prefix "$(head -c 65535 /dev/zero | tr '\0' p)"

finish
