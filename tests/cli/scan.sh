#!/bin/bash
# scan: each form of its lines, byte for byte.
. "$(dirname "$0")/common.sh"
exits 0 init "$store"
exits 0 scan "$store"
prints ''
exits 0 scan "$store" --json
prints ''

printf 'one\0\n' >"$dir/v1"
exits 0 put "$store" key "$dir/v1"
exits 0 scan "$store"
prints 'key\n'
exits 0 scan "$store" --keys
prints 'key\n'
exits 0 scan "$store" --sizes
prints 'key\t5\n'
exits 0 scan "$store" --values
prints 'key\t5\none\0\n\n'
exits 0 scan "$store" --sizes -z
prints 'key\0005\n'
exits 0 scan "$store" --values -z
prints 'key\0005\none\0\n\n'
exits 0 scan "$store" --json
prints '{"key_b64":"a2V5","key":"key","size":5}\n'
exits 0 scan "$store" --values --json
prints '{"key_b64":"a2V5","key":"key","size":5,"value_b64":"b25lAAo="}\n'

# An empty value, every length behind a group of base64, around the pieces in which values are read, and around the size up
# to which a scan has them whole.
for size in 0 1 2 3 4 1048575 1048576 1048577 1048578 2097155 4194303 4194304 4194305 5000003; do
    head -c "$size" /dev/urandom >"$dir/value"
    exits 0 put "$store" key "$dir/value"
    exits 0 scan "$store" --values
    { printf 'key\t%d\n' "$size"; cat "$dir/value"; echo; } | cmp -s - "$out" || fail "a value of $size bytes"
    exits 0 scan "$store" --values --json
    sed 's/.*"value_b64":"\([^"]*\)"}$/\1/' "$out" | tr -d '\n' >"$dir/base64"
    base64 -w 0 "$dir/value" | cmp -s - "$dir/base64" || fail "$size bytes as base64"
done

# Many keys: each once, and no more than asked for.
for i in {1..40}; do
    exits 0 put "$store" "many$i" /dev/null
done
exits 0 delete "$store" many7 key
exits 0 scan "$store"
sort "$out" >"$dir/sorted"
for i in {1..40}; do [ "$i" = 7 ] || echo "many$i"; done | sort | cmp -s - "$dir/sorted" || fail 'not each key once'
for limit in 1=1 5=5 39=39 40=39 0=39 18446744073709551615=39; do
    exits 0 scan "$store" --limit="${limit%=*}"
    [ "$(wc -l <"$out")" = "${limit#*=}" ] || fail "limit $limit"
done

finish
