#!/bin/bash
# index add, drop and rebuild: what scans say before and after, and what is refused.
. "$(dirname "$0")/common.sh"

# A usage error, with or without the ordered index.
exits 2 index
complains 'add, drop or rebuild'
exits 2 index "$store"
exits 2 index frob "$store"
for verb in add drop rebuild; do
    exits 2 index "$verb"
    exits 2 index "$verb" "$store" extra
    exits 2 index "$verb" "$store" --prefix a
    exits 4 index "$verb" "$store"
    [ ! -e "$store" ] || fail "index $verb made a store"
    exits 0 index "$verb" --help
    grep -q "^usage: cairn index $verb STORE" "$out" || fail "no help for index $verb"
done
exits 0 --help
for verb in add drop rebuild; do
    grep -q "^  index $verb  *STORE " "$out" || fail "help does not tell of index $verb"
done
needs_ordered_index

exits 0 init "$store" --no-ordered
mkdir "$dir/tree" && (cd "$dir/tree" && seq 2000 | shuf | split -l 1 -a 3 - f)
exits 0 put-tree -q "$store" "$dir/tree"
(cd "$dir/tree" && printf '%s\n' *) | sort >"$dir/keys"

# without: the store lists all it has, and refuses what needs an order.
without() {
    exits 0 scan "$store"
    sort "$out" | cmp -s - "$dir/keys" || fail 'a store without an ordered index lists other keys'
    local option
    for option in --reverse --prefix=f --from=f --after=f --to=f --before=f --like=f% --prefix= --from=; do
        exits 1 scan "$store" "$option" --keys
        prints ''
        complains 'cairn index add'
    done
    exits 1 scan "$store" --reverse --json
    json_of "$err" 'length == 1 and .[0].error == "CAIRN_UNSUPPORTED" and .[0].exit == 1'
    exits 0 stats "$store"
    grep -qx 'ordered  *no' "$out" || fail "stats: $(cat "$out")"
    exits 0 stats "$store" --json
    json '.[0].ordered == false and .[0].ordered_building == false and .[0].ordered_bytes == 0 and .[0].ordered_pending == 0'
    exits 0 verify "$store"
}

# with: it lists all in order.
with() {
    exits 0 scan "$store"
    same "$out" "$dir/keys"
    exits 0 scan "$store" --reverse
    tac "$dir/keys" | cmp -s - "$out" || fail 'not all keys in descending order'
    exits 0 scan "$store" --prefix fab --after fabc
    grep ^fab "$dir/keys" | grep -vE '^fab(a|b|c$)' | cmp -s - "$out" || fail 'another range'
    exits 0 stats "$store"
    grep -qx 'ordered  *yes' "$out" && grep -qE '^ordered_bytes +[1-9]' "$out" && grep -qE '^ordered_pending +[0-9]' "$out" ||
        fail "stats: $(cat "$out")"
    exits 0 stats "$store" --json
    json '.[0].ordered == true and .[0].ordered_building == false and .[0].ordered_bytes > 0 and .[0].ordered_pending >= 0'
    exits 0 verify "$store"
}

without
for verb in drop rebuild; do
    exits 1 index "$verb" "$store"
    prints ''
    complains "$store" 'no ordered index'
    exits 1 index "$verb" "$store" --json
    json_of "$err" 'length == 1 and .[0].error == "CAIRN_NOT_FOUND" and .[0].exit == 1'
done
without

exits 0 index add "$store"
grep -qx 'ordered  *yes' "$out" && grep -qx 'keys  *2000' "$out" && grep -qE '^bytes_before +0 ' "$out" &&
    grep -qE '^bytes +[1-9]' "$out" || fail "index add prints: $(cat "$out")"
silent
with
exits 1 index add "$store"
prints ''
complains "$store" already
exits 1 index add "$store" --json
json_of "$err" 'length == 1 and .[0].error == "CAIRN_EXISTS" and .[0].exit == 1'
with

# It goes on with what is put and deleted.
exits 0 put "$store" faba "$dir/keys"
exits 0 put "$store" ab "$dir/keys"
exits 0 delete "$store" faaa fabd
{ grep -vxE 'faaa|fabd' "$dir/keys"; printf 'faba\nab\n'; } | sort -u >"$dir/sorted"
mv "$dir/sorted" "$dir/keys"
with

exits 0 index rebuild "$store" --json
json ".[0] == {\"ordered\":true,\"keys\":$(wc -l <"$dir/keys"),\"bytes_before\":.[0].bytes_before,\"bytes\":.[0].bytes}
    and .[0].bytes_before > 0 and .[0].bytes > 0"
with
exits 0 index rebuild -q --progress=always "$store"
complains ' keys'
with

# Its file is lost: nothing is missing from a listing.
find "$store" -name 'ORDERED*' -delete
exits 0 scan "$store"
same "$out" "$dir/keys"
exits 0 stats "$store"
grep -qx 'ordered  *to be built' "$out" || fail "stats: $(cat "$out")"
exits 0 index rebuild "$store"
with

exits 0 index drop "$store"
grep -qx 'ordered  *no' "$out" && grep -qE '^bytes +0 ' "$out" || fail "index drop prints: $(cat "$out")"
silent
without
exits 1 index drop "$store"
exits 0 put "$store" zz "$dir/keys"
exits 0 delete "$store" ab
{ grep -vx ab "$dir/keys"; echo zz; } >"$dir/sorted"
mv "$dir/sorted" "$dir/keys"
exits 0 index add "$store" --json
json '.[0].ordered == true and .[0].bytes_before == 0'
with
exits 0 index drop "$store" --json
json '.[0].ordered == false and .[0].bytes == 0 and .[0].bytes_before > 0'

# An empty store, and keys that are long or not text.
exits 0 init "$dir/other" --no-ordered
exits 0 index add "$dir/other"
exits 0 scan "$dir/other" --reverse
prints ''
for key in ff 00 "$(printf '6c%.0s' {1..1000})" "$(printf '6c%.0s' {1..999})" ff00; do
    exits 0 put "$dir/other" --key-enc=hex "$key" /dev/null
done
for _ in 1 2; do
    exits 0 scan "$dir/other" --reverse
    [ "$(shown_to_hex <"$out" | cut -c1-4 | tr '\n' ' ')" = 'ff00 ff 6c6c 6c6c 00 ' ] || fail "listed: $(cut -c1-30 "$out")"
    exits 0 index drop "$dir/other"
    exits 0 index add "$dir/other"
done

# Interrupted: exit 130, and the store is as it was. It may be done before the signal comes; it is tried again then.
(cd "$dir/tree" && seq 30000 | split -l 1 -a 5 - g)
exits 0 put-tree -q "$store" "$dir/tree"
exits 0 scan "$store"
sort "$out" >"$dir/keys"
for signal in INT TERM; do
    for _ in {1..10}; do
        interrupts "$signal" index add "$store"
        [ "$got" = 0 ] || break
        exits 0 index drop "$store"
    done
    [ "$got" = 130 ] || fail "SIG$signal to index add gives exit $got"
    complains interrupted
    without
done
exits 0 index add "$store"
exits 0 scan "$store"
same "$out" "$dir/keys"

finish
