/** A name or a URI of a VM, which may break behind its punctuation. */

import { safe } from '../format.js'

export function Name({ text }: { text: string }) {
  const parts = safe(text).split(/(?<=[,:/])/)
  return (
    <bdi>
      {parts.map((part, at) => (
        <span key={at}>
          {part}
          <wbr />
        </span>
      ))}
    </bdi>
  )
}
