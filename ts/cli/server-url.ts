/** The URL of a server that an option names. */

import { argumentError } from '../ground/errors.js'

/** What is said about a URL that is refused. */
export interface UrlHints {
  /** How the URL is given. */
  readonly example: string
  /** How a password is given, which a URL must not have. */
  readonly secrets: string
}

/** Checks a URL of http or https with nothing but a path. Throws ERR_ARGUMENT without a secret. */
export function parseServerUrl(text: string, name: string, { example, secrets }: UrlHints): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw argumentError(`${name}: '${withoutPassword(text)}' is not the URL of a server`, example)
  if (url.username !== '' || url.password !== '') {
    throw argumentError(
      `${name}: the URL has a password, which every user of this machine can see`,
      secrets,
    )
  }
  if (url.search !== '' || url.hash !== '')
    throw argumentError(`${name}: '${text}' has more than a path`, example)
  return url
}

const withoutPassword = (text: string): string => text.replace(/\/\/[^/@]*@/, '//***@')
