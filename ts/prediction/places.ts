/** The arrangements of the writers in memory that a migration has to reckon with. */

import { sortedBoth, sortedWithin, spread } from './arrangement.js'
import { MOST_CHUNKS } from './coarse.js'
import type { Bound, Model, Possible } from './model.js'
import type { MigrationProfile } from './profiles.js'

/** Of more chunks than this, each is a small part of a pass, so that its inside does not matter. */
const FEW_CHUNKS = 8

/** Where the writers of a VM may be. Each arrangement is made once, when it is asked for. */
export class Places {
  readonly #model: Model
  readonly #profile: MigrationProfile
  readonly #probable = new Map<Bound, Possible>()
  readonly #all = new Map<Bound, readonly Possible[]>()

  constructor(model: Model, profile: MigrationProfile) {
    this.#model = model
    this.#profile = profile
  }

  /** Where they most probably are. */
  probable(bound: Bound): Possible {
    let possible = this.#probable.get(bound)
    if (possible === undefined) {
      const { hasRegions, [bound]: known } = this.#model
      possible = hasRegions ? known : spread(known, this.#chunks)
      this.#probable.set(bound, possible)
    }
    return possible
  }

  /** All arrangements, the most probable one first. */
  all(bound: Bound): readonly Possible[] {
    let all = this.#all.get(bound)
    if (all === undefined) {
      const probable = this.probable(bound)
      all = [probable, ...this.#others(probable, this.#model[bound])]
      this.#all.set(bound, all)
    }
    return all
  }

  #others(probable: Possible, possible: Possible): readonly Possible[] {
    if (!this.#hasOrder) return []
    if (this.#model.hasRegions)
      return possible.parts.length > FEW_CHUNKS ? [] : sortedWithin(possible)
    const chunks = this.#chunks
    if (chunks === 1) return sortedWithin(probable)
    const one = spread(possible, 1)
    return [one, ...sortedWithin(one), ...sortedBoth(possible, chunks)]
  }

  /** Whether it matters where in memory the writers are. */
  get #hasOrder(): boolean {
    const { clearing, curve } = this.#profile
    return clearing !== 'pass-start' && curve !== 'as-measured'
  }

  /** The chunks of a memory whose regions are not known. */
  get #chunks(): number {
    const { clearing } = this.#profile
    if (!this.#hasOrder || clearing === 'pass-start') return 1
    const bytes = this.#model.memoryPages * this.#model.pageSize
    return Math.min(Math.max(Math.ceil(bytes / clearing.chunkBytes), 1), MOST_CHUNKS)
  }
}
