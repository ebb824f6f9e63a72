#!/bin/bash
# --ttl: what has expired is absent for every command, at once and for good; until then nothing is different.
. "$(dirname "$0")/common.sh"
exits 0 init "$store"
printf value >"$dir/value"
printf other >"$dir/other"
head -c 2000000 /dev/urandom >"$dir/big"
long=100000 # seconds that no test lasts
short=0.001

# Not yet: stat tells when, in milliseconds and as a date.
before=$(date +%s%3N)
exits 0 put "$store" later "$dir/value" --ttl="$long"
after=$(date +%s%3N)
exits 0 get "$store" later
prints value
exits 0 stat "$store" later --json
json ".[0].expires_at_ms >= $before + ${long}000 and .[0].expires_at_ms <= $after + ${long}000"
expires=$(sed 's/.*"expires_at_ms":\([0-9]*\).*/\1/' "$out")
exits 0 stat "$store" later
date=$(date -u -d "@$((expires / 1000))" '+%Y-%m-%d %H:%M:%S UTC')
grep -qx "expires_at_ms  $expires  ($date)" "$out" || fail "stat: $(cat "$out"), not $date"
exits 0 stats "$store" --json
json '.[0].keys == 1 and .[0].expiring_keys == 1'

# The furthest that can be asked for is a time as well.
exits 0 put "$store" later "$dir/value" --ttl 18446744073709551.615
exits 0 stat "$store" later
grep -qE '^expires_at_ms  18446744073709551615  \(.* UTC\)$' "$out" || fail "stat: $(cat "$out")"
exits 0 delete "$store" later

# Gone: small values and streams, in a store that is opened anew by every command.
for file in value big; do
    exits 0 put "$store" gone "$dir/$file" --ttl="$short"
    sleep 0.05
    exits 3 get "$store" gone
    prints ''
    complains gone
    exits 3 get "$store" gone -o "$dir/nothing"
    [ ! -e "$dir/nothing" ] || fail 'an expired value was written'
    exits 3 stat "$store" gone
    for form in --keys --sizes --values --json; do
        exits 0 scan "$store" "$form"
        prints ''
    done
    exits 0 get-tree -q "$store" "$dir/no tree"
    [ -z "$(ls -A "$dir/no tree")" ] || fail 'get-tree writes what is expired'
    exits 0 stats "$store" --json
    json '.[0].keys == 0 and .[0].expiring_keys == 0 and .[0].live_bytes == 0'
    exits 0 verify "$store"
    exits 3 delete "$store" gone
done

# An expired key is absent for conditions too, and its version is no version any more.
exits 0 put "$store" k "$dir/value" --ttl="$long" --if-absent
exits 1 put "$store" k "$dir/other" --ttl="$short" --if-absent
exits 0 stat "$store" k --json
version=$(sed 's/.*"version":"\([0-9]*\)".*/\1/' "$out")
exits 1 put "$store" k "$dir/other" --ttl="$short" --if-version="$((version + 1))"
exits 0 get "$store" k
prints value
exits 0 put "$store" k "$dir/other" --ttl="$short" --if-version="$version" --sync
sleep 0.05
exits 3 get "$store" k
exits 1 put "$store" k "$dir/value" --if-version="$((version + 1))"
exits 3 get "$store" k
exits 0 put "$store" k "$dir/value" --if-absent
exits 0 get "$store" k
prints value

# The last put says when, or that it never does.
exits 0 put "$store" k "$dir/value" --ttl="$short"
exits 0 put "$store" k "$dir/other"
sleep 0.05
exits 0 get "$store" k
prints other
exits 0 stat "$store" k --json
json '.[0].expires_at_ms == 0'
exits 0 put "$store" k "$dir/value" --ttl="$short" --ttl="$long"
sleep 0.05
exits 0 get "$store" k
prints value
exits 0 delete "$store" k

# A whole tree.
mkdir "$dir/tree"
cp "$dir/value" "$dir/other" "$dir/big" "$dir/tree"
exits 0 put-tree "$store" "$dir/tree" --ttl="$long" --sync --json
json 'length == 4'
for key in value other big; do
    exits 0 stat "$store" "$key" --json
    json '.[0].expires_at_ms > 0'
done
exits 0 put-tree -q "$store" "$dir/tree" --ttl="$short"
sleep 0.05
exits 0 scan "$store"
prints ''
exits 0 put-tree -q "$store" "$dir/tree" --prefix x/
exits 0 scan "$store" --sizes
[ "$(wc -l <"$out")" = 3 ] || fail "a tree without --ttl: $(cat "$out")"
exits 2 put-tree "$store" "$dir/tree" --ttl=0
exits 0 delete "$store" x/value x/other x/big

# What expires while it is listed is in the list, which is of one moment, but for a value that is read in pieces. The listing
# waits here for its reader.
exits 0 put "$store" first "$dir/big"
exits 0 put "$store" second "$dir/value" --ttl=2
head -c 5000000 /dev/zero >"$dir/pieces"
exits 0 put "$store" third "$dir/pieces" --ttl=2
timeout 60 "$cairn" scan "$store" --values 2>"$err" | { sleep 2.2; cat >"$out"; }
ended=${PIPESTATUS[0]}
[ "$ended" -eq 0 ] || fail "scan ends with $ended when a key expires"
silent
{ printf 'first\t2000000\n'; cat "$dir/big"; printf '\nsecond\t5\nvalue\n'; } | cmp -s - "$out" ||
    fail 'scan, when a key expires'
# Small values are got together before any of them is written; one that is read in pieces is got when it is its turn.
exits 0 put "$store" second "$dir/big" --ttl=2
{
    head -c 65536 /dev/zero # fills the pipe
    timeout 60 "$cairn" get-tree -v "$store" "$dir/back" 2>"$err" || fail 'get-tree, when a key expires'
    complains 'wrote 1 files' 'failed 0'
    [ "$failures" -eq 0 ]
} | { sleep 2.2; cat >/dev/null; }
[ "${PIPESTATUS[0]}" -eq 0 ] || failures=$((failures + 1))
[ "$(ls "$dir/back")" = first ] || fail "get-tree wrote: $(ls "$dir/back")"

finish
