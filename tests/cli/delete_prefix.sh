#!/bin/bash
# delete --prefix: all keys that begin with it, no other one, and how many they were.
. "$(dirname "$0")/common.sh"
needs_ordered_index
exits 0 init "$store"
printf v >"$dir/v"

# begin_anew: a store with these keys, which as hex are in $dir/keys.
begin_anew() {
    rm -rf "$store"
    exits 0 init "$store"
    local key
    for key in 61 6161 6162 61ff 61ff00 61ff61 62 ff ff61 ffff "$(printf '6c%.0s' {1..600})" "$(printf '6c%.0s' {1..700})"; do
        exits 0 put "$store" --key-enc=hex "$key" "$dir/v"
        echo "$key"
    done >"$dir/unsorted"
    sort "$dir/unsorted" >"$dir/keys"
}

# leaves: the store holds the keys of $dir/keys that do not begin with the argument, and is sound.
leaves() {
    exits 0 scan "$store"
    shown_to_hex <"$out" | cmp -s - <(grep -v "^$1" "$dir/keys") || fail "delete --prefix $1 leaves $(cat "$out")"
    exits 0 verify "$store"
}

for prefix in 61 61ff ff "$(printf '6c%.0s' {1..600})" "$(printf '6c%.0s' {1..601})" 6161; do
    begin_anew
    exits 0 delete "$store" --key-enc=hex --prefix "$prefix"
    prints ''
    complains "cairn: $(grep -c "^$prefix" "$dir/keys") keys deleted"
    leaves "$prefix"
done

# None is no failure.
exits 0 delete "$store" --prefix 'nothing '
complains '0 keys deleted'
leaves 6161
exits 3 get "$store" aa

# -q, --json, --sync, and the key itself given raw.
begin_anew
exits 0 delete -q "$store" --prefix=ab
prints ''
silent
exits 0 delete "$store" --json --prefix a --sync
prints '{"deleted":5}\n'
silent
exits 0 delete "$store" --json --prefix a
prints '{"deleted":0}\n'
leaves 61
exits 0 delete "$store" --progress=always --prefix=b
complains '1 keys' '1 keys deleted'
exits 0 stats "$store" --json
json '.[0].keys == 5'

# Single keys: --sync, and absent ones among them.
begin_anew
exits 0 delete "$store" --sync a aa
exits 3 delete "$store" --sync ab absent b
complains absent
exits 0 scan "$store" --to b
[ "$(shown_to_hex <"$out" | tr '\n' ' ')" = '61ff 61ff00 61ff61 ' ] || fail "left: $(cat "$out")"

# Refused, with nothing deleted.
begin_anew
exits 2 delete "$store"
complains --prefix
exits 2 delete "$store" a --prefix a
complains --prefix
exits 2 delete "$store" --prefix ''
complains empty
exits 2 delete "$store" --prefix
exits 2 delete "$store" --prefix a --limit 1
exits 8 delete "$store" --key-enc=hex --prefix 6
exits 4 delete "$dir/missing" --prefix a
[ ! -e "$dir/missing" ] || fail 'delete made a store'
leaves none
exits 0 init "$dir/plain" --no-ordered
exits 0 put "$dir/plain" a "$dir/v"
exits 1 delete "$dir/plain" --prefix a
complains 'cairn index add'
exits 0 get "$dir/plain" a

# Interrupted: exit 130, and as many are gone as it says. It may be done before the signal comes; it is tried again then.
mkdir "$dir/tree" && (cd "$dir/tree" && seq 20000 | split -l 1 -a 5 - f)
exits 0 init "$dir/many"
exits 0 put-tree -q "$dir/many" "$dir/tree"
for signal in INT TERM; do
    for _ in {1..10}; do
        rm -rf "$dir/copy"
        cp -r "$dir/many" "$dir/copy"
        interrupts "$signal" delete "$dir/copy" --prefix f --json
        [ "$got" = 0 ] || break
    done
    [ "$got" = 130 ] || fail "SIG$signal to delete --prefix gives exit $got"
    complains interrupted
    deleted=$(sed -n 's/^{"deleted":\([0-9]*\)}$/\1/p' "$out")
    exits 0 scan "$dir/copy"
    [ "$((deleted + $(wc -l <"$out")))" = 20000 ] || fail "SIG$signal: $deleted deleted, $(wc -l <"$out") left"
    exits 0 verify "$dir/copy"
    exits 0 delete "$dir/copy" --prefix f
    exits 0 stats "$dir/copy" --json
    json '.[0].keys == 0'
done

finish
