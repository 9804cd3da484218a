/** What a guest with a known answer says about itself. */

/** How many distinct pages the guest wrote between two instants, by its own counters. */
export interface Truth {
  /** Pages that were surely written in that time. */
  readonly low: number
  /**
   * Pages by the counters as they were read. For a window they are read after its CLEAR and before
   * its GET.
   */
  readonly pages: number
  /** Pages that were possibly written in that time. */
  readonly high: number
}
