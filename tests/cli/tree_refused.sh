#!/bin/bash
# get-tree never writes outside its directory, says which keys it refuses, and writes the others.
. "$(dirname "$0")/common.sh"
exits 0 init "$store"
printf v >"$dir/v"
mkdir "$dir/o"

# Each of these alone is refused with exit 8 and named, and nothing but the good file is there afterwards.
exits 0 put "$store" good "$dir/v"
long=$(head -c 256 /dev/zero | tr '\0' n)
while read -r key; do
    exits 0 put "$store" --key-enc=esc "$key" "$dir/v"
    rm -rf "$dir/o/t"
    exits 8 get-tree "$store" "$dir/o/t"
    complains "$key: refused"
    [ "$(cd "$dir/o" && find . | sort | tr '\n' ' ')" = '. ./t ./t/good ' ] || fail "$key gave: $(find "$dir/o")"
    exits 8 get-tree --json "$store" "$dir/o/t"
    json_of "$err" 'length == 1 and .[0].exit == 8 and (.[0] | has("key_b64"))'
    json 'length == 2 and .[1].files == 1 and .[1].refused == 1'
    exits 0 delete "$store" --key-enc=esc "$key"
done <<END
/absolute
//x
../outside
a/../b
a/..
..
.
./a
a/./b
a/.
a//b
a/
/
nul\x00byte
$long
a/$long/b
END
[ ! -e /absolute ] || fail 'an absolute key was written'

# What only looks like it is a file like any other: names of 255 bytes too.
rm -rf "$dir/o/t"
for key in ... ..a a.. .a a/...b "${long%n}" "d/${long%n}"; do
    exits 0 put "$store" "$key" "$dir/v"
done
exits 0 get-tree "$store" "$dir/o/t"
complains 'wrote 8 files'
for key in ... ..a a.. .a a/...b "${long%n}" "d/${long%n}"; do
    same "$dir/o/t/$key" "$dir/v"
done
exits 0 delete "$store" ... ..a a.. .a a/...b "${long%n}" "d/${long%n}"

# Keys that would have to be file and directory: both are named and left out, also where others sort between them.
for key in a a-b a.b a/b a/c/d b/x b/x/y ab; do
    exits 0 put "$store" "$key" "$dir/v"
done
rm -rf "$dir/o/t"
exits 8 get-tree "$store" "$dir/o/t"
for key in a a/b a/c/d b/x b/x/y; do
    complains "cairn: $key: refused"
done
[ "$(grep -c refused: "$err")" = 5 ] || fail "refused: $(cat "$err")"
[ "$(cd "$dir/o/t" && find . | sort | tr '\n' ' ')" = '. ./a-b ./a.b ./ab ./good ' ] || fail "gave: $(find "$dir/o/t")"
exits 0 delete "$store" a a-b a.b a/b a/c/d b/x b/x/y ab

# Symbolic links in the directory are not followed, nor replaced; what is no regular file stays.
rm -rf "$dir/o/t"
mkdir -p "$dir/o/t/real" "$dir/outside"
printf secret >"$dir/outside/file"
ln -s "$dir/outside" "$dir/o/t/dirlink"
ln -s "$dir/outside/file" "$dir/o/t/filelink"
mkfifo "$dir/o/t/fifo"
mkdir "$dir/o/t/isdir"
printf f >"$dir/o/t/isfile"
exits 0 put "$store" dirlink/new "$dir/v"
exits 8 get-tree "$store" "$dir/o/t"
complains dirlink/new 'symbolic link'
[ "$(ls "$dir/outside")" = file ] || fail 'a symbolic link was followed'
same "$dir/o/t/good" "$dir/v"
exits 0 delete "$store" dirlink/new
for key in filelink fifo isdir isfile/x; do
    exits 0 put "$store" "$key" "$dir/v"
    rm "$dir/o/t/good"
    exits 1 get-tree "$store" "$dir/o/t"
    complains "$key"
    same "$dir/o/t/good" "$dir/v"
    exits 0 delete "$store" "$key"
done
[ "$(cat "$dir/outside/file")" = secret ] || fail 'a file was written through a symbolic link'
[ -L "$dir/o/t/filelink" ] && [ -p "$dir/o/t/fifo" ] && [ -d "$dir/o/t/isdir" ] || fail 'what is no regular file was replaced'
[ "$(cat "$dir/o/t/isfile")" = f ] || fail 'a file was changed'
[ -z "$(find "$dir/o" -name '.cairn-*')" ] || fail 'a temporary file is left'

# The directory itself may be reached by a link; a file is none; its parents are not made.
ln -s t "$dir/o/tlink"
rm "$dir/o/t/good"
exits 0 get-tree "$store" "$dir/o/tlink"
same "$dir/o/t/good" "$dir/v"
exits 1 get-tree "$store" "$dir/v"
exits 1 get-tree "$store" "$dir/no/such"
[ ! -e "$dir/no" ] || fail 'get-tree made the parents of its directory'

finish
