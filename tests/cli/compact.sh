#!/bin/bash
# compact: the space of what was overwritten and deleted comes back, at the rate and from the share of garbage on that were
# asked for, and no value is ever changed by it, whatever stops it.
. "$(dirname "$0")/common.sh"
kept=$dir/kept # what the store holds

fill() { # fill DIR COUNT SIZE: files of random bytes, named by number
    mkdir -p "$1"
    head -c $(($2 * $3)) /dev/urandom | split -a 4 --numeric-suffixes=1 -b "$3" - "$1/"
}
taken() { du -s -B1 --exclude=RESERVE "$store" | cut -f1; } # the reserve follows the index, not what is garbage
number() { # number NAME: the value of a member of the object in $out
    sed -nE "s/.*\"$1\":([0-9.]+).*/\1/p" "$out"
}
live() {
    exits 0 stats "$store" --json
    number live_bytes
}
picture() { # every name, size, time and byte below the store, but for what every opening looks after
    find "$store" -mindepth 1 ! -name RESERVE ! -name ORDERED-lock -printf '%P %s %T@ %C@\n' | sort
    find "$store" -type f ! -name RESERVE ! -name ORDERED-lock -exec sha256sum {} + | sort
}
holds_all() { # the store is sound and holds what $kept does
    exits 0 verify "$store"
    rm -rf "$dir/back"
    exits 0 get-tree -q "$store" "$dir/back"
    tree_list "$kept" >"$dir/list1"
    tree_list "$dir/back" >"$dir/list2"
    same "$dir/list1" "$dir/list2"
}
make_garbage() { # half of the values anew, and some of the others deleted
    local file odd doomed=()
    rm -rf "$dir/changed"
    fill "$dir/changed" "$count" "$size"
    rm "$dir/changed"/*[13579]
    cp "$dir/changed"/* "$kept"
    exits 0 put-tree -q "$store" "$dir/changed"
    odd=("$kept"/*[13579])
    for file in "${odd[@]:0:count/25}"; do
        doomed+=("${file##*/}")
        rm "$file"
    done
    exits 0 delete "$store" "${doomed[@]}"
}
build() { # build COUNT SIZE: a store of so many values, to which half as many bytes of garbage come
    count=$1 size=$2
    rm -rf "$store" "$kept"
    fill "$kept" "$count" "$size"
    exits 0 init "$store"
    exits 0 put-tree -q "$store" "$kept"
    make_garbage
}
small() { build 1500 4000; } # values that are moved together

# An empty store has nothing to give.
exits 0 init "$store"
exits 0 compact "$store" --json
json '. == [{dry_run: false, bytes_scanned: 0, bytes_moved: 0, bytes_freed: 0, write_amplification: null}]'
exits 0 compact "$store" --full
silent
grep -qE '^write_amplification +none$' "$out" || fail "compact: $(cat "$out")"

# --dry-run tells what there is to do, and does none of it.
small
picture >"$dir/before"
exits 0 compact "$store" --dry-run --json
json 'length == 1 and .[0].dry_run == true and .[0].bytes_scanned > .[0].bytes_moved and .[0].bytes_freed > 2e6'
would_scan=$(number bytes_scanned)
would_move=$(number bytes_moved)
exits 0 compact "$store" --dry-run --full --progress=always
silent
grep -qE '^dry_run +yes: nothing was changed' "$out" || fail "it does not say that nothing was changed: $(cat "$out")"
exits 0 compact "$store" --dry-run --min-garbage=0.5 --rate=1k
picture >"$dir/after"
same "$dir/before" "$dir/after"

# What was announced is done, and the segment under way as well where that is worth it. The directory shrinks by what was
# freed less what was moved.
before=$(taken)
exits 0 compact "$store" --json
silent
json "length == 1 and .[0].dry_run == false and .[0].bytes_scanned >= $would_scan
    and .[0].bytes_moved >= $would_move - 100000
    and (.[0].bytes_freed / (.[0].bytes_freed - .[0].bytes_moved) - .[0].write_amplification | fabs) < 0.01"
