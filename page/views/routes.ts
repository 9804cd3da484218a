/** Which view the address of the page names: `#/` is the overview, `#/vm/TARGET` one VM. */

import { useEffect, useState } from 'preact/hooks'

const VM = '#/vm/'

export const OVERVIEW = '#/'

export const vmLink = (target: string): string => VM + encodeURIComponent(target)

/** The target of the chosen VM; undefined in the overview. */
export function useRoute(): string | undefined {
  const [hash, setHash] = useState(location.hash)
  useEffect(() => {
    const changed = (): void => {
      setHash(location.hash)
      scrollTo(0, 0)
    }
    addEventListener('hashchange', changed)
    return () => removeEventListener('hashchange', changed)
  }, [])
  if (!hash.startsWith(VM)) return undefined
  try {
    return decodeURIComponent(hash.slice(VM.length))
  } catch {
    return undefined
  }
}
