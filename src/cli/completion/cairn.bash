# bash completion for cairn
# shellcheck shell=bash

_cairn() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local commands='init put get delete stat scan put-tree get-tree index train compact backup verify stats'
    local global='--json -z --key-enc= --quiet --verbose --progress= --help --version'
    local command='' operands=0 position word options=''
    COMPREPLY=()

    # "--name=value" arrives as three words.
    if [[ $current == = ]]; then
        current=''
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $previous in
    --key-enc)
        mapfile -t COMPREPLY < <(compgen -W 'raw esc hex base64' -- "$current")
        return
        ;;
    --progress)
        mapfile -t COMPREPLY < <(compgen -W 'auto always never' -- "$current")
        return
        ;;
    -o | --output)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    --if-version | --ttl | --range | --prefix | --from | --after | --to | --before | --like | --limit | --dictionary | \
        --min-garbage | --rate)
        return
        ;;
    --compress) # whose value follows "=" only
        if [[ ${COMP_WORDS[COMP_CWORD - 1]} == = || ${COMP_WORDS[COMP_CWORD]} == = ]]; then return; fi
        ;;
    esac

    # The command, and how many operands stand behind it.
    for ((position = 1; position < COMP_CWORD; position++)); do
        word=${COMP_WORDS[position]}
        case $word in
        -o | --output | --key-enc | --progress | --if-version | --ttl | --range | --prefix | --from | --after | --to | \
            --before | --like | --limit | --dictionary | --min-garbage | --rate)
            [[ ${COMP_WORDS[position + 1]} == = ]] && ((position++))
            ((position++))
            ;;
        --compress) [[ ${COMP_WORDS[position + 1]} == = ]] && ((position += 2)) ;;
        -?*) ;;
        *)
            if [[ -z $command ]]; then
                command=$word
            elif [[ $command == index ]]; then
                command="index $word"
            else
                ((operands++))
            fi
            ;;
        esac
    done

    if [[ $current == -* ]]; then
        case $command in
        init) options='--ordered --no-ordered' ;;
        put) options='--if-absent --if-version= --sync --ttl= --compress' ;;
        get) options='--output= --range=' ;;
        delete) options='--prefix= --sync' ;;
        scan) options='--from= --after= --to= --before= --prefix= --like= --reverse --limit= --keys --sizes --values' ;;
        put-tree) options='--prefix= --sync --ttl= --compress' ;;
        get-tree) options='--prefix=' ;;
        train) options='--dictionary=' ;;
        compact) options='--full --min-garbage= --rate= --dry-run' ;;
        backup) options='--copy' ;;
        esac
        mapfile -t COMPREPLY < <(compgen -W "$options $global" -- "$current")
        [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
    elif [[ -z $command ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
    elif [[ $command == index ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'add drop rebuild' -- "$current")
    else
        compopt -o filenames
        case $command:$operands in
        *:0 | put-tree:1 | get-tree:1 | backup:1) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
        put:2) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        esac
    fi
}
complete -F _cairn cairn