gained=$(($(number bytes_freed) - $(number bytes_moved)))
shrunk=$((before - $(taken)))
[ "$gained" -gt 2000000 ] || fail "gained $gained"
difference=$((shrunk - gained))
[ "${difference#-}" -lt 300000 ] || fail "gained $gained, but the directory has shrunk by $shrunk"
holds_all
exits 0 compact "$store" --json
json '.[0].bytes_scanned == 0 and .[0].bytes_moved == 0 and .[0].bytes_freed == 0'
holds_all

# In words.
make_garbage
exits 0 compact "$store"
silent
for field in bytes_scanned bytes_moved bytes_freed; do
    grep -qE "^$field +[1-9][0-9]*  \([0-9.]+ [KM]iB\)$" "$out" || fail "compact does not tell $field: $(cat "$out")"
done
grep -qE '^write_amplification +[1-9][0-9]*\.[0-9][0-9]$' "$out" || fail "compact: $(cat "$out")"
grep -q dry_run "$out" && fail 'compact tells of a dry run that it is none of'
holds_all

# --full: nothing is left but what is live, again and again, and also when that is nothing.
for _ in 1 2 3; do
    make_garbage
    exits 0 compact "$store" --full
    bound=$(($(live) * 102 / 100 + 2097152))
    [ "$(taken)" -le "$bound" ] || fail "takes $(taken) after --full, more than $bound"
    holds_all
done
exits 0 compact "$store" --full --json
json '.[0].bytes_freed < 100000'

