#!/bin/bash
# verify and stats; damage is found, named, and never given out as a value.
. "$(dirname "$0")/common.sh"
exits 0 init "$store"
exits 0 verify "$store" --json
json '. == [{"records":0,"bytes":.[0].bytes,"damaged":0}]'
exits 0 stats "$store" --json
json 'length == 1 and .[0].keys == 0 and .[0].index_bytes_per_key == null'

mkdir "$dir/tree"
for name in one two three; do
    head -c 20000 /dev/urandom | base64 -w 0 | head -c 20000 >"$dir/tree/$name"
done
head -c 300000 /dev/zero | tr '\0' M >"$dir/tree/marked"
exits 0 put-tree -q "$store" "$dir/tree"
exits 0 delete "$store" two
exits 0 stats "$store" --json
json 'length == 1 and .[0].keys == 3 and .[0].index_bytes > 0 and .[0].segments >= 1
    and .[0].index_bytes_per_key > 0 and (.[0] | has("live_bytes") and has("dead_bytes") and has("pinned_bytes")
    and has("allocated_bytes") and has("cache_bytes") and has("replay_bytes") and has("replay_records")
    and has("checkpoint_age_ms") and has("streams") and has("cache_hits") and has("cache_misses")
    and has("expiring_keys") and has("snapshots") and has("snapshot_age_ms")
    and has("scans") and has("ordered") and has("ordered_building") and has("ordered_bytes")
    and has("ordered_pending") and has("edge_bytes"))'
exits 0 stats "$store"
for field in keys live_bytes dead_bytes edge_bytes pinned_bytes allocated_bytes index_bytes index_bytes_per_key cache_bytes cache_hits \
    cache_misses expiring_keys snapshots snapshot_age_ms scans segments streams replay_bytes replay_records \
    checkpoint_age_ms ordered ordered_bytes ordered_pending; do
    grep -qE "^$field +[0-9ny]" "$out" || fail "stats does not tell $field"
done
grep -qx 'keys  *3' "$out" || fail 'stats counts other than 3 keys'
exits 0 verify "$store"
grep -qx 'damaged  *0' "$out" || fail "verify: $(cat "$out")"
grep -qE '^records +[1-9]' "$out" || fail "verify: $(cat "$out")"
silent
exits 0 verify "$store" --json
json '.[0].records >= 4 and .[0].bytes > 300000 and .[0].damaged == 0'

# Where there is no ordered index.
exits 0 init "$dir/plain" --no-ordered
exits 0 stats "$dir/plain" --json
json '.[0] | .ordered == false and .ordered_building == false and .ordered_bytes == 0 and .ordered_pending == 0'
exits 0 stats "$dir/plain"
grep -qx 'ordered  *no' "$out" || fail "stats: $(cat "$out")"

# Reading commands change nothing.
find "$store" -type f -exec sha256sum {} + | sort >"$dir/before"
exits 0 get "$store" one
exits 0 stat "$store" one
exits 0 scan "$store" --values
exits 0 stats "$store"
exits 0 verify "$store"
exits 0 get-tree "$store" "$dir/back"
find "$store" -type f -exec sha256sum {} + | sort >"$dir/after"
same "$dir/before" "$dir/after"

# One bit of one value.
file=$(grep -lr -F MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM "$store" | head -n 1)
[ -n "$file" ] || fail 'the value is not to be found in the store'
offset=$(grep -obaF MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM "$file" | head -n 1 | cut -d: -f1)
printf N | dd of="$file" bs=1 seek=$((offset + 150000)) conv=notrunc status=none
exits 5 verify "$store"
grep -qE '^damaged +[1-9]' "$out" || fail "verify: $(cat "$out")"
[ -s "$err" ] || fail 'verify does not tell where the damage is'
exits 5 verify "$store" --json
json '.[0].damaged >= 1'
json_of "$err" 'all(.error == "CAIRN_CORRUPT" and .exit == 5) and any(has("segment") and has("offset"))'
exits 5 get "$store" marked
[ "$(wc -c <"$out")" -lt 300000 ] || fail 'a damaged value was given out'
mkdir "$dir/o"
exits 5 get "$store" marked -o "$dir/o/f"
[ -z "$(ls -A "$dir/o")" ] || fail "a damaged value left: $(ls -A "$dir/o")"
rm -r "$dir/back"
exits 5 get-tree "$store" "$dir/back"
complains marked 'wrote 2 files' 'failed 1'
[ "$(cd "$dir/back" && find . -type f | sort | tr '\n' ' ')" = './one ./three ' ] || fail "gave: $(find "$dir/back")"
same "$dir/back/one" "$dir/tree/one"
same "$dir/back/three" "$dir/tree/three"
exits 5 scan "$store" --values
grep -q ^one "$out" && grep -q three "$out" || fail 'scan ends at a damaged value'
grep -q marked "$out" && fail 'scan prints a damaged value'
exits 0 get "$store" one
same "$out" "$dir/tree/one"

# One bit of one key in the log: it is told, and what is behind it is listed and written. A list of nothing but keys in
# order does not look there.
for kind in --ordered --no-ordered; do
    damaged=$dir/damaged$kind
    "$cairn" init "$damaged" "$kind" 2>"$err" || continue # a program without the ordered index
    exits 0 put-tree -q "$damaged" "$dir/tree" --prefix some-
    file=$(grep -lr --include='*.seg' -F some-one "$damaged" | head -n 1)
    offset=$(grep -obaF some-one "${file:-/dev/null}" | head -n 1 | cut -d: -f1)
    [ -n "$offset" ] || fail 'the key is not to be found in the log'
    printf t | dd of="$file" bs=1 seek="$offset" conv=notrunc status=none
    for form in --sizes --values --json; do
        exits 5 scan "$damaged" "$form"
        [ "$(grep -aoE 'some-[a-z]+' "$out" | sort -u | tr '\n' ' ')" = 'some-marked some-three some-two ' ] ||
            fail "scan $form lists: $(head -c 300 "$out")"
        complains damaged
    done
    for option in --progress=never --progress=always; do
        exits 5 get-tree "$damaged" "$dir/back$kind$option" "$option"
        complains 'wrote 3 files' 'failed 1'
    done
done

finish
