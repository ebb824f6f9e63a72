#!/bin/bash
# The command line: options anywhere, "--", both forms of a value, help, and what is refused.
. "$(dirname "$0")/common.sh"
exits 0 init "$store" --no-ordered
printf value >"$dir/value"

exits 0 --sync put "$store" k "$dir/value"
exits 0 put --sync "$store" k "$dir/value"
exits 0 put "$store" --sync k --quiet "$dir/value" -v
exits 0 get --range=1:2 "$store" k
prints al
exits 0 --range 1:2 get "$store" k
prints al
exits 0 get "$store" k --range 1:2 --range 0:1
prints v
exits 0 get -o"$dir/copy" "$store" k
same "$dir/copy" "$dir/value"
exits 0 get "$store" k -qvo "$dir/copy2"
same "$dir/copy2" "$dir/value"
exits 0 get "$store" k --output="$dir/copy3"
same "$dir/copy3" "$dir/value"

# "--" ends the options; "-" alone is no option.
exits 0 put "$store" -- --json "$dir/value"
exits 0 get "$store" -- --json
prints value
exits 0 get --range=0:2 -- "$store" --json
prints va
exits 2 get "$store" --json
printf dash | "$cairn" put "$store" - - || fail 'put of the key -'
exits 0 get "$store" -
prints dash
exits 0 put "$store" -- -- "$dir/value"
exits 0 get "$store" -- --
prints value
exits 0 put "$store" --key-enc=hex -- 2d7a "$dir/value"
exits 0 get "$store" -- -z
prints value

# A value that may be left out is never the next word.
exits 0 put "$store" --compress c "$dir/value"
exits 0 --compress put "$store" c "$dir/value"
exits 0 put "$store" c "$dir/value" --compress
exits 0 put "$store" --compress=1 c "$dir/value"
exits 0 get "$store" c
prints value

# A value that looks like an option.
exits 1 scan "$store" --prefix --json
complains cairn:
exits 1 scan "$store" --prefix=--json

# Refused.
exits 2 get "$store" k --range
complains --range
exits 2 get "$store" k -o
exits 2 get "$store" k --json=yes
exits 2 get "$store" k --rang=1:2
exits 2 get "$store" k --limit=3
complains --limit
exits 2 put "$store" k "$dir/value" --ordered
exits 1 delete "$store" --prefix k
exits 2 delete "$store" k --prefix k
exits 2 delete "$store" k --reverse
exits 2 get "$store" k --compress=1
exits 2 train "$store" --compress
exits 2 put "$store" k "$dir/value" --dictionary=4096
exits 2 train "$store" --full
exits 2 verify "$store" --rate=1
exits 2 put-tree "$store" "$dir" --if-absent
exits 2 get "$store" k --progress=sometimes
complains sometimes
exits 2 get "$store" k --key-enc=rot13
complains rot13
exits 2 get "$store" k -qx
exits 2 init "$dir/other" --ordered --no-ordered
[ ! -e "$dir/other" ] || fail 'a usage error made a store'
exits 2 scan "$store" --keys --sizes
for limit in x -1 '' 1k 18446744073709551616; do
    exits 2 scan "$store" --limit="$limit"
done
prints ''

# An error is one JSON object with --json, wherever that stands, also behind the mistake.
for arguments in '--json frobnicate' 'frobnicate --json' '--bogus get --json'; do
    # shellcheck disable=SC2086
    exits 2 $arguments
    prints ''
    json_of "$err" 'length == 1 and .[0].error == "CAIRN_INVALID" and .[0].code == -3 and .[0].exit == 2
        and (.[0].message | length) > 0'
done

# Help and version, on standard output.
exits 0 --version
grep -qE '^cairn [0-9]+\.[0-9]+\.[0-9]+$' "$out" || fail 'no version'
exits 0 --help
for command in init put get delete stat scan put-tree get-tree 'index add' 'index drop' train compact verify stats; do
    grep -q "^  $command " "$out" || fail "help does not tell of $command"
done
for command in init put get delete stat scan put-tree get-tree 'index add' 'index drop' train compact verify stats; do
    # shellcheck disable=SC2086
    exits 0 $command --help
    grep -q "^usage: cairn $command STORE" "$out" || fail "no help for $command"
    silent
done
exits 0 get --help
grep -q -e --range "$out" || fail 'help of get does not tell of --range'
grep -q -e --ttl "$out" && fail 'help of get tells of --ttl'
exits 0 put --help
grep -qF -e '--compress[=LEVEL] ' "$out" || fail 'help of put does not tell how --compress takes its level'
exits 2 frobnicate --help
exits 2 frobnicate "$store" --no-such-option
complains "unknown command 'frobnicate'"

finish
