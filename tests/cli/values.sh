#!/bin/bash
# put, get, delete, stat: every byte comes back, ranges are exact, conditions hold, files appear whole.
. "$(dirname "$0")/common.sh"
exits 0 init "$store"

# Bytes, NUL among them, through streams and files.
printf 'a\0b\nc\r\n\377\0' >"$dir/bytes"
"$cairn" put "$store" bytes <"$dir/bytes" || fail 'put from standard input'
exits 0 get "$store" bytes
same "$out" "$dir/bytes"
"$cairn" put "$store" dash - <"$dir/bytes" || fail 'put from -'
exits 0 get "$store" dash -o "$dir/copy"
prints ''
same "$dir/copy" "$dir/bytes"
exits 0 get "$store" dash -o -
same "$out" "$dir/bytes"
exits 0 put "$store" file "$dir/bytes"
exits 0 get "$store" file
same "$out" "$dir/bytes"

# An empty value is a value.
exits 3 get "$store" empty
"$cairn" put "$store" empty </dev/null || fail 'put of an empty value'
exits 0 get "$store" empty
prints ''
exits 0 get "$store" empty -o "$dir/empty"
[ -f "$dir/empty" ] && [ ! -s "$dir/empty" ] || fail 'no empty file'
exits 0 delete "$store" empty
exits 3 get "$store" empty

# Sizes around the mebibyte at which a value becomes a stream.
for size in 1048575 1048576 1048577 2097152 5000001; do
    head -c "$size" /dev/urandom >"$dir/value"
    "$cairn" put "$store" big <"$dir/value" || fail "put of $size bytes"
    exits 0 get "$store" big
    same "$out" "$dir/value"
    head -c "$size" "$dir/value" | (sleep 0.1; cat) | "$cairn" put "$store" piped - || fail "put of $size bytes from a pipe"
    exits 0 get "$store" piped
    same "$out" "$dir/value"
done

# Ranges.
printf '0123456789' >"$dir/digits"
exits 0 put "$store" digits "$dir/digits"
for range in 0:10=0123456789 0:1=0 9:1=9 3:4=3456 3:=3456789 0:=0123456789 0:0= 10:5= 10:= 99:1= 8:18446744073709551615=89 \
    18446744073709551615:18446744073709551615= 5:0= 007:002=78; do
    exits 0 get "$store" digits --range="${range%%=*}"
    prints "${range#*=}"
done
for range in 5 : :5 -1:2 1:-2 a:b 1:2:3 '1: 2' ' 1:2' 0x1:2 +1:2 18446744073709551616:1 1:18446744073709551616 ''; do
    exits 2 get "$store" digits --range="$range"
    prints ''
done
tail -c +1048570 "$dir/value" | head -c 2000000 >"$dir/part"
exits 0 get "$store" big --range 1048569:2000000
same "$out" "$dir/part"
exits 0 get "$store" big --range=1048569:2000000 -o "$dir/part2"
same "$dir/part2" "$dir/part"

# Conditions.
printf new >"$dir/new"
exits 1 put "$store" digits "$dir/new" --if-absent
exits 0 get "$store" digits
prints 0123456789
exits 0 stat "$store" digits --json
json 'length == 1 and .[0].value_size == 10 and .[0].key == "digits" and (.[0].version | type) == "string"'
version=$(sed 's/.*"version":"\([0-9]*\)".*/\1/' "$out")
exits 0 put "$store" digits "$dir/new" --if-version="$version"
exits 0 get "$store" digits
prints new
exits 1 put "$store" digits "$dir/digits" --if-version "$version"
exits 0 get "$store" digits
prints new
head -c 2000000 /dev/zero >"$dir/zeros"
exits 1 put "$store" digits "$dir/zeros" --if-absent
exits 0 get "$store" digits
prints new
exits 0 put "$store" fresh "$dir/zeros" --if-absent --sync
exits 0 get "$store" fresh
same "$out" "$dir/zeros"
for version in 0 x -1 1.5 '' 18446744073709551616; do
    exits 2 put "$store" digits "$dir/new" --if-version="$version"
done
exits 2 put "$store" digits "$dir/new" --if-version=1 --if-absent
for ttl in 0 0.000 x -1 1.2345 '' 18446744073709552; do
    exits 2 put "$store" digits "$dir/new" --ttl="$ttl"
done

# stat.
exits 0 stat "$store" file
grep -qx 'value_size  *9' "$out" || fail "stat: $(cat "$out")"
grep -qx 'expires_at_ms  *never' "$out" || fail "stat: $(cat "$out")"

# delete: the rest goes, what was absent is named.
for key in d1 d2 d3; do
    exits 0 put "$store" "$key" /dev/null
done
exits 3 delete "$store" d1 nope1 d2 nope2
prints ''
complains nope1 nope2
grep -qE 'd1|d2' "$err" && fail 'delete complains about keys that were there'
exits 3 get "$store" d1
exits 3 get "$store" d2
exits 0 get "$store" d3
exits 0 delete "$store" d3 digits
silent

# get -o: an earlier file stays until the whole value is there, and no temporary file is left.
mkdir "$dir/o"
printf earlier >"$dir/o/f"
chmod 600 "$dir/o/f"
exits 3 get "$store" absent -o "$dir/o/f"
[ "$(cat "$dir/o/f")" = earlier ] || fail 'a failed get changed the file'
exits 3 get "$store" absent -o "$dir/o/g"
[ "$(ls -A "$dir/o")" = f ] || fail "a failed get left: $(ls -A "$dir/o")"
exits 0 get "$store" file -o "$dir/o/f"
same "$dir/o/f" "$dir/bytes"
[ "$(stat -c %a "$dir/o/f")" = 600 ] || fail 'the mode of an earlier file changed'
[ "$(ls -A "$dir/o")" = f ] || fail "get left: $(ls -A "$dir/o")"
(
    failures=0
    trap '' XFSZ
    ulimit -f 1000
    exits 1 get "$store" big -o "$dir/o/f"
    exit "$failures"
) || failures=$((failures + 1))
same "$dir/o/f" "$dir/bytes"
[ "$(ls -A "$dir/o")" = f ] || fail "a get that failed half-way left: $(ls -A "$dir/o")"

# Through a symbolic link the file is written, not the link; devices and FIFOs are written in place.
ln -s f "$dir/o/link"
exits 0 get "$store" dash -o "$dir/o/link"
[ -L "$dir/o/link" ] || fail 'the link was replaced'
exits 0 get "$store" file -o /dev/null
[ -c /dev/null ] || fail '/dev/null was replaced'
mkfifo "$dir/fifo"
timeout 20 cat "$dir/fifo" >"$dir/from_fifo" &
exits 0 get "$store" big -o "$dir/fifo"
wait $!
same "$dir/from_fifo" "$dir/value"
exits 1 get "$store" file -o "$dir"
complains 'Is a directory'

finish
