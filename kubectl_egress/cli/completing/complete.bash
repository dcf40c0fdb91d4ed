# bash completion for kubectl-egress; bash 3.2 (macOS) or later, bash-completion is not needed.
__kubectl_egress_complete() {
    local line="${COMP_LINE:0:COMP_POINT}" current prefix answer directive=0
    local -a words=()
    read -ra words <<<"$line"
    case "$line" in *[[:space:]]) words+=("") ;; esac
    current="${words[${#words[@]}-1]}"
    case "$current" in -*=*) current="${current#*=}" ;; esac
    # bash replaces what follows the last colon, not the whole word.
    prefix="${current%"${current##*:}"}"
    COMPREPLY=()
    while IFS= read -r answer; do
        case "$answer" in :[0-9]*) directive="${answer#:}"; continue ;; esac
        answer="${answer%%$'\t'*}"
        COMPREPLY+=("${answer#"$prefix"}")
    done < <(kubectl-egress __complete "${words[@]:1}" 2>/dev/null)
    if [ "$directive" -eq 0 ] && [ "${#COMPREPLY[@]}" -eq 0 ]; then
        compopt -o default 2>/dev/null
    fi
}
complete -F __kubectl_egress_complete kubectl-egress