# --min-garbage: a segment with less is left alone. Here one has half.
rm -rf "$store" "$kept"
fill "$kept" 1000 4000
mkdir "$dir/anew"
cp "$kept"/*[02468] "$dir/anew"
exits 0 init "$store"
exits 0 put-tree -q "$store" "$kept"
exits 0 compact "$store" --full
exits 0 put-tree -q "$store" "$dir/anew"
picture >"$dir/before"
before=$(taken)
for share in 1 1.0 0.95 0.9; do
    exits 0 compact "$store" --min-garbage="$share" --json
    json ".[0].bytes_moved == 0 and .[0].bytes_freed == 0"
    [ "$(taken)" -ge "$before" ] || fail "--min-garbage=$share frees"
done
exits 0 compact "$store" --min-garbage 0.1 --json
json '.[0].bytes_moved > 1000000 and .[0].bytes_freed > 2500000'
[ "$(taken)" -le $((before - 1000000)) ] || fail '--min-garbage=0.1 leaves half a segment of garbage'
holds_all
exits 0 put "$store" 0001 "$kept/0001" --sync
exits 0 compact "$store" --min-garbage=0.2 --json
json '.[0].bytes_freed == 0'
exits 0 compact "$store" --min-garbage=0 --json
json '.[0].bytes_moved > 1000000 and .[0].bytes_freed > .[0].bytes_moved'
holds_all

# Large values are not moved: their space is given back where it lies, on file systems that can.
build 200 50000
before=$(taken)
exits 0 compact "$store" --json
json '.[0].bytes_freed > 3000000 and .[0].write_amplification >= 1'
gained=$(($(number bytes_freed) - $(number bytes_moved)))
difference=$((before - $(taken) - gained))
[ "${difference#-}" -lt 300000 ] || fail "gained $gained of large values, but the directory has shrunk by other than that"
holds_all
exits 0 compact "$store" --full
bound=$(($(live) * 102 / 100 + 2097152))
[ "$(taken)" -le "$bound" ] || fail "takes $(taken) after --full, more than $bound"
holds_all

# Refused, before the store is looked at.
for share in x '' -1 -0.1 +0.5 1.1 2 1e-3 .5 1. 0.5x ' 0.5' 0,5 nan inf 0x1 --; do
    exits 2 compact "$store" --min-garbage="$share"
    complains --min-garbage
done
for rate in x '' 0 0k -1 +1 1.5M 1K 1m 1T 1kk k 1kB '1 M' 0x10 18446744073709551616 18014398509481984k --; do
    exits 2 compact "$store" --rate="$rate"
    complains --rate
done
exits 2 compact "$store" --full --min-garbage=0.5
exits 2 compact "$store" --full=yes
exits 2 compact "$dir/nowhere" --rate=0
prints ''
for rate in 1 1k 1M 1G 18446744073709551615 17179869183G; do
    exits 0 compact "$store" --dry-run --rate="$rate"
done
exits 4 compact "$dir/nowhere" --full
complains "$dir/nowhere"
exits 4 compact "$dir/nowhere" --dry-run --json
json_of "$err" '.[0].error == "CAIRN_NO_STORE" and .[0].exit == 4'
[ ! -e "$dir/nowhere" ] || fail 'compact made a store'

# Somebody has the store: busy, also for a dry run. He has it from when the pipe opens until all that it does not hold is
# read.
fill "$dir/long" 1 300000
exits 0 put "$store" long "$dir/long/0001"
mkfifo "$dir/pipe"
timeout 60 "$cairn" get "$store" long -o "$dir/pipe" &
reader=$!
exec 8<"$dir/pipe"
picture >"$dir/before"
exits 6 compact "$store" --full
exits 6 compact "$store" --dry-run
prints ''
picture >"$dir/after"
same "$dir/before" "$dir/after"
cat <&8 >"$out"
exec 8<&-
wait "$reader" || fail 'the reader failed'
same "$out" "$dir/long/0001"

# --rate: so much and no more. --progress shows it.
small
began=$(date +%s%3N)
exits 0 compact "$store" --rate=2M --progress=always --json
elapsed=$(($(date +%s%3N) - began))
json 'length == 1 and .[0].bytes_freed > 2000000'
scanned=$(number bytes_scanned)
[ "$elapsed" -ge $(((scanned - 524288) * 1000 / 2097152)) ] || fail "$scanned bytes in $elapsed ms at 2M"
complains '%' '100%' iB/s
holds_all

# begin_slowly SIGNAL: one that takes many seconds, and gets the signal in the midst of it. What it returned: $got.
begin_slowly() {
    local signal=$1 pid
    : >"$err"
    "$cairn" compact "$store" --full --rate=500k --progress=always --json >"$out" 2>"$err" &
    pid=$!
    until grep -q '%' "$err"; do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.02
    done
    {
        kill -"$signal" "$pid"
        wait "$pid"
    } 2>/dev/null
    got=$?
}
for signal in INT TERM; do
    small
    begin_slowly "$signal"
    [ "$got" = 130 ] || fail "SIG$signal gives exit $got: $(cat "$err")"
    complains '"error":"CAIRN_CANCELLED"'
    json 'length == 1 and .[0].dry_run == false and .[0].bytes_scanned > 0'
    holds_all
done
exits 0 compact "$store" --full --json
json '.[0].bytes_freed > 2000000'
holds_all

# kill -9, in the midst of it and at any moment: everything is there, and the next one gets all of the garbage.
small
begin_slowly KILL
[ "$got" = 137 ] || fail "kill -9 gives exit $got"
holds_all
for pause in 0.001 0.003 0.005 0.008 0.012 0.02 0.03; do
    make_garbage
    "$cairn" compact "$store" --full >"$out" 2>"$err" &
    pid=$!
    sleep "$pause"
    {
        kill -KILL "$pid"
        wait "$pid"
    } 2>/dev/null
    holds_all
done
exits 0 compact "$store" --full
bound=$(($(live) * 102 / 100 + 2097152))
[ "$(taken)" -le "$bound" ] || fail "takes $(taken) after kills and --full, more than $bound"
holds_all

# A damaged value: exit 5, its segment stays, the others are done, and every other value is as it was.
small
head -c 20000 /dev/zero | tr '\0' M >"$kept/marked"
exits 0 put "$store" marked "$kept/marked"
exits 0 put "$store" beside "$kept/0002"
exits 0 delete "$store" beside
file=$(grep -lr -F MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM "$store" | head -n 1)
offset=$(grep -obaF MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM "$file" | head -n 1 | cut -d: -f1)
printf N | dd of="$file" bs=1 seek=$((offset + 10000)) conv=notrunc status=none
before=$(taken)
exits 5 compact "$store" --full --json
json 'length == 1'
json_of "$err" 'map(select(.error == "CAIRN_CORRUPT" and .exit == 5)) | length == 1'
[ "$(taken)" -lt $((before - 1000000)) ] || fail 'a damaged value keeps all of the garbage'
exits 5 get "$store" marked
exits 5 verify "$store"
rm "$kept/marked" && rm -rf "$dir/back"
exits 5 get-tree -q "$store" "$dir/back"
tree_list "$kept" >"$dir/list1"
tree_list "$dir/back" >"$dir/list2"
same "$dir/list1" "$dir/list2"

finish
