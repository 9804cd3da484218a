/** What `doctor` has found about one thing on which measuring depends. */

/**
 * `good`: measuring has what it needs. `limited`: something works less well. `missing`: something
 * does not work at all. `unknown`: this process could not find out.
 */
export type CheckState = 'good' | 'limited' | 'missing' | 'unknown'

export interface Check {
  /** A stable name for programs. */
  readonly id: string
  /** The thing, for people. */
  readonly name: string
  readonly state: CheckState
  /** What was found. */
  readonly found: string
  /** The command that mends it, or what else does. */
  readonly mend?: string
}
