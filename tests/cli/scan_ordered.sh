#!/bin/bash
# scan of a store with an ordered index: every bound, prefix, pattern, direction and limit, and all of them together. What
# it lists is compared with what sort, awk and grep make of the list of all keys, in which keys are hex: it sorts as bytes do.
. "$(dirname "$0")/common.sh"
needs_ordered_index
exits 0 init "$store" --ordered

hex_of() { printf %s "$1" | od -An -v -tx1 | tr -d ' \n'; }
repeat() { printf "$1%.0s" $(seq "$2"); }

# Keys in no order: text, pairs of which one begins the other, each end of the range of bytes, what means something in a
# pattern, and keys above the size (511 bytes) up to which a key is sorted whole.
long=$(repeat l 511)
printf '%s\n' 00 0000 00ff 01 7f 80 ff ff00 ffff ffffff 0a 09 61ff62 61fe62 c3a9 c3a96c c3 >"$dir/unsorted"
for text in a b ab aa abc abcd 'a%' 'a_' 'a\' 'a\%' 'a%b' 'a_b' a/b a/c a-b A Ab z zz zzz ' ' 'a b' 10 9 010 1e1 é.gz b.gz .gz gz \
    "$long" "${long}l" "${long}m" "${long}lll" "${long}a" "${long:1}" "$(repeat l 2000)" "$(repeat l 1999)m"; do
    hex_of "$text" >>"$dir/unsorted"
    echo >>"$dir/unsorted"
done
printf '%s00\n%sff\n' "$(repeat 6c 1024)" "$(hex_of "$long")" >>"$dir/unsorted"

declare -A value_of
number=0
while read -r key; do
    head -c "$((number * 37 % 200))" /dev/urandom >"$dir/value$number"
    exits 0 put "$store" --key-enc=hex "$key" "$dir/value$number"
    value_of[$key]=$dir/value$number
    number=$((number + 1))
done <"$dir/unsorted"
# Some that are not there any more, and one that was put again.
for key in 6161 616263 00; do
    exits 0 delete "$store" --key-enc=hex "$key"
done
exits 0 put "$store" --key-enc=hex 00 "${value_of[00]}"
grep -vxE '6161|616263' "$dir/unsorted" | sort >"$dir/keys"
[ "$(sort -u "$dir/keys" | wc -l)" = "$(wc -l <"$dir/keys")" ] || fail 'the test has a key twice'

# ---- What must come out ----

# keep CONDITION BOUND: the lines of $dir/wanted that meet an awk condition on strings.
keep() {
    awk -v given="$2" "BEGIN { bound = given \"\" } { key = \$0 \"\" } $1" "$dir/wanted" >"$dir/kept"
    mv "$dir/kept" "$dir/wanted"
}

# like_to_grep HEX: the pattern as an expression for grep -x on hex.
like_to_grep() {
    sed -e 's/../& /g' <<<"$1" | awk '{
        for (i = 1; i <= NF; i++) {
            if ($i == "5c") out = out $(++i)
            else if ($i == "25") out = out "(..)*"
            else out = out ($i == "5f" ? ".." : $i)
        }
        print out
    }'
}

# expect OPTION...: what a scan with these options lists.
expect() {
    local option value limit=0 order=cat
    cp "$dir/keys" "$dir/wanted"
    for option; do
        value=${option#*=}
        case $option in
        --from=*) keep 'key >= bound' "$value" ;;
        --after=*) keep 'key > bound' "$value" ;;
        --to=*) keep 'key <= bound' "$value" ;;
        --before=*) keep 'key < bound' "$value" ;;
        --prefix=*) keep 'index(key, bound) == 1' "$value" ;;
        --like=*)
            grep -xE -e "$(like_to_grep "$value")" "$dir/wanted" >"$dir/kept"
            mv "$dir/kept" "$dir/wanted"
            ;;
        --reverse) order=tac ;;
        --limit=*) limit=$value ;;
        esac
    done
    $order "$dir/wanted" >"$dir/kept"
    if [ "$limit" = 0 ]; then mv "$dir/kept" "$dir/wanted"; else head -n "$limit" "$dir/kept" >"$dir/wanted"; fi
}

