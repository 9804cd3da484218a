/** A part of the time, in ms since the Epoch. */
export interface TimeRange {
  readonly from: number
  readonly to: number
}
