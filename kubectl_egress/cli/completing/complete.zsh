#compdef kubectl-egress
# zsh completion for kubectl-egress
_kubectl-egress() {
    local answer value text directive=4
    local -a found
    for answer in "${(@f)$(kubectl-egress __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ "$answer" == :<-> ]]; then directive="${answer#:}"; continue; fi
        value="${answer%%$'\t'*}"
        text="${answer#"$value"}"
        found+=("${value//:/\\:}${text:+:${text#$'\t'}}")
    done
    [[ "$PREFIX" == -*=* ]] && compset -P '*='
    (( ${#found} )) && _describe -t candidates 'candidates' found
    (( directive == 0 )) && _files
}
# Sourced, or loaded by its name from $fpath.
if [[ "$funcstack[1]" == _kubectl-egress ]]; then
    _kubectl-egress "$@"
else
    compdef _kubectl-egress kubectl-egress
fi