# lists OPTION...: a scan with these options, whose keys are hex, lists what it must, in that order.
lists() {
    exits 0 scan "$store" --key-enc=hex "$@"
    silent
    expect "$@"
    shown_to_hex <"$out" | cmp -s - "$dir/wanted" || {
        local line="$*"
        fail "scan ${line:0:300} lists $(wc -l <"$out") keys, not the $(wc -l <"$dir/wanted") it must, or in another order"
    }
}

# ---- Bounds ----

lists
lists --reverse
# There, between, before and behind all, the beginning of one, and long ones.
bounds=(00 6162 616161 ff ffffffff 63 "$(hex_of "$long")" "$(repeat 6c 1200)")
for bound in "${bounds[@]}"; do
    for kind in from after to before; do
        lists "--$kind=$bound"
        lists "--$kind=$bound" --reverse
    done
done
# The empty key is before all others.
for kind in from after to before; do
    lists "--$kind="
    lists "--$kind=" --reverse
done
for lower in from after; do
    for upper in to before; do
        for bound in 00 6162 63 ff; do
            lists "--$lower=6162" "--$upper=$bound"
            lists "--$lower=$bound" "--$upper=$(hex_of "${long}l")" --reverse
        done
        lists "--$lower=6162" "--$upper=6162"
        lists "--$lower=7a" "--$upper=61"
    done
done
# Both at one end: both hold.
for first in 61 6162 616263 63; do
    lists --from=6162 "--after=$first"
    lists --to=6162 "--before=$first"
    lists --from=61 "--after=$first" --to=7a --before=7a7a --reverse
done

# ---- Prefixes and patterns ----

for prefix in '' 00 61 6162 61ff ff ffff c3 6c "$(hex_of "$long")" "$(repeat 6c 1024)" "$(repeat 6c 2001)" 646e 7aff; do
    lists "--prefix=$prefix"
    lists "--prefix=$prefix" --reverse
    lists "--prefix=$prefix" --limit=2
    lists "--prefix=$prefix" --reverse --limit=1
    lists "--prefix=$prefix" --from=6162 --before=7a
    lists "--prefix=$prefix" --like=25ff25
done
for pattern in % a% %b %.gz 'a_' _ __ '' a 'a%b' '%a%' '_%_' 'a\%' 'a\_b' 'a\\' 'a\\%' '\a%' '%%' '%\%%' "$long%" "%${long}" "${long}_" \
    '%m' 'zzz%%' 'é%' '_.gz' '__.gz'; do
    lists "--like=$(hex_of "$pattern")"
    lists "--like=$(hex_of "$pattern")" --reverse --limit=3
    lists "--like=$(hex_of "$pattern")" --after=61 --to=7a7a
done
lists --like=ff25
lists --like=25ff
lists --like=615fff
lists --like=005f
exits 8 scan "$store" --like 'a\'
exits 8 scan "$store" --like='%\' --reverse --values
prints ''

# ---- Limits ----

for limit in 0 1 2 7 "$(wc -l <"$dir/keys")" 1000; do
    lists "--limit=$limit"
    lists "--limit=$limit" --reverse
    lists "--limit=$limit" --from=61 --before=62
done

# ---- How bounds are given ----

exits 0 scan "$store" --from ab --to abcd
prints 'ab\nabcd\n'
exits 0 scan "$store" --prefix 'a\' --reverse
prints 'a\\x5c%%\na\\x5c\n'
exits 0 scan "$store" --key-enc=esc --prefix 'a\xff' --keys
prints 'a\\xffb\n'
exits 0 scan "$store" --key-enc=base64 --from Yf9i --before Yf9j
prints 'a\\xffb\n'
exits 0 scan "$store" --key-enc=esc --like '\x5c%'
prints ''
exits 0 scan "$store" --key-enc=esc --like 'a\x5c%'
prints 'a%%\n'
exits 0 scan "$store" --like 'a\%'
prints 'a%%\n'
for kind in from after to before prefix like; do
    exits 8 scan "$store" --key-enc=hex "--$kind=6"
    complains --key-enc
    exits 2 scan "$store" "--$kind"
