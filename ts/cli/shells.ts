/**
 * The scripts that make shells complete the command line. Each script asks `dirtyrate complete`,
 * and adds no space after `=`, `:`, `,` and `/`.
 */

import { parseChoice } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { EXIT_OK } from './exit.js'
import type { Session } from './session.js'

const BASH = `# Completion of dirtyrate for bash: eval "$(dirtyrate completion bash)"
_dirtyrate() {
  local line=\${COMP_LINE:0:COMP_POINT} candidate
  local -a typed
  read -ra typed <<<"$line"
  case $line in *[[:space:]]) typed+=('') ;; esac
  # Bash puts a candidate in the place of what follows the last of these characters.
  local last=\${typed[-1]} breaks=\${COMP_WORDBREAKS//[!:=]/} kept=
  if [ -n "$breaks" ]; then kept=\${last%"\${last##*[$breaks]}"}; fi
  COMPREPLY=()
  while IFS=$'\\t' read -r candidate _; do
    COMPREPLY+=("\${candidate#"$kept"}")
  done < <("$1" complete -- "\${typed[@]:1}" 2>/dev/null)
  case \${COMPREPLY[0]-} in *[=:,/]) compopt -o nospace ;; esac
}
complete -F _dirtyrate dirtyrate
`

const ZSH = `#compdef dirtyrate
# Completion of dirtyrate for zsh: eval "$(dirtyrate completion zsh)" after compinit, or this text as _dirtyrate in a folder of $fpath
_dirtyrate() {
  local line word
  local -a ended ended_shown open open_shown
  for line in "\${(@f)$("\${(Q)words[1]}" complete -- "\${(@Q)words[2,CURRENT-1]}" "\${(Q)PREFIX}" 2>/dev/null)}"; do
    [[ -n $line ]] || continue
    word=\${line%%$'\\t'*}
    line=\${line#*$'\\t'}
    [[ -n $line ]] && line="$word -- $line" || line=$word
    if [[ $word == *[=:,/] ]]; then
      open+=("$word") open_shown+=("$line")
    else
      ended+=("$word") ended_shown+=("$line")
    fi
  done
  (( $#open )) && compadd -S '' -l -d open_shown -a open
  (( $#ended )) && compadd -l -d ended_shown -a ended
  (( $#open + $#ended ))
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _dirtyrate "$@"; else compdef _dirtyrate dirtyrate; fi
`

const FISH = `# Completion of dirtyrate for fish: dirtyrate completion fish >~/.config/fish/completions/dirtyrate.fish
function __dirtyrate_complete
  set -l typed (commandline -opc)
  $typed[1] complete -- $typed[2..-1] (commandline -ct) 2>/dev/null
end
complete -c dirtyrate -f -a '(__dirtyrate_complete)'
`

export type Shell = 'bash' | 'zsh' | 'fish'

const SCRIPTS: Readonly<Record<Shell, string>> = { bash: BASH, zsh: ZSH, fish: FISH }

export const shells: readonly Shell[] = Object.keys(SCRIPTS) as Shell[]

/** `dirtyrate completion SHELL`. */
export async function runCompletion(session: Session, shell: string): Promise<number> {
  const script = SCRIPTS[parseChoice(shell, 'completion', shells)]
  if (session.options.json) throw argumentError('--json: completion prints a script', 'Leave --json out.')
  session.write(script)
  return EXIT_OK
}
