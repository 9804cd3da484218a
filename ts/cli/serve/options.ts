/** The options of `serve`, as they come from the command line or from the configuration. */

import type { LinkOptions } from '../../metrics/links.js'
import type { ModeOptions } from '../target.js'
import type { WaitOptions } from '../wait.js'

/** How a target is measured, and what is predicted from it. */
export interface MeasuringOptions extends ModeOptions, WaitOptions, LinkOptions {
  every: string
  window: string
  curveEvery: string
  windows?: string
}

export interface ServeOptions extends MeasuringOptions {
  listen: string
  tokenFile?: string
  allowHost?: string
  record?: string
  recording?: string
  tlsCert?: string
  tlsKey?: string
  budget?: string
  otlp?: string
  otlpEvery: string
  config?: string
}

/** Where the server listens without --listen. */
export const DEFAULT_LISTEN = '127.0.0.1:9753'
