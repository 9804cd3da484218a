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
  local line=\${COMP_LINE:0:COMP_POINT} breaks=\${COMP_WORDBREAKS//[[:space:]\\'\\"]/}
  # The words of the line as the command would get them, and the quote in which the last word is open.
  local -a typed=()
  local word= started= open= c i
  # Bash puts a candidate in the place of what follows an open quote, or the last of \`breaks\`: \`kept\` is what stays.
  local kept= before=
  for ((i = 0; i < \${#line}; i++)); do
    c=\${line:i:1}
    case $open$c in
      \\' | \\") open=$c before=$word started=1 ;;
      \\'\\' | \\"\\") open= ;;
      \\"\\\\)
        c=\${line:(++i):1}
        case $c in [\\"\\$\\\`\\\\]) word+=$c ;; *) word+=\\\\$c ;; esac
        ;;
      \\'* | \\"*) word+=$c ;;
      \\\\) word+=\${line:(++i):1} started=1 ;;
      [[:space:]])
        if [[ $started ]]; then typed+=("$word"); fi
        word= kept= started=
        ;;
      *)
        word+=$c started=1
        case $breaks in *"$c"*) kept=$word ;; esac
        ;;
    esac
  done
  if [[ $open ]]; then kept=$before; fi
  local candidate quoted
  COMPREPLY=()
  while IFS=$'\\t' read -r candidate _; do
    [[ $candidate == "$kept"* ]] || continue
    candidate=\${candidate:\${#kept}}
    quoted=
    if [[ $open ]]; then
      for ((i = 0; i < \${#candidate}; i++)); do
        c=\${candidate:i:1}
        case $open$c in
          \\'\\') quoted+="'\\\\''" ;;
          \\"[\\"\\$\\\`\\\\]) quoted+=\\\\$c ;;
          # Between double quotes no backslash keeps the history from expanding it.
          \\"!) quoted+='"\\!"' ;;
          *) quoted+=$c ;;
        esac
      done
    elif [[ $candidate == *[!A-Za-z0-9_.,:=/+@%-]* ]]; then
      printf -v quoted %q "$candidate"
    else
      quoted=$candidate
    fi
    COMPREPLY+=("$quoted")
  done < <("$1" complete -- "\${typed[@]:1}" "$word" 2>/dev/null)
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
  # The word as the command would get it, without its quotes.
  set -l word (string unescape -- (commandline -ct); or commandline -ct)
  $typed[1] complete -- $typed[2..-1] $word 2>/dev/null
end
complete -c dirtyrate -f -a '(__dirtyrate_complete)'
`

export type Shell = 'bash' | 'zsh' | 'fish'

const SCRIPTS: Readonly<Record<Shell, string>> = { bash: BASH, zsh: ZSH, fish: FISH }

export const shells: readonly Shell[] = Object.keys(SCRIPTS) as Shell[]

/** `dirtyrate completion SHELL`. */
export async function runCompletion(session: Session, shell: string): Promise<number> {
  const script = SCRIPTS[parseChoice(shell, 'completion', shells)]
  if (session.options.json)
    throw argumentError('--json: completion prints a script', 'Leave --json out.')
  session.write(script)
  return EXIT_OK
}
