#!/bin/bash
# Ordered scans of a real tree agree with find, sort and grep on its paths.
. "$(dirname "$0")/common.sh"
shopt -s lastpipe # what is piped into `agrees` fails in this shell
needs_ordered_index

# Some thousands of files of this machine, and names that are hard to get right.
tree=$dir/tree
mkdir "$tree"
for source in /usr/share/doc /usr/include /usr/share; do
    [ -d "$source" ] || continue
    (cd "$source" && find . -type f -readable -size -200k -print0 2>/dev/null | sort -z | head -z -n 4000 |
        tar -c --null --no-recursion -T -) | tar -x -C "$tree" --no-same-permissions
    [ "$(find "$tree" -type f | wc -l)" -lt 1000 ] || break
done
chmod -R u+rwX "$tree"
mkdir -p "$tree/a.d/b" "$tree/a" "$tree/a-b"
for name in a.d/x a/x.gz a-b/y .gz a.d/.gz 'a b.gz' $'a\nb.gz' $'not utf8 \xff\xfe.gz' a.d/b/c.gz.not 'per%cent.gz' 'under_score.gz' 'back\slash.gz'; do
    printf '%s' "$name" >"$tree/$name"
done

exits 0 init "$store"
exits 0 put-tree -q "$store" "$tree"
(cd "$tree" && find . -type f -printf '%P\0') | sort -z >"$dir/paths"
count=$(tr -dc '\0' <"$dir/paths" | wc -c)
[ "$count" -gt 500 ] || fail "a tree of only $count files"

# as_lines: a list whose entries end with a NUL byte, a path a line. A newline in a path is \001, which none has.
as_lines() { tr '\0\n' '\n\001'; }
as_lines <"$dir/paths" >"$dir/lines"

# agrees WHAT OPTION...: the scan lists the lines that standard input has.
agrees() {
    local what=$1
    shift
    exits 0 scan "$store" -z "$@"
    as_lines <"$out" >"$dir/got"
    cat >"$dir/wanted"
    cmp -s "$dir/got" "$dir/wanted" || fail "$what: $(wc -l <"$dir/got") keys, not the same $(wc -l <"$dir/wanted")"
}

agrees 'all' <"$dir/lines"
tac "$dir/lines" | agrees 'all, descending' --reverse
head -n 100 "$dir/lines" | agrees 'the first' --limit 100
tail -n 100 "$dir/lines" | tac | agrees 'the last' --reverse --limit 100
(cd "$tree" && find . -type f -printf '%P\0%s\n') | sort >"$dir/sizes"
exits 0 scan "$store" --sizes -z
sort "$out" | cmp -s - "$dir/sizes" || fail 'other sizes'

# Prefixes: directories, and parts of names, from all over the tree.
awk 'NR % 97 == 1' "$dir/lines" | grep -av '[][*?\\[:cntrl:]]' >"$dir/some"
while IFS= read -r path; do
    for prefix in "${path%/*}/" "${path%/*}" "${path:0:3}" "$path" "${path}x"; do
        (cd "$tree" && find . -type f -path "./$prefix*" -printf '%P\0') | sort -z | as_lines |
            agrees "--prefix $prefix" --prefix "$prefix"
    done
done < <(head -n 25 "$dir/some")

# Patterns.
(cd "$tree" && find . -type f -name '*.gz' -printf '%P\0') | sort -z | as_lines | agrees '%.gz' --like '%.gz'
(cd "$tree" && find . -type f -name '*.gz' -printf '%P\0') | sort -rz | as_lines | agrees '%.gz descending' --like '%.gz' --reverse
for letter in a l p; do
    grep -aE "^$letter.*/copyright\$" "$dir/lines" | agrees "$letter%/copyright" --like "$letter%/copyright"
    grep -aE "^$letter.*README" "$dir/lines" | agrees "$letter%README%" --like "%README%" --prefix "$letter"
done
grep -aF _ "$dir/lines" | agrees 'a literal _' --like '%\_%'
grep -aF % "$dir/lines" | agrees 'a literal %' --like '%\%%'
grep -aE '^.{20}$' "$dir/lines" | agrees '20 bytes' --like '____________________'

# Ranges between paths of the tree, and between what is none.
between() { awk -v low="$1" -v high="$2" '{ key = $0 "" } key >= (low "") && key < (high "")' "$dir/lines"; }
grep -av '\\' "$dir/some" | awk 'NR % 5 == 0' | head -n 12 >"$dir/ends"
while IFS= read -r low; do
    while IFS= read -r high; do
        between "$low" "$high" | agrees "--from $low --before $high" --from "$low" --before "$high"
    done < <(awk 'NR % 3 == 0' "$dir/ends")
    between "$low" zlib | tac | agrees "--from $low --before zlib" --from "$low" --before zlib --reverse
done <"$dir/ends"
between lib m | grep -a '\.gz$' | agrees 'a range and a pattern' --from lib --before m --like '%.gz'

# The values that a range of keys has.
between a b | tr '\001\n' '\n\0' | while IFS= read -r -d '' path; do
    printf '%s\0%d\n' "$path" "$(stat -c %s "$tree/$path")"
    cat "$tree/$path"
    echo
done >"$dir/values"
exits 0 scan "$store" -z --values --from a --before b
same "$out" "$dir/values"

# All below a prefix deleted, the rest listed.
path=$(sed -n 5p "$dir/some")
prefix=${path%%/*}
exits 0 delete "$store" --prefix "$prefix" --json
(cd "$tree" && find . -type f -not -path "./$prefix*" -printf '%P\0') | sort -z | as_lines >"$dir/left"
prints "{\"deleted\":$((count - $(wc -l <"$dir/left")))}\n"
agrees "all without $prefix" <"$dir/left"
exits 0 verify "$store"

finish
