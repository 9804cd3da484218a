/** The options of `serve`, as they come from the command line. */

import type { LinkOptions } from '../../metrics/links.js'
import type { ModeOptions } from '../target.js'
import type { WaitOptions } from '../wait.js'

export interface ServeOptions extends ModeOptions, WaitOptions, LinkOptions {
  listen: string
  tokenFile?: string
  allowHost?: string
  every: string
  window: string
  curveEvery: string
  windows?: string
}

/** Where the server listens without --listen. */
export const DEFAULT_LISTEN = '127.0.0.1:9753'
