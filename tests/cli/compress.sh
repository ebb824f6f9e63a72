#!/bin/bash
# --compress and train: what is stored shrinks, what is read is the same, and the gain that is told is the one there is.
. "$(dirname "$0")/common.sh"
exits 0 init "$store"
head -c 200000 /dev/urandom >"$dir/random"
for i in {1..4000}; do echo "line $((i % 97)) of a text that repeats itself, number $i"; done >"$dir/text"
for _ in {1..12}; do cat "$dir/text"; done >"$dir/long text"

stored() { # stored KEY: bytes that it takes
    exits 0 stat "$store" "$1" --json
    sed 's/.*"stored_size":\([0-9]*\).*/\1/' "$out"
}
size=$(stat -c %s "$dir/text")

# Without the option nothing is compressed; with it, in both of its forms; the last one counts.
exits 0 put "$store" raw "$dir/text"
[ "$(stored raw)" -ge "$size" ] || fail 'compressed without --compress'
for level in '' =0 =1 =3 =19 =-5; do
    exits 0 put "$store" "packed$level" --compress"$level" "$dir/text"
    [ "$(stored "packed$level")" -lt $((size / 2)) ] || fail "--compress$level does not compress"
    exits 0 get "$store" "packed$level"
    same "$out" "$dir/text"
done
[ "$(stored packed=19)" -lt "$(stored packed=-5)" ] || fail 'the level makes no difference'
exits 0 put "$store" packed --compress=19 --compress "$dir/text"
[ "$(stored packed)" -gt "$(stored packed=19)" ] || fail 'the last --compress does not count'
exits 0 put "$store" --compress 3 "$dir/text"
exits 0 get "$store" 3
same "$out" "$dir/text"

# What does not shrink stays as it is. Streams, ranges and files are as they were.
exits 0 put "$store" random --compress "$dir/random"
[ "$(stored random)" -ge 200000 ] || fail 'random bytes were compressed'
exits 0 get "$store" random
same "$out" "$dir/random"
exits 0 put "$store" stream --compress "$dir/long text"
[ "$(stored stream)" -lt $((12 * size / 2)) ] || fail 'a stream is not compressed'
"$cairn" put "$store" piped --compress=2 <"$dir/long text" || fail 'put from a pipe'
for key in stream piped; do
    exits 0 get "$store" "$key" -o "$dir/back"
    same "$dir/back" "$dir/long text"
    exits 0 get "$store" "$key" --range=777777:99999
    tail -c +777778 "$dir/long text" | head -c 99999 | cmp -s - "$out" || fail "a range of $key"
done
exits 0 get "$store" packed --range=65530:12
tail -c +65531 "$dir/text" | head -c 12 | cmp -s - "$out" || fail 'a range of a compressed value'
exits 0 scan "$store" --sizes
grep -qxF "$(printf 'packed\t%d' "$size")" "$out" || fail 'scan tells another size than the value has'
exits 0 stat "$store" packed
grep -qE '^stored_size +[0-9]+  \([0-9]+\.[0-9] % of it\)$' "$out" || fail "stat: $(cat "$out")"
exits 0 verify "$store"

# Refused.
for level in x '' 1.5 3x -- +3 23 100 -2147483648 99999999999; do
    exits 2 put "$store" refused --compress="$level" "$dir/text"
    complains --compress
done
exits 2 get "$store" packed --compress
exits 3 get "$store" refused

# put-tree tells what its values take, which is what stat tells of each.
mkdir "$dir/tree"
cp "$dir/text" "$dir/random" "$dir/long text" "$dir/tree"
exits 0 put-tree "$store" "$dir/tree" --prefix t/ --compress --json
tail -n 1 "$out" >"$dir/summary"
total=0
for key in text random 'long text'; do
    total=$((total + $(stored "t/$key")))
