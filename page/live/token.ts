/** Whether a header can have the token. If it cannot, it is not the token of any server. */
export function canBeToken(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text)
}
