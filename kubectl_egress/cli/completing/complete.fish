# fish completion for kubectl-egress
function __kubectl_egress_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l flag (string match -r -- '^-[^=]*=' (commandline -ct))
    for answer in (kubectl-egress __complete $words[2..-1] 2>/dev/null)
        switch $answer
            case ':0'
                __fish_complete_path (commandline -ct)
            case ':*'
            case '*'
                printf '%s%s\n' "$flag" $answer
        end
    end
end
complete -c kubectl-egress -f -a '(__kubectl_egress_complete)'