done

# ---- What is printed ----

# The keys of $dir/wanted as they are shown, from a scan of which that is known to be right.
range=(--from=00ff --before=7a7a --reverse)
lists "${range[@]}"
cp "$out" "$dir/shown"
mapfile -t keys <"$dir/wanted"
mapfile -t shown <"$dir/shown"
[ "${#keys[@]}" -gt 30 ] || fail 'too few keys to look at'

size_of() { stat -c %s "${value_of[$1]}"; }
raw_key() { printf "$(sed 's/../\\x&/g' <<<"$1")\0"; }
for i in "${!keys[@]}"; do
    printf '%s\t%d\n' "${shown[i]}" "$(size_of "${keys[i]}")" >&3
    { printf '%s\t%d\n' "${shown[i]}" "$(size_of "${keys[i]}")"; cat "${value_of[${keys[i]}]}"; echo; } >&4
    raw_key "${keys[i]}" >&5
    { raw_key "${keys[i]}"; printf '%d\n' "$(size_of "${keys[i]}")"; cat "${value_of[${keys[i]}]}"; echo; } >&6
done 3>"$dir/sizes" 4>"$dir/values" 5>"$dir/raw" 6>"$dir/raw values"

exits 0 scan "$store" --key-enc=hex "${range[@]}" --keys
same "$out" "$dir/shown"
exits 0 scan "$store" --key-enc=hex "${range[@]}" --sizes
same "$out" "$dir/sizes"
exits 0 scan "$store" --key-enc=hex "${range[@]}" --values
same "$out" "$dir/values"
exits 0 scan "$store" --key-enc=hex "${range[@]}" -z
same "$out" "$dir/raw"
exits 0 scan "$store" --key-enc=hex "${range[@]}" --values -z
same "$out" "$dir/raw values"

# JSON, with sizes whatever was asked for.
for form in '' --keys --sizes --values; do
    exits 0 scan "$store" --key-enc=hex "${range[@]}" --json $form
    json "length == ${#keys[@]} and all(has(\"key_b64\") and has(\"size\") and (has(\"value_b64\") == (\"$form\" == \"--values\")))"
    sed 's/^{"key_b64":"\([^"]*\)".*/\1/' "$out" | while read -r base64; do
        base64 -d <<<"$base64" | od -An -v -tx1 | tr -d ' \n'
        echo
    done | cmp -s - "$dir/wanted" || fail "--json $form lists other keys"
    sed 's/.*"size":\([0-9]*\)[,}].*/\1/' "$out" | cmp -s - <(cut -f2 "$dir/sizes") || fail "--json $form tells other sizes"
done
sed 's/.*"value_b64":"\([^"]*\)"}$/\1/' "$out" >"$dir/base64"
for key in "${keys[@]}"; do
    base64 -w 0 "${value_of[$key]}"
    echo
done | cmp -s - "$dir/base64" || fail 'other values as base64'

# The longest key there may be, and one that only its last byte tells from it.
longest=$(repeat k 65536)
exits 0 put "$store" "$longest" /dev/null
exits 0 put "$store" "${longest:1}l" "$dir/value1"
exits 0 scan "$store" --prefix "${longest:1}"
[ "$(cat "$out")" = "$longest"$'\n'"${longest:1}l" ] || fail 'the longest keys'
exits 0 scan "$store" --after "$longest" --prefix k --sizes
[ "$(cat "$out")" = "${longest:1}l"$'\t37' ] || fail 'behind the longest key'
exits 0 scan "$store" --like '%kl'
[ "$(cat "$out")" = "${longest:1}l" ] || fail 'a pattern for the longest keys'
exits 0 verify "$store"

finish
