#!/bin/bash
# Every exit code of the program, each from a cause that a user can meet.
. "$(dirname "$0")/common.sh"

# 0
exits 0 init "$store"
prints ''
silent
exits 0 put "$store" k /dev/null
prints ''
silent

# 1: a condition, an unsupported request, a file that cannot be read, init on a store
exits 1 put "$store" k /dev/null --if-absent
complains k
exits 1 put "$store" absent /dev/null --if-version=1
exits 3 get "$store" absent
exits 1 train "$store"
complains 'too few'
exits 0 init "$dir/plain" --no-ordered
exits 1 scan "$dir/plain" --prefix k
complains 'ordered index'
exits 1 scan "$dir/plain" --reverse
exits 1 delete "$dir/plain" --prefix k
exits 1 index drop "$dir/plain"
exits 1 put "$store" n "$dir/no such file"
complains "$dir/no such file" 'No such file or directory'
exits 3 get "$store" n
exits 1 put "$store" n "$dir"
complains "$dir" 'Is a directory'
exits 3 get "$store" n
exits 1 put-tree "$store" "$dir/nowhere"
complains nowhere 'No such file or directory'
exits 1 get "$store" k -o "$dir/nowhere/f"
complains nowhere/f
find "$store" -type f -exec sha256sum {} + | sort >"$dir/before"
exits 1 init "$store"
complains 'already a store'
exits 1 init "$store" --no-ordered
exits 1 init "$store" --ordered
complains 'already a store'
find "$store" -type f -exec sha256sum {} + | sort >"$dir/after"
same "$dir/before" "$dir/after"
exits 0 get "$store" k

# 2
exits 2
exits 2 frobnicate "$store"
complains frobnicate
exits 2 init
exits 2 init "$store" extra
exits 2 get "$store"
exits 2 get "$store" k extra
exits 2 put "$store"
exits 2 put "$store" k /dev/null extra
exits 2 delete "$store"
exits 2 stat "$store"
exits 2 put-tree "$store"
exits 2 compact
exits 2 compact "$store" extra
exits 2 get "$store" k --no-such-option
complains --no-such-option
exits 2 get "$store" k -x
for unknown in salvage import export bench; do
    exits 2 "$unknown" "$store" x
    complains "$unknown"
done

# 3
exits 3 get "$store" absent
prints ''
complains absent
exits 3 stat "$store" absent
exits 3 delete "$store" absent
exits 0 put "$store" expired /dev/null --ttl=0.001
sleep 0.05
exits 3 get "$store" expired

# 4
exits 4 put "$dir/missing" k /dev/null
complains "$dir/missing"
[ ! -e "$dir/missing" ] || fail 'put made a store'
for command in get stat delete; do
    exits 4 "$command" "$dir/missing" k
done
for command in verify stats scan train compact 'index add' 'index drop' 'index rebuild'; do
    # shellcheck disable=SC2086
    exits 4 $command "$dir/missing"
done
exits 4 put-tree "$dir/missing" "$dir"
exits 4 get-tree "$dir/missing" "$dir/tree"
[ ! -e "$dir/tree" ] || fail 'get-tree made a directory for a store that is not there'

# 8: 65536 bytes are a key, 65537 are not, nor are none
long=$(head -c 65536 /dev/zero | tr '\0' k)
exits 0 put "$store" "$long" /dev/null
exits 0 get "$store" "$long"
prints ''
exits 8 put "$store" "${long}k" /dev/null
complains 65537
exits 8 get "$store" "${long}k"
exits 8 put "$store" '' /dev/null
exits 8 get "$store" ''
exits 8 delete "$store" k ''
exits 0 get "$store" k
exits 8 get "$store" 0g --key-enc=hex

finish
