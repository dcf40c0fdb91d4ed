# PowerShell completion for kubectl-egress
Register-ArgumentCompleter -Native -CommandName kubectl-egress -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements | Select-Object -Skip 1 | ForEach-Object { $_.ToString() })
    if ($wordToComplete -eq '') { $words += '""' }
    $flag = if ($wordToComplete -match '^-[^=]*=') { $Matches[0] } else { '' }
    kubectl-egress __complete @words 2>$null | Where-Object { $_ -notmatch '^:\d+$' } | ForEach-Object {
        $value, $text = $_ -split "`t", 2
        if (-not $text) { $text = $value }
        [System.Management.Automation.CompletionResult]::new("$flag$value", $value, 'ParameterValue', $text)
    }
}