done
json_of "$dir/summary" ".[0].files == 3 and .[0].stored_bytes == $total and .[0].bytes == $((13 * size + 200000))"
exits 0 put-tree "$store" "$dir/tree" --prefix t/ --compress=5
complains ' in ' 'stored 3 files'
exits 0 put-tree "$store" "$dir/tree" --prefix u/ --json
json '.[3] | has("stored_bytes") | not'
exits 0 get-tree -q "$store" "$dir/tree back" --prefix t/
tree_list "$dir/tree" >"$dir/list1"
tree_list "$dir/tree back" >"$dir/list2"
same "$dir/list1" "$dir/list2"

# train: too few values are a failure that says so, and changes nothing.
exits 0 init "$dir/few"
exits 1 train "$dir/few"
prints ''
complains 'too few'
exits 1 train "$dir/few" --json
json_of "$err" 'length == 1 and .[0].error == "CAIRN_UNSUPPORTED" and .[0].exit == 1'
exits 4 train "$dir/nowhere"
for bytes in 0 x '' -1 255 1048577 4294967296 99999999999999999999; do
    exits 2 train "$dir/few" --dictionary="$bytes"
    complains --dictionary
done

# Values that are much alike: the gain is told, and later values have it, with --compress or without.
store=$dir/small
mkdir "$dir/records"
for i in {1..600}; do
    printf '{"name":"customer %d","street":"Mountain Road %d","city":"Springfield","country":"Utopia","active":true,' \
        $((i * 7919 % 10007)) $((i * 31 % 997)) >"$dir/records/$i"
    printf '"orders":[{"article":"lamp","number":%d,"price":%d},{"article":"table","number":%d,"price":%d}]}\n' \
        $((i % 13)) $((i * 7 % 1009)) $((i % 11)) $((i * 3 % 997)) >>"$dir/records/$i"
done
exits 0 init "$store"
exits 0 put-tree -q "$store" "$dir/records" --compress
before=$(stored 17)
exits 0 train "$store" --json
json 'length == 1 and .[0].installed == true and (.[0].id | type) == "string" and .[0].samples > 50
    and .[0].plain_bytes <= .[0].value_bytes and .[0].dictionary_bytes * 2 < .[0].plain_bytes
    and ((1 - .[0].dictionary_bytes / .[0].plain_bytes) * 100 - .[0].percent_saved | fabs) < 0.01'
silent
[ "$(stored 17)" -eq "$before" ] || fail 'train changed what is stored'
exits 0 put "$store" 17 "$dir/records/17"
[ "$(stored 17)" -lt "$before" ] || fail 'a value that is put after train takes no less'
exits 0 put "$store" 18 "$dir/records/18" --compress=19
[ "$(stored 18)" -lt "$before" ] || fail 'a compressed value that is put after train takes no less'
exits 0 put-tree -q "$store" "$dir/records"
exits 0 get-tree -q "$store" "$dir/records back"
tree_list "$dir/records" >"$dir/list1"
tree_list "$dir/records back" >"$dir/list2"
same "$dir/list1" "$dir/list2"
exits 0 verify "$store"
exits 0 train "$store" --dictionary 4096
for line in 'values tried +[1-9]' 'their bytes +[1-9].*iB\)' 'without a dictionary .* saved\)' \
    'with the dictionary .* saved\)' 'the dictionary saves +[1-9][0-9.]* %' 'installed +yes'; do
    grep -qE "^$line" "$out" || fail "train does not tell '$line' but: $(cat "$out")"
done

# Values that have nothing in common: it ran, and says that there is nothing to have.
exits 0 init "$dir/alien"
mkdir "$dir/aliens"
for i in {1..200}; do
    head -c 1000 /dev/urandom >"$dir/aliens/$i"
done
exits 0 put-tree -q "$dir/alien" "$dir/aliens"
exits 0 train "$dir/alien" --json
json '.[0].installed == false and .[0].id == null and .[0].percent_saved < 5'
exits 0 train "$dir/alien"
grep -qE '^installed +no' "$out" || fail "train installs: $(cat "$out")"

finish
